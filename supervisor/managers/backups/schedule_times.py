"""When a schedule is due: cron expressions in a time zone, with days that have 23 or 25 hours."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import voluptuous as vol
from cronsim import CronSim, CronSimError

from supervisor.model.validators import text

_MAX_LENGTH: Final = 256


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
    local = moment.astimezone(zone)
    try:
        for candidate in CronSim(expression, local):
            due = candidate.astimezone(UTC)
            # A local time that comes twice may be named by its first coming, which can lie before the moment.
            if due > moment.astimezone(UTC):
                return due
    except (StopIteration, OverflowError):
        return None
    return None


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
