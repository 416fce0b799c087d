"""Saves the items of one backup, each into its inner archive (backup contract §8.2, §9)."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import attrs

from supervisor.const import MIB
from supervisor.drivers.archive.content import Packed
from supervisor.drivers.archive.work import Work, in_thread
from supervisor.drivers.archive.writer import ArchiveWriter, Written
from supervisor.drivers.docker.engine import Engine
from supervisor.errors import BackupError, BackupFatalIOError, NotFound, SupervisorError
from supervisor.jobs import Job, JobManager
from supervisor.jobs.job import JobError
from supervisor.managers.addons import Addon
from supervisor.model.manifest import AddonBackup
from supervisor.paths import DataPaths

from .contents import Contents, Item
from .core_data import CoreData
from .indexes import Indexes
from .metadata import Metadata, SavedAddon, SavedCore
from .progress import ByteProgress
from .quiet import CoreHooks, Quiet

_LOGGER = logging.getLogger(__name__)


@attrs.define
class Draft(ABC):
    """A backup while it is made: `metadata` grows with each item; `restarted` are the add-ons that were stopped."""

    metadata: Metadata
    progress: ByteProgress
    restarted: list[Addon] = attrs.field(factory=list)

    @abstractmethod
    async def write(self, item: Item) -> Written:
        """Save an item.

        Raises:
            BackupError: it can't be read; a BackupFatalIOError when nothing can be written any more.
        """


@attrs.define
class ArchiveDraft(Draft):
    """A backup that becomes a file; `drafts` are the indexes of its parts."""

    writer: ArchiveWriter = attrs.field(kw_only=True)
    indexes: Indexes = attrs.field(kw_only=True)
    drafts: dict[str, Path] = attrs.field(kw_only=True)

    async def write(self, item: Item) -> Written:
        work = self.progress.work()
        return await in_thread(work, lambda: self._add(item, work))

    def _add(self, item: Item, work: Work) -> Written:
        """Blocking."""
        name = self.metadata.member(item.name)
        with self.indexes.writer(self.writer.keyring) as index:
            written = self.writer.add(name, item.contents, work, index)
            if index.path is not None:
                self.drafts[name] = index.path
        return written


@attrs.frozen
class Saving:
    _jobs: JobManager
    _paths: DataPaths
    _engine: Engine
    _contents: Contents
    _quiet: Quiet
    _core_hooks: CoreHooks

    async def core(self, draft: Draft, core: CoreData, *, exclude_database: bool) -> None:
        """Save Core's configuration.

        Raises:
            BackupError: Core can't be told, or something can't be read; the whole backup fails by that.
        """
        async with self._jobs.run("backup_store_homeassistant", reference=draft.metadata.slug, keep=True) as job:
            begun = await self._core_hooks.begin()
            try:
                async with self._jobs.run("home_assistant_module_backup"):
                    written = await draft.write(self._contents.core(core, exclude_database=exclude_database))
            finally:
                if begun:
                    await asyncio.shield(self._core_hooks.end())
            tell_left_out("Home Assistant", written.packed, job)
        saved = SavedCore(core.version, exclude_database, _mib(written))
        draft.metadata = attrs.evolve(draft.metadata, homeassistant=saved)

    async def addons(self, draft: Draft, addons: list[Addon]) -> None:
        """Save one after the other; one that fails costs only itself."""
        async with self._jobs.run("backup_store_apps", reference=draft.metadata.slug, keep=True) as job:
            for addon in addons:
                try:
                    async with self._jobs.run("backup_app_save", reference=addon.slug, keep=True) as saving:
                        await self._addon(draft, addon, saving)
                except BackupFatalIOError:
                    raise
                except SupervisorError as err:
                    _LOGGER.error("%s: is not in the backup: %s", addon.slug, err, extra={"ADDON": addon.slug})
                    job.errors.append(JobError.of(err, job.current_stage))

    async def _addon(self, draft: Draft, addon: Addon, saving: Job) -> None:
        async with self._jobs.run("app_backup", reference=addon.slug, lock=addon.lock):
            state, version = addon.state, addon.record.version
            image: Path | None = None
            begun = await self._quiet.begin(addon)
            try:
                if addon.manifest.needs_build:
                    image = await self._image(addon, saving)
                written = await draft.write(await self._contents.addon(addon, state, image))
            finally:
                if image is not None:
                    await asyncio.to_thread(image.unlink, missing_ok=True)
                if begun:
                    await asyncio.shield(self._wake(draft, addon, saving))
        tell_left_out(addon.slug, written.packed, saving)
        imageless = addon.manifest.needs_build and image is None
        saved = SavedAddon(addon.slug, addon.name, version, _mib(written), imageless=imageless)
        draft.metadata = attrs.evolve(draft.metadata, addons=(*draft.metadata.addons, saved))

    async def _image(self, addon: Addon, saving: Job) -> Path | None:
        """Write out its image; None, and a remark in the job, when it is gone: a restore builds it anew."""
        folder = self._paths.tmp / "backup"
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        path = folder / f"{addon.slug}.image.tar"
        try:
            await self._engine.images.save(addon.record.image_reference, path)
        except NotFound:
            gone = BackupError(f"The image of {addon.slug} is gone; a restore has to build it again")
            _LOGGER.warning("%s", gone, extra={"ADDON": addon.slug})
            saving.errors.append(JobError.of(gone, saving.current_stage))
            return None
        return path

    async def _wake(self, draft: Draft, addon: Addon, saving: Job) -> None:
        """Let an add-on go on. What that meets does not spoil the copy that is made already."""
        try:
            await self._quiet.end(addon)
        except SupervisorError as err:
            _LOGGER.error("%s: does not go on after its backup: %s", addon.slug, err, extra={"ADDON": addon.slug})
            saving.errors.append(JobError.of(err, saving.current_stage))
            return
        if addon.manifest.backup is AddonBackup.COLD:
            draft.restarted.append(addon)

    async def folders(self, draft: Draft, folders: Mapping[str, Item]) -> None:
        """Save one after the other; one that can't be read costs only itself."""
        async with self._jobs.run("backup_store_folders", reference=draft.metadata.slug, keep=True) as job:
            for name, item in folders.items():
                try:
                    async with self._jobs.run("backup_folder_save", reference=name, keep=True) as saving:
                        await self._folder(draft, name, item, saving)
                except BackupFatalIOError:
                    raise
                except SupervisorError as err:
                    _LOGGER.error("Folder %s is not in the backup: %s", name, err)
                    job.errors.append(JobError.of(err, job.current_stage))

    async def _folder(self, draft: Draft, name: str, item: Item, saving: Job) -> None:
        try:
            written = await draft.write(item)
        except BackupFatalIOError:
            raise
        except BackupError as err:
            raise BackupError(f"Can't backup folder {name}: {err}") from err
        tell_left_out(name, written.packed, saving)
        draft.metadata = attrs.evolve(draft.metadata, folders=(*draft.metadata.folders, name))

    async def own(self, draft: Draft) -> None:
        """Save what is configured of this daemon and may be restored."""
        item = self._contents.supervisor()
        if item is not None:
            async with self._jobs.run("backup_store_supervisor_config", reference=draft.metadata.slug, keep=True):
                await draft.write(item)


def tell_left_out(what: str, packed: Packed, job: Job) -> None:
    """Put on the job of an item that not all of it is saved."""
    if packed.beyond:
        err = BackupError(
            f"{what}: {packed.beyond} files or folders are not in the backup, for they lie deeper or have longer paths "
            f"than can be restored: {packed.example}"
        )
        _LOGGER.warning("%s", err)
        job.errors.append(JobError.of(err, job.current_stage))


def _mib(written: Written) -> float:
    return round(written.stored / MIB, 2)
