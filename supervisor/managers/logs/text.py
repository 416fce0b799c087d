"""How an entry looks to whoever reads a log (API contract §5.4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from supervisor.drivers.journal import Batch, Entry
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


def render_batch(batch: Batch, form: LogFormat, *, no_colors: bool) -> bytes:
    """Return all of a batch as the caller gets it, each entry with a final newline.

    Readers who share a batch and want the same form share the result.
    """
    key = (form, no_colors)
    text = batch.memo.get(key)
    if text is None:
        lines = [render(entry, form, no_colors=no_colors) for entry in batch.entries]
        lines.append("")
        text = batch.memo[key] = "\n".join(lines).encode("utf-8", "replace")
    return gap(batch.lost).encode() + b"\n" + text if batch.lost else text


def gap(lost: int) -> str:
    """Return the line that stands where entries are missing."""
    return f"--- {lost} entries are left out here: they came faster than they were read ---"


def _time(entry: Entry) -> str:
    seconds, rest = divmod(entry.time, 1_000_000)
    return f"{_second(seconds)}.{rest // 1000:03d}"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
