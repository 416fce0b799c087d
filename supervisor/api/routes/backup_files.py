"""Single files of backups (ours, see docs/api.md): one shape for archives and for what is in repositories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.parse import quote

import attrs
import voluptuous as vol
from aiohttp import web

from supervisor.api.background import run_job
from supervisor.api.models import backup_repositories as wire
from supervisor.api.models.system import StartedJob
from supervisor.api.route import Access, Call, Raw, Route
from supervisor.api.routes.backups import OPEN, only_for_core, query_locations
from supervisor.drivers.snapshot_engine import Entry
from supervisor.errors import Invalid
from supervisor.jobs import JobManager
from supervisor.managers.backups.backup import Location
from supervisor.managers.backups.browsing import Browsable
from supervisor.managers.backups.manager import BackupManager
from supervisor.model.validators import non_empty_text

CONTENT: Final = Raw("application/octet-stream", description="A file, or a folder as a tar archive")
PATH_QUERY: Final = {"path": "The path in the backup, beginning with the name of a part"}
_QUERY: Final = {**PATH_QUERY, "location": "Which copy to look into"}
_READ: Final = {key: value for key, value in OPEN.items() if key != "background"}
LOOK: Final = vol.Schema({vol.Optional("path", default=""): str, **_READ})
READ: Final = vol.Schema({vol.Required("path"): non_empty_text, **_READ})
RESTORE: Final = vol.Schema({vol.Required("path"): non_empty_text, **OPEN})


@attrs.frozen
class BackupFileRoutes:
    """Handlers of the files of `/backups/{slug}`. What needs a password is asked by POST: an address is no secret."""

    _backups: BackupManager
    _jobs: JobManager

    def routes(self) -> list[Route]:
        """Return every route of single files."""
        one, access, entries = "/backups/{slug}", Access.BACKUP, wire.KeptEntryList
        files, content = f"{one}/files", f"{one}/content"
        look, read = "List a folder of a backup", "Get a file of a backup"
        return [
            Route("GET", files, access, self._files, look, None, entries, query=_QUERY),
            Route("POST", files, access, self._files, f"{look}, with its password", LOOK, entries),
            Route("GET", content, access, self._content, read, None, CONTENT, query=_QUERY),
            Route("POST", content, access, self._content, f"{read}, with its password", READ, CONTENT),
            Route(
                "POST", f"{one}/restore/path", access, self._restore, "Put a file or folder back", RESTORE, StartedJob
            ),
        ]

    async def _files(self, call: Call) -> wire.KeptEntryList:
        files, path = self._asked(call)
        return entry_list(await self._jobs.spawn(lambda: files.entries(path)).result())

    async def _content(self, call: Call) -> web.StreamResponse:
        files, path = self._asked(call)
        return await send_content(call, files.reading(path), path)

    def _asked(self, call: Call) -> tuple[Browsable, str]:
        """Return the files of the wanted copy, and the wanted path."""
        body: dict[str, Any] = call.body or {}
        location = self._location(call, body)
        files = self._backups.files.of(call.path["slug"], location, body.get("password") or None)
        return files, body.get("path", call.query.get("path", ""))

    def _location(self, call: Call, body: dict[str, Any]) -> Location:
        chosen = query_locations(call)
        location = self._backups.catalogue.get(call.path["slug"]).location
        if "location" in body:
            location = body["location"]
        elif chosen:
            location = chosen[0]
        only_for_core(call, (location,))
        return location

    async def _restore(self, call: Call) -> StartedJob | None:
        slug, body = call.path["slug"], call.body
        location = self._location(call, body)
        return await run_job(
            self._jobs,
            lambda: self._backups.files.restore_path(slug, location, body["password"] or None, body["path"]),
            background=body["background"],
        )


async def send_content(
    call: Call, reading: AbstractAsyncContextManager[AsyncIterator[bytes]], path: str
) -> web.StreamResponse:
    """Answer with the content of a file as it comes. What fails before it begins is an error like any other.

    An answer that is broken off does not end as it should, so that nobody takes it for the whole.
    """
    headers = {"Content-Disposition": _attachment(path)}
    async with reading as blocks:
        first = await anext(blocks, b"")
        response = web.StreamResponse(headers=headers)
        response.content_type = CONTENT.media_type
        await response.prepare(call.request)
        await response.write(first)
        async for block in blocks:
            await response.write(block)
    # Only now: closing what was read may tell that it is not whole, and whoever has the end may count on that.
    await response.write_eof()
    return response


def entry_list(entries: Iterable[Entry]) -> wire.KeptEntryList:
    return wire.KeptEntryList(entries=[_entry(entry) for entry in entries])


def _entry(entry: Entry) -> wire.KeptEntry:
    return wire.KeptEntry(
        path=entry.path,
        name=entry.name,
        kind=entry.kind.value,
        size_bytes=entry.size,
        mode=entry.mode,
        modified=entry.modified,
    )


def _attachment(path: str) -> str:
    """Return the header that names the file as people get it."""
    name = path.rstrip("/").rpartition("/")[2]
    if not name:
        raise Invalid("Name what shall be read with ?path=")
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
