"""Chosen blocks of the tar stream in an inner archive: each is compared with the checksum that its index has of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

from isal import igzip_lib, isal_zlib

from supervisor.drivers.archive.cipher import SealedStream
from supervisor.drivers.archive.deflate import BLOCK
from supervisor.drivers.archive.index import Table
from supervisor.drivers.archive.inflate import DAMAGE
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import Inner, plain_stream
from supervisor.drivers.archive.work import Work
from supervisor.errors import ArchiveDamaged

Numbered = Generator[tuple[int, bytes], None, None]


class _Bytes(Protocol):
    def read_at(self, offset: int, size: int) -> bytes: ...


def blocks(part: Inner, keyring: Keyring | None, table: Table, numbers: Iterator[int], work: Work) -> Numbered:
    """Yield the blocks with these numbers, which only grow; nothing behind the last one is read.

    Raises:
        WrongPassword, ArchiveDamaged, Stopped: as `plain_stream`.
    """
    if table.offsets and (keyring is None or table.seals):
        yield from _jumping(part, keyring, table, numbers)
    else:
        yield from _in_turn(part, keyring, table, numbers, work)


def _jumping(part: Inner, keyring: Keyring | None, table: Table, numbers: Iterator[int]) -> Numbered:
    source: _Bytes = part if keyring is None else SealedStream(part, keyring, table.seals)
    compressed = part.name.endswith(".gz")
    for number in numbers:
        _known(table, number)
        start, end = table.offsets[number], table.offsets[number + 1]
        block = source.read_at(start, end - start)
        if compressed:
            try:
                block = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE).decompress(block, BLOCK)
            except DAMAGE as err:
                raise ArchiveDamaged(f"The compressed archive is damaged ({err})") from None
        yield number, _checked(table, number, block)


def _in_turn(part: Inner, keyring: Keyring | None, table: Table, numbers: Iterator[int], work: Work) -> Numbered:
    wanted = next(numbers, None)
    if wanted is None:
        return
    number, pending = 0, bytearray()
    with plain_stream(part, keyring, work) as pieces:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                taken = view[: BLOCK - len(pending)]
                pending += taken
                view = view[len(taken) :]
                if len(pending) < BLOCK:
                    continue
                if number == wanted:
                    yield number, _checked(table, number, bytes(pending))
                    if (wanted := next(numbers, None)) is None:
                        return
                pending.clear()
                number += 1
    if number != wanted:
        raise ArchiveDamaged("The archive is cut off")
    yield number, _checked(table, number, bytes(pending))


def _known(table: Table, number: int) -> None:
    if number >= len(table.checksums):
        raise ArchiveDamaged("The archive is cut off")


def _checked(table: Table, number: int, block: bytes) -> bytes:
    _known(table, number)
    if isal_zlib.crc32(block) != table.checksums[number]:
        raise ArchiveDamaged("The archive is not what it was when its index was made: it is damaged")
    return block
