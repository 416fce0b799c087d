"""What is known about the machine without asking any service of it."""

from __future__ import annotations

import asyncio
import platform
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import attrs

from supervisor.drivers.capacity import read_capacity
from supervisor.drivers.sysfs import DeviceTable
from supervisor.model.machine import detect_arch, supported_arch


@attrs.frozen
class HostFacts:
    """`timezone` is the host's IANA name, None when it has none."""

    hostname: str | None
    operating_system: str | None
    kernel: str
    machine_id: str | None
    timezone: str | None
    boot_id: str | None


class Host:
    """`machine` is the type the installation was made for; None means nothing but the architecture is known.

    `root` is where the kernel's and udev's files are.
    """

    def __init__(self, *, data: Path, machine: str | None, root: Path = Path("/")) -> None:
        self._data = data
        self._root = root
        self.machine = machine
        self.arch = detect_arch()
        self.capacity = read_capacity()
        self.supported_arch = tuple(supported_arch(machine, self.arch))
        self.facts = HostFacts(None, None, "", None, None, None)
        self.devices = DeviceTable()
        # An older picture must not replace a newer one.
        self._reading = asyncio.Lock()

    async def load(self) -> None:
        """Read the machine's facts and its devices."""
        self.facts = await asyncio.to_thread(_read_facts)
        await self.reload_devices()

    async def reload_devices(self) -> DeviceTable:
        """Look at the devices now; the table is the same object as before while nothing changed."""
        async with self._reading:
            table = await asyncio.to_thread(DeviceTable.read, self._root)
            if table.devices != self.devices.devices:
                self.devices = table
            return self.devices

    async def free_bytes(self) -> int:
        """Return the free space of the data folder's file system."""
        return (await asyncio.to_thread(shutil.disk_usage, self._data)).free


def _read_facts() -> HostFacts:
    pretty = None
    with suppress(OSError):
        pretty = platform.freedesktop_os_release().get("PRETTY_NAME")
    return HostFacts(
        hostname=socket.gethostname() or None,
        operating_system=pretty,
        kernel=platform.release(),
        machine_id=_first_line(Path("/etc/machine-id")),
        timezone=_timezone(),
        boot_id=_first_line(Path("/proc/sys/kernel/random/boot_id")),
    )


def _timezone() -> str | None:
    with suppress(OSError, ValueError):
        target = Path("/etc/localtime").resolve(strict=True)
        return str(target.relative_to("/usr/share/zoneinfo"))
    return _first_line(Path("/etc/timezone"))


def _first_line(path: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        lines = path.read_text().split("\n", 1)
        return lines[0].strip() or None
    return None
