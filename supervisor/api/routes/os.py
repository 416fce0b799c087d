"""The operating system (API contract §2.20)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import voluptuous as vol

from supervisor.api.background import run_job
from supervisor.api.models import os as wire
from supervisor.api.models.system import StartedJob
from supervisor.api.route import Access, Call, Route
from supervisor.jobs import JobManager
from supervisor.managers.os import OsInfo, OsManager, OsUpdates
from supervisor.model.validators import lenient_bool, version
from supervisor.model.version import is_newer

# Home Assistant before this takes an update that waits for a reboot for one that is yet to come.
KNOWS_PENDING: Final = "2026.8.0.dev202607250310"
BOOT_SLOTS: Final = ("A", "B")

UPDATE: Final = vol.Schema({vol.Optional("version"): version, vol.Optional("background", default=False): lenient_bool})
BOOT_SLOT: Final = vol.Schema({vol.Required("boot_slot"): vol.In(BOOT_SLOTS)})


@attrs.frozen
class OsRoutes:
    """Handlers of `/os`. `core_version` answers which Home Assistant is installed, None for none."""

    _os: OsManager
    _updates: OsUpdates
    _jobs: JobManager
    _core_version: Callable[[], str | None]

    def routes(self) -> list[Route]:
        manager = Access.MANAGER
        return [
            Route("GET", "/os/info", Access.ALL, self._info, "Show the operating system", None, wire.OsInfo),
            Route("POST", "/os/update", manager, self._update, "Install a version of it", UPDATE, StartedJob),
            Route("POST", "/os/config/sync", manager, self._sync, "Have it take in settings of its boot partition"),
            Route("POST", "/os/boot-slot", manager, self._boot_slot, "Boot the other slot, now", BOOT_SLOT),
        ]

    async def _info(self, _call: Call) -> wire.OsInfo:
        info = self._os.info()
        return wire.OsInfo(
            version=self._shown_version(info),
            version_latest=info.version_latest,
            version_pending=info.version_pending,
            update_available=info.update_available,
            board=info.board,
            boot=info.boot,
            data_disk=info.data_disk,
            boot_slots={
                bootname: wire.BootSlot(state=slot.state, status=slot.boot_status, version=slot.bundle_version)
                for bootname, slot in info.boot_slots.items()
            },
        )

    def _shown_version(self, info: OsInfo) -> str | None:
        core = self._core_version()
        if info.version_pending is not None and core is not None and is_newer(KNOWS_PENDING, core):
            return info.version_pending
        return info.version

    async def _update(self, call: Call) -> StartedJob | None:
        update = partial(self._updates.update, call.body.get("version"))
        return await run_job(self._jobs, update, background=call.body["background"])

    async def _sync(self, _call: Call) -> None:
        await self._os.sync_configuration()

    async def _boot_slot(self, call: Call) -> None:
        await self._os.set_boot_slot(call.body["boot_slot"])
