"""Backup repositories (ours, see docs/api.md): deduplicated and encrypted, beside the archives of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import voluptuous as vol
from aiohttp import web

from supervisor.api.background import run_job
from supervisor.api.caller import CallerKind
from supervisor.api.models import backup_repositories as wire
from supervisor.api.models.system import StartedJob
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.backup_files import CONTENT, PATH_QUERY, entry_list, send_content
from supervisor.errors import Forbidden
from supervisor.jobs import JobManager
from supervisor.managers.backups.repositories import Repository, RepositoryManager
from supervisor.managers.backups.repository_backup import RepositoryBackup
from supervisor.managers.backups.repository_contents import RepositoryContents
from supervisor.managers.backups.repository_files import SECRETS_SCHEMA, Secrets
from supervisor.managers.backups.repository_place import Place, PlaceKind, parse
from supervisor.managers.backups.repository_record import Verification, repository_name
from supervisor.managers.backups.retention import RETENTION_SCHEMA, Retention
from supervisor.managers.backups.schedule_times import zone_named
from supervisor.model.validators import non_empty_text, strict_bool, strict_int

_BACKGROUND: dict[Any, Any] = {vol.Optional("background", default=False): strict_bool}
ADD = vol.Schema(
    {
        vol.Required("name"): repository_name,
        vol.Required("place"): non_empty_text,
        vol.Optional("adopt", default=False): strict_bool,
        vol.Optional("retention"): RETENTION_SCHEMA,
        **SECRETS_SCHEMA,
    }
)
OPTIONS = vol.Schema({vol.Required("retention"): RETENTION_SCHEMA})
BACKGROUND = vol.Schema(_BACKGROUND)
VERIFY = vol.Schema({vol.Optional("share", default=0): vol.All(strict_int, vol.Range(0, 100)), **_BACKGROUND})
PATH = vol.Schema({vol.Required("path"): non_empty_text, **_BACKGROUND})
_SECRETS = frozenset(str(key) for key in SECRETS_SCHEMA)


@attrs.frozen
class BackupRepositoryRoutes:
    """Handlers of `/backups/repositories`. `own_folder` is where add-ons may have repositories on this machine."""

    _repositories: RepositoryManager
    _contents: RepositoryContents
    _jobs: JobManager
    _own_folder: Path
    _zone: Callable[[], str]

    def routes(self) -> list[Route]:
        """Return every route of the repositories."""
        base, access = "/backups/repositories", Access.BACKUP
        one = f"{base}/{{repository}}"
        return [
            Route("GET", base, access, self._list, "List the repositories", None, wire.BackupRepositoryList),
            Route("POST", base, access, self._add, "Create or adopt a repository", ADD, wire.BackupRepository),
            Route("GET", "/backups/ssh_key", access, self._key, "Show the SSH key of ours", None, wire.PublicKey),
            Route("GET", one, access, self._show, "Show a repository", None, wire.BackupRepository),
            Route("DELETE", one, access, self._remove, "Forget a repository; its content stays"),
            Route("POST", f"{one}/options", access, self._options, "Set what is kept", OPTIONS),
            Route("POST", f"{one}/reload", access, self._reload, "Look what is in it", BACKGROUND, StartedJob),
            Route("POST", f"{one}/verify", access, self._verify, "Check it", VERIFY, wire.Verified),
            Route("POST", f"{one}/prune", access, self._prune, "Remove what is not kept", BACKGROUND, wire.Pruned),
            *self._backup_routes(f"{one}/backups"),
        ]

    def _backup_routes(self, base: str) -> list[Route]:
        access = Access.BACKUP
        one = f"{base}/{{slug}}"
        files, entries = f"{one}/files", wire.KeptEntryList
        return [
            Route("GET", base, access, self._backups, "List its backups", None, wire.KeptBackupList),
            Route("DELETE", one, access, self._forget, "Remove a backup from it"),
            Route("GET", files, access, self._files, "List a folder of a backup", None, entries, query=PATH_QUERY),
            Route("GET", f"{one}/content", access, self._content, "Get a file", None, CONTENT, query=PATH_QUERY),
            Route("POST", f"{one}/restore/path", access, self._restore, "Put a file or folder back", PATH, StartedJob),
        ]

    async def _list(self, _call: Call) -> wire.BackupRepositoryList:
        found = [await self._wire(repository) for repository in self._repositories.repositories]
        return wire.BackupRepositoryList(repositories=found)

    async def _show(self, call: Call) -> wire.BackupRepository:
        return await self._wire(self._one(call))

    async def _key(self, _call: Call) -> wire.PublicKey:
        return wire.PublicKey(public_key=await self._repositories.public_key())

    async def _add(self, call: Call) -> wire.BackupRepository:
        body = call.body
        place = parse(body["place"])
        self._check_caller(call, place)
        given = Secrets(**{key: value for key, value in body.items() if key in _SECRETS})
        rule = Retention(**body["retention"]) if "retention" in body else None
        added = await self._jobs.spawn(
            lambda: self._repositories.add(body["name"], place, given, adopt=body["adopt"], retention=rule)
        ).result()
        return await self._wire(added)

    def _check_caller(self, call: Call, place: Place) -> None:
        """An add-on must not make root write to any folder of the machine that it likes."""
        local = place.kind is PlaceKind.FOLDER and not Path(place.path).is_relative_to(self._own_folder)
        if local and call.caller.kind is CallerKind.ADDON:
            raise Forbidden(f"An add-on can have repositories on this machine only below {self._own_folder}")

    async def _remove(self, call: Call) -> None:
        await self._repositories.remove(self._one(call).name)

    async def _options(self, call: Call) -> None:
        await self._repositories.change(self._one(call).name, Retention(**call.body["retention"]))

    async def _reload(self, call: Call) -> StartedJob | None:
        name = self._one(call).name
        return await run_job(self._jobs, lambda: self._repositories.reload(name), background=call.body["background"])

    async def _verify(self, call: Call) -> wire.Verified:
        name, share = self._one(call).name, call.body["share"]
        spawned = self._jobs.spawn(lambda: self._repositories.verify(name, share))
        if call.body["background"] and await spawned.accepted() and spawned.job is not None:
            return wire.Verified(job_id=spawned.job.uuid)
        return wire.Verified(verification=_verification(await spawned.result()))

    async def _prune(self, call: Call) -> wire.Pruned:
        name = self._one(call).name
        spawned = self._jobs.spawn(lambda: self._repositories.prune(name, zone_named(self._zone())))
        if call.body["background"] and await spawned.accepted() and spawned.job is not None:
            return wire.Pruned(job_id=spawned.job.uuid)
        return wire.Pruned(removed=await spawned.result())

    async def _backups(self, call: Call) -> wire.KeptBackupList:
        backups = sorted(self._one(call).backups.values(), key=lambda backup: backup.date, reverse=True)
        return wire.KeptBackupList(backups=[_backup(backup) for backup in backups])

    async def _forget(self, call: Call) -> None:
        name, slug = self._one(call).name, call.path["slug"]
        await self._jobs.spawn(lambda: self._repositories.forget(name, [slug])).result()

    async def _files(self, call: Call) -> wire.KeptEntryList:
        path = call.query.get("path", "")
        found = await self._contents.entries(self._one(call).name, call.path["slug"], path)
        return entry_list(found)

    async def _content(self, call: Call) -> web.StreamResponse:
        name, slug, path = self._one(call).name, call.path["slug"], call.query.get("path", "")
        return await send_content(call, self._contents.reading(name, slug, path), path)

    async def _restore(self, call: Call) -> StartedJob | None:
        name, slug, path = self._one(call).name, call.path["slug"], call.body["path"]
        return await run_job(
            self._jobs,
            lambda: self._contents.restore_path(name, slug, path),
            background=call.body["background"],
        )

    def _one(self, call: Call) -> Repository:
        return self._repositories.get(call.path["repository"])

    async def _wire(self, repository: Repository) -> wire.BackupRepository:
        record = repository.record
        return wire.BackupRepository(
            name=record.name,
            place=str(record.place),
            kind=record.place.kind.value,
            location=record.location,
            created=record.created,
            backups=len(repository.backups) if repository.looked is not None else None,
            looked=repository.looked,
            problem=repository.problem,
            host_key=await asyncio.to_thread(self._repositories.host_fingerprint, record.name),
            retention=retention(record.retention),
            verification=_verification(record.verification),
        )


def retention(rule: Retention) -> wire.Retention:
    return wire.Retention(**attrs.asdict(rule))


def _verification(outcome: Verification | None) -> wire.Verification | None:
    return None if outcome is None else wire.Verification(**attrs.asdict(outcome))


def _backup(backup: RepositoryBackup) -> wire.KeptBackup:
    parts = [wire.KeptPart(name=name, size_bytes=part.size) for name, part in sorted(backup.parts.items())]
    return wire.KeptBackup(
        slug=backup.slug,
        name=backup.name,
        date=backup.date,
        type=str(backup.metadata.get("type", "partial")),
        size_bytes=backup.size,
        parts=parts,
    )
