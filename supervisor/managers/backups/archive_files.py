"""Single files of a backup that is an archive: what its parts hold (backup contract §2-§5)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs

from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader, Inner
from supervisor.drivers.archive.rules import ForeignLinks, Rules
from supervisor.drivers.archive.selection import content, listed
from supervisor.drivers.archive.tar import NANOSECOND, Kind, Member
from supervisor.drivers.archive.unpack import unpack_path
from supervisor.drivers.archive.walk import Look
from supervisor.drivers.archive.work import Work, in_thread, opened
from supervisor.drivers.snapshot_engine import Entry, EntryKind
from supervisor.errors import (
    BACKUP_PART_NOT_FOUND,
    BACKUP_PATH_NOT_FOUND,
    BackupError,
    BackupFileNotFoundError,
    NotFound,
)
from supervisor.jobs import Job, JobManager

from .backup import Backup, Copy
from .browsing import split_path
from .indexes import Indexes
from .metadata import FOLDERS
from .opening import NOT_OPENED, check_opens
from .progress import ByteProgress

_KINDS: Final = {
    Kind.FILE: EntryKind.FILE,
    Kind.HARDLINK: EntryKind.FILE,
    Kind.FOLDER: EntryKind.FOLDER,
    Kind.SYMLINK: EntryKind.LINK,
}
_SHARED: Final = frozenset(folder.replace("/", "_") for folder in FOLDERS)


def rules_of(part: str) -> Rules:
    """Return what an archive may do that holds this part.

    Several add-ons see the shared folders, each at another place: what leads out of them helps nobody.
    """
    return Rules(links=ForeignLinks.LEAVE_OUT if part in _SHARED else ForeignLinks.KEEP)


@attrs.frozen
class _Wanted:
    """A path in a part of an archive that is open. `name` is what its last step is called."""

    part: str
    inner: Inner
    path: tuple[str, ...]
    name: str


@attrs.frozen
class ArchiveFiles:
    """One copy of a backup, as `Browsable`. `vanished` is told when its file is not there; `room` answers in bytes."""

    _backup: Backup
    _copy: Copy
    _keyring: Keyring | None
    _indexes: Indexes
    _jobs: JobManager
    _room: Callable[[], Awaitable[int]]
    _vanished: Callable[[], Awaitable[None]]

    async def entries(self, path: str) -> list[Entry]:
        """List a folder; without an index that takes reading its whole part, which then has one.

        The parts themselves are listed without a password.
        """
        if not path.strip("/"):
            async with self._open() as archive:
                return self._parts(archive)
        async with self._working("backup_manager_browse", path) as (job, wanted):
            work = ByteProgress(job, wanted.inner.size).work()
            return await in_thread(work, lambda: self._listed(wanted, work))

    def _listed(self, wanted: _Wanted, work: Work) -> list[Entry]:
        """Blocking."""
        with self._look(wanted, work) as look:
            found = listed(look, wanted.path)
        base = "/".join((wanted.part, *wanted.path))
        if isinstance(found, Member):
            return [_entry(base, found)]
        return [_entry(f"{base}/{name}", member) for name, member in sorted(found.items())]

    def reading(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._reading(path)

    @asynccontextmanager
    async def _reading(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._working("backup_manager_read", path) as (job, wanted):
            work = ByteProgress(job, wanted.inner.size).work()
            async with opened(self._look(wanted, work)) as look:
                pieces = content(look, wanted.path, wanted.name, rules_of(wanted.part))
                async with opened(closing(pieces)):
                    yield _blocks(pieces, work)

    async def fetch_path(self, path: str, target: Path) -> Path:
        async with self._working("backup_manager_fetch", path) as (job, wanted):
            work = ByteProgress(job, wanted.inner.size).work()
            room = await self._room()
            return await in_thread(work, lambda: self._unpacked(wanted, target, work, room))

    def _unpacked(self, wanted: _Wanted, target: Path, work: Work, room: int) -> Path:
        """Blocking."""
        with self._look(wanted, work) as look:
            return unpack_path(look, wanted.path, target, rules_of(wanted.part), room=room)

    def _look(self, wanted: _Wanted, work: Work) -> AbstractContextManager[Look]:
        rules = rules_of(wanted.part)
        return self._indexes.look(self._copy.path, self._backup.slug, wanted.inner, self._keyring, rules, work)

    @asynccontextmanager
    async def _working(self, name: str, path: str) -> AsyncIterator[tuple[Job, _Wanted]]:
        """Be a job that reads `path`.

        Raises:
            Invalid, NotFound: there is no such path.
            BackupInvalidError: the password is another one.
            BackupError: the part can't be read.
        """
        split_path(path)
        async with self._jobs.run(name, reference=self._backup.slug, cancellable=True) as job, self._open() as archive:
            wanted = self._wanted(archive, path)
            if wanted.inner in await asyncio.to_thread(check_opens, self._backup, archive, self._keyring):
                raise BackupError(f"{wanted.part} {NOT_OPENED}")
            job.validated()
            try:
                yield job, wanted
            except NotFound as err:
                if err.key is not None:
                    raise
                raise BACKUP_PATH_NOT_FOUND(slug=self._backup.slug, path=path) from None
            except OSError as err:
                why = f"can't be read from backup {self._backup.slug}: {err.strerror}"
                raise BackupError(f"{path} {why}", unnamed=f"What was asked for {why}") from err

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[ArchiveReader]:
        async with AsyncExitStack() as stack:
            try:
                archive = await stack.enter_async_context(opened(ArchiveReader(self._copy.path)))
            except NotFound:
                await self._vanished()
                raise BackupFileNotFoundError(
                    f"The file of backup {self._backup.slug} at {self._copy.path} has vanished"
                ) from None
            yield archive

    def _parts(self, archive: ArchiveReader) -> list[Entry]:
        moment = self._backup.metadata.moment
        return [
            Entry(name, EntryKind.FOLDER, part.size, 0o755, moment)
            for name, part in sorted(self._held(archive).items())
        ]

    def _held(self, archive: ArchiveReader) -> dict[str, Inner]:
        """Return the inner archives by the names of their parts."""
        ending = self._backup.metadata.member("")
        return {
            name.removesuffix(ending): inner
            for name, inner in archive.inner.items()
            if name.endswith(ending) and "/" not in name and name != ending
        }

    def _wanted(self, archive: ArchiveReader, path: str) -> _Wanted:
        part, inner = split_path(path)
        held = self._held(archive)
        if part not in held:
            raise BACKUP_PART_NOT_FOUND(slug=self._backup.slug, part=part, parts=", ".join(sorted(held)) or "nothing")
        steps = tuple(inner.split("/")) if inner else ()
        return _Wanted(part, held[part], steps, steps[-1] if steps else part)


async def _blocks(pieces: Iterator[bytes], work: Work) -> AsyncIterator[bytes]:
    while (block := await in_thread(work, lambda: next(pieces, None))) is not None:
        yield block


def _entry(path: str, member: Member) -> Entry:
    modified = datetime.fromtimestamp(member.mtime // NANOSECOND, UTC)
    size = member.size if member.kind in (Kind.FILE, Kind.HARDLINK) else 0
    # Names may be made of any bytes; an answer is text.
    return Entry(os.fsencode(path).decode(errors="replace"), _KINDS[member.kind], size, member.mode, modified)
