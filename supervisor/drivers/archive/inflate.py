"""Gzip streams, read in constant memory and checked to their end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from isal import igzip_lib, isal_zlib

from supervisor.errors import ArchiveDamaged, ArchiveRefused

MAGIC: Final = b"\x1f\x8b\x08"
PIECE: Final = 1024 * 1024
_FIXED_LENGTH: Final = 10
_MAX_HEADER: Final = 128 * 1024
_MAX_SMALL_MEMBERS: Final = 1000
_SMALL_MEMBER: Final = 1024
_TEXT, _CHECKSUM, _EXTRA, _NAME, _COMMENT = 1, 2, 4, 8, 16
_TRAILER = struct.Struct("<II")
# Its type stub calls the class an instance.
DAMAGE: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]


class _Feed:
    """The compressed bytes: some at hand, the rest to come."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.rest = b""

    def more(self) -> bool:
        """Add the next chunk; False at the end."""
        for chunk in self._chunks:
            self.rest += chunk
            return True
        return False

    def take(self) -> bytes:
        rest, self.rest = self.rest, b""
        return rest

    def need(self, size: int) -> bytes:
        while len(self.rest) < size:
            if not self.more():
                raise ArchiveDamaged("The compressed archive is cut off")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def text(self) -> None:
        """Pass over text that ends with a NUL."""
        while (end := self.rest.find(b"\0")) < 0:
            if len(self.rest) > _MAX_HEADER or not self.more():
                raise ArchiveDamaged("The header of the compressed archive is broken")
        self.rest = self.rest[end + 1 :]


def inflated(chunks: Iterator[bytes], *, checked: bool) -> Iterator[bytes]:
    """Yield the plain bytes in pieces of a MiB at most.

    `checked` compares the checksum and the size at the end, which archives of encryption version 1 don't have whole.

    Raises:
        ArchiveDamaged: it is cut off, altered, or no gzip stream.
        ArchiveRefused: it is in so many pieces that it could only be meant to keep us busy.
    """
    feed = _Feed(chunks)
    size = count = 0
    while True:
        _pass_header(feed)
        for piece in _member(feed, checked=checked):
            size += len(piece)
            yield piece
        if not checked:
            return
        if not _another(feed):
            return
        count += 1
        if count > _MAX_SMALL_MEMBERS and size < count * _SMALL_MEMBER:
            raise ArchiveRefused("The archive is compressed in more pieces than anything that it holds")


def _another(feed: _Feed) -> bool:
    """Tell whether one more gzip member follows; padding with zeros does not count."""
    while True:
        feed.rest = feed.rest.lstrip(b"\0")
        if feed.rest:
            return True
        if not feed.more():
            return False


def _pass_header(feed: _Feed) -> None:
    fixed = feed.need(_FIXED_LENGTH)
    if not fixed.startswith(MAGIC):
        raise ArchiveDamaged("The archive is not compressed as it should be")
    flags = fixed[3]
    if flags & _EXTRA:
        feed.need(int.from_bytes(feed.need(2), "little"))
    if flags & _NAME:
        feed.text()
    if flags & _COMMENT:
        feed.text()
    if flags & _CHECKSUM:
        feed.need(2)


def _member(feed: _Feed, *, checked: bool) -> Iterator[bytes]:
    decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    checksum = size = 0
    while not decompressor.eof:
        if decompressor.needs_input and not feed.rest and not feed.more():
            raise ArchiveDamaged("The compressed archive is cut off")
        try:
            piece = decompressor.decompress(feed.take(), PIECE)
        except DAMAGE as err:
            raise ArchiveDamaged(f"The compressed archive is damaged ({err})") from None
        if piece:
            if checked:
                checksum = isal_zlib.crc32(piece, checksum)
            size += len(piece)
            yield piece
    feed.rest = decompressor.unused_data + feed.rest
    if checked and _TRAILER.unpack(feed.need(_TRAILER.size)) != (checksum, size & 0xFFFFFFFF):
        raise ArchiveDamaged("The compressed archive does not have the checksum that it should")
