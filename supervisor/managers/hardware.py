"""What is built into this machine and plugged into it (host contract §31)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from supervisor.drivers.block import ask_for_events, read_drives
from supervisor.drivers.dbus.udisks import ManagedDisks
from supervisor.drivers.sysfs import Device
from supervisor.errors import SupervisorError
from supervisor.managers.host import Host
from supervisor.model.drive import Drive

_LOGGER = logging.getLogger(__name__)


class Hardware:
    """Devices come from the host's table, which follows what is plugged in; drives from UDisks2 or the kernel.

    `root` is where the kernel's files are.
    """

    def __init__(self, host: Host, disks: ManagedDisks, *, root: Path = Path("/")) -> None:
        self._host = host
        self._disks = disks
        self._root = root

    @property
    def devices(self) -> tuple[Device, ...]:
        return self._host.devices.devices

    async def drives(self) -> list[Drive]:
        """Return the drives; where UDisks2 is away or silent, what the kernel knows of them."""
        try:
            return await self._disks.drives()
        except SupervisorError as err:
            _LOGGER.debug("Drives are read from the kernel: %s", err)
        return await asyncio.to_thread(read_drives, self._host.devices, self._root)

    async def trigger(self) -> None:
        """Have all devices announced anew, and look at them.

        Raises:
            Unsupported: the kernel's files can't be written here.
        """
        await asyncio.to_thread(ask_for_events, self._root)
        await self._host.reload_devices()
