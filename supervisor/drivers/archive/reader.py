"""The outer archive, read (backup contract §2, §3): what is in it, its metadata, and its inner archives as streams."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs

from supervisor.drivers.archive.ahead import Ahead
from supervisor.drivers.archive.cipher import decrypted
from supervisor.drivers.archive.inflate import MAGIC as GZIP
from supervisor.drivers.archive.inflate import inflated
from supervisor.drivers.archive.keys import MAGIC as ENCRYPTED
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.names import parts_of, shown
from supervisor.drivers.archive.tar import BLOCK, Kind, begins, members, padded
from supervisor.drivers.archive.work import Work
from supervisor.errors import ArchiveDamaged, ArchiveRefused, BackupError, NotFound, WrongPassword

METADATA: Final = ("snapshot.json", "backup.json")
# Ten thousand add-ons fit; read, it takes many times as much memory.
MAX_METADATA: Final = 2 * 1024 * 1024
MAX_MEMBERS: Final = 10_000
_READ: Final = 1024 * 1024


class _Cursor:
    """Goes through a file of known size from front to back."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.at = 0
        self.size = size

    def take(self, size: int) -> bytes:
        content = _read_at(self._descriptor, self.at, min(size, self.size - self.at))
        self.at += len(content)
        return content

    def skip(self, size: int) -> None:
        if size > self.size - self.at:
            raise ArchiveDamaged("The archive is cut off")
        self.at += size


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Read exactly `size` bytes."""
    content = b""
    try:
        while len(content) < size:
            piece = os.pread(descriptor, size - len(content), offset + len(content))
            if not piece:
                raise ArchiveDamaged("The archive became shorter while it was read")
            content = content + piece if content else piece
    except OSError as err:
        raise BackupError(f"The backup can't be read: {err.strerror}") from err
    return content


@attrs.frozen
class Inner:
    """An inner archive, or whatever else lies in the outer one: a part of its file. `work` counts what is read."""

    name: str
    offset: int
    size: int
    descriptor: int = attrs.field(repr=False)
    work: Work | None = None

    def read_at(self, offset: int, size: int) -> bytes:
        """Read from the part; fewer bytes at its end. Raises ArchiveDamaged, BackupError, Stopped."""
        content = _read_at(self.descriptor, self.offset + offset, max(0, min(size, self.size - offset)))
        if self.work is not None:
            self.work.advance(len(content))
        return content

    def chunks(self) -> Iterator[bytes]:
        at = 0
        while at < self.size:
            chunk = self.read_at(at, _READ)
            at += len(chunk)
            yield chunk


class OpenFile:
    """A file that is open as long as the context is; `_begin` reads what is to be known at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._begin()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)

    def _begin(self) -> None:
        raise NotImplementedError


class ArchiveReader(OpenFile):
    """Reads the file at `path`. Use it as a context; several threads may read at a time.

    Raises (entering):
        NotFound: there is no such file.
        BackupError: it can't be read, or is no plain file.
        ArchiveDamaged, ArchiveRefused: it is no outer archive, is cut off, or holds what none does.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._members: dict[str, Inner] = {}

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except FileNotFoundError:
            raise NotFound(f"There is no file {self._path.name}") from None
        except OSError as err:
            raise BackupError(f"{self._path.name} can't be read: {err.strerror}") from err

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    @property
    def members(self) -> Mapping[str, Inner]:
        """Everything in the archive, by name without a leading `./`."""
        return self._members

    @property
    def inner(self) -> Mapping[str, Inner]:
        """The inner archives."""
        return {name: part for name, part in self._members.items() if name.endswith((".tar", ".tar.gz"))}

    def metadata(self) -> bytes:
        """Return the text that describes the backup.

        Raises:
            ArchiveDamaged: there is none.
        """
        for name in METADATA:
            if (part := self._members.get(name)) is not None:
                if part.size > MAX_METADATA:
                    raise ArchiveRefused(f"{name} is larger than any description of a backup")
                return part.read_at(0, part.size)
        raise ArchiveDamaged("The archive is no backup: there is no backup.json in it")

    def _begin(self) -> None:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BackupError(f"{self._path.name} is no file")
        if not begins(_read_at(self._descriptor, 0, min(BLOCK, status.st_size))):
            raise ArchiveDamaged("The file is no backup archive")
        cursor = _Cursor(self._descriptor, status.st_size)
        for member in members(cursor):
            name = "/".join(parts_of(member.name))
            if member.kind not in (Kind.FILE, Kind.FOLDER):
                raise ArchiveRefused(f"{shown(member.name)}: a {member.kind.value} in a backup")
            if member.kind is Kind.FOLDER:
                continue
            if name in self._members:
                raise ArchiveRefused(f"{shown(name)} is in the archive twice")
            if len(self._members) >= MAX_MEMBERS:
                raise ArchiveRefused(f"The archive holds more than {MAX_MEMBERS} members")
            self._members[name] = Inner(name, cursor.at, member.size, self._descriptor)
            cursor.skip(padded(member.size))


@contextmanager
def plain_stream(part: Inner, keyring: Keyring | None, work: Work) -> Iterator[Iterator[bytes]]:
    """Open an inner archive: its tar stream in pieces, decrypted and inflated ahead of the reader by other threads.

    What `work` counts are the bytes of the inner archive itself: how many those are is known beforehand.

    Raises:
        WrongPassword: it does not open with this password; it is encrypted and there is none; or the other way round.
        ArchiveDamaged: at once or while reading.
        Stopped: the work was told to stop.
    """
    with ExitStack() as stack:
        version, chunks = open_chunks(attrs.evolve(part, work=work), keyring)
        stream = stack.enter_context(Ahead(chunks, "backup-decrypt"))
        if part.name.endswith(".gz"):
            stream = stack.enter_context(Ahead(inflated(stream, checked=version != 1), "backup-inflate"))
        yield stream


def open_chunks(part: Inner, keyring: Keyring | None) -> tuple[int, Iterator[bytes]]:
    """Return the encryption version, 0 for none, and the decrypted bytes of an inner archive."""
    start = part.read_at(0, 512)
    plain = start.startswith(GZIP) or start[257:262] == b"ustar" or not any(start)
    if keyring is None:
        if start.startswith(ENCRYPTED):
            raise WrongPassword("The backup is encrypted; a password is needed")
        if not plain:
            # Without the magic it is version 1, or rubbish: nobody can tell.
            raise WrongPassword("The backup is damaged, or encrypted and a password is needed")
        return 0, part.chunks()
    if plain and not start.startswith(ENCRYPTED):
        raise WrongPassword("The backup is not encrypted, there is no password for it")
    return decrypted(part, keyring)


def check_password(part: Inner, keyring: Keyring | None) -> None:
    """Tell whether an inner archive opens with this password, reading only its first bytes.

    Raises:
        WrongPassword, ArchiveDamaged: as `plain_stream`.
    """
    open_chunks(part, keyring)
