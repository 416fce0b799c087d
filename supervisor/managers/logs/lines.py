"""Lines that the journal does not hold: their order, their cursors, their form in a file of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from supervisor.errors import Invalid
from supervisor.managers.logs.levels import INFO

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = 253_402_300_799_999_999
_CURSOR: Final = re.compile(r"t=(\d{1,18});n=(\d{1,9})", re.ASCII)
RUN: Final = "run"
"""The word that marks where a run began, in the place of a stream's name; its text is the id of the container."""


@attrs.frozen(order=True)
class Position:
    """Where a line stands in its log: microseconds since the epoch, and its number among lines of that moment."""

    time: int
    nth: int = 0

    @property
    def cursor(self) -> str:
        return f"t={self.time};n={self.nth}"

    @classmethod
    def from_cursor(cls, cursor: str) -> Position:
        """Raise Invalid for a cursor that no log of ours gave out, such as one of the journal."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise Invalid("This log knows no such cursor")
        return cls(int(match[1]), int(match[2]))


@attrs.frozen
class Line:
    """`level` is a syslog priority."""

    position: Position
    message: str
    level: int = INFO


class Sequence:
    """Numbers lines so that positions always grow, also when the clock was set back in between."""

    def __init__(self) -> None:
        self._last = Position(0, -1)

    def line(self, time: int, message: str, level: int = INFO) -> Line:
        if time > self._last.time:
            self._last = Position(time)
        else:
            self._last = Position(self._last.time, self._last.nth + 1)
        return Line(self._last, message, level)


@attrs.frozen
class Record:
    """One line of a file of ours. `word` is a stream's name or `RUN`."""

    time: int
    word: str
    text: str


def microseconds(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)


def encode(record: Record) -> bytes:
    """Write a record so that people can read the file; further lines of a text begin with a tab."""
    time = min(max(record.time, 0), _LAST_MOMENT)
    when = (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    text = record.text.replace("\n", "\n\t")
    return f"{when} {record.word} {text}\n".encode("utf-8", "replace")


def decode(content: bytes) -> Iterator[Record]:
    """Read records back. A line that is no record (the file was cut or edited) is left out."""
    record: Record | None = None
    more: list[str] = []
    for raw in content.split(b"\n"):
        line = raw.decode("utf-8", "replace")
        if line.startswith("\t"):
            more.append(line[1:])
            continue
        if record is not None:
            yield _joined(record, more)
        record, more = _record(line), []
    if record is not None:
        yield _joined(record, more)


def _joined(record: Record, more: list[str]) -> Record:
    return attrs.evolve(record, text="\n".join([record.text, *more])) if more else record


def _record(line: str) -> Record | None:
    when, _, rest = line.partition(" ")
    word, _, text = rest.partition(" ")
    if not word or not when.endswith("Z"):
        return None
    try:
        return Record(microseconds(datetime.fromisoformat(when)), word, text)
    except (ValueError, TypeError):  # TypeError: a time without a zone
        return None


def newest(records: Iterable[Record], limit: int) -> list[Record]:
    """Return the last records that fit into `limit` bytes of a file."""
    kept: list[Record] = []
    for record in reversed(list(records)):
        limit -= len(encode(record))
        if limit < 0:
            break
        kept.append(record)
    return kept[::-1]
