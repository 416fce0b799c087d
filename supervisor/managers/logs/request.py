"""What a caller asks of a log (API contract §5.1): pure reading of headers and query."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import attrs

from supervisor.drivers.journal import ANYTHING, UNLIMITED, WHOLE_LOG, EntryRange, MessagePattern, Narrowing
from supervisor.drivers.journal.entry import FURTHEST_SKIP
from supervisor.errors import Invalid
from supervisor.managers.logs.levels import parse_levels
from supervisor.model.moment import parse_moment

DEFAULT_LINES: Final = 100
_PREFIX: Final = "entries="
_MAX_CURSOR: Final = 512
_SKIP: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_COUNT: Final = re.compile(r"\d{1,20}", re.ASCII)
_LINES: Final = re.compile(r"\s*[+-]?\d{1,40}\s*", re.ASCII)


class LogFormat(StrEnum):
    PLAIN = "plain"
    TIMESTAMP = "timestamp"
    VERBOSE = "verbose"


@attrs.frozen
class LogTarget:
    """Whose log it is.

    `identifiers` are its names in the journal. `container` is where the engine keeps it when the journal does not
    have it; None for what only the journal knows. `own` is the daemon's own log.
    """

    identifiers: tuple[str, ...]
    container: str | None = None
    own: bool = False


@attrs.frozen
class LogRequest:
    """`boot` is an offset or a boot id as the caller wrote it; `latest` means the current run only.

    `levels` are the priorities wanted, None for all and those without any. The range counts among what is left by
    `levels` and `narrowing`.
    """

    part: EntryRange
    format: LogFormat = LogFormat.PLAIN
    no_colors: bool = False
    follow: bool = False
    latest: bool = False
    boot: str | None = None
    levels: frozenset[int] | None = None
    narrowing: Narrowing = ANYTHING

    @classmethod
    def from_query(
        cls,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        *,
        latest: bool = False,
        follow: bool = False,
        boot: str | None = None,
        default_verbose: bool = False,
    ) -> LogRequest:
        """Read a request. `headers` must look names up without regard to case.

        Raises:
            Invalid: an Accept that is not for logs, an unknown format or level, a Range, a time or a pattern that
                can't be understood, an end before the beginning.
        """
        level = query.get("level")
        return cls(
            part=_part(headers, query, latest=latest, follow=follow),
            format=_format(headers, query, default_verbose=default_verbose),
            no_colors=latest or "no_colors" in query,
            follow=follow,
            latest=latest,
            boot=boot,
            levels=None if level is None else parse_levels(level),
            narrowing=_narrowing(query, follow=follow),
        )


def _narrowing(query: Mapping[str, str], *, follow: bool) -> Narrowing:
    since, until, pattern = query.get("since"), query.get("until"), query.get("grep")
    if until is not None and follow:
        raise Invalid("A log that is followed has no end: leave until out")
    if since is None and until is None and not pattern:
        return ANYTHING
    now = time.time_ns() // 1000
    begin = None if since is None else parse_moment(since, now=now)
    end = None if until is None else parse_moment(until, now=now)
    if begin is not None and end is not None and begin > end:
        raise Invalid("Nothing is both after since and before until: since is the later one")
    return Narrowing(since=begin, until=end, pattern=MessagePattern(pattern) if pattern else None)


def _format(headers: Mapping[str, str], query: Mapping[str, str], *, default_verbose: bool) -> LogFormat:
    accept = headers.get("Accept", "*/*")
    if accept not in {"", "*/*", "text/plain", "text/x-log"}:
        raise Invalid("Logs come as text: ask with Accept text/plain, or text/x-log for the verbose form")
    if (wanted := query.get("format")) is not None:
        try:
            return LogFormat(wanted)
        except ValueError as err:
            raise Invalid(f"The format of a log is one of {', '.join(LogFormat)}") from err
    verbose = default_verbose or accept == "text/x-log" or "verbose" in query
    return LogFormat.VERBOSE if verbose else LogFormat.PLAIN


def _part(headers: Mapping[str, str], query: Mapping[str, str], *, latest: bool, follow: bool) -> EntryRange:
    if (lines := query.get("lines")) is not None:
        return _last(max(2, int(lines)) if _LINES.fullmatch(lines) else DEFAULT_LINES, follow=follow)
    if latest:
        return EntryRange("", 0, UNLIMITED)
    if (text := headers.get("Range")) is not None:
        return parse_range(text)
    if "since" in query:
        return WHOLE_LOG
    return _last(DEFAULT_LINES, follow=follow)


def _last(lines: int, *, follow: bool) -> EntryRange:
    lines = min(lines, FURTHEST_SKIP)
    return EntryRange("", 1 - lines, UNLIMITED if follow else lines)


def parse_range(text: str) -> EntryRange:
    """Read `entries=<cursor>[[:<num_skip>]:<num_entries>]`; an empty count after two colons means no limit.

    Raises:
        Invalid: it is something else.
    """
    value = text.strip()
    if not value.startswith(_PREFIX):
        raise Invalid("The Range of a log begins with entries=")
    cursor, *numbers = (piece.strip() for piece in value.removeprefix(_PREFIX).split(":"))
    if len(cursor) > _MAX_CURSOR or not cursor.isprintable():
        raise Invalid("The Range of a log holds a cursor that can't be one")
    match numbers:
        case []:
            return EntryRange(cursor)
        case [count]:
            return EntryRange(cursor, None, _count(count))
        case [skip, count]:
            return EntryRange(cursor, _skip(skip), _count(count) if count else UNLIMITED)
    raise Invalid("The Range of a log has the form entries=<cursor>[[:<num_skip>]:<num_entries>]")


def _skip(text: str) -> int:
    if not _SKIP.fullmatch(text) or abs(int(text)) > FURTHEST_SKIP:
        raise Invalid("The number of entries to skip in the Range is not a number")
    return int(text)


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text) or not 0 < int(text) <= UNLIMITED:
        raise Invalid("The number of entries in the Range is not a number above zero")
    return int(text)
