"""The best of several ways to the journal that is open on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from supervisor.drivers.journal.entry import NO_JOURNAL, UNLIMITED, Batch, Detail, EntryRange, Filters, JournalSource
from supervisor.drivers.journal.narrowing import ANYTHING, Narrowing
from supervisor.errors import Busy, Unavailable

_LOGGER = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 1.0
_GIVE_UP_SECONDS: Final = 300.0

T = TypeVar("T")


class PreferredJournal(JournalSource):
    """A `JournalSource` made of others, best first.

    One that is away is replaced by the next. A log that is followed goes on behind its last entry, through another
    way or through the same one when that is back.
    """

    def __init__(self, sources: Sequence[JournalSource]) -> None:
        self._sources = tuple(sources)

    @property
    def available(self) -> bool:
        return any(source.available for source in self._sources)

    async def batches(
        self,
        filters: Filters,
        part: EntryRange,
        narrowing: Narrowing = ANYTHING,
        *,
        follow: bool = False,
        detail: Detail = Detail.ALL,
    ) -> AsyncGenerator[Batch, None]:
        progress = _Progress(part)
        while True:
            for source in self._open(narrowing, follow=follow):
                stream = source.batches(filters, progress.part, narrowing, follow=follow, detail=detail)
                try:
                    async with contextlib.aclosing(stream) as batches:
                        async for batch in batches:
                            if fresh := progress.note(batch):
                                yield fresh
                    if not follow or progress.is_done:
                        return
                    progress.failed(Unavailable("The journal ended while it was followed"))
                except (Unavailable, Busy) as err:
                    if progress.cursor and not follow:
                        raise
                    _LOGGER.debug("The journal is away: %s", err)
                    progress.failed(err)
            if not follow or not progress.cursor:
                raise progress.failure or Unavailable("The journal is away")
            progress.give_up_in_time()
            await asyncio.sleep(_RETRY_SECONDS)

    async def boots(self) -> tuple[str, ...]:
        return await self._first(lambda source: source.boots())

    async def identifiers(self) -> list[str]:
        return await self._first(lambda source: source.identifiers())

    async def _first(self, ask: Callable[[JournalSource], Awaitable[T]]) -> T:
        *others, last = self._open()
        for source in others:
            try:
                return await ask(source)
            except Unavailable as err:
                _LOGGER.debug("The journal is away: %s", err)
        return await ask(last)

    def _open(self, narrowing: Narrowing = ANYTHING, *, follow: bool = False) -> list[JournalSource]:
        """Return the ways that are open, best first: for a search those that can, for who follows those that share."""
        found = [source for source in self._sources if source.available]
        if not found:
            raise Unavailable(NO_JOURNAL)
        if follow:
            found.sort(key=lambda source: not source.shares)
        if not narrowing.is_any:
            found.sort(key=lambda source: not source.narrows)
        return found


class _Progress:
    """How far a reading has come, over all the ways that it took."""

    def __init__(self, part: EntryRange) -> None:
        self.part = part
        self.cursor = ""
        self.failure: Unavailable | Busy | None = None
        self._left = UNLIMITED if part.count is None else part.count
        self._failing_since: float | None = None
        self._resumed = False

    @property
    def is_done(self) -> bool:
        return self._left == 0

    def note(self, batch: Batch) -> Batch | None:
        """Take what came; return what of it is new."""
        entries = batch.entries
        if self._resumed and entries[0].cursor == self.cursor:
            # Told to skip more than there is, the gateway begins with the last entry once again.
            entries = entries[1:]
        self._resumed = False
        self._failing_since = None
        if not entries:
            return None
        self._left -= len(entries)
        self.cursor = entries[-1].cursor
        return batch if len(entries) == len(batch.entries) else Batch(entries, batch.lost)

    def failed(self, failure: Unavailable | Busy) -> None:
        self.failure = failure
        if self.cursor:
            self.part, self._resumed = EntryRange(self.cursor, 1, self._left), True

    def give_up_in_time(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._failing_since is None:
            self._failing_since = now
        if self.failure is not None and now - self._failing_since > _GIVE_UP_SECONDS:
            raise self.failure
