"""The host as the API shows it: one picture of all that is known (API contract §3.12)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs

from supervisor.drivers.dbus.resolved import Broadcast
from supervisor.drivers.disk import Capacity
from supervisor.errors import SupervisorError
from supervisor.model.kept import Kept

from .disks import Disks
from .features import Features, HostFeature
from .machine import Host, HostFacts
from .services import SystemServices

_LOGGER = logging.getLogger(__name__)

_GIB: Final = 1024**3
# What no signal announces, the state of NTP above all, is read again when somebody asks after this long.
STALE_SECONDS: Final = 60.0


@attrs.frozen(kw_only=True)
class HostInfo:
    """None is what nobody on this host can tell. Disk sizes are in GiB, `startup_time` in seconds."""

    agent_version: str | None
    apparmor_version: str | None
    chassis: str | None
    cpe: str | None
    deployment: str | None
    disk_free: float
    disk_total: float
    disk_used: float
    disk_life_time: float | None
    features: tuple[str, ...]
    hostname: str | None
    llmnr_hostname: str | None
    kernel: str | None
    operating_system: str | None
    virtualization: str | None
    timezone: str | None
    dt_synchronized: bool | None
    use_ntp: bool | None
    startup_time: float | None
    boot_timestamp: int | None
    broadcast_llmnr: bool | None
    broadcast_mdns: bool | None


class HostManager:
    """Keeps `Host.facts` current with what the services say, so that everybody who reads them sees the same."""

    def __init__(self, host: Host, services: SystemServices, features: Features, disks: Disks) -> None:
        self._host = host
        self._services = services
        self._features = features
        self._disks = disks
        self._subscriptions: list[Callable[[], None]] = []
        self._others: list[Callable[[], Awaitable[object]]] = []
        self._read_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._info = Kept(self._describe)

    def also_reload(self, work: Callable[[], Awaitable[object]]) -> None:
        """Have another part of the host read anew with `reload`; what it can't do at that time is no failure."""
        self._others.append(work)

    async def load(self) -> None:
        """Follow the services; on return those that are there were read."""
        hostname, timedate = self._services.hostname, self._services.timedate
        self._subscriptions = [service.subscribe(self._facts_changed) for service in (hostname, timedate)]
        await self._services.start()
        await self._disks.load()
        self._read_at = time.monotonic()
        self._facts_changed(frozenset())

    async def stop(self) -> None:
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions.clear()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._disks.stop()
        await self._services.close()

    async def reload(self) -> None:
        """Read everything anew, also what no service announces; a service that has died is started again."""
        await self._host.load()
        await self._services.revive()
        self._read_at = time.monotonic()
        self._facts_changed(frozenset())
        await self._disks.load()
        await asyncio.gather(*(_quietly(work) for work in self._others))

    def info(self) -> HostInfo:
        """Tell what is known now, without asking anybody."""
        self._freshen()
        services, disks = self._services, self._disks
        return self._info.of(
            self._host.facts,
            disks.capacity,
            disks.life_time,
            self._features.available,
            (
                services.hostname.known,
                services.timedate.known,
                services.systemd.known,
                services.resolved.known,
                services.agent.known,
                services.apparmor.known,
            ),
        )

    def _describe(
        self,
        facts: HostFacts,
        capacity: Capacity,
        life_time: float | None,
        features: tuple[HostFeature, ...],
        _known: tuple[Mapping[str, Any], ...],
    ) -> HostInfo:
        """Put it together; `_known` is what the services say, who are read by their words."""
        hostname, timedate = self._services.hostname, self._services.timedate
        systemd, resolved = self._services.systemd, self._services.resolved
        return HostInfo(
            agent_version=self._services.agent.version,
            apparmor_version=self._services.apparmor.parser_version,
            chassis=hostname.chassis or None,
            cpe=hostname.operating_system_cpe or None,
            deployment=hostname.deployment or None,
            disk_free=_gib(capacity.free),
            disk_total=_gib(capacity.total),
            disk_used=_gib(capacity.used),
            disk_life_time=life_time,
            features=tuple([feature.value for feature in features]),
            hostname=facts.hostname,
            llmnr_hostname=resolved.llmnr_hostname,
            kernel=hostname.kernel_release or facts.kernel or None,
            operating_system=facts.operating_system,
            virtualization=systemd.virtualization,
            timezone=facts.timezone,
            dt_synchronized=timedate.ntp_synchronized,
            use_ntp=timedate.ntp,
            startup_time=self._startup_time,
            # 0 while the machine is still starting.
            boot_timestamp=systemd.finish_timestamp or None,
            broadcast_llmnr=_answers(resolved.llmnr),
            broadcast_mdns=_answers(resolved.multicast_dns),
        )

    @property
    def _startup_time(self) -> float | None:
        systemd = self._services.systemd
        if systemd.userspace_monotonic is None:
            return None
        parts = (
            systemd.firmware_monotonic,
            systemd.loader_monotonic,
            systemd.kernel_monotonic,
            systemd.userspace_monotonic,
        )
        return sum(part or 0 for part in parts) / 1_000_000

    def _facts_changed(self, _names: frozenset[str]) -> None:
        hostname, timedate, facts = self._services.hostname, self._services.timedate, self._host.facts
        # Without the service the last that was known is still the best guess.
        self._host.facts = attrs.evolve(
            facts,
            hostname=hostname.static_hostname or hostname.hostname or facts.hostname,
            operating_system=hostname.operating_system or facts.operating_system,
            timezone=timedate.timezone or facts.timezone,
        )

    def _freshen(self) -> None:
        self._disks.freshen()
        old = time.monotonic() - self._read_at > STALE_SECONDS
        if old and (self._reading is None or self._reading.done()):
            self._reading = asyncio.get_running_loop().create_task(self._read(), name="read the host anew")

    async def _read(self) -> None:
        self._read_at = time.monotonic()
        await self._services.refresh()


async def _quietly(work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except SupervisorError as err:
        _LOGGER.debug("Not read anew: %s", err)


def _gib(size: int) -> float:
    return round(size / _GIB, 1)


def _answers(mode: Broadcast | str | None) -> bool | None:
    return None if mode is None else mode == Broadcast.YES
