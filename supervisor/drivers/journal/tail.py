"""What comes new into the journal files, for everyone who follows the same thing.

One thread reads it for all of them. The last of it stays in a ring of bounded size; a reader that is slower than the
ring is long is told how many entries it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Final

from supervisor.const import MIB
from supervisor.drivers.journal.entry import Batch, Detail, Entry, Filters
from supervisor.drivers.journal.files import FileReader
from supervisor.drivers.journal.narrowing import Narrowing
from supervisor.errors import Internal, SupervisorError, Unavailable

_BATCH: Final = 256
_RING_BYTES: Final = 2 * MIB
_ENTRY_OVERHEAD: Final = 600  # an entry, its address, and its place in lists
_BATCHES_AHEAD: Final = 4  # of the event loop
_AT_ONCE: Final = 16  # readers, in one round of the event loop
_PAUSE_SECONDS: Final = 0.1  # a busy log is handed on in pieces, not line by line


class Tail:
    """Begins with the first reader that joins and ends with the last that leaves. All methods are for the event loop.

    A place is the number of a batch.
    """

    def __init__(
        self, open_reader: Callable[[threading.Event], FileReader], filters: Filters, narrowing: Narrowing
    ) -> None:
        self._open = open_reader
        self._filters = filters
        self._narrowing = narrowing
        self.readers = 0
        self._ring: deque[tuple[int, Batch, int]] = deque()  # entries before it, the batch, its size
        self._first = 0  # the place of the ring's first batch
        self._bytes = 0
        self._count = 0
        self._failure: SupervisorError | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}  # in the order of their coming
        self._to_wake: deque[asyncio.Future[None]] = deque()
        self._watch: _Watch | None = None

    @property
    def ended(self) -> bool:
        return self._failure is not None

    @property
    def end(self) -> int:
        return self._first + len(self._ring)

    def lost(self, place: int) -> bool:
        """Tell whether the batch of a place was dropped already."""
        return place < self._first

    @contextlib.asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Keep the tail going; inside, everything that comes from now on has a place.

        Raises:
            Unavailable: the files can't be read.
        """
        self.readers += 1
        try:
            if self._watch is None:
                self._watch = _Watch(self, self._open, self._filters, self._narrowing)
                self._watch.start()
            await self._watch.wait_until_ready()
            if self._failure is not None:
                raise self._failure
            yield
        finally:
            self.readers -= 1
            if not self.readers and self._watch is not None:
                watch, self._watch = self._watch, None
                self._failure = self._failure or Unavailable("Nobody follows the journal any more")
                await asyncio.shield(watch.stop())

    async def behind(self, place: int) -> AsyncGenerator[Batch, None]:
        """Give what stands behind a place and then what comes, without end.

        Raises:
            SupervisorError: the reading ended.
        """
        given = self._before(place)
        while True:
            if self.lost(place):
                place = self._first
            while place < self.end:
                before, batch, _ = self._ring[place - self._first]
                place += 1
                missed = before - given
                given = before + len(batch.entries)
                yield Batch(batch.entries, missed) if missed else batch
                if self.lost(place):
                    place = self._first
            if self._failure is not None:
                raise self._failure
            await self._wait()

    def _before(self, place: int) -> int:
        return self._ring[place - self._first][0] if self._first <= place < self.end else self._count

    async def _wait(self) -> None:
        news = asyncio.get_running_loop().create_future()
        self._waiting[news] = None
        try:
            await news
        finally:
            self._waiting.pop(news, None)

    def put(self, entries: list[Entry]) -> None:
        size = sum(len(entry.message) + _ENTRY_OVERHEAD for entry in entries)
        self._ring.append((self._count, Batch(entries), size))
        self._count += len(entries)
        self._bytes += size
        while self._bytes > _RING_BYTES and len(self._ring) > 1:
            self._bytes -= self._ring.popleft()[2]
            self._first += 1
        self._wake()

    def fail(self, failure: SupervisorError) -> None:
        self._failure = self._failure or failure
        self._wake()

    def _wake(self) -> None:
        """Wake all who wait, a few in each round of the loop: what they do then adds up."""
        waves_go_on = bool(self._to_wake)
        self._to_wake += self._waiting
        self._waiting = {}
        if not waves_go_on:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._to_wake))):
            news = self._to_wake.popleft()
            if not news.done():
                news.set_result(None)
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_some)


