"""The journal read from its files, where no gateway runs but the files are in reach.

The journal library blocks and its handle belongs to one thread. A reading of what is there has a thread of its own,
which hands batches of entries to the event loop and stops while the loop is `_BATCHES_AHEAD` of them behind. Those who
follow the same thing share one thread (`tail`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Final, TypeVar

import attrs

from supervisor.drivers.journal.entry import UNLIMITED, Batch, Detail, Entry, EntryRange, Filters, JournalSource
from supervisor.drivers.journal.files import FileReader
from supervisor.drivers.journal.narrowing import ANYTHING, Narrowing
from supervisor.drivers.journal.tail import Tail, entries_behind
from supervisor.errors import Busy, Internal, SupervisorError, Unavailable

JOURNAL_FOLDERS: Final = (Path("/var/log/journal"), Path("/run/log/journal"))
MACHINE_ID: Final = Path("/etc/machine-id")
_BATCH: Final = 512
_BATCHES_AHEAD: Final = 4
_MAX_READINGS: Final = 64
# Each that is at work maps the files once more. Those who wait for their readers do not count.
_AT_WORK: Final = 4
_PATIENCE_SECONDS: Final = 2.0
_MAX_TAILS: Final = 32
_WAIT_SECONDS: Final = 20  # for one of the readings to end

T = TypeVar("T")
_TailKey = tuple[tuple[tuple[str, str], ...], Narrowing]


class DirectJournal(JournalSource):
    """Reads the journal files of this machine, or those in `folder`.

    `start` looks once whether there are any. Boots are looked up once.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._available = False
        self._boots: tuple[str, ...] | None = None
        self._slots = asyncio.Semaphore(_MAX_READINGS)
        self._desks = threading.Semaphore(_AT_WORK)
        self._tails: dict[_TailKey, Tail] = {}

    @property
    def available(self) -> bool:
        return self._available

    @property
    def narrows(self) -> bool:
        return True

    @property
    def shares(self) -> bool:
        return True

    async def start(self) -> None:
        self._available = await asyncio.to_thread(self._has_files)

    async def close(self) -> None:
        self._available = False

    def _has_files(self) -> bool:
        if self._folder is not None:
            return any(self._folder.rglob("*.journal"))
        try:
            machine = MACHINE_ID.read_text().strip()
        except OSError:
            return False
        return bool(machine) and any(any((folder / machine).glob("*.journal")) for folder in JOURNAL_FOLDERS)

    async def batches(
        self,
        filters: Filters,
        part: EntryRange,
        narrowing: Narrowing = ANYTHING,
        *,
        follow: bool = False,
        detail: Detail = Detail.ALL,
    ) -> AsyncGenerator[Batch, None]:
        self._check()
        source = self._followed(filters, part, narrowing) if follow else self._read(filters, part, narrowing, detail)
        async with contextlib.aclosing(source) as batches:
            async for batch in batches:
                yield batch

    async def _read(
        self,
        filters: Filters,
        part: EntryRange,
        narrowing: Narrowing,
        detail: Detail,
    ) -> AsyncGenerator[Batch, None]:
        await self._take_slot()
        # The slot is that of the thread: a reader who lets the last lines wait keeps nobody out.
        reading = _Reading(self._open, filters, part, narrowing, detail, desks=self._desks, at_end=self._slots.release)
        try:
            reading.start()
        except RuntimeError as err:
            self._slots.release()
            raise Busy("Too many threads run at the same time") from err
        try:
            while (batch := await reading.next_batch()) is not None:
                yield batch
        finally:
            await asyncio.shield(reading.stop())

    async def _take_slot(self) -> None:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError as err:
            raise Busy("Too many readers of the journal at the same time") from err

    async def _followed(self, filters: Filters, part: EntryRange, narrowing: Narrowing) -> AsyncGenerator[Batch, None]:
        """Give what is there, then what comes.

        The tail is joined first, so that nothing falls between the two; what both have is left out of the second.
        """
        left = UNLIMITED if part.count is None else part.count
        async with self._tail(filters, narrowing) as tail:
            last: Entry | None = None
            while True:
                place = tail.end
                async with contextlib.aclosing(self._read(filters, part, narrowing, Detail.ALL)) as batches:
                    async for batch in batches:
                        left -= len(batch.entries)
                        last = batch.entries[-1]
                        yield batch
                if left <= 0:
                    return
                if not tail.lost(place):
                    break
                # Reading took so long that the tail went on without us: read on from where we are.
                part = EntryRange("", None, left) if last is None else EntryRange(last.cursor, 1, left)
            async with contextlib.aclosing(tail.behind(place)) as batches:
                async for batch in batches:
                    fresh = _fresh(batch, last, narrowing, left)
                    if fresh.entries:
                        left -= len(fresh.entries)
                        last = None if fresh.entries[-1] is batch.entries[-1] else last
                        yield fresh
                    if left <= 0:
                        return

    @contextlib.asynccontextmanager
    async def _tail(self, filters: Filters, narrowing: Narrowing) -> AsyncIterator[Tail]:
        # Spans of time differ from reader to reader and are looked at by each.
        key = (tuple(filters), attrs.evolve(narrowing, since=None, until=None))
        tail = self._tails.get(key)
        if tail is None or tail.ended:
            if len(self._tails) >= _MAX_TAILS:
                raise Busy("Too many different logs are followed at the same time")
            tail = self._tails[key] = Tail(self._open, *key)
        try:
            async with tail.joined():
                yield tail
        finally:
            if not tail.readers and self._tails.get(key) is tail:
                del self._tails[key]

    async def boots(self) -> tuple[str, ...]:
        self._check()
        if self._boots is None:
            self._boots = await asyncio.to_thread(self._with_reader, FileReader.boots)
        return self._boots

    async def identifiers(self) -> list[str]:
        self._check()
        return await asyncio.to_thread(self._with_reader, FileReader.identifiers)

    def _check(self) -> None:
        if not self._available:
            raise Unavailable("There are no journal files on this machine")

    def _open(self, stopped: threading.Event | None = None) -> FileReader:
        return FileReader(self._folder, stopped)

    def _with_reader(self, work: Callable[[FileReader], T]) -> T:
        with contextlib.closing(self._open()) as reader:
            try:
                return work(reader)
            except OSError as err:
                raise Unavailable(f"The journal files can't be read: {err}") from err


