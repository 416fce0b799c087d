"""One reader of the journal's files: where to begin, what to pass over, what to take from an entry. Blocking."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

from systemd import journal

from supervisor.drivers.journal.entry import (
    BOOT_ID,
    HOSTNAME,
    IDENTIFIER,
    MAX_VALUE_BYTES,
    MESSAGE,
    PID,
    WANTED_FIELDS,
    Detail,
    Entry,
    EntryRange,
    Filters,
)
from supervisor.drivers.journal.narrowing import ANYTHING, Narrowing
from supervisor.errors import Invalid, Unavailable

_BACKWARD_STRIDE: Final = 2**31 - 1
_TAKE_CHARS: Final = 256 * 1024
_FEW_IDENTIFIERS: Final = 8


class FileReader(journal.Reader):  # type: ignore[misc]  # the library has no types
    """A handle on the journal files; it belongs to one thread.

    The library's own way to read an entry turns every field of it into a Python object of its kind; taking the few
    fields that a log shows is many times as fast.
    """

    def __init__(self, folder: Path | None, stopped: threading.Event | None = None) -> None:
        """Open the files in `folder`, this machine's where it is None; `stopped` ends a search that takes long.

        Raises:
            Unavailable: they can't be opened.
        """
        try:
            super().__init__(
                path=None if folder is None else str(folder), converters={BOOT_ID: _text, IDENTIFIER: _text}
            )
            self.data_threshold = MAX_VALUE_BYTES
        except OSError as err:
            raise Unavailable(f"The journal files can't be read: {err}") from err
        self._stopped = stopped or threading.Event()
        self._narrowing = ANYTHING
        self._wanted: dict[str, set[bytes]] = {}
        self._is_there = False  # whether the present position is the next entry to look at

    def ask(self, filters: Filters, part: EntryRange, narrowing: Narrowing) -> None:
        """Go to where the range begins.

        Raises:
            Invalid: a filter or a cursor that the journal does not understand; a search that takes too long.
        """
        self._narrowing = narrowing
        skip = part.skip or 0
        try:
            for field, value in self._useful(filters):
                self.add_match(f"{field}={value}")
            if part.cursor:
                self.seek_cursor(part.cursor)
        except (OSError, ValueError) as err:
            raise Invalid(f"The journal does not understand this: {err}") from err
        if skip < 0:
            self._begin_back(part, -skip)
        else:
            self._begin_ahead(part, skip)

    def _useful(self, filters: Filters) -> Filters:
        """Return the filters without identifiers that nobody bears; the library looks for each at every step."""
        wanted = {value for field, value in filters if field == IDENTIFIER}
        if len(wanted) <= _FEW_IDENTIFIERS:
            return filters
        known = wanted.intersection(self.identifiers()) or {min(wanted)}
        return [(field, value) for field, value in filters if field != IDENTIFIER or value in known]

    def _begin_ahead(self, part: EntryRange, skip: int) -> None:
        if not part.cursor and self._narrowing.since is not None:
            self.seek_realtime(self._narrowing.since)
        elif not part.cursor:
            self.seek_head()
        if skip and self._narrowing.is_any:
            # Fewer than asked for leave the library at the last one; only the step behind tells.
            self._next(skip)
            self._is_there = bool(self._next())
            return
        self._is_there = bool(self._next())
        for _ in range(skip):
            if not self.advance():
                return

    def _begin_back(self, part: EntryRange, back: int) -> None:
        """Go `back` entries back from the cursor, or from the last entry."""
        if not part.cursor:
            self._seek_end()
        if not self._previous():
            # Nothing before: whatever there is or comes is behind.
            if not part.cursor:
                self.seek_head()
            self._is_there = bool(self._next())
            return
        self._is_there = True
        if self._narrowing.is_any or (self._narrowing.pattern is None and self._narrowing.since is None):
            while back > 0 and self._previous(min(back, _BACKWARD_STRIDE)):
                back -= _BACKWARD_STRIDE
            return
        self._go_back(back + int(not self._admits_here()))

    def _seek_end(self) -> None:
        if self._narrowing.until is None:
            self.seek_tail()
        else:
            self.seek_realtime(self._narrowing.until)

    def _go_back(self, wanted: int) -> None:
        """Go back over entries until `wanted` of them belonged."""
        since = self._narrowing.since
        while wanted and not self._stopped.is_set() and self._previous():
            if since is not None and self._get_realtime() < since:
                self._is_there = bool(self._next())
                return
            wanted -= self._admits_here()

    def ask_for_news(self, filters: Filters, narrowing: Narrowing) -> None:
        """Go behind the last entry that is there now.

        The filters are looked at entry by entry. For the library to do it, it would first have to find the last entry
        of each value in each file, and keep the pages that it saw on the way in memory.
        """
        for field, value in filters:
            self._wanted.setdefault(field, set()).add(value.encode())
        self.seek_tail()
        if not self._previous():
            self.seek_head()
        self._narrowing = narrowing

    def advance(self) -> bool:
        """Go to the next entry that belongs; tell whether there is one.

        Raises:
            Invalid: the search takes too long.
        """
        narrowing = self._narrowing
        while not self._stopped.is_set():
            if self._is_there:
                self._is_there = False
            elif not self._next():
                return False
            if narrowing.is_any and not self._wanted:
                return True
            if narrowing.until is not None and self._get_realtime() > narrowing.until:
                return False
            if self._admits_here():
                return True
        return False

    def _admits_here(self) -> bool:
        narrowing = self._narrowing
        if self._wanted and not all(self._value(field) in values for field, values in self._wanted.items()):
            return False
        if narrowing.is_any:
            return True
        message = "" if narrowing.pattern is None else self._message()
        return narrowing.admits(self._get_realtime(), message)

    def take(self, limit: int, detail: Detail) -> list[Entry]:
        """Return the next entries, `limit` or fewer where they are large; none at the end.

        Raises:
            Invalid: the search takes too long.
        """
        found: list[Entry] = []
        make = {Detail.MESSAGE: self._bare, Detail.LINE: self._line, Detail.ALL: self._whole}[detail]
        passes_over = bool(self._wanted) or not self._narrowing.is_any
        step = self._next if not passes_over and not self._is_there else self.advance
        room = _TAKE_CHARS
        while limit > 0 and room > 0 and step():
            entry = make("") if found and not passes_over else make(self._get_cursor())
            found.append(entry)
            room -= len(entry.message)
            limit -= 1
        if len(found) > 1 and not passes_over:
            # We still stand on the last one, also when there was no next.
            found[-1] = make(self._get_cursor())
        return found

    def _bare(self, cursor: str) -> Entry:
        return Entry(cursor, 0, self._message())

    def _line(self, cursor: str) -> Entry:
        get = self._fields().get
        return Entry(
            cursor,
            self._get_realtime(),
            _text(get(MESSAGE, b"")),
            _optional(get(IDENTIFIER)),
            _text(get(HOSTNAME, b"")),
            _optional(get(PID)),
        )

    def _whole(self, cursor: str) -> Entry:
        fields = self._fields()
        texts = {name: _text(fields[name]) for name in WANTED_FIELDS if name in fields}
        return Entry.of(cursor or self._get_cursor(), self._get_realtime(), texts)

    def _fields(self) -> dict[str, Any]:
        try:
            return self._get_all()  # type: ignore[no-any-return]  # the library has no types
        except OSError:  # this one is damaged; those behind it need not be
            return {}

    def _message(self) -> str:
        return _text(self._value(MESSAGE) or b"")

    def _value(self, field: str) -> bytes | None:
        try:
            return self._get(field)  # type: ignore[no-any-return]  # the library has no types
        except (KeyError, OSError):  # it has none, or is damaged
            return None

    def boots(self) -> tuple[str, ...]:
        """Return the ids of the boots, oldest first."""
        found: list[tuple[int, str]] = []
        for boot_id in map(_text, self.query_unique(BOOT_ID)):
            self.flush_matches()
            self.add_match(f"{BOOT_ID}={boot_id}")
            self.seek_head()
            if self._next():
                found.append((self._get_realtime(), boot_id))
        return tuple(boot_id for _, boot_id in sorted(found))

    def identifiers(self) -> list[str]:
        return sorted({_text(value) for value in self.query_unique(IDENTIFIER)} - {""})


def _text(value: Any) -> str:
    if isinstance(value, list):  # a repeated field; the first one counts
        value = value[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _optional(value: Any) -> str | None:
    return None if value is None else _text(value)
