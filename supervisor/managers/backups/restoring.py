"""Restores a backup, or a part of it (backup contract §11)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import voluptuous as vol
from awesomeversion import AwesomeVersion

from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader
from supervisor.drivers.archive.rules import Limits, Rules
from supervisor.drivers.archive.work import Work, in_thread
from supervisor.drivers.exchange import Exchange, Pair
from supervisor.drivers.folder import open_plain_file
from supervisor.errors import BackupError, BackupInvalidError, SupervisorError, WrongPassword
from supervisor.jobs import Job, JobManager
from supervisor.jobs.job import JobError
from supervisor.managers.addons import Addon, AddonManager
from supervisor.managers.docker import DockerSettings
from supervisor.managers.host import Host
from supervisor.managers.mounts import MOUNTS_SCHEMA, MountManager
from supervisor.managers.store import StoreManager
from supervisor.model.validators import port
from supervisor.paths import DataPaths
from supervisor.state import write_atomic

from .addon_restoring import AddonRestoring, finish
from .archive_files import rules_of
from .backup import Backup, Copy
from .contents import CORE, SUPERVISOR, folder_path
from .core_data import settings_file
from .exclusions import DATABASE_PATTERNS, anchored
from .locations import RESERVE
from .metadata import BackupType, Metadata
from .opening import NOT_OPENED, check_opens
from .progress import ByteProgress
from .quiet import Quiet
from .restore_note import RestoreNote
from .sources import Source

_LOGGER = logging.getLogger(__name__)

_UNDER_WAY: Final = "under_way.json"
_RESTART_SECONDS: Final = 120.0
_LOGINS: Final = vol.Schema(
    {vol.Required("registries"): {str: {vol.Required("username"): str, vol.Required("password"): str}}}
)
# What a restore takes over of Core's settings; the others belong to this machine.
_TAKEN_OVER: Final = vol.Schema(
    {
        vol.Optional("audio_input"): vol.Any(None, str),
        vol.Optional("audio_output"): vol.Any(None, str),
        vol.Optional("port"): port,
        vol.Optional("ssl"): bool,
        vol.Optional("refresh_token"): vol.Any(None, str),
        vol.Optional("watchdog"): bool,
    },
    extra=vol.REMOVE_EXTRA,
)


@attrs.frozen
class Wanted:
    """What to restore."""

    full: bool
    homeassistant: bool = False
    addons: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@attrs.define
class _Run:
    """One restore under way. `failed` tells whether something was not restored."""

    backup: Backup
    source: Source
    wanted: Wanted
    job: Job
    progress: ByteProgress
    failed: bool = False
    started: list[Addon] = attrs.field(factory=list)

    @property
    def metadata(self) -> Metadata:
        return self.backup.metadata

    def fail(self, what: str, err: SupervisorError, job: Job) -> None:
        # The job is gone with the daemon; the log lies open beside what is encrypted.
        reason = err.unnamed if self.source.secret else err
        _LOGGER.error("%s is not restored from backup %s: %s", what, self.backup.slug, reason)
        job.errors.append(JobError.of(err, self.job.current_stage))
        self.failed = True


@attrs.frozen
class Restoring:
    _jobs: JobManager
    _paths: DataPaths
    _host: Host
    _store: StoreManager
    _docker: DockerSettings
    _mounts: MountManager
    _addons: AddonManager
    _addon_restoring: AddonRestoring
    _quiet: Quiet
    _version: Callable[[], str]

    def filled(self, backup: Backup, wanted: Wanted) -> Wanted:
        """Say of a wish for everything what that is.

        Raises:
            BackupInvalidError: the backup never held everything.
        """
        metadata = backup.metadata
        if not wanted.full:
            return wanted
        if metadata.type is not BackupType.FULL:
            raise BackupInvalidError(f"{backup.slug} is only a partial backup!")
        addons = tuple(addon.slug for addon in metadata.addons)
        return attrs.evolve(
            wanted, homeassistant=metadata.homeassistant is not None, addons=addons, folders=metadata.folders
        )

    def check(self, backup: Backup, wanted: Wanted) -> None:
        """Check a wish against what the backup holds and who made it.

        Raises:
            BackupInvalidError: it can't be fulfilled.
        """
        metadata = backup.metadata
        if wanted.homeassistant and metadata.homeassistant is None:
            raise BackupInvalidError("No Home Assistant Core data inside the backup")
        made, running = AwesomeVersion(metadata.supervisor_version), AwesomeVersion(self._version())
        if made.valid and running.valid and made > running:
            raise BackupInvalidError(
                f"Backup was made on supervisor version {made}, can't restore on {running}. "
                "Must update supervisor first."
            )

    async def check_password(self, backup: Backup, copy: Copy, keyring: Keyring | None, wanted: Wanted) -> None:
        """Make sure that the backup opens. Where a part does not that would end the restore, it is not begun.

        Raises:
            BackupInvalidError: it does not with this password, or Core's part does not with that of the others.
            NotFound: the file has vanished.
        """

        def check() -> set[str]:
            with ArchiveReader(copy.path) as archive:
                return {part.name for part in check_opens(backup, archive, keyring)}

        strange = await asyncio.to_thread(check)
        if wanted.homeassistant and backup.metadata.member(CORE) in strange:
            raise BackupInvalidError(
                f"Home Assistant's part of backup {backup.slug} {NOT_OPENED}; the others can be restored without it"
            )

    async def restore(
        self, backup: Backup, opening: AbstractAsyncContextManager[Source], wanted: Wanted, job: Job
    ) -> None:
        """Restore from what `opening` opens; what fails alone costs only itself.

        Raises:
            BackupError: something was not restored; the job tells what.
        """
        async with self._note.kept(backup.slug):
            await self._restore(backup, opening, wanted, job)

    async def _restore(
        self, backup: Backup, opening: AbstractAsyncContextManager[Source], wanted: Wanted, job: Job
    ) -> None:
        # Opened first: stopping everything takes long, and whoever removes the backup meanwhile spoils nothing then.
        async with opening as source:
            run = _Run(backup, source, wanted, job, ByteProgress(job, source.size_of(_items_of(wanted))))
            try:
                if wanted.full:
                    await self._addons.booter.shutdown()
                await self._items(run)
            finally:
                if wanted.full:
                    # What was stopped and not replaced goes on.
                    await asyncio.shield(self._resume())
        if run.started:
            job.stage("await_addon_restarts")
            await asyncio.gather(*(addon.settle(_RESTART_SECONDS) for addon in run.started))
        if run.failed:
            raise BackupError(
                f"An error occurred during restore of {backup.slug}, "
                f"check job '{job.uuid}' or supervisor logs for details"
            )

    async def _items(self, run: _Run) -> None:
        wanted, job, slug = run.wanted, run.job, run.backup.slug
        if wanted.folders:
            job.stage("folders")
            async with self._jobs.run("backup_restore_folders", reference=slug, keep=True) as group:
                for folder in wanted.folders:
                    await self._each(run, group, "backup_folder_restore", folder, self._folder)
        if wanted.homeassistant:
            job.stage("home_assistant")
            async with (
                self._jobs.run("backup_restore_homeassistant", reference=slug, keep=True),
                self._jobs.run("home_assistant_module_restore"),
            ):
                await self._core(run)
        if wanted.full and not run.failed:
            job.stage("remove_delta_addons")
            async with self._jobs.run("backup_remove_delta_apps", reference=slug, keep=True) as group:
                await self._remove_others(run, group)
        if wanted.addons:
            job.stage("addon_repositories")
            await self._repositories(run)
            job.stage("addons")
            async with self._jobs.run("backup_restore_apps", reference=slug, keep=True) as group:
                for addon in wanted.addons:
                    await self._each(run, group, "backup_app_restore", addon, self._addon)
        job.stage("supervisor_config")
        async with self._jobs.run("backup_restore_supervisor_config", reference=slug, keep=True) as group:
            await self._own(run, group)

    async def _each(
        self, run: _Run, group: Job, name: str, item: str, restore: Callable[[_Run, str], Awaitable[None]]
    ) -> None:
        try:
            async with self._jobs.run(name, reference=item, keep=True):
                await restore(run, item)
        except SupervisorError as err:
            run.fail(item, err, group)

    async def _unpack(self, run: _Run, item: str, staging: Path, rules: Rules) -> Path:
        """Unpack an item below its staging folder.

        Raises:
            BackupError: the backup does not hold it, or it can't be unpacked; nothing is left of it.
        """
        if not run.source.holds(item):
            raise BackupError(f"Can't find backup {item}")
        room = await self._host.free_bytes() - RESERVE
        if room <= 0:
            raise BackupError(f"{item} can't be unpacked: No space left on the disk of the data")
        rules = attrs.evolve(rules, limits=Limits(size=room))
        target = staging / "unpacked"

        def prepare() -> None:
            Exchange.prepare(staging)
            target.mkdir(mode=0o700)

        try:
            async with _cleared(staging):
                await asyncio.to_thread(prepare)
                await run.source.unpack(item, target, rules, run.progress)
        except WrongPassword as err:
            raise BackupError(f"{item} {NOT_OPENED}") from err
        except OSError as err:
            raise BackupError(f"{item} can't be unpacked: {err.strerror}") from err
        return target

    async def _folder(self, run: _Run, folder: str) -> None:
        if folder not in run.metadata.folders:
            raise BackupError(f"Can't find backup {folder}")
        name = folder.replace("/", "_")
        staging = self._paths.restore / f"folder_{name}"
        unpacked = await self._unpack(run, folder, staging, rules_of(name))
        target = folder_path(self._paths, folder)
        async with _cleared(staging):
            await self._swap(Exchange(staging, (Pair(unpacked.name, target),), {}))

    async def _core(self, run: _Run) -> None:
        staging = self._paths.restore / "homeassistant"
        unpacked = await self._unpack(run, CORE, staging, rules_of(CORE))
        async with _cleared(staging):
            settings = await asyncio.to_thread(_read_settings, unpacked / "homeassistant.json")
            has_data = await asyncio.to_thread((unpacked / "data").is_dir)
            saved = run.metadata.homeassistant
            kept: tuple[str, ...] = ()
            if saved is not None and saved.exclude_database:
                kept = await asyncio.to_thread(_databases, self._paths.homeassistant)
            new = "unpacked/data" if has_data else "unpacked"
            await self._swap(Exchange(staging, (Pair(new, self._paths.homeassistant, kept),), {}))
        try:
            await asyncio.to_thread(_take_over, settings_file(self._paths), settings)
        except OSError as err:
            raise BackupError(f"The restored settings of Home Assistant can't be written: {err.strerror}") from err

    async def _swap(self, exchange: Exchange) -> None:
        def do() -> None:
            exchange.swap()
            finish(exchange)

        try:
            # Waited for in any case: nobody may tidy up while it is at work.
            await in_thread(Work(), do)
        except OSError as err:
            raise BackupError(f"The restored files can't be put in place: {err.strerror}") from err

    async def _addon(self, run: _Run, slug: str) -> None:
        if slug not in {addon.slug for addon in run.metadata.addons}:
            raise BackupError(f"Can't find backup {slug}")
        async with self._jobs.run("app_manager_restore", reference=slug) as job:
            staging = self._addon_restoring.staging(slug)
            unpacked = await self._unpack(run, slug, staging, rules_of(slug))
            async with _cleared(staging):
                started = await self._addon_restoring.restore(slug, unpacked, job)
            if started is not None:
                run.started.append(started)

    async def _remove_others(self, run: _Run, group: Job) -> None:
        for slug in self._addons.registry.installed.keys() - set(run.wanted.addons):
            try:
                await self._addons.installer.uninstall(slug)
            except SupervisorError as err:
                run.fail(slug, err, group)

    async def _repositories(self, run: _Run) -> None:
        """Add the missing ones; a full restore removes those that the backup does not have."""
        known = {repository.source for repository in self._store.repositories.values()}
        for source in run.metadata.repositories:
            if source in known or source in self._store.repositories:
                continue
            try:
                await self._store.add_repository(source)
            except SupervisorError as err:
                # The add-ons can be restored without; without the internet that must be possible.
                _LOGGER.warning("A repository of backup %s can't be added: %s", run.backup.slug, err)
                run.job.errors.append(JobError.of(err, run.job.current_stage))
        if not run.wanted.full:
            return
        in_use = {addon.record.repository for addon in self._addons.registry.installed.values()}
        for repository in list(self._store.repositories.values()):
            if repository.builtin or repository.source in run.metadata.repositories or repository.slug in in_use:
                continue
            try:
                await self._store.remove_repository(repository.slug, in_use=in_use)
            except SupervisorError as err:
                _LOGGER.warning("Repository %s can't be removed: %s", repository.slug, err)

    async def _own(self, run: _Run, group: Job) -> None:
        if not run.source.holds(SUPERVISOR):
            return
        try:
            files = await run.source.pick(SUPERVISOR, {"docker.json", "mounts.json"}, run.progress)
        except SupervisorError as err:
            run.fail("the Supervisor's own configuration", err, group)
            return
        if "mounts.json" in files:
            try:
                await self._mounts.restore(MOUNTS_SCHEMA(json.loads(files["mounts.json"])))
            except (ValueError, RecursionError, vol.Invalid) as err:
                run.fail("the mounts", BackupInvalidError(f"The saved mounts make no sense: {err}"), group)
            except SupervisorError as err:
                run.fail("the mounts", err, group)
        if "docker.json" in files:
            try:
                logins = _LOGINS(json.loads(files["docker.json"]))["registries"]
                await self._docker.add_registries(logins)
            except (ValueError, RecursionError, vol.Invalid) as err:
                run.fail("the registries' logins", BackupInvalidError(f"The saved logins make no sense: {err}"), group)
            except SupervisorError as err:
                run.fail("the registries' logins", err, group)

    async def _resume(self) -> None:
        for addon in list(self._addons.registry.installed.values()):
            if addon.record.should_run and not addon.running and not self._addons.runner.busy(addon):
                try:
                    await self._addons.runner.start(addon)
                except SupervisorError as err:
                    _LOGGER.error("%s: does not run again: %s", addon.slug, err, extra={"ADDON": addon.slug})
                    self._quiet.leave(addon, err)

    @property
    def _note(self) -> RestoreNote:
        return RestoreNote(self._paths.restore / _UNDER_WAY)

    async def recover(self) -> None:
        """Bring what a crash left of a restore to an end, forwards or back. Before add-ons are started."""
        if (slug := await self._note.left()) is not None:
            _LOGGER.warning("A restore was cut off: what backup %s holds is restored in part or not at all", slug)
        for staging in await asyncio.to_thread(_left, self._paths.restore):
            try:
                await self._recover(staging)
            except (SupervisorError, OSError, ValueError) as err:
                _LOGGER.error("A restore was cut off: %s can't be brought to an end: %s", staging.name, err)
            else:
                _LOGGER.warning("A restore was cut off: %s is either restored or as it was before", staging.name)
        await self._note.forget()

    async def _recover(self, staging: Path) -> None:
        exchange = await asyncio.to_thread(Exchange.recover, staging)
        if exchange is None:
            return
        if "slug" in exchange.note:
            await self._addon_restoring.recover(exchange)
        else:
            await asyncio.to_thread(exchange.finish)


@asynccontextmanager
async def _cleared(staging: Path) -> AsyncIterator[None]:
    """Leave nothing staged behind an error, unless it is going into its place: the next start goes on with that."""
    try:
        yield
    except BaseException:
        try:
            await asyncio.shield(asyncio.to_thread(Exchange.recover, staging))
        except (OSError, ValueError) as err:
            _LOGGER.error("What is left of the restore %s waits for the next start: %s", staging.name, err)
        raise


def _left(folder: Path) -> list[Path]:
    """Return what is staged; the note is no part of it."""
    try:
        return sorted(path for path in folder.iterdir() if _UNDER_WAY not in path.name)
    except FileNotFoundError:
        return []


def _items_of(wanted: Wanted) -> list[str]:
    return [*wanted.folders, *wanted.addons, *([CORE] if wanted.homeassistant else [])]


def _databases(folder: Path) -> tuple[str, ...]:
    is_database = anchored(DATABASE_PATTERNS)
    try:
        return tuple(entry.name for entry in folder.iterdir() if is_database(entry.name))
    except FileNotFoundError:
        return ()


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        with open_plain_file(path) as file:
            settings = json.loads(file.read(1024 * 1024))
        checked: dict[str, Any] = _TAKEN_OVER(settings)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, vol.Invalid) as err:
        raise BackupInvalidError(f"The saved settings of Home Assistant make no sense: {err}") from err
    return checked


def _take_over(file: Path, saved: dict[str, Any]) -> None:
    """Take over what a restore may change of Core's settings; on a new machine there are none yet."""
    try:
        present = json.loads(file.read_bytes())
    except FileNotFoundError:
        present = {}
    except ValueError as err:
        _LOGGER.warning("Home Assistant's settings make no sense here and stay as they are: %s", err)
        return
    if saved and isinstance(present, dict):
        write_atomic(file, json.dumps({**present, **saved}, indent=2).encode())