def _fresh(batch: Batch, last: Entry | None, narrowing: Narrowing, left: int) -> Batch:
    """Return what of a batch is behind `last` and in the span of time; the same batch where that is all of it."""
    entries = batch.entries
    if last is not None:
        entries = entries_behind(entries, last)
    if narrowing.since is not None or narrowing.until is not None:
        entries = [entry for entry in entries if narrowing.admits_time(entry.time)]
    if len(entries) == len(batch.entries) and left >= len(entries):
        return batch
    return Batch(entries[:left], batch.lost)


class _Reading:
    """One run through the journal in its own thread. Made, started and stopped on the event loop."""

    def __init__(
        self,
        open_reader: Callable[[threading.Event], FileReader],
        filters: Filters,
        part: EntryRange,
        narrowing: Narrowing,
        detail: Detail,
        *,
        desks: threading.Semaphore,
        at_end: Callable[[], None],
    ) -> None:
        self._desks = desks
        self._has_desk = False
        self._at_end = at_end
        self._open = open_reader
        self._filters = filters
        self._part = part
        self._narrowing = narrowing
        self._detail = detail
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Batch | SupervisorError | None] = asyncio.Queue()
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def next_batch(self) -> Batch | None:
        item = await self._queue.get()
        self._room.release()
        if isinstance(item, SupervisorError):
            raise item
        return item

    async def stop(self) -> None:
        self._stopped.set()
        self._room.release()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _put(self, item: Batch | SupervisorError | None) -> None:
        if not self._room.acquire(blocking=False):
            self._leave_desk()
            self._room.acquire()
            if not self._stopped.is_set():
                self._take_desk()
        if self._stopped.is_set():
            self._room.release()  # nobody takes anything any more: let the rest pass
            return
        self._call(lambda: self._queue.put_nowait(item))

    def _call(self, work: Callable[[], None]) -> None:
        # A loop that is closing already has nobody left who waits for entries.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(work)

    def _take_desk(self) -> None:
        # Who searches for long keeps nobody waiting for long.
        self._has_desk = self._desks.acquire(timeout=_PATIENCE_SECONDS)

    def _leave_desk(self) -> None:
        if self._has_desk:
            self._has_desk = False
            self._desks.release()

    def _run(self) -> None:
        self._take_desk()
        try:
            self._work()
        finally:
            self._leave_desk()
            self._call(self._at_end)

    def _work(self) -> None:
        try:
            with contextlib.closing(self._open(self._stopped)) as reader:
                reader.ask(self._filters, self._part, self._narrowing)
                self._read(reader)
        except SupervisorError as err:
            self._put(err)
        except OSError as err:
            self._put(Unavailable(f"The journal files can't be read: {err}"))
        except Exception as err:  # noqa: BLE001 - the root of this thread; whoever reads the entries gets the failure
            failure = Internal("Reading the journal files failed")
            failure.__cause__ = err
            self._put(failure)
        else:
            self._put(None)

    def _read(self, reader: FileReader) -> None:
        left = UNLIMITED if self._part.count is None else self._part.count
        while left and not self._stopped.is_set():
            entries = reader.take(min(left, _BATCH), self._detail)
            if not entries:
                return
            left -= len(entries)
            self._put(Batch(entries))
