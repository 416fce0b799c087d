"""Choosing the part of a log that was asked for, in one pass and with bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

from supervisor.const import MIB
from supervisor.drivers.journal import ANYTHING, UNLIMITED, EntryRange, MessagePattern, Narrowing
from supervisor.managers.logs.lines import Line, Position

MAX_HELD_BYTES: Final = 32 * MIB
_LINE_OVERHEAD: Final = 256
_AT_ONCE: Final = 500


class LineSource(Protocol):
    """One reader's view of a log: first what is there, then what comes."""

    def history(self, tail: int | None) -> AsyncGenerator[Line, None]:
        """Give what is there, oldest first; with `tail` at least that many of the last lines, if there are so many."""

    def live(self) -> AsyncGenerator[Line, None]:
        """Give what stands behind the history that this reader had, and then what comes, without end."""


class Picker:
    """Decides line by line what belongs to a range; the same meaning as the journal gateway gives it.

    Lines that may have to be given later are held back, at most `MAX_HELD_BYTES` of them: a range that begins further
    back than that begins where memory allows.
    """

    def __init__(self, part: EntryRange) -> None:
        """Raise Invalid for a cursor that is none of ours."""
        self._cursor = Position.from_cursor(part.cursor) if part.cursor else None
        skip = part.skip or 0
        self._ahead = max(skip, 0)
        self._back = max(-skip, 0)
        self._left = UNLIMITED if part.count is None else part.count
        self._searching = self._cursor is not None or self._back > 0
        self._held: deque[Line] = deque()
        self._held_bytes = 0

    @property
    def tail(self) -> int | None:
        """How many of the last lines are enough to decide, None when all are needed."""
        return self._back + 1 if self._cursor is None and self._back else None

    def is_done(self) -> bool:
        return self._left == 0

    def push(self, line: Line) -> list[Line]:
        """Take the next line of the log; return the lines that are now known to belong to the range."""
        if self._searching:
            if self._cursor is None or line.position < self._cursor:
                self._hold(line)
                return []
            before = list(self._held)[-self._back :] if self._back else []
            return self._found([*before, line])
        return self._pass([line])

    def finish(self) -> list[Line]:
        """Return what belongs to the range now that the present end of the log is reached."""
        if not self._searching:
            return []
        # Behind the last line there is only the last line to count back from.
        return self._found(list(self._held) if self._back else [])

    def _hold(self, line: Line) -> None:
        self._held.append(line)
        self._held_bytes += _size(line)
        while len(self._held) > self._back + 1 or self._held_bytes > MAX_HELD_BYTES:
            self._held_bytes -= _size(self._held.popleft())

    def _found(self, lines: list[Line]) -> list[Line]:
        self._searching = False
        self._held.clear()
        return self._pass(lines)

    def _pass(self, lines: list[Line]) -> list[Line]:
        if self._ahead:
            skipped = min(self._ahead, len(lines))
            self._ahead -= skipped
            lines = lines[skipped:]
        lines = lines[: self._left]
        self._left -= len(lines)
        return lines


async def select(
    source: LineSource,
    part: EntryRange,
    *,
    follow: bool,
    narrowing: Narrowing = ANYTHING,
    levels: frozenset[int] | None = None,
) -> AsyncGenerator[Line, None]:
    """Give the lines of `part`, counted among those of `levels` that `narrowing` admits; with `follow` go on.

    Raises:
        Invalid: the range holds a cursor that is none of ours, or a search takes too long.
    """
    picker = Picker(part)
    counts_all = levels is None and narrowing.pattern is None and narrowing.until is None
    history = source.history(picker.tail if counts_all else None)
    async with contextlib.aclosing(_chosen(history, narrowing, levels, _AT_ONCE)) as lines:
        async for line in lines:
            for chosen in picker.push(line):
                yield chosen
            if picker.is_done():
                return
    for chosen in picker.finish():
        yield chosen
    if not follow or picker.is_done():
        return
    async with contextlib.aclosing(_chosen(source.live(), narrowing, levels, 1)) as lines:
        async for line in lines:
            for chosen in picker.push(line):
                yield chosen
            if picker.is_done():
                return


async def _chosen(
    lines: AsyncGenerator[Line, None], narrowing: Narrowing, levels: frozenset[int] | None, at_once: int
) -> AsyncGenerator[Line, None]:
    """Leave out what does not belong; searches run in a thread, for `at_once` lines together."""
    waiting: list[Line] = []
    async with contextlib.aclosing(lines):
        async for line in lines:
            if (levels is not None and line.level not in levels) or not narrowing.admits_time(line.position.time):
                continue
            if narrowing.pattern is None:
                yield line
                continue
            waiting.append(line)
            if len(waiting) >= at_once:
                for found in await asyncio.to_thread(_found, waiting, narrowing.pattern):
                    yield found
                waiting = []
    if narrowing.pattern is not None and waiting:
        for found in await asyncio.to_thread(_found, waiting, narrowing.pattern):
            yield found


def _found(lines: Sequence[Line], pattern: MessagePattern) -> list[Line]:
    return [line for line in lines if pattern.search(line.message)]


def _size(line: Line) -> int:
    return len(line.message) + _LINE_OVERHEAD
