"""One reader of the journal's files: where to begin, what to pass over, what to take from an entry. Blocking."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from systemd import journal

from supervisor.drivers.journal.entry import (
    BOOT_ID,
    IDENTIFIER,
    MAX_VALUE_BYTES,
    MESSAGE,
    WANTED_FIELDS,
    Entry,
    EntryRange,
    Filters,
)
from supervisor.drivers.journal.narrowing import ANYTHING, Narrowing
from supervisor.errors import Invalid, Unavailable

_BACKWARD_STRIDE: Final = 2**31 - 1
_LAST: Final = EntryRange("", -1)


class FileReader(journal.Reader):  # type: ignore[misc]  # the library has no types
    """A handle on the journal files; it belongs to one thread.

    The library's own way to read an entry turns every field of it into a Python object of its kind; taking the few
    fields that a log shows is ten times as fast.
    """

    def __init__(self, folder: Path | None) -> None:
        """Open the files in `folder`, this machine's where it is None.

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
        self._narrowing = ANYTHING
        self._is_there = False  # whether the present position is the next entry to look at

    def ask(self, filters: Filters, part: EntryRange, narrowing: Narrowing) -> None:
        """Go to where the range begins.

        Raises:
            Invalid: a filter or a cursor that the journal does not understand; a search that takes too long.
        """
        self._narrowing = narrowing
        skip = part.skip or 0
        try:
            for field, value in filters:
                self.add_match(f"{field}={value}")
            if part.cursor:
                self.seek_cursor(part.cursor)
        except (OSError, ValueError) as err:
            raise Invalid(f"The journal does not understand this: {err}") from err
        if skip < 0:
            self._begin_back(part, -skip)
        else:
            self._begin_ahead(part, skip)

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
        while wanted and self._previous():
            if since is not None and self._get_realtime() < since:
                self._is_there = bool(self._next())
                return
            wanted -= self._admits_here()

    def ask_for_news(self, filters: Filters, narrowing: Narrowing) -> None:
        """Go behind the last entry that is there now.

        Raises:
            Invalid: a filter that the journal does not understand.
        """
        self.ask(filters, _LAST, ANYTHING)
        self._narrowing = narrowing
        self._is_there = False

    def advance(self) -> bool:
        """Go to the next entry that belongs; tell whether there is one.

        Raises:
            Invalid: the search takes too long.
        """
        narrowing = self._narrowing
        while True:
            if self._is_there:
                self._is_there = False
            elif not self._next():
                return False
            if narrowing.is_any:
                return True
            if narrowing.until is not None and self._get_realtime() > narrowing.until:
                return False
            if self._admits_here():
                return True

    def _admits_here(self) -> bool:
        narrowing = self._narrowing
        if narrowing.is_any:
            return True
        message = "" if narrowing.pattern is None else self._message()
        return narrowing.admits(self._get_realtime(), message)

    def entry(self) -> Entry:
        """Return the present entry."""
        try:
            fields: dict[str, Any] = self._get_all()
        except OSError:  # this one is damaged; those behind it need not be
            fields = {}
        texts = {name: _text(fields[name]) for name in WANTED_FIELDS if name in fields}
        return Entry.of(self._get_cursor(), self._get_realtime(), texts)

    def message_alone(self, *, cursor: bool) -> Entry:
        """Return an entry that holds the message and, if asked for, the cursor."""
        return Entry(self._get_cursor() if cursor else "", 0, self._message())

    def _message(self) -> str:
        try:
            return _text(self._get(MESSAGE))
        except (KeyError, OSError):  # it has none, or is damaged
            return ""

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
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
