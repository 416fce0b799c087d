"""What is changed on the host as a whole: its name, its clock, its power (host contract §35)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from supervisor.drivers.dbus.systemd import SystemState
from supervisor.drivers.systemd import system_is_stopping
from supervisor.errors import HOST_INVALID_HOSTNAME, Invalid, SupervisorError, Unavailable, Unsupported

from .features import Features, HostFeature
from .services import SystemServices

_LOGGER = logging.getLogger(__name__)


class HostControl:
    """`stop_managed` stops everything that is looked after, in the contract's order; `resume` brings it back.

    Systems that wait for the daemon's own end are asked at once: it stops everything then, as it does whoever asks.
    """

    def __init__(
        self,
        services: SystemServices,
        features: Features,
        *,
        stop_managed: Callable[[], Awaitable[None]],
        resume: Callable[[], Awaitable[None]],
    ) -> None:
        self._services = services
        self._features = features
        self._stop_managed = stop_managed
        self._resume = resume
        self._going_down = asyncio.Lock()
        self._asked = False

    async def set_hostname(self, hostname: str) -> None:
        """Name the machine.

        Raises:
            Invalid: there is none, or hostnamed finds that this is no name (`host_invalid_hostname`).
            Unsupported: there is no hostnamed. Unavailable, Timeout: it does not answer.
        """
        self._features.require(HostFeature.HOSTNAME)
        if not hostname:
            # hostnamed would take the name away.
            raise HOST_INVALID_HOSTNAME(hostname=hostname)
        try:
            await self._services.hostname.set_static_hostname(hostname)
        except Invalid as err:
            raise HOST_INVALID_HOSTNAME(hostname=hostname) from err
        _LOGGER.info("The host is called %s now", hostname)

    async def set_timezone(self, timezone: str) -> None:
        """Set the time zone by its IANA name, on hosts that can.

        Raises:
            Invalid: timedated knows no such zone. Unsupported, Unavailable, Timeout: see `set_hostname`.
        """
        self._features.require(HostFeature.TIMEDATE)
        if self._services.timedate.timezone == timezone:
            return
        await self._services.timedate.set_timezone(timezone)
        _LOGGER.info("The host's time zone is %s now", timezone)

    async def set_ntp(self, *, on: bool) -> None:
        """Have the clock set by time servers, or not.

        Raises:
            Unsupported: no NTP service is installed, or no timedated. Unavailable, Timeout: it does not answer.
        """
        self._features.require(HostFeature.TIMEDATE)
        await self._services.timedate.set_ntp(on)
        _LOGGER.info("The host's clock %s", "follows time servers now" if on else "is left to itself now")

    async def require_reboot(self) -> None:
        """Go on only where the machine can be told to boot again.

        Raises:
            Unsupported: nobody can. Timeout: logind does not answer.
        """
        self._features.require(HostFeature.REBOOT)
        await self._check(HostFeature.REBOOT)

    async def reboot(self) -> None:
        """Have what is looked after stopped, in its order, and the machine boot again (API contract §9.4).

        Raises:
            Unsupported: nobody can. Unavailable, Busy and others: the request was refused, and what was stopped starts
                again.
        """
        services = self._services
        await self._go_down(HostFeature.REBOOT, services.login.reboot, services.systemd.reboot)

    async def shutdown(self) -> None:
        """Have what is looked after stopped, in its order, and the machine switch itself off. Raises as `reboot`."""
        services = self._services
        await self._go_down(HostFeature.SHUTDOWN, services.login.power_off, services.systemd.power_off)

    async def is_going_down(self) -> bool:
        """Tell whether the whole machine stops, or boots again; where nobody can be asked it does not."""
        systemd = self._services.systemd
        if systemd.available:
            try:
                await systemd.refresh()
            except SupervisorError as err:
                _LOGGER.debug("%s", err)
            else:
                return systemd.system_state is SystemState.STOPPING
        # systemd has a door of its own, which its program goes through: for hosts without a bus.
        return await system_is_stopping()

    async def _go_down(
        self,
        feature: HostFeature,
        by_logind: Callable[[], Awaitable[None]],
        by_systemd: Callable[[], Awaitable[None]],
    ) -> None:
        self._features.require(feature)
        # Who asks while the machine goes down waits for that, as everybody else.
        async with self._going_down:
            if self._asked:
                return
            await self._check(feature)
            _LOGGER.warning("The host goes down (%s)", feature.value)
            if self._services.waits_for_us:
                await self._ask(by_logind, by_systemd)
            else:
                await self._stop_and_ask(by_logind, by_systemd)
            self._asked = True

    async def _stop_and_ask(
        self, by_logind: Callable[[], Awaitable[None]], by_systemd: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            await self._stop_managed()
        except Exception:
            # A machine that was told to go down must not stay up because of one add-on.
            _LOGGER.exception("Not everything was stopped")
        try:
            await self._ask(by_logind, by_systemd)
        except SupervisorError:
            await self._resume()
            raise

    async def _check(self, feature: HostFeature) -> None:
        """See whether logind would do it, before anything is stopped for it."""
        login = self._services.login
        if not login.available:
            return
        asked = login.can_reboot if feature is HostFeature.REBOOT else login.can_power_off
        try:
            answer = await asked()
        except Unavailable:
            return
        if answer in {"no", "na"}:
            raise Unsupported(f"logind does not let this host {feature.value}: it answers {answer!r}")

    async def _ask(self, by_logind: Callable[[], Awaitable[None]], by_systemd: Callable[[], Awaitable[None]]) -> None:
        if self._services.login.available:
            try:
                await by_logind()
            except Unavailable as err:
                if not self._services.systemd.available:
                    raise
                _LOGGER.warning("logind does not answer (%s), so systemd is asked", err)
            else:
                return
        await by_systemd()
