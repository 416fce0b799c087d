"""What is changed on the host as a whole: its name, its clock, its power (host contract §35)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from supervisor.drivers.dbus.logind import Login
from supervisor.drivers.dbus.systemd import SystemState
from supervisor.drivers.systemd import system_is_stopping
from supervisor.errors import HOST_INVALID_HOSTNAME, Invalid, SupervisorError, Unavailable, Unsupported
from supervisor.tasks import end

from .features import Features, HostFeature
from .services import SystemServices

_LOGGER = logging.getLogger(__name__)

# Between two looks whether the machine goes down all the same.
LOOK_SECONDS: Final = 1.0


class HostControl:
    """`stop_managed` stops everything that is looked after, in the contract's order; `resume` brings it back.

    Systems that wait for the daemon's own end are asked at once: it stops everything then, as it does whoever asks.
    A machine that took the request and stays up all the same has everything again.
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
        self._stopped = False
        self._unsubscribe: Callable[[], None] | None = None
        self._staying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Hear from now on when the machine was told to go down and stays up."""
        self._unsubscribe = await self._services.login.on(Login.prepare_for_shutdown, self._prepared)

    async def stop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        await end([self._staying])

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
        self._stopped = True
        try:
            await self._stop_managed()
        except Exception:
            # A machine that was told to go down must not stay up because of one add-on.
            _LOGGER.exception("Not everything was stopped")
        try:
            await self._ask(by_logind, by_systemd)
        except SupervisorError:
            await self._start_again()
            raise

    async def _start_again(self) -> None:
        self._stopped = False
        await self._resume()

    def _prepared(self, going_down: bool) -> None:  # noqa: FBT001 - what the signal says
        if not going_down and self._asked and (self._staying is None or self._staying.done()):
            self._staying = asyncio.get_running_loop().create_task(self._stay_up(), name="the machine stays up")

    async def _stay_up(self) -> None:
        # logind says so as well when its own part of going down is done: then the end of the daemon ends this.
        while await self.is_going_down():  # noqa: ASYNC110 - nobody tells when that is over
            await asyncio.sleep(LOOK_SECONDS)
        async with self._going_down:
            self._asked = False
            _LOGGER.warning("The host was told to go down and stays up")
            if self._stopped:
                await self._start_again()

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
