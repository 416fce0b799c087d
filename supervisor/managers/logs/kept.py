"""Logs of containers that are gone.

The engine forgets a container's log together with the container. What matters of it is written to a file before, one
for each container name, which holds the last runs as far as they fit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs

from supervisor.const import MIB
from supervisor.errors import Invalid
from supervisor.managers.logs.lines import RUN, Record, decode, encode, newest
from supervisor.state import write_atomic

MAX_FILE_BYTES: Final = 2 * MIB
MAX_RUN_LINES: Final = 2000
MAX_RUN_BYTES: Final = MIB
OVERLAP: Final = 100_000  # microseconds
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


@attrs.frozen
class Run:
    """One run of a container. Times are in microseconds; a line of `began` or later belongs to it."""

    id: str
    started: int
    began: int

    @property
    def mark(self) -> Record:
        return Record(self.started, RUN, self.id)


class Reached:
    """How far the log of a container was read.

    The engine writes standard output and error side by side, so times may go back a little from line to line: the
    lines of the last moment are remembered one by one.
    """

    def __init__(self) -> None:
        self.time = -1
        self.recent: deque[tuple[int, int]] = deque()

    def note(self, record: Record) -> None:
        self.time = max(self.time, record.time)
        self.recent.append((record.time, _key(record)))
        while self.recent[0][0] < self.time - OVERLAP:
            self.recent.popleft()


class Unread:
    """Tells which lines lie behind a point, given the lines in order from `OVERLAP` before that point or earlier."""

    def __init__(self, reached: Reached) -> None:
        self._floor = min((time for time, _ in reached.recent), default=-1)
        self._read = Counter(key for _, key in reached.recent)

    def takes(self, record: Record) -> bool:
        if record.time < self._floor:
            return False
        key = _key(record)
        if self._read[key]:
            self._read[key] -= 1
            return False
        return True


def _key(record: Record) -> int:
    return hash((record.time, record.text))


def kept_of(records: Iterable[Record], run_id: str) -> Reached:
    """Return how far the container `run_id` is kept."""
    reached = Reached()
    ours = False
    for record in records:
        if record.word == RUN:
            ours = record.text == run_id
        elif ours:
            reached.note(record)
    return reached


def kept_run(records: Sequence[Record], mark: Record | None) -> list[Record]:
    """Return the lines behind `mark`, or behind the last mark of all."""
    for at in range(len(records) - 1, -1, -1):
        if records[at] == mark or (mark is None and records[at].word == RUN):
            return [record for record in records[at:] if record.word != RUN]
    return []


class KeptLogs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()

    async def read(self, container: str) -> list[Record]:
        """Return what is kept of the container's runs, oldest first; nothing where there is no file."""
        return await asyncio.to_thread(_read, self._path(container))

    async def add(self, container: str, run: Run, lines: Sequence[Record]) -> None:
        """Append the lines that are not there yet, and where the run began.

        Raises:
            OSError: the disk refused; the file is as it was.
        """
        async with self._lock:
            await asyncio.shield(asyncio.to_thread(_add, self._path(container), run, lines))

    async def forget(self, container: str) -> None:
        path = self._path(container)
        async with self._lock:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    def _path(self, container: str) -> Path:
        if not _NAME.fullmatch(container):
            raise Invalid(f"{container!r} can't be the name of a container")
        return self._folder / f"{container}.log"


def _read(path: Path) -> list[Record]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_FILE_BYTES))
        return list(decode(file.read(MAX_FILE_BYTES)))
    return []


def _add(path: Path, run: Run, lines: Sequence[Record]) -> None:
    records = _read(path)
    unkept = Unread(kept_of(records, run.id))
    marked = run.mark in records
    named = any(record.word == RUN and record.text == run.id for record in records)
    for line in lines:
        if not unkept.takes(line):
            continue
        if not marked and line.time >= run.began:
            records.append(run.mark)
            marked = named = True
        elif not named:
            # Lines of an earlier run of this container; when that one began is not known any more.
            records.append(Record(line.time, RUN, run.id))
            named = True
        records.append(line)
    if not marked:
        records.append(run.mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, b"".join(map(encode, newest(records, MAX_FILE_BYTES))))
