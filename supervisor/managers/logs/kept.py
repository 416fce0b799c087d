"""Logs of containers that are gone.

The engine forgets a container's log together with the container. What matters of it is written to a file before, one
for each container name, which holds the last runs as far as they fit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
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
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


@attrs.define
class Reached:
    """How far the log of a container was read: the time of the last line, and how many lines have that time."""

    time: int = -1
    same: int = 0

    def note(self, time: int) -> None:
        self.time, self.same = time, self.same + 1 if time == self.time else 1


class Unread:
    """Tells which lines lie behind a point, given the lines in order from that point's time or earlier."""

    def __init__(self, reached: Reached) -> None:
        self._time = reached.time
        self._same = reached.same

    def takes(self, time: int) -> bool:
        if time == self._time and self._same:
            self._same -= 1
            return False
        return time >= self._time


def kept_of(records: Iterable[Record], run_id: str) -> Reached:
    """Return how far the container `run_id` is kept."""
    reached = Reached()
    ours = False
    for record in records:
        if record.word == RUN:
            ours = record.text == run_id
        elif ours:
            reached.note(record.time)
    return reached


class KeptLogs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()

    async def read(self, container: str) -> list[Record]:
        """Return what is kept of the container's runs, oldest first; nothing where there is no file."""
        return await asyncio.to_thread(_read, self._path(container))

    async def add(self, container: str, run_id: str, started: int, lines: Sequence[Record]) -> None:
        """Append the lines that are not there yet, and where the run began. `started` is in microseconds.

        Raises:
            OSError: the disk refused; the file is as it was.
        """
        async with self._lock:
            await asyncio.shield(asyncio.to_thread(_add, self._path(container), run_id, started, lines))

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


def _add(path: Path, run_id: str, started: int, lines: Sequence[Record]) -> None:
    records = _read(path)
    unkept = Unread(kept_of(records, run_id))
    begin = Record(started, RUN, run_id)
    marked = begin in records
    named = any(record.word == RUN and record.text == run_id for record in records)
    for line in lines:
        if not unkept.takes(line.time):
            continue
        if not marked and line.time >= started:
            records.append(begin)
            marked = named = True
        elif not named:
            # Lines of an earlier run of this container; when that one began is not known any more.
            records.append(Record(line.time, RUN, run_id))
            named = True
        records.append(line)
    if not marked:
        records.append(begin)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, b"".join(map(encode, newest(records, MAX_FILE_BYTES))))
