"""The first of several ways to the journal that is open on this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from supervisor.drivers.journal.entry import Entry, EntryRange, Filters, JournalSource
from supervisor.errors import Unavailable


class PreferredJournal:
    """A `JournalSource` made of others, best first."""

    def __init__(self, sources: Sequence[JournalSource]) -> None:
        self._sources = tuple(sources)

    @property
    def available(self) -> bool:
        return any(source.available for source in self._sources)

    def entries(self, filters: Filters, part: EntryRange, *, follow: bool = False) -> AsyncGenerator[Entry, None]:
        return self._open().entries(filters, part, follow=follow)

    async def boots(self) -> tuple[str, ...]:
        return await self._open().boots()

    async def identifiers(self) -> list[str]:
        return await self._open().identifiers()

    def _open(self) -> JournalSource:
        for source in self._sources:
            if source.available:
                return source
        raise Unavailable("No systemd-journal-gatewayd Unix socket available")
