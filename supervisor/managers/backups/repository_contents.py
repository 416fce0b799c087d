"""What is in the backups of a repository: walked through, read, and restored."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import attrs

from supervisor.drivers.archive.names import parts_of
from supervisor.drivers.archive.rename import renamed
from supervisor.drivers.archive.restored import subdue
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.tar import Kind, Member
from supervisor.drivers.folder import remove_tree, taken
from supervisor.drivers.snapshot_engine import Entry, EntryKind, OnProgress, Progress, SnapshotEngine
from supervisor.errors import BACKUP_PATH_NOT_FOUND, BackupError, Invalid
from supervisor.jobs import Job, JobManager
from supervisor.paths import DataPaths

from .archive_files import rules_of
from .browsing import Browsable, split_path
from .locations import RESERVE
from .path_restore import live_place, restore_path
from .repositories import Repository, RepositoryManager
from .repository_backup import HERE, KeptPart
from .repository_browser import found, listed

_LOGGER = logging.getLogger(__name__)


@attrs.frozen
class RepositoryContents:
    """Everything that only reads repositories."""

    _engine: SnapshotEngine
    _manager: RepositoryManager
    _jobs: JobManager
    _paths: DataPaths

    async def fetch(
        self,
        name: str,
        slug: str,
        part: str,
        target: Path,
        heard: Callable[[Progress], None] | None = None,
        *,
        most: int | None = None,
    ) -> None:
        """Restore a part of a backup into the empty folder `target`, each root under its own name.

        The rules are those of archives: whoever knows the password may have written anything into the repository.
        The job of that shows how far it is; `heard` hears of it, too. `most` is how many bytes it may be, if not as
        many as the disk has room for.

        Raises:
            NotFound: there is no such repository, backup or part.
            ArchiveRefused: it holds what the rules forbid. BackupError: it is too much.
            SupervisorError: it can't be read; then `target` holds an unknown share of it.
        """
        kept = self._manager.get(name).backup(slug).part(part)
        async with self._manager.work(name, "backup_repository_fetch", reference=slug, cancellable=True) as (_, access):
            job = self._jobs.current

            def told(progress: Progress) -> None:
                tell(job, progress, kept.size)
                if heard is not None:
                    heard(progress)

            inside = target / f".{secrets.token_hex(8)}"
            await asyncio.to_thread(inside.mkdir, mode=0o700)
            try:
                bounded = await _bounded(told, target, kept.size, most)
                await self._engine.restore(access, kept.snapshot, list(kept.roots.values()), inside, bounded)
                await asyncio.to_thread(bounded.check_restored, inside)
                own = await asyncio.to_thread(_arrange, kept, inside, target)
            finally:
                await asyncio.shield(asyncio.to_thread(remove_tree, inside))
            rules = rules_of(part)
            if left_out := await asyncio.to_thread(subdue, target, rules):
                _LOGGER.warning("%s: %d of what backup %s holds of it is left out", part, left_out, slug)
            if own is not None:
                await asyncio.to_thread(_give, target, own, rules)

    async def fetch_path(self, name: str, slug: str, path: str, target: Path) -> Path:
        """Restore one file or folder (`part/path`) below the empty folder `target`; return where it is now.

        Raises:
            Invalid, NotFound: there is no such path in the backup.
            ArchiveRefused: it is, or holds, what the rules of archives forbid.
            SupervisorError: it can't be read.
        """
        backup = self._manager.get(name).backup(slug)
        kept, _, inside = backup.locate(path)
        part, within = split_path(path)
        async with self._manager.work(name, "backup_repository_fetch", reference=slug, cancellable=True) as (_, access):
            entry = await found(self._engine, access, backup, path)
            told = partial(tell, self._jobs.current, total=entry.size if entry.kind is EntryKind.FILE else None)
            bounded = await _bounded(told, target)
            await self._engine.restore(access, kept.snapshot, [inside], target, bounded)
            await asyncio.to_thread(bounded.check_restored, target)
        place = await asyncio.to_thread(_only, target, inside, within, rules_of(part))
        if place is None:
            raise BACKUP_PATH_NOT_FOUND(slug=slug, path=path)
        return place

    def of(self, name: str, slug: str) -> Browsable:
        """Return a backup for those who don't care which kind it is of."""
        return KeptFiles(self, name, slug)

    async def restore_path(self, name: str, slug: str, path: str) -> None:
        """Put one file or folder (`part/path`) back to where it was saved from; what is there now is replaced.

        Raises:
            Invalid, NotFound: there is no such path in the backup, or nothing to put it back into.
            SupervisorError: it can't be read or written.
        """
        self._manager.get(name).backup(slug).locate(path)
        live_place(self._paths, path)
        async with self._jobs.run("backup_repository_restore", reference=slug, cancellable=True):
            await restore_path(self.of(name, slug), path, self._paths, self._paths.tmp / "repositories")

    async def entries(self, name: str, slug: str, path: str) -> list[Entry]:
        """List a folder (`part/path`) of a backup; the paths of the entries begin with the part's name, too.

        Raises:
            Invalid, NotFound: there is no such path in the backup.
            SupervisorError: the repository can't be read.
        """
        repository = self._manager.get(name)
        return await listed(self._engine, await self._manager.access(repository), repository.backup(slug), path)

    def reading(self, name: str, slug: str, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give the content of a file in a backup, or of a folder as a tar archive.

        Raises:
            Invalid, NotFound: there is no such path in the backup.
            SupervisorError: the repository can't be read.
        """
        return self._reading(self._manager.get(name), slug, path)

    @asynccontextmanager
    async def _reading(self, repository: Repository, slug: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        backup = repository.backup(slug)
        kept, _, inside = backup.locate(path)
        access = await self._manager.access(repository)
        entry = await found(self._engine, access, backup, path)
        if entry.kind not in (EntryKind.FILE, EntryKind.FOLDER):
            raise Invalid(f"{path} is a {entry.kind}, no file or folder")
        async with self._engine.read(access, kept.snapshot, inside) as blocks:
            if entry.kind is EntryKind.FILE:
                yield blocks
            else:
                part, within = split_path(path)
                own = path.rstrip("/").rpartition("/")[2]
                yield renamed(
                    blocks, partial(_own_name, inside.strip("/"), own), rules_of(part), partial(_in_part, within)
                )


@attrs.frozen
class KeptFiles:
    """A backup in a repository, as `Browsable`."""

    _contents: RepositoryContents
    _name: str
    _slug: str

    async def entries(self, path: str) -> list[Entry]:
        return await self._contents.entries(self._name, self._slug, path)

    def reading(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._contents.reading(self._name, self._slug, path)

    async def fetch_path(self, path: str, target: Path) -> Path:
        return await self._contents.fetch_path(self._name, self._slug, path, target)


def _own_name(base: str, own: str, name: str) -> str:
    """Return the name in an archive of the folder `own` for what the engine calls by its whole path."""
    name = name.strip("/")
    if name != base and not name.startswith(f"{base}/"):
        raise BackupError(f"The engine gave {name}, which nobody asked for")
    return own + name.removeprefix(base)


def _in_part(within: str, name: str) -> tuple[str, ...]:
    """Return where in its part something lies that has this name in an archive of the folder `within`."""
    parts = parts_of(name)
    return (*within.split("/")[:-1], *parts) if within else parts[1:]


def tell(job: Job | None, progress: Progress, total: int | None = None) -> None:
    """Put the engine's progress into a job; `total` bytes count where the engine does not know."""
    total = progress.total or total
    if job is not None:
        percent = 100 * progress.done / total if total else None
        job.update(progress=percent, extra={"current": progress.done, "total": total})


@attrs.frozen
class _Bounded:
    """Hears of a restore, and ends it before it takes more than `room` bytes."""

    _told: OnProgress
    _room: int

    def __call__(self, progress: Progress) -> None:
        self.check(progress.done)
        self._told(progress)

    def check(self, size: int) -> None:
        """Raise BackupError when that is too much."""
        if size > self._room:
            raise BackupError("not enough space is left")

    def check_restored(self, folder: Path) -> None:
        """Check what is there now: a quick engine has come to its end before anybody heard how far it is. Blocking."""
        self.check(taken(folder))


async def _bounded(told: OnProgress, target: Path, size: int = 0, most: int | None = None) -> _Bounded:
    """Have a restore of `size` bytes into `target` end before the disk is full: a repository may tell lies."""
    free = await asyncio.to_thread(lambda: shutil.disk_usage(target).free)
    room = max(0, free - RESERVE)
    bounded = _Bounded(told, room if most is None else min(most, room))
    bounded.check(size)
    return bounded


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _place(restored: Path, path: str) -> Path:
    """Return where the engine put what has this path in the snapshot.

    Somebody else may have written the repository: a link on the way there is not followed.
    """
    place = restored / path.lstrip("/")
    if place.parent.resolve() != (restored.resolve() / path.lstrip("/")).parent:
        raise BackupError(f"{path} in the backup lies behind a link")
    return place


def _only(target: Path, path: str, within: str, rules: Rules) -> Path | None:
    """Bring the only thing that was restored under the rules; `within` is its path in its part. Blocking."""
    found = _place(target, path)
    if not _is_there(found):
        return None
    if within:
        subdue(found.parent, rules, inside=tuple(within.split("/"))[:-1])
    else:
        subdue(found, rules)
    return found if _is_there(found) else None


def _arrange(kept: KeptPart, inside: Path, target: Path) -> os.stat_result | None:
    """Move what was restored under its absolute paths to where the part has it; return what the part's own root was.

    Blocking.
    """
    own = None
    places = {name: _place(inside, path) for name, path in kept.roots.items()}
    # The part's own content first: what has a name of its own lies in the same folder.
    for name, source in sorted(places.items(), key=lambda pair: pair[0] != HERE):
        if not _is_there(source):
            continue
        if name != HERE:
            source.rename(target / name)
            continue
        own = source.lstat()
        if not stat.S_ISDIR(own.st_mode):
            raise BackupError(f"{kept.roots[name]} in the backup is no folder")
        for entry in sorted(source.iterdir()):
            entry.rename(target / entry.name)
    return own


def _give(folder: Path, wanted: os.stat_result, rules: Rules) -> None:
    """Give the folder the owner, the mode and the times of another one. Blocking."""
    os.chown(folder, wanted.st_uid, wanted.st_gid)
    folder.chmod(rules.mode(Member(".", Kind.FOLDER, mode=stat.S_IMODE(wanted.st_mode))))
    os.utime(folder, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))
