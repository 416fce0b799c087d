"""Whether the operating system is one that is looked after (host contract §5)."""

from __future__ import annotations

from typing import Final

from supervisor.drivers.dbus.systemd import Systemd
from supervisor.managers.host import Features, HostFeature
from supervisor.managers.host.health import ALWAYS
from supervisor.managers.resolution import Evaluation, UnsupportedReason
from supervisor.managers.updater import Updater
from supervisor.model.version import is_newer, major

from .system import OperatingSystem

# How many major versions behind the newest one the operating system may be.
OS_LEEWAY: Final = 3
# Boards of the operating system that are made for hypervisors.
VIRTUAL_BOARDS: Final = frozenset({"ova", "generic-aarch64"})


class OsVersionEvaluation(Evaluation):
    """The Home Assistant Operating System is older than what is still looked after; of others nothing is known."""

    reason = UnsupportedReason.OS_VERSION
    states = ALWAYS

    def __init__(self, system: OperatingSystem, updater: Updater) -> None:
        self._system = system
        self._updater = updater

    async def unsupported(self) -> bool | None:
        present, newest = self._system.version, self._updater.os_releases.newest
        if present is None:
            return False
        if newest is None:
            return None
        number = major(newest)
        return number is None or is_newer(f"{number - OS_LEEWAY}.0", present) is not False


class VirtualizationEvaluation(Evaluation):
    """The Home Assistant Operating System runs in a virtual machine, from an image that is made for a real one."""

    reason = UnsupportedReason.VIRTUALIZATION_IMAGE
    states = ALWAYS

    def __init__(self, system: OperatingSystem, features: Features, systemd: Systemd) -> None:
        self._system = system
        self._features = features
        self._systemd = systemd

    async def unsupported(self) -> bool:
        is_virtual = bool(self._systemd.virtualization) and self._features.has(HostFeature.HAOS)
        return is_virtual and self._system.board not in VIRTUAL_BOARDS
