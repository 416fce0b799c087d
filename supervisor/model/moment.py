"""Moments as callers write them: a date and time, a distance from now, or seconds since the epoch."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from supervisor.errors import Invalid

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = 253_402_300_799_999_999
_EPOCH_SECONDS: Final = re.compile(r"@?(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)
_DISTANCE: Final = re.compile(r"[+-](?:\s*\d{1,12}(?:\.\d{1,6})?\s*[a-z]+)+", re.ASCII)
_STEP: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([a-z]+)", re.ASCII)
_LOST_PLUS: Final = re.compile(r"(\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?) (\d{2}:?\d{2})", re.ASCII)
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 604800),
}


def parse_moment(text: str, *, now: int | None = None) -> int:
    """Return microseconds since the epoch for `2026-01-31T12:00:00+01:00`, `-1h30m`, `now` or `1769860800.5`.

    A date or time without a zone is in UTC, like the times that logs show. `now` is the present, in microseconds.

    Raises:
        Invalid: it is nothing of these.
    """
    text = text.strip()
    now = time.time_ns() // 1000 if now is None else now
    if text == "now":
        return now
    if match := _EPOCH_SECONDS.fullmatch(text):
        moment = int(match[1]) * 1_000_000 + int((match[2] or "0").ljust(6, "0")[:6])
    elif _DISTANCE.fullmatch(text):
        moment = now + _distance(text)
    else:
        moment = _date(text)
    return min(max(moment, 0), _LAST_MOMENT)


def _distance(text: str) -> int:
    total = 0.0
    for amount, unit in _STEP.findall(text):
        if unit not in _UNITS:
            raise _unknown(text)
        total += float(amount) * _UNITS[unit] * 1_000_000
    return round(total) * (-1 if text.startswith("-") else 1)


def _date(text: str) -> int:
    # In a query an unescaped plus arrives as a space.
    text = _LOST_PLUS.sub(r"\1+\2", text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as err:
        raise _unknown(text) from err
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def _unknown(text: str) -> Invalid:
    return Invalid(f"{text[:60]!r} is no time: write 2026-01-31T12:00:00Z, -1h30m or seconds since 1970")
