"""The daemon's own log in a file of bounded size, readable like any other log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from supervisor.const import MIB
from supervisor.managers.logs.levels import level_of_record
from supervisor.managers.logs.lines import Line, Position, Record, Sequence, decode, encode

_RING: Final = 2000


class SupervisorLog(logging.Handler):
    """Writes records to `path` and, when that is full, goes on in a new file and keeps one old one.

    It blocks on the disk: hand it to the thread of `supervisor.drivers.logs_setup`. Reading is for the event loop.
    A disk that refuses costs lines in the file, never the daemon.
    """

    def __init__(self, path: Path, *, max_bytes: int = MIB) -> None:
        super().__init__()
        self.began = time.time_ns() // 1000
        self._path = path
        self._max_bytes = max_bytes
        self._file: FileIO | None = None
        self._size = 0
        self._last = 0
        self._file_lock = threading.Lock()  # never taken on the event loop
        self._ring: deque[Line] = deque(maxlen=_RING)
        self._watchers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._ring_lock = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        with self._file_lock:
            try:
                self._open()
            except OSError:
                self._shut()
            # Positions must grow: cursors and watching rely on it.
            self._last = max(int(record.created * 1_000_000), self._last + 1)
            written = Record(self._last, record.levelname, text)
            try:
                self._write(encode(written))
            except OSError:
                self._shut()
        with self._ring_lock:
            self._ring.append(Line(Position(written.time), text, level_of_record(written.word)))
            watchers = list(self._watchers)
        for loop, news in watchers:
            try:
                loop.call_soon_threadsafe(news.set)
            except RuntimeError:  # that loop is closed
                with self._ring_lock:
                    self._watchers.discard((loop, news))

    def close(self) -> None:
        with self._file_lock:
            self._shut()
        super().close()

    def _open(self) -> None:
        if self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Numbers go on behind those of an earlier process, also when the clock was set back since.
        self._last = max([self._last, *(record.time for record in self._records())])
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = FileIO(os.open(self._path, flags, 0o600), "a")
        self._size = self._path.stat().st_size

    def _write(self, content: bytes) -> None:
        if self._file is None:
            return
        if self._size and self._size + len(content) > self._max_bytes:
            self._shut()
            self._path.rename(self._previous)
            self._open()
        if self._file is not None:
            self._file.write(content)
            self._size += len(content)

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _previous(self) -> Path:
        return self._path.with_name(f"{self._path.name}.1")

    def _records(self) -> list[Record]:
        records: list[Record] = []
        for path in (self._previous, self._path):
            try:
                records += decode(path.read_bytes())
            except OSError:  # not there yet, or the disk refuses: what can be read counts
                continue
        return records

    def reader(self) -> OwnLogReader:
        return OwnLogReader(self)

    def lines(self) -> list[Line]:
        """Return what the files hold. Blocking."""
        with self._file_lock:
            records = self._records()
        sequence = Sequence()
        return [sequence.line(record.time, record.text, level_of_record(record.word)) for record in records]

    def recent(self) -> tuple[list[Line], bool]:
        """Return the lines in memory, and whether older ones may have left it."""
        with self._ring_lock:
            return list(self._ring), len(self._ring) == _RING

    @contextlib.contextmanager
    def watched(self) -> Iterator[asyncio.Event]:
        """Give an event of the running loop that is set with every new line."""
        watcher = (asyncio.get_running_loop(), asyncio.Event())
        with self._ring_lock:
            self._watchers.add(watcher)
        try:
            yield watcher[1]
        finally:
            with self._ring_lock:
                self._watchers.discard(watcher)


class OwnLogReader:
    """One reader's view of the daemon's log."""

    def __init__(self, log: SupervisorLog) -> None:
        self._log = log
        self._after = Position(0)

    async def history(self, tail: int | None) -> AsyncGenerator[Line, None]:
        lines = await asyncio.to_thread(self._log.lines)
        for line in lines if tail is None else lines[-tail:]:
            self._after = line.position
            yield line

    async def live(self) -> AsyncGenerator[Line, None]:
        with self._log.watched() as news:
            while True:
                news.clear()
                for line in await self._behind():
                    self._after = line.position
                    yield line
                await news.wait()

    async def _behind(self) -> list[Line]:
        lines, is_cut = self._log.recent()
        if is_cut and lines[0].position > self._after:
            # This reader fell back behind what is in memory.
            lines = await asyncio.to_thread(self._log.lines)
        return [line for line in lines if line.position > self._after]
