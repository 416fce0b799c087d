"""Incremental reading of the journal export format (API contract §5.3).

An entry is a run of fields and ends with an empty line. A field is `NAME=value` in one line, or, for values that may
hold anything, a line `NAME`, eight bytes of little-endian length, that many bytes and a newline. What comes in may be
cut anywhere and may be hostile: memory stays bounded by the wanted fields of one entry.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from typing import Final

from supervisor.drivers.journal.entry import MAX_VALUE_BYTES
from supervisor.errors import Unavailable

MAX_NAME_BYTES: Final = 256  # journald itself takes 64
_LENGTH_BYTES: Final = 8


class _At(Enum):
    NAME = auto()
    TEXT = auto()
    LENGTH = auto()
    DATA = auto()
    DATA_END = auto()


class ExportParser:
    """Turns chunks of bytes into entries, each a mapping of the wanted fields.

    Values are decoded as UTF-8 with replacement and cut at `max_value` bytes; of a repeated field the first value
    counts. An entry that is not complete when the input ends is not given out.
    """

    def __init__(self, wanted: Collection[str], *, max_value: int = MAX_VALUE_BYTES) -> None:
        self._wanted = {name.encode(): name for name in wanted}
        self._max_value = max_value
        self._buffer = bytearray()
        self._at = _At.NAME
        self._name: str | None = None  # of the field being read, None when nobody wants it
        self._value = bytearray()
        self._left = 0
        self._fields: dict[str, str] = {}
        self._seen = False

    def feed(self, data: bytes) -> list[dict[str, str]]:
        """Take the next bytes and return the entries that they complete.

        Raises:
            Unavailable: this is not the export format; the parser must not be used again.
        """
        self._buffer += data
        entries: list[dict[str, str]] = []
        position = 0
        while True:
            moved = self._step(position, entries)
            if moved < 0:
                break
            position = moved
        del self._buffer[:position]
        return entries

    def _step(self, position: int, entries: list[dict[str, str]]) -> int:
        """Read one piece at `position`; return where the next one begins, or -1 when more input is needed."""
        match self._at:
            case _At.NAME:
                return self._name_or_end(position, entries)
            case _At.TEXT:
                return self._text(position)
            case _At.LENGTH:
                return self._length(position)
            case _At.DATA:
                return self._data(position)
            case _At.DATA_END:
                return self._data_end(position)

    def _name_or_end(self, position: int, entries: list[dict[str, str]]) -> int:
        limit = position + MAX_NAME_BYTES + 1
        newline = self._buffer.find(b"\n", position, limit)
        if newline == position:
            if self._seen:
                entries.append(self._fields)
                self._fields, self._seen = {}, False
            return position + 1
        equals = self._buffer.find(b"=", position, limit if newline < 0 else newline)
        end = equals if equals >= 0 else newline
        if end < 0:
            if len(self._buffer) >= limit:
                raise Unavailable("The journal sent a field name without an end")
            return -1
        if end == position:
            raise Unavailable("The journal sent a field without a name")
        name = self._wanted.get(bytes(self._buffer[position:end]))
        self._name = name if name not in self._fields else None
        self._seen = True
        self._at = _At.TEXT if equals >= 0 else _At.LENGTH
        return end + 1

    def _text(self, position: int) -> int:
        newline = self._buffer.find(b"\n", position)
        if newline < 0:
            end = len(self._buffer)
            self._collect(position, end)
            return end if end > position else -1
        self._collect(position, newline)
        self._finish_field()
        return newline + 1

    def _length(self, position: int) -> int:
        end = position + _LENGTH_BYTES
        if len(self._buffer) < end:
            return -1
        self._left = int.from_bytes(self._buffer[position:end], "little")
        self._at = _At.DATA
        return end

    def _data(self, position: int) -> int:
        end = min(len(self._buffer), position + self._left)
        if self._left and end == position:
            return -1
        self._collect(position, end)
        self._left -= end - position
        if not self._left:
            self._at = _At.DATA_END
        return end

    def _data_end(self, position: int) -> int:
        if len(self._buffer) <= position:
            return -1
        if self._buffer[position] != ord("\n"):
            raise Unavailable("The journal sent a field that is longer than it said")
        self._finish_field()
        return position + 1

    def _collect(self, start: int, end: int) -> None:
        if self._name is not None:
            room = self._max_value - len(self._value)
            self._value += self._buffer[start : min(end, start + room)]

    def _finish_field(self) -> None:
        if self._name is not None:
            self._fields[self._name] = self._value.decode(errors="replace")
            self._value.clear()
        self._at = _At.NAME