def _watch(reader: FileReader) -> None:
    """Have the library hear of new files from now on.

    Raises:
        Unavailable: the machine can't watch files at present.
    """
    try:
        reader.get_events()
    except OSError as err:
        if err.errno != errno.EMFILE:
            raise
        raise Unavailable(
            "The log can't be followed: too many programs of this machine watch files (fs.inotify.max_user_instances)"
        ) from err


class _Watch:
    """The thread of a tail."""

    def __init__(
        self, tail: Tail, open_reader: Callable[[threading.Event], FileReader], filters: Filters, narrowing: Narrowing
    ) -> None:
        self._tail = tail
        self._open = open_reader
        self._filters = filters
        self._narrowing = narrowing
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._stopped = threading.Event()
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._wake = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def wait_until_ready(self) -> None:
        await self._ready.wait()

    async def stop(self) -> None:
        self._stopped.set()
        self._room.release()
        os.eventfd_write(self._wake, 1)
        await asyncio.to_thread(self._thread.join)
        os.close(self._wake)

    def _call(self, work: Callable[..., None], *arguments: object) -> None:
        # A loop that is closing already has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(work, *arguments)

    def _run(self) -> None:
        try:
            with contextlib.closing(self._open(self._stopped)) as reader:
                _watch(reader)
                reader.ask_for_news(self._filters, self._narrowing)
                self._call(self._ready.set)
                self._read(reader)
        except SupervisorError as err:
            self._call(self._tail.fail, err)
        except OSError as err:
            self._call(self._tail.fail, Unavailable(f"The journal files can't be read: {err}"))
        except Exception as err:  # noqa: BLE001 - the root of this thread; those who follow get the failure
            failure = Internal("Reading the journal files failed")
            failure.__cause__ = err
            self._call(self._tail.fail, failure)
        self._call(self._ready.set)

    def _read(self, reader: FileReader) -> None:
        while not self._stopped.is_set():
            entries = reader.take(_BATCH, Detail.ALL)
            if entries:
                self._room.acquire()
                self._call(self._hand_over, entries)
                self._stopped.wait(_PAUSE_SECONDS if len(entries) < _BATCH else 0)
            else:
                self._sleep(reader)

    def _hand_over(self, entries: list[Entry]) -> None:
        self._room.release()
        self._tail.put(entries)

    def _sleep(self, reader: FileReader) -> None:
        """Wait until the journal changes or the watch is stopped."""
        poll = select.poll()
        poll.register(reader.fileno(), reader.get_events())
        poll.register(self._wake, select.POLLIN)
        timeout = reader.get_timeout_ms()
        poll.poll(timeout if timeout >= 0 else None)
        reader.process()


def entries_behind(entries: Sequence[Entry], other: Entry) -> Sequence[Entry]:
    """Return those of a batch that stand behind another entry of the journal, by their cursors.

    They are in order, so only a few are looked at: many readers ask this of the same batch at the same time.
    """
    its = _parts(other.cursor)

    def is_behind(entry: Entry) -> bool:
        mine = _parts(entry.cursor)
        if mine.get("s") == its.get("s") and "i" in mine and "i" in its:
            return int(mine["i"], 16) > int(its["i"], 16)
        return entry.time > other.time

    return entries if is_behind(entries[0]) else entries[bisect_right(entries, 0, key=is_behind) :]


def _parts(cursor: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in cursor.split(";"))
    return {name: value for name, _, value in pairs}
