"""Narrowing a stream of entries where the other side can't: one pass, bounded memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from supervisor.const import MIB
from supervisor.drivers.journal.entry import UNLIMITED, WHOLE_LOG, Entry, EntryRange
from supervisor.drivers.journal.narrowing import Narrowing

MAX_HELD_BYTES: Final = 32 * MIB
_ENTRY_OVERHEAD: Final = 600


class Sieve:
    """Decides which entries belong to a range that counts among the narrowed ones.

    Feed it what `needed` says, in order. Entries that may have to be given later are held back, at most
    `MAX_HELD_BYTES` of them: a range that begins further back begins where memory allows.
    """

    def __init__(self, part: EntryRange, narrowing: Narrowing) -> None:
        skip = part.skip or 0
        self._narrowing = narrowing
        self._ahead = max(skip, 0)
        self._back = max(-skip, 0)
        self._cursor = part.cursor
        self._left = UNLIMITED if part.count is None else part.count
        self._searching = self._back > 0
        self._held: deque[Entry] = deque()
        self._held_bytes = 0

    @property
    def needed(self) -> EntryRange:
        """The part of the whole log that must be looked at."""
        return WHOLE_LOG if self._back or not self._cursor else EntryRange(self._cursor, 0, UNLIMITED)

    def is_done(self) -> bool:
        return self._left == 0

    async def push(self, entries: Sequence[Entry]) -> list[Entry]:
        """Take the next entries of the log; return those that are now known to belong.

        Raises:
            Invalid: the search took too long.
        """
        facts = [(entry.time, entry.message) for entry in entries]
        if self._narrowing.pattern is None:
            chosen = self._narrowing.choose(facts)
        else:
            chosen = await asyncio.to_thread(self._narrowing.choose, facts)
        found: list[Entry] = []
        for entry, belongs in zip(entries, chosen, strict=True):
            if self._searching and self._cursor and entry.cursor == self._cursor:
                found += self._found()
            if belongs and self._searching:
                self._hold(entry)
            elif belongs:
                found.append(entry)
        return self._pass(found)

    def finish(self) -> list[Entry]:
        """Return what belongs now that the present end of the log is reached."""
        return self._pass(self._found()) if self._searching else []

    def _hold(self, entry: Entry) -> None:
        self._held.append(entry)
        self._held_bytes += len(entry.message) + _ENTRY_OVERHEAD
        # From the cursor it is `back` entries back; from the end, the last entry is one more.
        while len(self._held) > self._back + (not self._cursor) or self._held_bytes > MAX_HELD_BYTES:
            self._held_bytes -= len(self._held.popleft().message) + _ENTRY_OVERHEAD

    def _found(self) -> list[Entry]:
        self._searching = False
        held, self._held = list(self._held), deque()
        return held

    def _pass(self, entries: list[Entry]) -> list[Entry]:
        skipped = min(self._ahead, len(entries))
        self._ahead -= skipped
        entries = entries[skipped : skipped + self._left]
        self._left -= len(entries)
        return entries
