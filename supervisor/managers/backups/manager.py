"""Backups: the room's public face for archives (backup contract §7-§17)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from supervisor.drivers.archive.work import in_thread
from supervisor.drivers.folder import remove_tree
from supervisor.errors import BackupError, BackupFileNotFoundError, BackupInvalidError, NotFound
from supervisor.jobs import JobCondition, JobManager
from supervisor.managers.addons import Addon
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.paths import DataPaths

from .backup import CLOUD, LOCAL_ATTRIBUTE, Backup, Copy, Location, RepositoryCopy
from .catalogue import Catalogue
from .creation import Creation, ItemExtent
from .files import BackupFiles
from .freezing import LOCK, Freezer
from .metadata import BackupType
from .opening import is_wrong_password, keyring_of
from .order import Order, Selection
from .progress import ByteProgress
from .quiet import Quiet
from .repository_backups import RepositoryBackups
from .restoring import Restoring, Wanted
from .settings import BackupSettings, Verdict
from .sources import Source, archive_source
from .transfer import Imports
from .verification import verify

_LOGGER = logging.getLogger(__name__)

# Not INTERNET_SYSTEM: what images a backup has are in it, and without the others the rest is worth having.
RESTORE_CONDITIONS: Final = (
    JobCondition.FREE_SPACE,
    JobCondition.HEALTHY,
    JobCondition.INTERNET_HOST,
    JobCondition.RUNNING,
)
# Tells backups that were made before an update from others.
BEFORE_UPDATE: Final = "supervisor.update_of"
FREEZE_SECONDS: Final = 600
KEPT_IN_CLOUD: Final = timedelta(days=2)


@attrs.define(eq=False)
class BackupManager:
    """What is public here may be used as it is; the methods are what takes several of them."""

    catalogue: Catalogue
    settings: BackupSettings
    freezer: Freezer
    imports: Imports
    files: BackupFiles
    _jobs: JobManager
    _creation: Creation
    _restoring: Restoring
    _repositories: RepositoryBackups
    _quiet: Quiet
    _resolution: Resolution
    _registry: AddonRegistry
    _paths: DataPaths

    @property
    def installed(self) -> tuple[str, ...]:
        """The add-ons that can be saved."""
        return tuple(self._registry.installed)

    async def load(self) -> None:
        """Read what there is, and remove what a crash left half-done."""
        await self.settings.load()
        await self._quiet.load()
        await asyncio.to_thread(remove_tree, self._paths.tmp / "backup")
        await self._restoring.recover()
        await self.catalogue.sweep()
        await self.catalogue.reload()
        await self.files.tidy(drafts=True)
        self.judge()

    async def wake_left(self) -> None:
        """Bring back who was left quiet, unless all is to be quiet now; needs the engine."""
        if not self.freezer.is_frozen:
            await self._quiet.wake_left()

    async def stop(self) -> None:
        await self.freezer.stop()

    async def reload(self) -> None:
        """Read all locations anew."""
        await self.catalogue.reload()
        await self.files.tidy()
        await self.settings.forget_checks(self.catalogue.backups)
        self.judge()

    async def create(self, order: Order) -> Backup:
        """Make a backup. Its slug is the job's reference as soon as there is one.

        Raises:
            SupervisorError: the order makes no sense, or the backup failed; nothing is left of it.
        """
        name = f"backup_manager_{order.type.value}_backup"
        async with self._jobs.run(
            name, conditions=(JobCondition.RUNNING,), lock=LOCK, keep=True, cancellable=True
        ) as job:
            repository = self._repositories.chosen(order)
            target = await self._creation.target(order, job) if repository is None else repository
            metadata = self._creation.describe(order)
            job.update(reference=metadata.slug, stage="addon_repositories")
            chosen = await self._creation.choose(order.selection, exclude_database=order.exclude_database)
            job.validated()
            async with self.freezer.frozen():
                if isinstance(target, str):
                    backup = await self._repositories.make(target, chosen, metadata, job)
                else:
                    backup = await self._creation.make(order, chosen, metadata, target, job)
        self.judge()
        return backup

    async def create_before_update(self, addon: Addon) -> Backup:
        """Save an add-on as it is, as the way back from an update.

        Raises:
            SupervisorError: it could not be saved, so it should not be updated.
        """
        name = f"addon_{addon.slug}_{addon.record.version}"
        selection = Selection(addons=(addon.slug,))
        backup = await self.create(Order(name=name, selection=selection, extra={BEFORE_UPDATE: addon.slug}))
        if not any(saved.slug == addon.slug for saved in backup.metadata.addons):
            await self.remove(backup.slug, None)
            raise BackupError(f"Add-on {addon.slug} can't be saved, so it is not updated; the job tells why")
        return backup

    async def preview(self, selection: Selection | None, *, exclude_database: bool | None) -> list[ItemExtent]:
        """Tell how much each item of a selection is, before it is saved."""
        chosen = await self._creation.choose(selection, exclude_database=exclude_database)
        return await self._creation.preview(chosen)

    async def restore(
        self, slug: str, wanted: Wanted, *, password: str | None, location: Location, default_location: bool
    ) -> None:
        """Restore a backup or a part of it; `default_location` takes whichever copy there is.

        Raises:
            NotFound: there is no such backup, or its file has vanished.
            BackupInvalidError: it is not in that location, does not open, or can't be restored here.
            BackupError: something of it was not restored; the job tells what.
        """
        backup = self.catalogue.get(slug)
        kind = "full" if wanted.full else "partial"
        async with self._jobs.run(
            f"backup_manager_{kind}_restore", reference=slug, conditions=RESTORE_CONDITIONS, lock=LOCK, keep=True
        ) as job:
            wanted = self._restoring.filled(backup, wanted)
            if not default_location and location not in backup.copies:
                raise BackupInvalidError(f"Backup {slug} does not exist in {location or LOCAL_ATTRIBUTE}")
            place = backup.location if default_location else location
            copy = backup.copies[place]
            opening = await self._opening(backup, place, copy, password, wanted)
            self._restoring.check(backup, wanted)
            job.validated()
            async with self.freezer.frozen():
                await self._restoring.restore(backup, opening, wanted, job)
        _LOGGER.info("Backup %s is restored", slug)

    async def _opening(
        self, backup: Backup, place: Location, copy: Copy, password: str | None, wanted: Wanted
    ) -> AbstractAsyncContextManager[Source]:
        """Make sure that a copy opens, and return what opens it."""
        if isinstance(copy, RepositoryCopy):
            return self._repositories.source(copy.repository, backup.slug)
        keyring = keyring_of(copy, password)
        try:
            await self._restoring.check_password(backup, copy, keyring, wanted)
        except NotFound:
            await self.catalogue.reload_location(place)
            raise BackupFileNotFoundError(f"The file of backup {backup.slug} at {copy.path} has vanished") from None
        return archive_source(copy.path, backup.metadata, keyring)

    async def verify(self, slug: str, *, password: str | None, location: Location, default_location: bool) -> Verdict:
        """Read a copy to its end without restoring it, and remember what was found.

        Raises:
            NotFound: there is no such backup, or its file has vanished.
            BackupInvalidError: it is not in that location, or the password is another one.
        """
        backup = self.catalogue.get(slug)
        place = backup.location if default_location else location
        copy = backup.copy_in(place)
        async with self._jobs.run(
            "backup_manager_verify", reference=slug, lock=f"backup_{slug}", keep=True, cancellable=True
        ) as job:
            if isinstance(copy, RepositoryCopy):
                job.validated()
                found = await self._repositories.verify(copy.repository)
                await self.settings.keep_check(slug, place, found)
                return found
            work = ByteProgress(job, copy.size).work()
            try:
                await self._check_password(backup, copy, password)
                job.validated()
                verdict = await in_thread(work, lambda: verify(backup, copy, keyring_of(copy, password), work))
            except NotFound:
                await self.catalogue.reload_location(place)
                raise BackupFileNotFoundError(f"The file of backup {slug} at {copy.path} has vanished") from None
            await self.settings.keep_check(slug, place, verdict)
        if not verdict.good:
            _LOGGER.error("Backup %s at %s is damaged: %s", slug, copy.path, "; ".join(verdict.problems))
        return verdict

    async def _check_password(self, backup: Backup, copy: Copy, password: str | None) -> None:
        """Raise BackupInvalidError when the password is another one; damage is for others to find."""
        try:
            await self._restoring.check_password(backup, copy, keyring_of(copy, password), Wanted(full=False))
        except BackupInvalidError as err:
            if is_wrong_password(err):
                raise

    async def remove(self, slug: str, locations: Iterable[Location] | None) -> None:
        """Remove a backup from some locations, without any from all.

        Raises:
            NotFound: there is no such backup, or its file has vanished.
            BackupError: a file can't be removed.
        """
        backup = self.catalogue.get(slug)
        chosen = list(backup.copies) if locations is None else list(locations)
        for location in chosen:
            if isinstance(copy := backup.copies.get(location), RepositoryCopy):
                await self._repositories.remove(copy.repository, slug)
        await self.catalogue.remove(backup, [location for location in chosen if location in backup.copies])
        await self.files.tidy()
        await self.settings.forget_checks(self.catalogue.backups)
        self.judge()

    async def receive(
        self, pieces: AsyncIterator[bytes], locations: tuple[Location, ...], file_name: str | None
    ) -> Backup:
        """Take in an upload."""
        backup = await self.imports.receive(pieces, locations, file_name)
        self.judge()
        return backup

    async def clear_cloud(self) -> None:
        """Remove what lies on its way to or from a cloud since two days."""
        if not self._resolution.healthy:
            return
        for backup in list(self.catalogue.backups.values()):
            if CLOUD in backup.copies and datetime.now(UTC) - backup.metadata.moment > KEPT_IN_CLOUD:
                try:
                    await self.catalogue.remove(backup, (CLOUD,))
                except BackupError as err:
                    _LOGGER.warning("Backup %s stays: %s", backup.slug, err)

    @property
    def full(self) -> list[Backup]:
        """The full backups, the youngest first."""
        full = [b for b in self.catalogue.backups.values() if b.metadata.type is BackupType.FULL]
        return sorted(full, key=lambda backup: backup.metadata.moment, reverse=True)

    @property
    def current(self) -> bool:
        """Whether there is a full backup that is young enough."""
        now, seconds = datetime.now(UTC), self.settings.days_until_stale * 86400
        return any((now - backup.metadata.moment).total_seconds() <= seconds for backup in self.full)

    def judge(self) -> None:
        """Withdraw the issue that no backup is young enough, when one is."""
        if self.current:
            self._resolution.dismiss_issue_of(IssueType.NO_CURRENT_BACKUP, ContextType.SYSTEM)
