"""A tar stream whose members get other names, and come under the rules, while it passes by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.tar import BLOCK, end_mark, extension_size, padded, rename_header
from supervisor.errors import ArchiveDamaged

_ZEROS: Final = bytes(BLOCK)
_PIECE: Final = 256 * 1024

Parts = tuple[str, ...]


class _Feed:
    """Blocks of any size, taken in sizes that are wanted."""

    def __init__(self, blocks: AsyncIterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    async def upto(self, size: int) -> bytes:
        """Return some bytes, `size` at most; none at the end."""
        while not self._rest:
            block = await anext(self._blocks, None)
            if block is None:
                return b""
            self._rest = memoryview(block)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    async def take(self, size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            piece = await self.upto(size - len(taken))
            if not piece:
                raise ArchiveDamaged("The archive is cut off")
            taken += piece
        return bytes(taken)


async def renamed(
    blocks: AsyncIterator[bytes], name: Callable[[str], str], rules: Rules, place: Callable[[str], Parts]
) -> AsyncIterator[bytes]:
    """Yield the archive with `name` of each member's name; no more than a header and a block are held.

    `place` tells where a new name lies in its part, which is what the rules go by.

    Raises:
        ArchiveDamaged: it is no tar archive.
        ArchiveRefused: it holds what the rules forbid, or is beyond measure.
    """
    feed = _Feed(blocks)
    written = 0
    pending = bytearray()
    while True:
        head = block = await feed.take(BLOCK)
        if block == _ZEROS:
            break
        while (extension := extension_size(block)) is not None:
            content = await feed.take(padded(extension))
            block = await feed.take(BLOCK)
            head += content + block
        head, member = rename_header(head, name, rules.mode)
        missing = padded(member.size)
        if not rules.allows(member, place(member.name)):
            while missing:
                missing -= len(await feed.take(min(missing, _PIECE)))
            continue
        pending += head
        while missing or len(pending) >= _PIECE:
            if len(pending) >= _PIECE:
                written += len(pending)
                yield bytes(pending)
                pending.clear()
                continue
            piece = await feed.upto(missing)
            if not piece:
                raise ArchiveDamaged("The archive is cut off in a file")
            missing -= len(piece)
            pending += piece
    # What stands behind the end mark is filling; ours comes instead. Read it must be: how it ends is told last.
    while await feed.upto(_PIECE):
        continue
    yield bytes(pending) + end_mark(written + len(pending))
