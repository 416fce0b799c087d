"""What is built into this machine and plugged into it (host contract §31)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from supervisor.drivers.block import ask_for_events, read_drives
from supervisor.drivers.dbus.udisks import DiskTree
from supervisor.drivers.sysfs import Device
from supervisor.managers.host import Host
from supervisor.model.drive import Drive


class Hardware:
    """Devices come from the host's table, drives from what UDisks2 told: both follow what is plugged in.

    `root` is where the kernel's files are.
    """

    def __init__(self, host: Host, disks: DiskTree, *, root: Path = Path("/")) -> None:
        self._host = host
        self._disks = disks
        self._root = root

    @property
    def devices(self) -> tuple[Device, ...]:
        return self._host.devices.devices

    async def drives(self) -> list[Drive]:
        """Return the drives; where UDisks2 is away, what the kernel knows of them."""
        if self._disks.available:
            return list(self._disks.drives().values())
        return await asyncio.to_thread(read_drives, self._host.devices, self._root)

    async def trigger(self) -> None:
        """Have all devices announced anew, and look at them.

        Raises:
            Unsupported: the kernel's files can't be written here.
        """
        await asyncio.to_thread(ask_for_events, self._root)
        await self._host.reload_devices()
