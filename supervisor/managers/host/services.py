"""The services of the host that the daemon drives over D-Bus, as one thing that is started, refreshed and stopped."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

import attrs

from supervisor.drivers.dbus import Interface, SystemBus
from supervisor.drivers.dbus.hostname import Hostname
from supervisor.drivers.dbus.logind import Login
from supervisor.drivers.dbus.os_agent import Agent, AppArmor, Boards, ControlGroups, DataDisk, Swap
from supervisor.drivers.dbus.resolved import Resolved
from supervisor.drivers.dbus.systemd import Systemd
from supervisor.drivers.dbus.timedate import TimeDate
from supervisor.drivers.dbus.udisks import DiskTree
from supervisor.errors import SupervisorError
from supervisor.model.cpe import Cpe
from supervisor.model.version import at_least, is_newer

from .features import Features, HostFeature

_LOGGER = logging.getLogger(__name__)

MOUNTS_SINCE: Final = "10.2"
WAITS_SINCE: Final = "18.0.dev20260527"

_SYSTEMD = "It comes with systemd; a host whose first process is another one lacks it"


@attrs.frozen(eq=False)
class SystemServices:
    """What hosts with systemd have, and what theirs with the Home Assistant Operating System have besides."""

    systemd: Systemd
    hostname: Hostname
    timedate: TimeDate
    login: Login
    resolved: Resolved
    agent: Agent
    apparmor: AppArmor
    disks: DiskTree
    cgroups: ControlGroups
    data_disk: DataDisk
    swap: Swap
    boards: Boards

    @classmethod
    def on(cls, bus: SystemBus) -> SystemServices:
        return cls(
            Systemd(bus),
            Hostname(bus),
            TimeDate(bus),
            Login(bus),
            Resolved(bus),
            Agent(bus),
            AppArmor(bus),
            DiskTree(bus),
            ControlGroups(bus),
            DataDisk(bus),
            Swap(bus),
            Boards(bus),
        )

    @property
    def all(self) -> tuple[Interface | DiskTree, ...]:
        known = (self.systemd, self.hostname, self.timedate, self.login, self.resolved, self.disks)
        return (*known, self.agent, self.apparmor, self.cgroups, self.data_disk, self.swap, self.boards)

    @property
    def is_haos(self) -> bool:
        """Whether the host runs the Home Assistant Operating System, as far as it tells (host contract §28)."""
        cpe = Cpe.parse(self.hostname.operating_system_cpe)
        return cpe is not None and cpe.is_haos

    @property
    def can_mount(self) -> bool:
        """Whether what is mounted on the host shows in containers; its own system can do that since `MOUNTS_SINCE`."""
        cpe = Cpe.parse(self.hostname.operating_system_cpe)
        return cpe is None or not cpe.is_haos or is_newer(MOUNTS_SINCE, cpe.version) is not True

    @property
    def waits_for_us(self) -> bool:
        """Whether a system that was told to go down gives this daemon the time to stop what it looks after.

        Its own system does since `WAITS_SINCE`; of others nobody knows how they run the daemon.
        """
        cpe = Cpe.parse(self.hostname.operating_system_cpe)
        return cpe is not None and cpe.is_haos and at_least(cpe.version, WAITS_SINCE)

    async def start(self) -> None:
        """Follow them all; on return what is there was read."""
        await asyncio.gather(*(service.start() for service in self.all))

    async def close(self) -> None:
        await asyncio.gather(*(service.close() for service in self.all))

    async def refresh(self) -> None:
        """Read those that are there anew; what a service does not announce is current after that."""
        await asyncio.gather(*(_refreshed(service) for service in self.all if service.available))

    async def revive(self) -> None:
        """Read them anew; those that have ended are started again by that, where the bus can do so."""
        await asyncio.gather(*(_refreshed(service) for service in self.all if service.can_be_asked))

    def provide(self, features: Features) -> None:
        """Say which features of the host stand and fall with these services."""
        power = lambda: self.login.available or self.systemd.available  # noqa: E731 - said once for both
        features.provide(HostFeature.REBOOT, power, title="logind", how=_SYSTEMD)
        features.provide(HostFeature.SHUTDOWN, power, title="logind", how=_SYSTEMD)
        for feature, service, how in (
            (HostFeature.SERVICES, self.systemd, _SYSTEMD),
            (HostFeature.HOSTNAME, self.hostname, _SYSTEMD),
            (HostFeature.TIMEDATE, self.timedate, _SYSTEMD + ". For NTP install systemd-timesyncd"),
            (HostFeature.DISK, self.disks, "Install udisks2, or start it: supervisor host reload"),
            (
                HostFeature.OS_AGENT,
                self.agent,
                "It comes with the Home Assistant Operating System alone",
            ),
            (
                HostFeature.RESOLVED,
                self.resolved,
                "Install and enable systemd-resolved; if D-Bus was restarted under it, restart it, too",
            ),
        ):
            features.provide(feature, partial(_available, service), title=service.service.title, how=how)


def _available(service: Interface | DiskTree) -> bool:
    return service.available


async def _refreshed(service: Interface | DiskTree) -> None:
    try:
        await service.refresh()
    except SupervisorError as err:
        _LOGGER.debug("%s", err)
