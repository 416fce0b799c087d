"""What of the machine and of the daemon's own settings is not as it should be (host contract §4, §5)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from supervisor.const import MIN_FREE_BYTES
from supervisor.events import CoreState
from supervisor.jobs import JobManager
from supervisor.managers.daemon import Daemon
from supervisor.managers.host import Host
from supervisor.managers.resolution import (
    Check,
    ContextType,
    Evaluation,
    Issue,
    IssueType,
    Resolution,
    UnsupportedReason,
)
from supervisor.managers.updater import Updater
from supervisor.model.platforms import DEAD_ARCHES

APPARMOR_SWITCH: Final = Path("/sys/module/apparmor/parameters/enabled")
SYSTEM_BUS: Final = Path("/run/dbus/system_bus_socket")
FIRST_PROCESS: Final = Path("/proc/1/environ")
LXD_SOCKET: Final = Path("/dev/lxd/sock")
_ALWAYS: Final = frozenset({CoreState.SETUP, CoreState.RUNNING})


class FreeSpaceCheck(Check):
    slug = "free_space"
    issue = IssueType.FREE_SPACE
    context = ContextType.SYSTEM
    states = frozenset({CoreState.RUNNING, CoreState.STARTUP})

    def __init__(self, host: Host, resolution: Resolution) -> None:
        self._host = host
        self._resolution = resolution

    async def run(self) -> None:
        if await self._short():
            self._resolution.raise_issue(self.issue, self.context)

    async def approve(self, _issue: Issue) -> bool:
        return await self._short()

    async def _short(self) -> bool:
        return await self._host.free_bytes() <= MIN_FREE_BYTES


class AppArmorEvaluation(Evaluation):
    """The kernel does not confine programs. `switch` is where it says so."""

    reason = UnsupportedReason.APPARMOR
    states = _ALWAYS

    def __init__(self, switch: Path = APPARMOR_SWITCH) -> None:
        self._switch = switch

    async def unsupported(self) -> bool:
        return await asyncio.to_thread(_first_byte, self._switch) != b"Y"


class SystemBusEvaluation(Evaluation):
    """The machine has no system bus, so nothing of it can be asked or told."""

    reason = UnsupportedReason.DBUS
    states = _ALWAYS

    def __init__(self, socket: Path = SYSTEM_BUS) -> None:
        self._socket = socket

    async def unsupported(self) -> bool:
        return not await asyncio.to_thread(self._socket.exists)


class LxcEvaluation(Evaluation):
    """The machine is itself a container that shares its kernel."""

    reason = UnsupportedReason.LXC
    states = _ALWAYS

    def __init__(self, environment: Path = FIRST_PROCESS, socket: Path = LXD_SOCKET) -> None:
        self._environment = environment
        self._socket = socket

    async def unsupported(self) -> bool:
        return await asyncio.to_thread(self._look)

    def _look(self) -> bool:
        if self._socket.exists():
            return True
        try:
            return b"container=lxc" in self._environment.read_bytes().split(b"\0")
        except OSError:
            return False


class JobConditionsEvaluation(Evaluation):
    """Somebody switched off what keeps jobs from running when they would do harm."""

    reason = UnsupportedReason.JOB_CONDITIONS
    states = _ALWAYS

    def __init__(self, jobs: JobManager) -> None:
        self._jobs = jobs

    async def unsupported(self) -> bool:
        return bool(self._jobs.ignore_conditions)


class ArchitectureEvaluation(Evaluation):
    reason = UnsupportedReason.SYSTEM_ARCHITECTURE
    states = _ALWAYS

    def __init__(self, host: Host) -> None:
        self._host = host

    async def unsupported(self) -> bool:
        return self._host.arch in DEAD_ARCHES


class VersionEvaluation(Evaluation):
    """There is a newer daemon, and it may not update itself."""

    reason = UnsupportedReason.SUPERVISOR_VERSION
    states = frozenset({CoreState.RUNNING, CoreState.STARTUP})

    def __init__(self, updater: Updater, daemon: Daemon) -> None:
        self._updater = updater
        self._daemon = daemon

    async def unsupported(self) -> bool:
        return not self._updater.auto_update and self._daemon.update_available


def _first_byte(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(1)
    except OSError:
        return b""
