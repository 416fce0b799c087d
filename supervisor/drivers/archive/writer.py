"""The outer archive, written (backup contract §2): inner archives one after the other, the metadata last."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs

from supervisor.drivers.archive.cipher import Encryptor, LegacyEncryptor, StreamEncryptor
from supervisor.drivers.archive.content import Content, Packed, Packer
from supervisor.drivers.archive.index import BlockNotes, IndexWriter
from supervisor.drivers.archive.keys import SALT_LENGTH, Keyring
from supervisor.drivers.archive.stream import BlockWriter, workers, write_all
from supervisor.drivers.archive.tar import end_mark, padded
from supervisor.drivers.archive.work import Work
from supervisor.errors import BackupFatalIOError

METADATA: Final = "./backup.json"


class Encryption(Enum):
    """The versions that can be written; version 1 is only read."""

    AES = 2
    SECRETSTREAM = 3


@attrs.frozen
class Written:
    """One inner archive: plain bytes of its tar stream, bytes it takes in the outer archive."""

    plain: int
    stored: int
    packed: Packed


class ArchiveWriter:
    """Writes to a new file at `path`; nothing that exists is touched.

    All inner archives are compressed or none is, and share the password. Use it as a context and call `finish` as the
    last thing; without that the file is removed. One thread at a time.

    Raises:
        FileExistsError, PermissionError, OSError: of the context, the file can't be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        compressed: bool,
        password: str | None = None,
        encryption: Encryption = Encryption.SECRETSTREAM,
    ) -> None:
        """Encrypt with `password`; an empty one counts as none."""
        self._path = path
        self._compressed = compressed
        self._keyring = Keyring(password) if password else None
        self._encryption = encryption
        self._descriptor = -1
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0
        self._finished = False

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        if self._compressed:
            self._pool = ThreadPoolExecutor(workers(), thread_name_prefix="backup-deflate")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        os.close(self._descriptor)
        if not self._finished:
            # A disk that is gone can't hide why the archive was given up.
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    @property
    def keyring(self) -> Keyring | None:
        """What it encrypts with."""
        return self._keyring

    def add(self, name: str, contents: Iterable[Content], work: Work, index: IndexWriter | None = None) -> Written:
        """Write the inner archive `name` (its ending tells `compressed`), and its index where one is wanted.

        After an error it was never there.

        Raises:
            SourceUnreadable: something of the contents can't be read.
            BackupFatalIOError: the disk refused; no more can be written.
            Stopped: the work was told to stop.
        """
        start = self._size
        info = tarfile.TarInfo(name)
        # A time with a fraction makes an extended header, which has room for a size beyond 8 GiB.
        info.mtime = time.time()
        encryptor = self._encryptor()
        notes, heard = (None, None) if index is None else (BlockNotes(), index.member)
        try:
            head = _header(info)
            write_all(self._descriptor, (head,))
            with BlockWriter(
                self._descriptor, self._pool, encryptor, notes.block if notes is not None else None
            ) as out:
                packer = Packer(out, work, heard)
                for content in contents:
                    packer.add(content)
                out.write(end_mark(out.plain))
            info.size = out.stored
            write_all(self._descriptor, (bytes(padded(out.stored) - out.stored),))
            # The size takes the place that was left for it: the extended header has a block of its own either way.
            self._put(start, _header(info) + (encryptor.header if encryptor is not None else b""))
        except BaseException:
            self._forget(start)
            raise
        self._size = start + len(head) + padded(out.stored)
        if index is not None and notes is not None:
            index.finish(notes.table(encryptor.seals if encryptor is not None else b""))
        return Written(out.plain, out.stored, packer.packed)

    def finish(self, metadata: bytes) -> int:
        """Write the metadata and the end, and make sure that all is on the disk; return the size of the archive."""
        info = tarfile.TarInfo(METADATA)
        info.size = len(metadata)
        info.mtime = int(time.time())
        pieces = (_header(info), metadata, bytes(padded(len(metadata)) - len(metadata)))
        self._size += write_all(self._descriptor, pieces)
        self._size += write_all(self._descriptor, (end_mark(self._size),))
        try:
            os.fsync(self._descriptor)
        except OSError as err:
            raise BackupFatalIOError(f"The backup can't be written: {err.strerror}") from err
        self._finished = True
        return self._size

    def _encryptor(self) -> Encryptor | None:
        if self._keyring is None:
            return None
        if self._encryption is Encryption.AES:
            return LegacyEncryptor(self._keyring, os.urandom(SALT_LENGTH))
        return StreamEncryptor(self._keyring)

    def _put(self, offset: int, content: bytes) -> None:
        try:
            if os.pwrite(self._descriptor, content, offset) != len(content):
                raise BackupFatalIOError("The backup can't be written: the disk took only a part")
        except OSError as err:
            raise BackupFatalIOError(f"The backup can't be written: {err.strerror}") from err

    def _forget(self, start: int) -> None:
        try:
            os.ftruncate(self._descriptor, start)
            os.lseek(self._descriptor, start, os.SEEK_SET)
        except OSError as err:
            raise BackupFatalIOError(f"The backup can't be written: {err.strerror}") from err


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
