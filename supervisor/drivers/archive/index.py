"""An index of one inner archive, kept beside it: what is in it and where, so that a file is got without reading all.

It holds the names of files, so that of an encrypted archive is encrypted with the same password. Beside the members
it has a checksum of each block of the tar stream: what is picked out is compared with what was there when the whole
was checked. Where our own writer made the archive, each block can be inflated alone, and the index knows where it is.
"""

from __future__ import annotations

import os
import secrets
import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs
from isal import isal_zlib

from supervisor.drivers.archive.cipher import StreamEncryptor, decrypted
from supervisor.drivers.archive.deflate import BLOCK, Deflated
from supervisor.drivers.archive.inflate import inflated
from supervisor.drivers.archive.keys import STREAM_HEADER_LENGTH, Keyring
from supervisor.drivers.archive.names import parts_of
from supervisor.drivers.archive.reader import Inner, OpenFile
from supervisor.drivers.archive.stream import write_all
from supervisor.drivers.archive.tar import NANOSECOND, OF_USERS, Kind, Member
from supervisor.errors import ArchiveDamaged, BackupError

# Half a million files; whoever has more in one part waits for the whole to be read, as for the first look.
MAX_SIZE: Final = 16 * 1024 * 1024
_HEAD = struct.Struct("<8sQQ")
_MAGIC: Final = b"parts\0\0\3"
_ROW = struct.Struct("<BHIIqIQQHII")
_ATTRIBUTE = struct.Struct("<II")
_COUNTS = struct.Struct("<QQQ")
_KINDS: Final = tuple(Kind)
_PENDING: Final = 256 * 1024
_GZIP: Final = 31

Row = tuple[Member, tuple[str, ...], int]


@attrs.define
class Table:
    """The blocks of the tar stream, each of a MiB but the last one: their checksums, and where they lie.

    `offsets` are those in the compressed stream, with one more for its end; empty where no block can be read alone.
    `seals` is what decrypting a chunk needs to know of those before it, eight bytes of each.
    """

    checksums: array[int] = attrs.field(factory=lambda: array("I"))
    offsets: array[int] = attrs.field(factory=lambda: array("Q"))
    seals: bytes = b""

    def packed(self) -> bytes:
        counts = _COUNTS.pack(len(self.checksums), len(self.offsets), len(self.seals))
        return counts + self.checksums.tobytes() + self.offsets.tobytes() + self.seals

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        if len(data) < _COUNTS.size:
            raise ArchiveDamaged("The index has no table of blocks")
        checksums, offsets, seals = _COUNTS.unpack_from(data)
        middle = _COUNTS.size + 4 * checksums
        end = middle + 8 * offsets
        if len(data) != end + seals or offsets not in (0, checksums + 1):
            raise ArchiveDamaged("The index has another size than it tells")
        return cls(array("I", data[_COUNTS.size : middle]), array("Q", data[middle:end]), data[end:])


class _Sink:
    """One section of the file: compressed, and encrypted where there is a password."""

    def __init__(self, descriptor: int, keyring: Keyring | None) -> None:
        self._descriptor = descriptor
        self._compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP)
        self._encryptor = StreamEncryptor(keyring) if keyring is not None else None
        self._start = os.lseek(descriptor, 0, os.SEEK_CUR)
        self.size = 0
        if keyring is not None:
            self._put(bytes(STREAM_HEADER_LENGTH))

    def write(self, data: bytes | bytearray) -> None:
        self._seal(self._compressor.compress(data))

    def finish(self) -> int:
        """Return how many bytes it takes."""
        self._seal(self._compressor.flush())
        if self._encryptor is not None:
            self._put(self._encryptor.finish())
            os.pwrite(self._descriptor, self._encryptor.header, self._start)
        return self.size

    def _seal(self, data: bytes) -> None:
        self._put(self._encryptor.update(data) if self._encryptor is not None else data)

    def _put(self, data: bytes) -> None:
        self.size += write_all(self._descriptor, (data,)) if data else 0


class IndexWriter:
    """Writes an index to a new file in `folder`. As a context it removes what is not finished, or is too large.

    That it can't be written is nobody's misfortune: it then says so by `path`, which is None, and raises nothing.
    """

    def __init__(self, folder: Path, keyring: Keyring | None, limit: int = MAX_SIZE) -> None:
        self._draft = folder / f".{secrets.token_hex(8)}"
        self._keyring = keyring
        self._limit = limit
        self._descriptor = -1
        self._sink: _Sink | None = None
        self._pending = bytearray()
        self.path: Path | None = None

    def __enter__(self) -> Self:
        with suppress(OSError, BackupError):
            self._draft.parent.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._draft, flags, 0o600)
            os.lseek(self._descriptor, _HEAD.size, os.SEEK_SET)
            self._sink = _Sink(self._descriptor, self._keyring)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        if self.path is None:
            with suppress(OSError):
                self._draft.unlink(missing_ok=True)

    def member(self, member: Member, at: int) -> None:
        """Take down a member whose content begins at byte `at` of the tar stream."""
        if self._sink is None:
            return
        name = "/".join(parts_of(member.name)).encode("utf-8", "surrogateescape")
        link = member.link.encode("utf-8", "surrogateescape")
        more = _packed(member.attributes)
        seconds, fraction = divmod(member.mtime, NANOSECOND)
        looks = (member.mode, member.uid, member.gid, seconds, fraction, member.size)
        row = _ROW.pack(_KINDS.index(member.kind), *looks, at, len(name), len(link), len(more))
        self._pending += row + name + link + more
        if len(self._pending) >= _PENDING:
            self._flush(self._sink)

    def finish(self, table: Table) -> None:
        """Be whole."""
        if self._sink is None:
            return
        sink = self._sink
        if not self._flush(sink):
            return
        try:
            rows = sink.finish()
            blocks = _Sink(self._descriptor, self._keyring)
            blocks.write(table.packed())
            os.pwrite(self._descriptor, _HEAD.pack(_MAGIC, rows, blocks.finish()), 0)
        except (OSError, BackupError):
            return
        self.path = self._draft

    def _flush(self, sink: _Sink) -> bool:
        """Tell whether there is still an index to be written."""
        try:
            sink.write(self._pending)
        except BackupError:
            self._sink = None
        self._pending.clear()
        if sink.size > self._limit:
            self._sink = None
        return self._sink is not None


