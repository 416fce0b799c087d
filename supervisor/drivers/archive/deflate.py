"""One gzip stream, made by all cores: blocks are compressed apart from each other and joined in their order.

Each block ends on a byte (a sync flush), so that the blocks are one deflate stream to every reader. What does not
shrink is stored as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import attrs
from isal import isal_zlib

BLOCK: Final = 1024 * 1024
LEVEL: Final = 2
HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_EMPTY_FINAL_BLOCK: Final = b"\x03\x00"
_STORED_MAX: Final = 65535
_SAMPLE: Final = 16 * 1024
_RAW: Final = -15

Bytes = bytes | bytearray | memoryview


@attrs.frozen
class Deflated:
    """One block: the pieces to write, and what the end of the stream needs to know of the plain bytes."""

    pieces: Sequence[Bytes]
    checksum: int
    size: int


def deflate(block: memoryview) -> Deflated:
    """Compress one block; pieces of what is stored refer to the block itself."""
    checksum = isal_zlib.crc32(block)
    if _shrinks(block):
        # Level 2 of ISA-L is about as small as gzip's 6, at ten times its speed.
        compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _RAW)
        pieces: Sequence[Bytes] = (compressor.compress(block), compressor.flush(isal_zlib.Z_SYNC_FLUSH))
        if sum(len(piece) for piece in pieces) < len(block):
            return Deflated(pieces, checksum, len(block))
    return Deflated(_stored(block), checksum, len(block))


def _shrinks(block: memoryview) -> bool:
    """Try a sample from the middle and one from the start; a block of pictures or films is told at once."""
    if len(block) <= 4 * _SAMPLE:
        return True
    middle = len(block) // 2
    samples = (block[:_SAMPLE], block[middle : middle + _SAMPLE])
    return any(len(isal_zlib.compress(sample, 1, _RAW)) < _SAMPLE - _SAMPLE // 32 for sample in samples)


def _stored(block: memoryview) -> list[Bytes]:
    pieces: list[Bytes] = []
    for start in range(0, len(block), _STORED_MAX):
        piece = block[start : start + _STORED_MAX]
        pieces.append(struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF))
        pieces.append(piece)
    return pieces


class Checksum:
    """Gathers what the trailer of the gzip stream says about all blocks."""

    def __init__(self) -> None:
        self._checksum = 0
        self._size = 0

    def add(self, block: Deflated) -> None:
        self._checksum = isal_zlib.crc32_combine(self._checksum, block.checksum, block.size)
        self._size += block.size

    def trailer(self) -> bytes:
        """Return the end of the stream: its last, empty block, the checksum and the size."""
        return _EMPTY_FINAL_BLOCK + struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF)
