"""What is in the backups of a repository: walked through, read, and restored."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import attrs

from supervisor.drivers.folder import remove_tree
from supervisor.drivers.snapshot_engine import Entry, Progress, SnapshotEngine
from supervisor.errors import BackupError, NotFound
from supervisor.jobs import Job, JobManager
from supervisor.paths import DataPaths

from .repositories import Repository, RepositoryManager
from .repository_backup import HERE, KeptPart, split_path
from .repository_browser import listed
from .repository_restore import live_folder, put_back


@attrs.frozen
class RepositoryContents:
    """Everything that only reads repositories."""

    _engine: SnapshotEngine
    _manager: RepositoryManager
    _jobs: JobManager
    _paths: DataPaths

    async def fetch(
        self, name: str, slug: str, part: str, target: Path, heard: Callable[[Progress], None] | None = None
    ) -> None:
        """Restore a part of a backup into the empty folder `target`, each root under its own name.

        The job of that shows how far it is; `heard` hears of it, too.

        Raises:
            NotFound: there is no such repository, backup or part.
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
                await self._engine.restore(access, kept.snapshot, list(kept.roots.values()), inside, told)
                own = await asyncio.to_thread(_arrange, kept, inside, target)
            finally:
                await asyncio.shield(asyncio.to_thread(remove_tree, inside))
            if own is not None:
                await asyncio.to_thread(_give, target, own)

    async def fetch_path(self, name: str, slug: str, path: str, target: Path) -> Path:
        """Restore one file or folder (`part/path`) below the empty folder `target`; return where it is now.

        Raises:
            Invalid, NotFound: there is no such path in the backup.
            SupervisorError: it can't be read.
        """
        kept, _, inside = self._manager.get(name).backup(slug).locate(path)
        async with self._manager.work(name, "backup_repository_fetch", reference=slug, cancellable=True) as (_, access):
            told = partial(tell, self._jobs.current)
            await self._engine.restore(access, kept.snapshot, [inside], target, told)
        found = target / inside.lstrip("/")
        if not await asyncio.to_thread(_is_there, found):
            raise NotFound(f"Backup {slug} holds no {path}")
        return found

    async def restore_path(self, name: str, slug: str, path: str) -> None:
        """Put one file or folder (`part/path`) back to where it was saved from; what is there now is replaced.

        Raises:
            Invalid, NotFound: there is no such path in the backup, or nothing to put it back into.
            SupervisorError: it can't be read or written.
        """
        part, inner = split_path(path)
        _, root, _ = self._manager.get(name).backup(slug).locate(path)
        folder = live_folder(self._paths, part, root)
        async with self._jobs.run("backup_repository_restore", reference=slug, cancellable=True):
            room = self._paths.tmp / "repositories" / secrets.token_hex(8)
            await asyncio.to_thread(_make_rooms, room)
            try:
                found = await self.fetch_path(name, slug, path, room / "restored")
                below = inner if root == HERE else inner.partition("/")[2]
                await asyncio.to_thread(put_back, found, folder, below, room / "replaced")
            finally:
                await asyncio.shield(asyncio.to_thread(remove_tree, room))

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
        kept, _, inside = repository.backup(slug).locate(path)
        access = await self._manager.access(repository)
        async with self._engine.read(access, kept.snapshot, inside) as blocks:
            yield blocks


def tell(job: Job | None, progress: Progress, total: int | None = None) -> None:
    """Put the engine's progress into a job; `total` bytes count where the engine does not know."""
    total = progress.total or total
    if job is not None:
        percent = 100 * progress.done / total if total else None
        job.update(progress=percent, extra={"current": progress.done, "total": total})


def _make_rooms(room: Path) -> None:
    room.mkdir(mode=0o700, parents=True)
    (room / "restored").mkdir(mode=0o700)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _arrange(kept: KeptPart, inside: Path, target: Path) -> os.stat_result | None:
    """Move what was restored under its absolute paths to where the part has it; return what the part's own root was.

    Blocking.
    """
    own = None
    # The part's own content first: what has a name of its own lies in the same folder.
    for name in sorted(kept.roots, key=lambda name: name != HERE):
        source = inside / kept.roots[name].lstrip("/")
        if not _is_there(source):
            continue
        if name != HERE:
            source.rename(target / name)
            continue
        if source.resolve() != inside.resolve() / kept.roots[name].lstrip("/"):
            # Somebody else may have written the repository: a link in the place of the folder is not followed.
            raise BackupError(f"{kept.roots[name]} in the backup is a link and no folder")
        own = source.stat()
        for entry in sorted(source.iterdir()):
            entry.rename(target / entry.name)
    return own


def _give(folder: Path, wanted: os.stat_result) -> None:
    """Give the folder the owner, the mode and the times of another one. Blocking."""
    os.chown(folder, wanted.st_uid, wanted.st_gid)
    folder.chmod(stat.S_IMODE(wanted.st_mode))
    os.utime(folder, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))
