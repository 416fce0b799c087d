"""The machine's clock and time zone, put right when the daemon starts (host contract §46)."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.drivers.dbus.systemd import StartMode
from supervisor.drivers.http import HttpClient
from supervisor.errors import SupervisorError, Unavailable
from supervisor.managers.configuration import Configuration
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType
from supervisor.model.validators import time_zone

from .control import HostControl
from .features import Features, HostFeature
from .machine import Host
from .services import SystemServices

_LOGGER = logging.getLogger(__name__)

# What an installer leaves when nobody was asked.
UNSET_ZONES: Final = ("Etc/UTC", "UTC", None)
# The year 2200: nothing later is a time that somebody means, and NaN and infinity are none.
LATEST: Final = 7.3e9
FAR_SECONDS: Final = 3600.0
NTP_SERVICE: Final = "systemd-timesyncd.service"
STOP_SECONDS: Final = 10.0


@attrs.frozen
class Whereabouts:
    """What a server on the internet sees of us: the time zone of our address, and what time it is, in seconds."""

    timezone: str | None
    now: float

    @classmethod
    def read(cls, answer: Any) -> Whereabouts:
        """Raise Unavailable for an answer that makes no sense."""
        now = answer.get("timestamp") if isinstance(answer, dict) else None
        if not isinstance(now, int | float) or isinstance(now, bool) or not 0 < now < LATEST:
            raise Unavailable("The server that knows the time answered something else")
        zone = answer.get("timezone")
        return cls(zone if zone != "UTC" and _is_zone(zone) else None, float(now))


def _is_zone(name: Any) -> bool:
    try:
        time_zone(name)
    except vol.Invalid:
        return False
    return True


@attrs.frozen(eq=False)
class Clock:
    """`whoami_url` is asked only when the zone is unknown or the clock is not kept; `corrected` runs after a jump."""

    _host: Host
    _services: SystemServices
    _control: HostControl
    _features: Features
    _configuration: Configuration
    _http: HttpClient
    _resolution: Resolution
    _whoami_url: str
    _corrected: Callable[[], Awaitable[object]]

    async def keep_zone(self) -> None:
        """Have the host keep the time zone of the settings; one that does not take it, as some can't, is logged."""
        zone = self._configuration.timezone
        if zone is not None and zone != self._host.facts.timezone:
            await self._set_zone(zone)

    async def adjust(self) -> None:
        """Find out the time zone where nobody has set one, and set a clock that is far off and that nobody keeps."""
        timedate = self._services.timedate
        zone = self._configuration.timezone or self._host.facts.timezone
        settled = zone not in UNSET_ZONES and timedate.ntp_synchronized is not False
        if settled or not self._features.has(HostFeature.TIMEDATE):
            return
        try:
            found = await self._whereabouts()
        except SupervisorError as err:
            _LOGGER.warning("The time and its zone could not be found out: %s", err)
            return
        if zone in UNSET_ZONES and self._configuration.timezone is None and found.timezone is not None:
            await self._configuration.change(timezone=found.timezone)
            await self._set_zone(found.timezone)
        if abs(found.now - time.time()) > FAR_SECONDS and timedate.ntp_synchronized is False:
            await self._set_clock(found)

    async def _whereabouts(self) -> Whereabouts:
        try:
            return Whereabouts.read(await self._http.get_json(self._whoami_url))
        except Unavailable:
            # A clock that is far off takes every certificate for expired, or not valid yet.
            if not self._whoami_url.startswith("https://"):
                raise
            plain = "http://" + self._whoami_url.removeprefix("https://")
            return Whereabouts.read(await self._http.get_json(plain))

    async def _set_zone(self, zone: str) -> None:
        if not self._features.has(HostFeature.TIMEDATE):
            return
        try:
            await self._control.set_timezone(zone)
        except SupervisorError as err:
            _LOGGER.warning("The host does not take the time zone %s: %s", zone, err)

    async def _set_clock(self, found: Whereabouts) -> None:
        timedate, systemd = self._services.timedate, self._services.systemd
        before = time.monotonic()
        try:
            if timedate.ntp:
                # timedated sets no clock that is kept by somebody, however badly.
                await systemd.finish(lambda: systemd.stop_unit(NTP_SERVICE, StartMode.REPLACE), seconds=STOP_SECONDS)
                self._resolution.raise_issue(
                    IssueType.NTP_SYNC_FAILED, ContextType.SYSTEM, suggestions=(SuggestionType.ENABLE_NTP,)
                )
            waited = time.monotonic() - before
            await timedate.set_time(int((found.now + waited) * 1_000_000))
        except SupervisorError as err:
            _LOGGER.error("The clock is far off and can't be set: %s", err)
            return
        _LOGGER.warning("The clock was far off; it is set now")
        await self._corrected()
