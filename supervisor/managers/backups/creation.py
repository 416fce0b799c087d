"""Makes a backup (backup contract §8)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs

from supervisor.const import GIB, MIN_FREE_BYTES
from supervisor.drivers.archive.content import Extent, measure
from supervisor.drivers.archive.files import put_in_place
from supervisor.drivers.archive.reader import MAX_METADATA
from supervisor.drivers.archive.work import Work, in_thread, opened
from supervisor.drivers.archive.writer import ArchiveWriter
from supervisor.errors import (
    BackupError,
    BackupFatalIOError,
    BackupFileExistError,
    BackupPermissionError,
    Blocked,
    Invalid,
)
from supervisor.jobs import Job
from supervisor.managers.addons import Addon
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.host import Host
from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.managers.store import StoreManager
from supervisor.model.amounts import size_text
from supervisor.paths import DataPaths

from .backup import Backup, Location
from .catalogue import Catalogue
from .contents import Contents, Item
from .copies import Copies
from .core_data import CoreData, read_core
from .indexes import Indexes
from .locations import Locations
from .metadata import FOLDERS, Metadata, new_slug
from .order import Order, Selection, check_file_name
from .progress import ByteProgress
from .saving import ArchiveDraft, Draft, Saving

_LOGGER = logging.getLogger(__name__)


@attrs.frozen
class ItemExtent:
    """What saving one item would read."""

    name: str
    extent: Extent


@attrs.frozen
class Chosen:
    """What there is of a selection; `core` only where it shall be saved."""

    core: Item | None
    exclude_database: bool
    addons: list[Addon]
    folders: dict[str, Item]
    core_data: CoreData


@attrs.frozen
class Target:
    """Where a new backup goes: the first location gets the file, the others copies of it."""

    locations: tuple[Location, ...]
    folder: Path
    file_name: str | None


@attrs.frozen
class Creation:
    """`version` is the daemon's own, written into each backup."""

    _paths: DataPaths
    _host: Host
    _resolution: Resolution
    _registry: AddonRegistry
    _store: StoreManager
    _locations: Locations
    _catalogue: Catalogue
    _contents: Contents
    _saving: Saving
    _copies: Copies
    _indexes: Indexes
    _version: Callable[[], str]

    async def target(self, order: Order, job: Job) -> Target:
        """Decide where a new backup goes.

        Raises:
            SupervisorError: it can't be written there, or there is such a file.
        """
        locations = order.locations or (self._locations.default,)
        folder = await self._locations.target(locations[0])
        if self._locations.is_on_data_disk(locations[0]):
            await self._check_space(job)
        for location in locations[1:]:
            # One that is down now may be there by then; if not, the backup is worth having without that copy.
            self._locations.check(location)
        name = check_file_name(order.file_name) if order.file_name else None
        if name is not None and await asyncio.to_thread(os.path.lexists, folder / name):
            raise BackupFileExistError(f"There is a backup {name} already; it is left alone")
        return Target(locations, folder, name)

    async def _check_space(self, job: Job) -> None:
        free = await self._host.free_bytes()
        if free < MIN_FREE_BYTES:
            self._resolution.raise_issue(IssueType.FREE_SPACE, ContextType.SYSTEM)
            raise Blocked(
                f"'{job.name}' blocked from execution, not enough free space ({free / GIB:.1f}GB) left on the device"
            )

    def describe(self, order: Order) -> Metadata:
        """Return the description of a new backup, as far as it is known at the start.

        Raises:
            Invalid: what should be said about it is too much.
        """
        date = datetime.now(UTC).isoformat(timespec="microseconds")
        repositories = [
            repository.source
            for repository in self._store.repositories.values()
            if repository.remote is not None and not repository.builtin
        ]
        metadata = Metadata(
            slug=new_slug(date, order.name),
            name=order.name,
            date=date,
            type=order.type,
            supervisor_version=self._version(),
            compressed=order.compressed,
            protected=bool(order.password),
            repositories=tuple(repositories),
            extra=order.extra,
        )
        if len(metadata.packed()) > MAX_METADATA // 2:
            raise Invalid("The name of the backup and what is said beside it are too long")
        return metadata

    async def choose(self, selection: Selection | None, *, exclude_database: bool | None) -> Chosen:
        """Look what there is of a selection; what is not there is logged and left out.

        Raises:
            HomeAssistantBackupError: Core's settings can't be read.
        """
        core = await asyncio.to_thread(read_core, self._paths)
        exclude = core.exclude_database if exclude_database is None else exclude_database
        installed = self._registry.installed
        if selection is None:
            selection = Selection(core.present, tuple(installed), FOLDERS)
        addons = [installed[slug] for slug in selection.addons if slug in installed]
        for slug in selection.addons:
            if slug not in installed:
                _LOGGER.warning("Add-on %s is not installed and not saved", slug)
        folders: dict[str, Item] = {}
        for name in selection.folders:
            if (item := await self._contents.folder(name)) is None:
                _LOGGER.warning("There is no folder %s to be saved", name)
            else:
                folders[name] = item
        if not (selection.homeassistant or addons or folders):
            _LOGGER.error("Nothing of what should be saved is there: the backup will be empty")
        item = self._contents.core(core, exclude_database=exclude) if selection.homeassistant else None
        return Chosen(item, exclude, addons, folders, core)

    async def preview(self, chosen: Chosen) -> list[ItemExtent]:
        """Tell how much each chosen item is, before anything is saved. Saved images are not counted."""
        items = [chosen.core] if chosen.core is not None else []
        items += [await self._contents.addon(addon, addon.state, None) for addon in chosen.addons]
        items += chosen.folders.values()
        extents = []
        for item in items:
            work = Work()
            extents.append(ItemExtent(item.name, await in_thread(work, lambda i=item, w=work: _measured(i, w))))  # type: ignore[misc]
        return extents

    async def make(self, order: Order, chosen: Chosen, metadata: Metadata, target: Target, job: Job) -> Backup:
        """Write the file, list it and copy it to the other locations.

        Raises:
            BackupError: it could not be made; no file is left of it.
        """
        path = target.folder / (target.file_name or f"{metadata.slug}.tar")
        progress = ByteProgress(job, sum(item.extent.size for item in await self.preview(chosen)))
        location = target.locations[0]
        restarted: list[Addon] = []
        try:
            async with opened(self._indexes.drafts()) as indexes, self._catalogue.draft(path) as file:
                writer = ArchiveWriter(
                    file,
                    compressed=order.compressed,
                    password=order.password,
                    encryption=chosen.core_data.encryption,
                )
                draft = ArchiveDraft(
                    metadata, progress, restarted, writer=writer, indexes=self._indexes, drafts=indexes
                )
                size = await self._write(draft, chosen, location, job)
                await _publish(file, path)
                await asyncio.to_thread(self._indexes.keep, path, metadata.slug, indexes)
            backup = self._catalogue.add(draft.metadata, location, path, size)
            if len(target.locations) > 1:
                job.stage("copy_additional_locations")
                await self._copies.make(backup, target.locations[1:], job)
        finally:
            if restarted:
                job.stage("await_addon_restarts")
                await asyncio.gather(*(addon.settle(_RESTART_SECONDS) for addon in restarted))
        _LOGGER.info("Backup %s is made: %s, %s", backup.slug, path, size_text(size))
        return backup

    async def _write(self, draft: ArchiveDraft, chosen: Chosen, location: Location, job: Job) -> int:
        """Write the whole file; return its size."""
        async with self._file(draft.writer, location):
            # Written where the mount is, and not where it has been: this is asked once the file is open.
            await self._locations.target(location)
            await self.fill(draft, chosen, job)
            job.stage("finishing_file")
            await self._locations.target(location)
            # Waited for in any case: the file must not be closed under it.
            return await in_thread(Work(), lambda: draft.writer.finish(draft.metadata.packed()))

    async def fill(self, draft: Draft, chosen: Chosen, job: Job) -> None:
        """Save everything that was chosen, one after the other.

        Raises:
            BackupError: the whole backup is spoiled.
        """
        if chosen.core is not None:
            job.stage("home_assistant")
            await self._saving.core(draft, chosen.core_data, exclude_database=chosen.exclude_database)
        if chosen.addons:
            job.stage("addons")
            await self._saving.addons(draft, chosen.addons)
        if chosen.folders:
            job.stage("folders")
            await self._saving.folders(draft, chosen.folders)
        job.stage("supervisor_config")
        await self._saving.own(draft)

    @asynccontextmanager
    async def _file(self, writer: ArchiveWriter, location: Location) -> AsyncIterator[None]:
        """Open the file; on any way out but the good one it is removed."""
        try:
            async with opened(writer):
                yield
        except FileExistsError:
            raise BackupFileExistError("Another backup is being written to that file") from None
        except PermissionError as err:
            raise BackupPermissionError(f"The folder of the backups may not be written to: {err.strerror}") from err
        except OSError as err:
            self._catalogue.judge(location, err)
            raise BackupError(f"The file of the backup can't be made: {err.strerror}") from err


_RESTART_SECONDS = 120


async def _publish(draft: Path, path: Path) -> None:
    try:
        await asyncio.to_thread(put_in_place, draft, path)
    except FileExistsError:
        raise BackupFileExistError(f"There is a backup {path.name} already; it is left alone") from None
    except OSError as err:
        raise BackupFatalIOError(f"The finished backup can't be put in place: {err.strerror}") from err


def _measured(item: Item, work: Work) -> Extent:
    return sum((measure(content, work) for content in item.contents), Extent())
