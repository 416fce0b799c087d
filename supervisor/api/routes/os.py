"""The operating system (API contract §2.20)."""

from __future__ import annotations

import attrs

from supervisor.api.models import os as wire
from supervisor.api.route import Access, Call, Route
from supervisor.managers.os import OperatingSystem


@attrs.frozen
class OsRoutes:
    """Handlers of `/os`."""

    _system: OperatingSystem

    def routes(self) -> list[Route]:
        return [Route("GET", "/os/info", Access.ALL, self._info, "Show the operating system", None, wire.OsInfo)]

    async def _info(self, _call: Call) -> wire.OsInfo:
        # Nobody here asks for updates of it and knows its slots: they stay unknown.
        return wire.OsInfo(
            version=self._system.version,
            version_latest=None,
            version_pending=None,
            update_available=False,
            board=self._system.board,
            boot=None,
            data_disk=self._system.data_disk,
            boot_slots={},
        )