class BlockNotes:
    """Takes down the blocks that our own writer makes."""

    def __init__(self) -> None:
        self._table = Table()
        self._end = 0

    def block(self, block: Deflated, start: int) -> None:
        """Note a block and where its bytes begin in the stream before encryption."""
        self._table.checksums.append(block.checksum)
        self._table.offsets.append(start)
        self._end = start + sum(len(piece) for piece in block.pieces)

    def table(self, seals: bytes) -> Table:
        """Return all of them; `seals` are those of the encryption, if it has any."""
        self._table.offsets.append(self._end)
        return attrs.evolve(self._table, seals=seals)


class Recorder:
    """Makes an index while an archive is read from front to back; the blocks of strangers can't be read alone."""

    def __init__(self, index: IndexWriter) -> None:
        self._index = index
        self._table = Table()
        self._checksum = self._filled = 0
        self.member = index.member

    def feed(self, piece: bytes | memoryview) -> None:
        """Take note of what comes next in the tar stream."""
        view = memoryview(piece)
        while view:
            taken = view[: BLOCK - self._filled]
            self._checksum = isal_zlib.crc32(taken, self._checksum)
            self._filled += len(taken)
            view = view[len(taken) :]
            if self._filled == BLOCK:
                self._end_block()

    def finish(self) -> None:
        """Be whole; only to be called when the archive was found to be whole."""
        if self._filled:
            self._end_block()
        self._index.finish(self._table)

    def _end_block(self) -> None:
        self._table.checksums.append(self._checksum)
        self._checksum = self._filled = 0


class Index(OpenFile):
    """An index that was written before. Use it as a context; several threads may read at a time.

    Raises (entering):
        OSError, BackupError: it is none, is damaged or was encrypted with another password.
    """

    def __init__(self, path: Path, keyring: Keyring | None) -> None:
        super().__init__(path)
        self._keyring = keyring
        self._rows_size = 0
        self.table = Table()

    def _begin(self) -> None:
        head = os.pread(self._descriptor, _HEAD.size, 0)
        if len(head) < _HEAD.size:
            raise ArchiveDamaged("The index is cut off")
        magic, self._rows_size, blocks = _HEAD.unpack(head)
        if magic != _MAGIC or os.fstat(self._descriptor).st_size != _HEAD.size + self._rows_size + blocks:
            raise ArchiveDamaged("This is no index, or it is cut off")
        self.table = Table.unpacked(b"".join(self._section(_HEAD.size + self._rows_size, blocks)))
        # Nobody who reads it later has to wonder whether it is whole.
        for _ in self._section(_HEAD.size, self._rows_size):
            pass

    def _section(self, offset: int, size: int) -> Iterator[bytes]:
        part = Inner(self._path.name, offset, size, self._descriptor)
        chunks = part.chunks() if self._keyring is None else decrypted(part, self._keyring)[1]
        return inflated(chunks, checked=True)

    def rows(self) -> Iterator[Row]:
        """Yield each member, its path, and where in the tar stream its content begins."""
        rest = b""
        for piece in self._section(_HEAD.size, self._rows_size):
            data = rest + piece
            at = 0
            while len(data) - at >= _ROW.size:
                kind, *numbers, start, name_size, link_size, more_size = _ROW.unpack_from(data, at)
                name_at = at + _ROW.size
                link_at = name_at + name_size
                more_at = link_at + link_size
                if len(data) < more_at + more_size:
                    break
                at = more_at + more_size
                name = data[name_at:link_at].decode("utf-8", "surrogateescape")
                member = _member(name, kind, numbers, data[link_at:more_at])
                if more_size:
                    member = attrs.evolve(member, attributes=tuple(_unpacked(data[more_at:at])))
                yield member, tuple(name.split("/")) if name else (), start
            rest = data[at:]


def _member(name: str, kind: int, numbers: list[int], link: bytes) -> Member:
    mode, uid, gid, seconds, fraction, size = numbers
    mtime = seconds * NANOSECOND + fraction
    return Member(name or ".", _KINDS[kind], size, mode, uid, gid, mtime, link.decode("utf-8", "surrogateescape"))


def _packed(attributes: tuple[tuple[str, bytes], ...]) -> bytes:
    pieces = [(key.encode("utf-8", "surrogateescape"), value) for key, value in attributes]
    return b"".join(_ATTRIBUTE.pack(len(key), len(value)) + key + value for key, value in pieces)


def _unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        key_size, value_size = _ATTRIBUTE.unpack_from(data, at)
        key_at = at + _ATTRIBUTE.size
        value_at = key_at + key_size
        at = value_at + value_size
        key = data[key_at:value_at].decode("utf-8", "surrogateescape")
        if key.startswith(OF_USERS):
            yield key, data[value_at:at]
