"""The journal read from its files, where no gateway runs but the files are in reach.

The journal library blocks and its handle belongs to one thread, so each reading has a thread of its own. It hands
batches of entries to the event loop and stops while the loop is `_BATCHES_AHEAD` batches behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from systemd import journal

from supervisor.drivers.journal.entry import (
    BOOT_ID,
    IDENTIFIER,
    MAX_VALUE_BYTES,
    PID,
    REALTIME,
    UNLIMITED,
    WANTED_FIELDS,
    Entry,
    EntryRange,
    Filters,
)
from supervisor.errors import Busy, Internal, Invalid, SupervisorError, Unavailable

JOURNAL_FOLDERS: Final = (Path("/var/log/journal"), Path("/run/log/journal"))
MACHINE_ID: Final = Path("/etc/machine-id")
_BATCH: Final = 64
_BATCHES_AHEAD: Final = 4
_MAX_READINGS: Final = 64

T = TypeVar("T")


class DirectJournal:
    """Reads the journal files of this machine, or those in `folder`.

    `start` looks once whether there are any. Boots are looked up once.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._available = False
        self._boots: tuple[str, ...] | None = None
        self._readings = 0

    @property
    def available(self) -> bool:
        return self._available

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

    async def entries(self, filters: Filters, part: EntryRange, *, follow: bool = False) -> AsyncGenerator[Entry, None]:
        self._check()
        if self._readings >= _MAX_READINGS:
            raise Busy("Too many readers of the journal at the same time")
        self._readings += 1
        reading = _Reading(self._open, filters, part, follow=follow)
        try:
            reading.start()
            while (batch := await reading.next_batch()) is not None:
                for entry in batch:
                    yield entry
        finally:
            self._readings -= 1
            await asyncio.shield(reading.stop())

    async def boots(self) -> tuple[str, ...]:
        self._check()
        if self._boots is None:
            self._boots = await asyncio.to_thread(self._with_reader, _boots)
        return self._boots

    async def identifiers(self) -> list[str]:
        self._check()
        return await asyncio.to_thread(self._with_reader, _identifiers)

    def _check(self) -> None:
        if not self._available:
            raise Unavailable("There are no journal files on this machine")

    def _open(self) -> journal.Reader:
        # Values stay as they are: only the fields that we want are turned into text.
        converters: dict[str, Callable[[Any], Any]] = {REALTIME: int, PID: _text, BOOT_ID: _text}
        try:
            reader = journal.Reader(path=None if self._folder is None else str(self._folder), converters=converters)
            reader.data_threshold = MAX_VALUE_BYTES
        except OSError as err:
            raise Unavailable(f"The journal files can't be read: {err}") from err
        return reader

    def _with_reader(self, work: Callable[[journal.Reader], T]) -> T:
        with contextlib.closing(self._open()) as reader:
            try:
                return work(reader)
            except OSError as err:
                raise Unavailable(f"The journal files can't be read: {err}") from err


class _Reading:
    """One run through the journal in its own thread. Made, started and stopped on the event loop."""

    def __init__(
        self, open_reader: Callable[[], journal.Reader], filters: Filters, part: EntryRange, *, follow: bool
    ) -> None:
        self._open = open_reader
        self._filters = filters
        self._part = part
        self._follow = follow
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[list[Entry] | SupervisorError | None] = asyncio.Queue()
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._stopped = threading.Event()
        self._wake = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def next_batch(self) -> list[Entry] | None:
        item = await self._queue.get()
        self._room.release()
        if isinstance(item, SupervisorError):
            raise item
        return item

    async def stop(self) -> None:
        self._stopped.set()
        self._room.release()
        os.eventfd_write(self._wake, 1)
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        os.close(self._wake)

    def _put(self, item: list[Entry] | SupervisorError | None) -> None:
        self._room.acquire()
        if self._stopped.is_set():
            self._room.release()  # nobody takes anything any more: let the rest pass
            return
        # A loop that is closing already has nobody left who waits for entries.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    def _run(self) -> None:
        try:
            with contextlib.closing(self._open()) as reader:
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

    def _read(self, reader: journal.Reader) -> None:
        skip = self._position(reader)
        left = UNLIMITED if self._part.count is None else self._part.count
        batch: list[Entry] = []
        while left and not self._stopped.is_set():
            fields = reader.get_next(skip)
            if fields:
                skip = 1
                left -= 1
                batch.append(_entry(fields))
                if len(batch) < _BATCH:
                    continue
            if batch:
                self._put(batch)
                batch = []
            if not fields:
                if not self._follow:
                    return
                self._wait(reader)
        if batch:
            self._put(batch)

    def _position(self, reader: journal.Reader) -> int:
        """Apply filters and the range's beginning; return by how much the first read has to move."""
        skip = self._part.skip or 0
        try:
            for field, value in self._filters:
                reader.add_match(f"{field}={value}")
            if self._part.cursor:
                reader.seek_cursor(self._part.cursor)
            elif skip < 0:
                reader.seek_tail()
            else:
                reader.seek_head()
        except (OSError, ValueError) as err:
            raise Invalid(f"The journal does not understand this: {err}") from err
        return skip - 1 if skip < 0 else skip + 1

    def _wait(self, reader: journal.Reader) -> None:
        """Sleep until the journal changes or the reading is stopped."""
        poll = select.poll()
        poll.register(reader.fileno(), reader.get_events())
        poll.register(self._wake, select.POLLIN)
        timeout = reader.get_timeout_ms()
        poll.poll(timeout if timeout >= 0 else None)
        reader.process()


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry.from_fields({name: _text(fields[name]) for name in WANTED_FIELDS if name in fields})


def _text(value: Any) -> str:
    if isinstance(value, list):  # a repeated field; the first one counts
        value = value[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _boots(reader: journal.Reader) -> tuple[str, ...]:
    found: list[tuple[int, str]] = []
    for boot_id in map(_text, reader.query_unique(BOOT_ID)):
        reader.flush_matches()
        reader.add_match(f"{BOOT_ID}={boot_id}")
        reader.seek_head()
        first = reader.get_next()
        if first:
            found.append((int(first[REALTIME]), boot_id))
    return tuple(boot_id for _, boot_id in sorted(found))


def _identifiers(reader: journal.Reader) -> list[str]:
    return sorted({_text(value) for value in reader.query_unique(IDENTIFIER)} - {""})
