"""What narrows a log beyond fields: a span of time and a search in the messages."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Final

import attrs
import regex

from supervisor.errors import Invalid

_LONGEST_PATTERN: Final = 1000
_SEARCH_SECONDS: Final = 0.5  # for one message; an honest search takes microseconds
# Work beyond that is held against the pattern, until there was too much of it in all.
_EASY_SECONDS: Final = 0.01
_EASY_SECONDS_PER_CHARACTER: Final = 1e-7
_HARD_SECONDS: Final = 2.0
# Compiling writes what is repeated a fixed number of times out in full, without letting anything else run.
_MOST_WRITTEN_OUT: Final = 10_000
_TOO_HARD: Final = "The pattern to search for takes too long; write a simpler one"
_REPEATED: Final = re.compile(r"(.?)\{\s*(\d+)", re.DOTALL)


class MessagePattern:
    """A regular expression that is searched in messages, in time that is bounded whatever it says.

    Like `journalctl --grep` it takes no notice of case unless it holds a capital letter. `search` blocks for up to
    half a second but lets other threads run: long messages belong in a thread.
    """

    def __init__(self, text: str) -> None:
        """Compile a pattern.

        Raises:
            Invalid: it is none, too long, or would become too large.
        """
        if len(text) > _LONGEST_PATTERN:
            raise Invalid(f"The pattern to search for is longer than {_LONGEST_PATTERN} characters")
        if _written_out(text) > _MOST_WRITTEN_OUT:
            raise Invalid("The pattern to search for repeats something too often")
        flags = regex.VERSION0 if any(char.isupper() for char in text) else regex.VERSION0 | regex.IGNORECASE
        try:
            self._compiled = regex.compile(text, flags, cache_pattern=False)
        except regex.error as err:
            raise Invalid(f"The pattern to search for can't be understood: {err}") from err
        except (RecursionError, OverflowError, MemoryError, ValueError, IndexError) as err:
            raise Invalid("The pattern to search for can't be understood: it is too complicated") from err
        self.text = text
        self._hard_seconds = 0.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessagePattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def search(self, message: str) -> bool:
        """Tell whether the message holds the pattern.

        Raises:
            Invalid: looking took too long, here or in all messages so far.
        """
        began = time.thread_time()
        try:
            found = self._compiled.search(message, timeout=_SEARCH_SECONDS, concurrent=True) is not None
        except TimeoutError as err:
            raise Invalid(_TOO_HARD) from err
        hard = time.thread_time() - began - _EASY_SECONDS - len(message) * _EASY_SECONDS_PER_CHARACTER
        if hard > 0:
            self._hard_seconds += hard
            if self._hard_seconds > _HARD_SECONDS:
                raise Invalid(_TOO_HARD)
        return found


def _written_out(text: str) -> int:
    """Return about how long a pattern is, at most, with everything in it that has a fixed count written out."""
    length, times = len(text), 1
    for before, digits in _REPEATED.findall(text):
        # Only what stands in a group can be repeated once more.
        if before == ")" or before.isspace():
            times *= max(1, int(digits))
        else:
            length += int(digits)
    return length * times


@attrs.frozen
class Narrowing:
    """`since` and `until` are microseconds since the epoch, both included."""

    since: int | None = None
    until: int | None = None
    pattern: MessagePattern | None = None

    @property
    def is_any(self) -> bool:
        return self.since is None and self.until is None and self.pattern is None

    def admits_time(self, time: int) -> bool:
        return (self.since is None or time >= self.since) and (self.until is None or time <= self.until)

    def admits(self, time: int, message: str) -> bool:
        """Tell whether an entry belongs.

        Raises:
            Invalid: the search took too long.
        """
        return self.admits_time(time) and (self.pattern is None or self.pattern.search(message))

    def choose(self, entries: Iterable[tuple[int, str]]) -> list[bool]:
        """Judge several entries, each its time and its message. Blocking where there is a pattern.

        Raises:
            Invalid: the search took too long.
        """
        return [self.admits(time, message) for time, message in entries]


ANYTHING: Final = Narrowing()
