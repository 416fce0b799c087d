"""How an entry looks to whoever reads a log (API contract §5.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from supervisor.drivers.journal import Entry
from supervisor.managers.logs.request import LogFormat

_COLOR: Final = re.compile(r"\x1b\[[\d;]*m", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_IDENTIFIER: Final = "_UNKNOWN_"


def render(entry: Entry, form: LogFormat, *, no_colors: bool) -> str:
    """Return the entry without a final newline; a message may span lines."""
    message = _COLOR.sub("", entry.message) if no_colors else entry.message
    match form:
        case LogFormat.PLAIN:
            return message
        case LogFormat.TIMESTAMP:
            return f"{_time(entry)} {message}"
        case LogFormat.VERBOSE:
            pid = f"[{entry.pid}]" if entry.pid else ""
            return f"{_time(entry)} {entry.hostname} {entry.identifier or _NO_IDENTIFIER}{pid}: {message}"


def _time(entry: Entry) -> str:
    when = _EPOCH + timedelta(microseconds=entry.time)
    return when.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
