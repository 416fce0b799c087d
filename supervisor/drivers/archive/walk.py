"""An inner archive, gone through under the rules: from front to back, or only where its index says something lies."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Protocol

import attrs

from supervisor.drivers.archive.ahead import Ahead
from supervisor.drivers.archive.blocks import blocks
from supervisor.drivers.archive.deflate import BLOCK
from supervisor.drivers.archive.index import Index, Recorder, Row
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.names import parts_of
from supervisor.drivers.archive.reader import Inner, plain_stream
from supervisor.drivers.archive.rules import Budget, Rules
from supervisor.drivers.archive.tar import Member, members, padded
from supervisor.drivers.archive.work import Work
from supervisor.errors import ArchiveDamaged


class PlainStream:
    """The tar stream of an inner archive as the tar reader wants it, counting against the budget."""

    def __init__(
        self, pieces: Iterator[bytes | memoryview], budget: Budget, work: Work, recorder: Recorder | None = None
    ) -> None:
        self._pieces = pieces
        self._budget = budget
        self._work = work
        self._recorder = recorder
        self._piece = memoryview(b"")
        self._given = 0

    @property
    def at(self) -> int:
        """How many bytes were taken already."""
        return self._given - len(self._piece)

    def _more(self) -> bool:
        for piece in self._pieces:
            self._budget.spend(len(piece))
            self._work.check()
            if self._recorder is not None:
                self._recorder.feed(piece)
            self._given += len(piece)
            self._piece = memoryview(piece)
            return True
        return False

    def parts(self, size: int) -> Iterator[memoryview]:
        """Yield the next `size` bytes in parts; fewer when the stream ends."""
        while size:
            if not self._piece and not self._more():
                return
            part = self._piece[:size]
            self._piece = self._piece[size:]
            size -= len(part)
            yield part

    def take(self, size: int) -> bytes:
        return b"".join(self.parts(size))

    def skip(self, size: int) -> None:
        if size != sum(len(part) for part in self.parts(size)):
            raise ArchiveDamaged("The archive is cut off in a file")

    def drain(self) -> None:
        """Read what is left, for what is checked last stands at the end."""
        self._piece = memoryview(b"")
        while self._more():
            self._piece = memoryview(b"")


Path = tuple[str, ...]
Walked = tuple[Member, Path, PlainStream, bool]
Wanted = Callable[[Path], bool]


class Look(Protocol):
    """A way to go through an inner archive, as often as it takes: to those members whose paths are asked for.

    Others may be met on the way, so whoever asks has to look again; whether the rules want a member is told, too.
    """

    def members(self, wanted: Wanted) -> Iterator[tuple[Member, Path, bool]]:
        """Yield what the headers say."""
        ...

    def contents(self, wanted: Wanted) -> Generator[Walked, None, None]:
        """Yield members with the stream standing at their content, which has to be taken or skipped, padded."""
        ...


def walk(
    part: Inner, keyring: Keyring | None, rules: Rules, work: Work, recorder: Recorder | None = None
) -> Generator[Walked, None, None]:
    """Yield each member of an inner archive with the stream standing at its content, and whether the rules want it."""
    budget = Budget(rules.limits)
    with plain_stream(part, keyring, work) as pieces:
        stream = PlainStream(pieces, budget, work, recorder)
        for member in members(stream):
            parts = parts_of(member.name)
            budget.member(member)
            allowed = rules.allows(member, parts)
            if recorder is not None:
                recorder.member(member, stream.at)
            yield member, parts, stream, allowed
        stream.drain()
    if recorder is not None:
        recorder.finish()


@attrs.define
class FrontToBack:
    """Looks by reading everything; the first time through makes the index that was given for that."""

    part: Inner
    keyring: Keyring | None
    rules: Rules
    work: Work
    recorder: Recorder | None = None

    def members(self, wanted: Wanted) -> Iterator[tuple[Member, Path, bool]]:
        for member, parts, stream, allowed in self.contents(wanted):
            stream.skip(padded(member.size))
            yield member, parts, allowed

    def contents(self, wanted: Wanted) -> Generator[Walked, None, None]:  # noqa: ARG002 - what it meets, it yields
        recorder, self.recorder = self.recorder, None
        return walk(self.part, self.keyring, self.rules, self.work, recorder)


@attrs.frozen
class Indexed:
    """Looks by an index: of the archive itself only the blocks are read that hold the content of what is asked for."""

    part: Inner
    keyring: Keyring | None
    rules: Rules
    work: Work
    index: Index

    def members(self, wanted: Wanted) -> Iterator[tuple[Member, Path, bool]]:
        for member, parts, _ in self._rows(wanted):
            yield member, parts, self.rules.allows(member, parts)

    def contents(self, wanted: Wanted) -> Generator[Walked, None, None]:
        budget = Budget(self.rules.limits)
        part = attrs.evolve(self.part, work=self.work)
        numbers = self._numbers(wanted)
        # Closed by whoever waits for its threads: they must not read when the file is closed.
        with (
            closing(blocks(part, self.keyring, self.index.table, numbers, self.work)) as chosen,
            Ahead(chosen, "backup-blocks") as ahead,
        ):
            held = _Held(ahead)
            for member, parts, at in self._rows(wanted):
                budget.member(member)
                stream = PlainStream(held.range(at, padded(member.size)), budget, self.work)
                yield member, parts, stream, self.rules.allows(member, parts)

    def _rows(self, wanted: Wanted) -> Iterator[Row]:
        for row in self.index.rows():
            self.work.check()
            if wanted(row[1]):
                yield row

    def _numbers(self, wanted: Wanted) -> Iterator[int]:
        """Yield the blocks that hold what is asked for, in their order."""
        last = -1
        for member, _, at in self._rows(wanted):
            if member.size:
                end = -(-(at + padded(member.size)) // BLOCK)
                yield from range(max(at // BLOCK, last + 1), end)
                last = max(last, end - 1)


class _Held:
    """The last of the blocks that come in turn."""

    def __init__(self, ahead: Iterator[tuple[int, bytes]]) -> None:
        self._ahead = ahead
        self._number, self._block = -1, b""

    def range(self, at: int, size: int) -> Iterator[memoryview]:
        end = at + size
        while at < end:
            while self._number < at // BLOCK:
                found = next(self._ahead, None)
                if found is None:
                    return
                self._number, self._block = found
            piece = memoryview(self._block)[at % BLOCK :][: end - at]
            if not piece:
                return
            at += len(piece)
            yield piece
