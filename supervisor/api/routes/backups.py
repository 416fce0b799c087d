"""Backups (API contract §2.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import attrs
import voluptuous as vol
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from supervisor.api.caller import CallerKind
from supervisor.api.download import send_file
from supervisor.api.models import backups as wire
from supervisor.api.route import Access, Call, Raw, Route, StreamedBody
from supervisor.api.views import backups as views
from supervisor.errors import BackupError, Forbidden, Invalid
from supervisor.jobs import JobManager
from supervisor.managers.backups.backup import CLOUD, LOCAL_ATTRIBUTE, Backup, Location, RepositoryCopy
from supervisor.managers.backups.manager import FREEZE_SECONDS, BackupManager
from supervisor.managers.backups.metadata import CORE_FOLDER, FOLDERS
from supervisor.managers.backups.order import Order, Selection
from supervisor.managers.backups.restoring import Wanted
from supervisor.model.validators import lenient_bool

ALL_ADDONS: Final = "ALL"
TAR: Final = Raw("application/tar", description="The file of the backup; ranges can be asked for")
_PIECE: Final = 65536
# What a body is told by that is not what it says it is.
_BROKEN: Final = (ValueError, web.RequestPayloadError, HttpProcessingError)


def _location(value: Any) -> Location:
    if value is not None and not isinstance(value, str):
        raise vol.Invalid("expected the name of a location or null")
    return None if value in (None, "", LOCAL_ATTRIBUTE) else value


def _locations(value: Any) -> tuple[Location, ...]:
    found = tuple(_location(one) for one in (value if isinstance(value, list) else [value]))
    if not found or len(set(found)) != len(found):
        raise vol.Invalid("expected one location or a unique list of them")
    return found


def _unique(value: list[str]) -> list[str]:
    if len(set(value)) != len(value):
        raise vol.Invalid("contains duplicate items")
    return value


def _compressed(value: Any) -> bool:
    # Null means what no value at all means.
    return True if value is None else lenient_bool(value)


_FOLDERS: Final = vol.All([vol.In([*FOLDERS, CORE_FOLDER])], _unique)
_SLUGS: Final = vol.All([str], _unique)
_PASSWORD: Final = vol.Any(str, None)
_NEW: Final = {
    vol.Optional("name", default=""): str,
    vol.Optional("filename"): str,
    vol.Optional("password", default=None): _PASSWORD,
    vol.Optional("compressed", default=True): _compressed,
    vol.Optional("location"): _locations,
    vol.Optional("homeassistant_exclude_database"): lenient_bool,
    vol.Optional("background", default=False): lenient_bool,
    vol.Optional("extra", default=dict): dict,
}
_PARTS: Final = {
    vol.Optional("addons", default=list): vol.Any(ALL_ADDONS, _SLUGS),
    vol.Optional("folders", default=list): _FOLDERS,
    vol.Optional("homeassistant", default=False): lenient_bool,
}
OPEN: Final[dict[Any, Any]] = {
    vol.Optional("password", default=None): _PASSWORD,
    vol.Optional("background", default=False): lenient_bool,
    vol.Optional("location"): _location,
}
NEW_FULL: Final = vol.Schema(_NEW)
NEW_PARTIAL: Final = vol.Schema({**_NEW, **_PARTS})
PREVIEW: Final = vol.Schema(
    {
        vol.Optional("addons"): vol.Any(ALL_ADDONS, _SLUGS),
        vol.Optional("folders"): _FOLDERS,
        vol.Optional("homeassistant"): lenient_bool,
        vol.Optional("homeassistant_exclude_database"): lenient_bool,
    }
)
RESTORE_FULL: Final = vol.Schema(OPEN)
RESTORE_PARTIAL: Final = vol.Schema(
    {
        **OPEN,
        vol.Optional("homeassistant", default=False): lenient_bool,
        vol.Optional("addons", default=list): _SLUGS,
        vol.Optional("folders", default=list): _FOLDERS,
    }
)
VERIFY: Final = vol.Schema(OPEN)
REMOVE: Final = vol.Schema({vol.Optional("location"): _locations})
OPTIONS: Final = vol.Schema({vol.Optional("days_until_stale"): vol.All(vol.Coerce(int), vol.Range(min=1))})
EXCLUDES: Final = vol.Schema({str: [str]})
FREEZE: Final = vol.Schema(
    {vol.Optional("timeout", default=FREEZE_SECONDS): vol.All(vol.Coerce(int), vol.Range(min=1))}
)
NOTHING: Final = vol.Schema({}, extra=vol.REMOVE_EXTRA)


@attrs.frozen
class BackupRoutes:
    """Handlers of `/backups`."""

    _backups: BackupManager
    _jobs: JobManager

    def routes(self) -> list[Route]:
        """Return every route of backups."""
        base, one, backup = "/backups", "/backups/{slug}", Access.BACKUP
        created = wire.CreatedBackup
        return [
            Route("GET", base, backup, self._list, "List the backups", returns=wire.BackupList),
            Route("GET", f"{base}/info", Access.ALL, self._info, "List the backups", returns=wire.BackupsInfo),
            Route("POST", f"{base}/options", backup, self._options, "Set options", OPTIONS),
            Route("POST", f"{base}/reload", backup, self._reload, "Look for backups in all locations", NOTHING),
            Route("POST", f"{base}/freeze", backup, self._freeze, "Make everything hold still", FREEZE),
            Route("POST", f"{base}/thaw", backup, self._thaw, "Let everything go on", NOTHING),
            Route("POST", f"{base}/new/full", backup, self._full, "Save everything", NEW_FULL, created),
            Route("POST", f"{base}/new/partial", backup, self._partial, "Save some parts", NEW_PARTIAL, created),
            Route(
                "POST",
                f"{base}/new/upload",
                backup,
                self._upload,
                "Take in the file of a backup: the first part of a multipart body",
                StreamedBody("multipart/form-data"),
                wire.UploadedBackup,
                query={"location": "Where to keep it; may be repeated", "filename": "Name of the file, ending in .tar"},
            ),
            Route(
                "POST",
                f"{base}/preview",
                backup,
                self._preview,
                "Tell how much a backup would read",
                PREVIEW,
                wire.Preview,
            ),
            Route("GET", f"{base}/excludes", backup, self._excludes, "List what is left out", returns=wire.Excludes),
            Route(
                "POST",
                f"{base}/excludes",
                backup,
                self._set_excludes,
                "Choose patterns to leave out of the backups of add-ons; none forgets an add-on's",
                EXCLUDES,
            ),
            *self._routes_of_one(one),
        ]

    def _routes_of_one(self, one: str) -> list[Route]:
        backup, job = Access.BACKUP, wire.RestoreJob
        return [
            Route("GET", f"{one}/info", Access.ALL, self._details, "Show a backup", None, wire.BackupDetails),
            Route("DELETE", one, backup, self._remove, "Remove a backup, from all or some locations", REMOVE),
            Route(
                "GET",
                f"{one}/download",
                backup,
                self._download,
                "Send the file of a backup",
                None,
                TAR,
                query={"location": "Which copy to send"},
            ),
            Route("POST", f"{one}/restore/full", backup, self._restore_full, "Restore everything", RESTORE_FULL, job),
            Route(
                "POST", f"{one}/restore/partial", backup, self._restore_partial, "Restore parts", RESTORE_PARTIAL, job
            ),
            Route(
                "POST",
                f"{one}/verify",
                backup,
                self._verify,
                "Read a backup to its end without restoring it",
                VERIFY,
                wire.CheckedBackup,
            ),
        ]

    def _visible(self) -> list[wire.BackupItem]:
        return [views.item(backup) for backup in self._backups.catalogue.backups.values() if not backup.hidden]

    async def _list(self, _call: Call) -> wire.BackupList:
        return wire.BackupList(backups=self._visible())

    async def _info(self, _call: Call) -> wire.BackupsInfo:
        return wire.BackupsInfo(backups=self._visible(), days_until_stale=self._backups.settings.days_until_stale)

    async def _options(self, call: Call) -> None:
        if "days_until_stale" in call.body:
            await self._backups.settings.set_days_until_stale(call.body["days_until_stale"])
            self._backups.judge()

    async def _reload(self, _call: Call) -> None:
        await self._backups.reload()

    async def _freeze(self, call: Call) -> None:
        seconds = call.body["timeout"]
        await self._jobs.spawn(lambda: self._backups.freezer.freeze(seconds)).result()

    async def _thaw(self, _call: Call) -> None:
        await self._backups.freezer.thaw()

    async def _full(self, call: Call) -> wire.CreatedBackup:
        return await self._create(call, None)

    async def _partial(self, call: Call) -> wire.CreatedBackup:
        return await self._create(call, _selection(call.body, self._backups.installed))

    async def _create(self, call: Call, selection: Selection | None) -> wire.CreatedBackup:
        body = call.body
        locations = body.get("location")
        only_for_core(call, locations or ())
        order = Order(
            name=body["name"],
            selection=selection,
            file_name=body.get("filename"),
            password=body["password"] or None,
            compressed=body["compressed"],
            locations=locations,
            exclude_database=body.get("homeassistant_exclude_database"),
            extra=body["extra"],
        )
        spawned = self._jobs.spawn(lambda: self._backups.create(order))
        if body["background"] and await spawned.accepted() and spawned.job is not None:
            return wire.CreatedBackup(job_id=spawned.job.uuid)
        backup = await spawned.result()
        assert spawned.job is not None  # noqa: S101 - work that came to its end had one
        return wire.CreatedBackup(job_id=spawned.job.uuid, slug=backup.slug)

    async def _upload(self, call: Call) -> wire.UploadedBackup:
        locations = query_locations(call) or (None,)
        only_for_core(call, locations)
        pieces = await _first_part(call.request)
        backup = await self._backups.receive(pieces, locations, call.query.get("filename"))
        return wire.UploadedBackup(slug=backup.slug)

    async def _preview(self, call: Call) -> wire.Preview:
        body = call.body
        whole = not {"addons", "folders", "homeassistant"} & body.keys()
        selection = None if whole else _selection(body, self._backups.installed)
        extents = await self._backups.preview(selection, exclude_database=body.get("homeassistant_exclude_database"))
        return wire.Preview(
            items=[wire.PreviewItem(name=e.name, files=e.extent.files, size=e.extent.size) for e in extents],
            files=sum(e.extent.files for e in extents),
            size=sum(e.extent.size for e in extents),
        )

    async def _excludes(self, _call: Call) -> wire.Excludes:
        known = self._backups.settings.excludes
        return wire.Excludes(excludes={slug: list(patterns) for slug, patterns in known.items()})

    async def _set_excludes(self, call: Call) -> None:
        for slug, patterns in call.body.items():
            await self._backups.settings.set_excludes(slug, patterns)

    def _backup(self, call: Call) -> Backup:
        return self._backups.catalogue.get(call.path["slug"])

    async def _details(self, call: Call) -> wire.BackupDetails:
        return views.details(self._backup(call), self._backups.settings)

    async def _remove(self, call: Call) -> None:
        backup = self._backup(call)
        locations = (call.body or {}).get("location")
        only_for_core(call, (backup.location, *(locations or ())))
        await self._backups.remove(backup.slug, locations)

    async def _download(self, call: Call) -> web.StreamResponse:
        backup = self._backup(call)
        chosen = query_locations(call)
        location = chosen[0] if chosen else backup.location
        only_for_core(call, (location,))
        copy = backup.copy_in(location)
        if isinstance(copy, RepositoryCopy):
            raise Invalid(
                f"In {location} backup {backup.slug} is no file; get single files from it, or restore it from there"
            )
        try:
            return await send_file(copy.path, TAR.media_type, backup.download_name(location))
        except FileNotFoundError:
            await self._backups.catalogue.reload_location(location)
            return web.Response(status=404)
        except OSError as err:
            raise BackupError(f"The file of backup {backup.slug} can't be read: {err.strerror}") from err

    async def _restore_full(self, call: Call) -> wire.RestoreJob:
        return await self._restore(call, Wanted(full=True))

    async def _restore_partial(self, call: Call) -> wire.RestoreJob:
        selection = _selection(call.body, ())
        wanted = Wanted(
            full=False,
            homeassistant=selection.homeassistant,
            addons=selection.addons,
            folders=selection.folders,
        )
        return await self._restore(call, wanted)

    def _place(self, call: Call, backup: Backup) -> tuple[Location, bool]:
        """Return which copy is meant, and whether that is for us to choose."""
        default = "location" not in call.body
        location = backup.location if default else call.body["location"]
        only_for_core(call, (location,))
        return location, default

    async def _restore(self, call: Call, wanted: Wanted) -> wire.RestoreJob:
        backup, body = self._backup(call), call.body
        location, default = self._place(call, backup)
        spawned = self._jobs.spawn(
            lambda: self._backups.restore(
                backup.slug, wanted, password=body["password"] or None, location=location, default_location=default
            )
        )
        if not (body["background"] and await spawned.accepted()):
            await spawned.result()
        assert spawned.job is not None  # noqa: S101 - what is accepted or at its end has one
        return wire.RestoreJob(job_id=spawned.job.uuid)

    async def _verify(self, call: Call) -> wire.CheckedBackup:
        backup, body = self._backup(call), call.body
        location, default = self._place(call, backup)
        spawned = self._jobs.spawn(
            lambda: self._backups.verify(
                backup.slug, password=body["password"] or None, location=location, default_location=default
            )
        )
        if body["background"] and await spawned.accepted() and spawned.job is not None:
            return wire.CheckedBackup(job_id=spawned.job.uuid)
        verdict = await spawned.result()
        assert spawned.job is not None  # noqa: S101 - work that came to its end had one
        # Whoever asked has the password, and may know what others may not.
        found = attrs.evolve(views.verification(verdict), problems=list(verdict.told))
        return wire.CheckedBackup(job_id=spawned.job.uuid, **attrs.asdict(found))


def only_for_core(call: Call, locations: tuple[Location, ...]) -> None:
    if CLOUD in locations and call.caller.kind is not CallerKind.CORE:
        raise Forbidden(f"Location {CLOUD} is only available for Home Assistant")


def query_locations(call: Call) -> tuple[Location, ...]:
    try:
        return _locations(call.query.getall("location")) if "location" in call.query else ()
    except vol.Invalid as err:
        raise Invalid(f"The locations make no sense: {err}") from err


def _selection(body: dict[str, Any], installed: tuple[str, ...]) -> Selection:
    folders = tuple(body.get("folders", ()))
    addons = body.get("addons", ())
    return Selection(
        homeassistant=body.get("homeassistant", False) or CORE_FOLDER in folders,
        addons=installed if addons == ALL_ADDONS else tuple(addons),
        folders=tuple(folder for folder in folders if folder != CORE_FOLDER),
    )


async def _first_part(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Return the content of a multipart body's first part as it comes.

    Raises:
        Invalid: the body is none, or has no such part.
    """
    wrong = "Improperly formatted upload, could not read backup"
    if not request.content_type.startswith("multipart/"):
        raise Invalid(wrong)
    try:
        part = await (await request.multipart()).next()
    except _BROKEN as err:
        raise Invalid(wrong) from err
    if not isinstance(part, BodyPartReader):
        raise Invalid(wrong)
    return _pieces(part, wrong)


async def _pieces(part: BodyPartReader, wrong: str) -> AsyncIterator[bytes]:
    try:
        while piece := await part.read_chunk(_PIECE):
            yield piece
    except _BROKEN as err:
        raise Invalid(wrong) from err
