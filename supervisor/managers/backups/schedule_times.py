"""When a schedule is due: cron expressions in a time zone, with days that have 23 or 25 hours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import voluptuous as vol
from cronsim import CronSim, CronSimError

from supervisor.model.validators import text

_MAX_LENGTH: Final = 256
_HOUR: Final = 3600


def cron(value: Any) -> str:
    """Accept a cron expression of five fields that comes round at all."""
    written = " ".join(text(value).split())
    if len(written) > _MAX_LENGTH or len(written.split(" ")) != 5:
        raise vol.Invalid("expected a cron expression of five fields such as '30 3 * * *'")
    try:
        next(CronSim(written, datetime(2024, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration, AssertionError, ValueError, OverflowError) as err:
        reason = f": {err}" if isinstance(err, CronSimError) else ""
        raise vol.Invalid(f"expected a cron expression of five fields such as '30 3 * * *'{reason}") from err
    return written


def zone_named(*names: str | None) -> ZoneInfo:
    """Return the first of these time zones that this machine knows, else UTC: an update of the system may drop one."""
    for name in names:
        if name is not None:
            with suppress(ZoneInfoNotFoundError, ValueError, OSError):
                return ZoneInfo(name)
    return ZoneInfo("UTC")


def due_after(expression: str, zone: ZoneInfo, moment: datetime) -> datetime | None:
    """Return when the expression is due next after `moment`, in UTC; None when it never comes round again.

    A fixed time that a change of the clock skips is due right after the gap, one that comes twice is due once; an
    expression that begins with stars goes by elapsed time.
    """
    due = _first_after(expression, zone, moment)
    minute, hour, *_ = expression.split()
    if due is not None and (minute.startswith("*") or hour.startswith("*")):
        # Going by hours, the library is beside the minute behind a change of the clock by half an hour.
        for start in _fresh_starts(zone, int(moment.timestamp()), int(due.timestamp())):
            again = _first_after(expression, zone, datetime.fromtimestamp(start, UTC))
            due = due if again is None else min(due, again)
    return due


def _first_after(expression: str, zone: ZoneInfo, moment: datetime) -> datetime | None:
    try:
        for candidate in CronSim(expression, moment.astimezone(zone)):
            due = candidate.astimezone(UTC)
            # A local time that comes twice may be named by its first coming, which can lie before the moment.
            if due > moment.astimezone(UTC):
                return due
    except (StopIteration, OverflowError):
        return None
    return None


def _fresh_starts(zone: ZoneInfo, moment: int, end: int) -> Iterator[int]:
    """Yield the second before each change of the clock and before the next full hour, between two times in seconds."""

    def offset(second: int) -> timedelta | None:
        return datetime.fromtimestamp(second, zone).utcoffset()

    before = moment - _HOUR
    while before < end:
        after = min(before + 24 * _HOUR, end)
        if offset(before) != offset(after):
            early, late = before, after
            while late - early > 1:
                middle = (early + late) // 2
                early, late = (middle, late) if offset(middle) == offset(before) else (early, middle)
            shown = datetime.fromtimestamp(late, zone)
            full = late + -(shown.minute * 60 + shown.second) % _HOUR
            yield from (start for start in (early, full - 1) if start > moment)
        before = after


def latest_due(expression: str, zone: ZoneInfo, since: datetime, now: datetime) -> datetime | None:
    """Return the last time in (since, now] at which the expression was due, None when there was none.

    However many were missed, the last is what has to be made up.
    """
    # Few steps for a long time: look back from now in growing windows instead of walking from `since`.
    window = timedelta(hours=1)
    found: datetime | None = None
    while found is None:
        start = max(since, now - window)
        moment: datetime | None = due_after(expression, zone, start)
        while moment is not None and moment <= now:
            found, moment = moment, due_after(expression, zone, moment)
        if start <= since:
            break
        window *= 4
    return found
