"""The data disk of the operating system (API contract §2.20)."""

from __future__ import annotations

from functools import partial

import attrs
import voluptuous as vol

from supervisor.api.models import os_data_disk as wire
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.jobs import JobManager
from supervisor.managers.os import DataDiskManager, Disk

MOVE = vol.Schema({vol.Required("device"): str})


@attrs.frozen
class DataDiskRoutes:
    """Handlers of `/os/datadisk`. What was begun goes on when the caller goes away."""

    _data_disk: DataDiskManager
    _jobs: JobManager

    def routes(self) -> list[Route]:
        base, manager = "/os/datadisk", Access.MANAGER
        return [
            Route("GET", f"{base}/list", manager, self._list, "List disks for the data", None, wire.DataDisks),
            Route("POST", f"{base}/move", manager, self._move, "Move the data to a disk, and reboot", MOVE),
            Route("POST", f"{base}/wipe", Access.ADMIN, self._wipe, "Wipe all data, and reboot", NOTHING),
        ]

    async def _list(self, _call: Call) -> wire.DataDisks:
        disks = self._data_disk.available
        return wire.DataDisks(devices=[disk.id for disk in disks], disks=[_shown(disk) for disk in disks])

    async def _move(self, call: Call) -> None:
        await self._jobs.spawn(partial(self._data_disk.move, call.body["device"])).result()

    async def _wipe(self, _call: Call) -> None:
        await self._jobs.spawn(self._data_disk.wipe).result()


def _shown(disk: Disk) -> wire.DataDisk:
    return wire.DataDisk(
        name=disk.name,
        vendor=disk.vendor,
        model=disk.model,
        serial=disk.serial,
        size=disk.size,
        id=disk.id,
        dev_path=disk.device,
    )
