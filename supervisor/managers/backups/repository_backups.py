"""Backups in repositories are backups like those in files: made, listed, restored and removed by the same calls."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor.const import MIB
from supervisor.drivers.archive.content import File, Folder, Packed, Text, Tree
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.writer import Written
from supervisor.drivers.folder import open_plain_file, remove_tree
from supervisor.drivers.snapshot_engine import Progress
from supervisor.errors import BackupError, BackupFatalIOError, Invalid, SupervisorError
from supervisor.events import BackupRepositoryChanged, EventBus
from supervisor.jobs import Job
from supervisor.jobs.job import JobError

from .backup import Backup, Location, RepositoryCopy
from .catalogue import Catalogue
from .contents import SUPERVISOR, Item
from .creation import Chosen, Creation
from .metadata import FOLDERS, Metadata, SavedAddon, read_metadata
from .order import Order
from .progress import ByteProgress
from .repositories import Repository, RepositoryManager
from .repository_backup import HERE, KeptPart, Part, RepositoryBackup, Root
from .repository_contents import RepositoryContents, tell
from .repository_record import PREFIX
from .repository_writer import RepositoryWriter
from .saving import Draft, tell_left_out
from .settings import Verdict
from .sources import Source

_LOGGER = logging.getLogger(__name__)

_RESTART_SECONDS: Final = 120.0
# These need not hold still, so they can be saved all at once in the end.
_AT_THE_END: Final = frozenset({SUPERVISOR, *(folder.replace("/", "_") for folder in FOLDERS)})


def part_of(item: Item) -> Part:
    """Return what goes into a repository for an item of an archive."""
    roots: list[Root] = []
    texts: dict[str, bytes] = {}
    folders: list[str] = []
    for content in item.contents:
        name = content.name.removeprefix("./") or HERE
        match content:
            case Tree():
                roots.append(Root(name, content.path, content.exclude))
            case File():
                roots.append(Root(name, content.path))
            case Text():
                texts[name] = content.content
            case Folder() if name != HERE:
                folders.append(name)
            case Folder():
                continue
    return Part(item.name, tuple(roots), texts, tuple(folders))


@attrs.define
class RepositoryDraft(Draft):
    """A backup that becomes snapshots. What has to hold still is saved at once, the rest in the end."""

    writer: RepositoryWriter = attrs.field(kw_only=True)
    job: Job = attrs.field(kw_only=True)
    total: int = attrs.field(kw_only=True)
    _waiting: list[Part] = attrs.field(factory=list, init=False)
    _done: int = attrs.field(default=0, init=False)

    async def write(self, item: Item) -> Written:
        part = part_of(item)
        if item.name in _AT_THE_END:
            self._waiting.append(part)
            return Written(0, 0, Packed())
        try:
            stored = (await self.writer.store([part], self._tell))[part.name]
        except SupervisorError as err:
            # It is the repository: the next add-on would be stopped for nothing, and wait as long for it.
            raise BackupFatalIOError(str(err)) from err
        if isinstance(stored, SupervisorError):
            raise BackupError(str(stored)) from stored
        self._done += stored.size
        return Written(stored.size, stored.size, self.writer.packed[part.name])

    async def finish(self) -> None:
        """Save what was put off, and make all of it a backup.

        Raises:
            BackupError: there is no backup.
        """
        try:
            stored = await self.writer.finish(self._described, self._waiting, self._tell)
        except SupervisorError as err:
            raise BackupFatalIOError(str(err)) from err
        except OSError as err:
            raise BackupFatalIOError(f"The description of the backup can't be written: {err.strerror}") from err
        for name, one in stored.items():
            tell_left_out(name, self.writer.packed[name], self.job)
            if isinstance(one, SupervisorError):
                _LOGGER.error("%s is not in backup %s: %s", name, self.metadata.slug, one)
                self.job.errors.append(JobError.of(one, self.job.current_stage))

    def _described(self, kept: Mapping[str, KeptPart]) -> Mapping[str, Any]:
        folders = tuple(folder for folder in self.metadata.folders if folder.replace("/", "_") in kept)
        addons = tuple(_sized(addon, kept) for addon in self.metadata.addons if addon.slug in kept)
        return attrs.evolve(self.metadata, folders=folders, addons=addons).as_json()

    def _tell(self, progress: Progress) -> None:
        done = min(self.total, self._done + progress.done)
        tell(self.job, Progress(done), self.total)


def _sized(addon: SavedAddon, kept: Mapping[str, KeptPart]) -> SavedAddon:
    return attrs.evolve(addon, size=round(kept[addon.slug].size / MIB, 2))


@attrs.frozen
class RepositorySource:
    """A backup in a repository, to be restored from."""

    _contents: RepositoryContents
    _repository: str
    _backup: RepositoryBackup
    _tmp: Path

    @property
    def secret(self) -> bool:
        return True

    def holds(self, item: str) -> bool:
        return item.replace("/", "_") in self._backup.parts

    def size_of(self, items: Iterable[str]) -> int:
        names = {item.replace("/", "_") for item in items}
        return sum(part.size for name, part in self._backup.parts.items() if name in names)

    async def unpack(self, item: str, target: Path, rules: Rules, progress: ByteProgress) -> None:
        name, work = item.replace("/", "_"), progress.work()
        try:
            await self._contents.fetch(
                self._repository,
                self._backup.slug,
                name,
                target,
                lambda heard: work.advance(max(0, heard.done - work.done)),
                most=rules.limits.size,
            )
        except SupervisorError as err:
            failed = f"{item} can't be restored"
            raise BackupError(f"{failed}: {err}", unnamed=f"{failed}: {err.unnamed}") from err

    async def pick(self, item: str, names: set[str], progress: ByteProgress) -> dict[str, bytes]:
        room = self._tmp / f"pick-{self._backup.slug}"
        await asyncio.to_thread(_fresh, room)
        try:
            await self.unpack(item, room, Rules(), progress)
            return await asyncio.to_thread(_small_files, room, names)
        finally:
            await asyncio.shield(asyncio.to_thread(remove_tree, room))


@attrs.define(eq=False)
class RepositoryBackups:
    """Keeps the catalogue true about repositories, and does there what is wanted of backups."""

    _repositories: RepositoryManager
    _contents: RepositoryContents
    _catalogue: Catalogue
    _creation: Creation
    _tmp: Path

    def watch(self, bus: EventBus) -> None:
        """Hear of what changes in repositories."""
        bus.subscribe(BackupRepositoryChanged, lambda event: self._take_over(event.name))

    def _take_over(self, name: str) -> None:
        known = {repository.name: repository for repository in self._repositories.repositories}
        if name in known:
            self._catalogue.keep_elsewhere(known[name].record.location, _listed(known[name]))
        else:
            self._catalogue.forget_elsewhere(f"{PREFIX}{name}")

    def chosen(self, order: Order) -> str | None:
        """Return the repository that an order wants; None when it wants a file.

        Raises:
            NotFound: there is no such repository.
            Invalid: it wants copies as well.
        """
        wanted = [location for location in order.locations or () if location is not None and is_repository(location)]
        if not wanted:
            return None
        if len(order.locations or ()) > 1:
            raise Invalid("A backup in a repository has no copies elsewhere; make one for each place")
        if order.file_name:
            raise Invalid("A backup in a repository is no file that could have a name")
        return self._repositories.get(wanted[0].removeprefix(PREFIX)).name

    async def make(self, name: str, chosen: Chosen, metadata: Metadata, job: Job) -> Backup:
        """Make a backup in a repository.

        Raises:
            BackupError: it could not be made; nothing is listed of it.
        """
        total = sum(item.extent.size for item in await self._creation.preview(chosen))
        # What opens the repository is its own password, whoever restores.
        described = attrs.evolve(metadata, protected=False, compressed=True)
        async with self._repositories.writing(name, metadata.slug) as writer:
            draft = RepositoryDraft(described, ByteProgress(job, total), writer=writer, job=job, total=total)
            try:
                await self._creation.fill(draft, chosen, job)
                job.stage("finishing_file")
                await draft.finish()
            finally:
                if draft.restarted:
                    job.stage("await_addon_restarts")
                    await asyncio.gather(*(addon.settle(_RESTART_SECONDS) for addon in draft.restarted))
        _LOGGER.info("Backup %s is made in repository %s", metadata.slug, name)
        return self._catalogue.get(metadata.slug)

    @asynccontextmanager
    async def source(self, name: str, slug: str) -> AsyncIterator[Source]:
        """Open a backup to restore from it.

        Raises:
            NotFound: the repository no longer holds it.
        """
        backup = self._repositories.get(name).backup(slug)
        yield RepositorySource(self._contents, name, backup, self._tmp)

    async def remove(self, name: str, slug: str) -> None:
        """Remove a backup and free its space.

        Raises:
            SupervisorError: the repository can't be used.
        """
        await self._repositories.forget(name, [slug], prune=True)

    async def verify(self, name: str) -> Verdict:
        """Check the whole repository: the data of its backups is one.

        Raises:
            SupervisorError: it can't be used.
        """
        found = await self._repositories.verify(name, 100)
        return Verdict(found.good, (found.reason,) if found.reason else ())


def is_repository(location: Location) -> bool:
    return location is not None and location.startswith(PREFIX)


def _listed(repository: Repository) -> list[Backup]:
    location = repository.record.location
    found = []
    for kept in repository.backups.values():
        try:
            metadata = read_metadata(json.dumps(dict(kept.metadata)).encode())
        except BackupError as err:
            _LOGGER.warning("Backup %s in repository %s is left out: %s", kept.slug, repository.name, err)
            continue
        copy = RepositoryCopy(Path(location), protected=False, size=kept.size, repository=repository.name)
        found.append(Backup(metadata, {location: copy}))
    return found


def _fresh(folder: Path) -> None:
    remove_tree(folder)
    folder.mkdir(mode=0o700, parents=True)


def _small_files(folder: Path, names: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in names:
        with suppress(OSError), open_plain_file(folder / name) as file:
            found[name] = file.read(4 * MIB)
    return found
