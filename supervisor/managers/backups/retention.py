"""Which backups are kept and which may go: pure decisions, the same for archives and for snapshots of a repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Protocol, TypeVar

import attrs
import voluptuous as vol

from supervisor.model.validators import strict_int

MAX_KEPT: Final = 10_000
# Another machine's clock may go a little before this one.
_CLOCK_SLACK: Final = timedelta(hours=1)


class Dated(Protocol):
    """Something that was made at a time; the time has a zone."""

    @property
    def date(self) -> datetime: ...


T = TypeVar("T", bound=Dated)


@attrs.frozen
class Retention:
    """How many to keep: the newest `last`, and the newest one of each of so many days, weeks, months and years.

    Days and weeks are those of the calendar (ISO weeks, from Monday) in which there is a backup at all; a time without
    backups uses nothing up. Zero everywhere keeps everything.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def keeps_everything(self) -> bool:
        return not any(attrs.astuple(self))


_count = vol.All(strict_int, vol.Range(0, MAX_KEPT))
RETENTION_SCHEMA: Final = vol.Schema(
    {
        vol.Optional("last", default=0): _count,
        vol.Optional("daily", default=0): _count,
        vol.Optional("weekly", default=0): _count,
        vol.Optional("monthly", default=0): _count,
        vol.Optional("yearly", default=0): _count,
    }
)

_PERIODS: Final[tuple[tuple[str, Callable[[datetime], object]], ...]] = (
    ("daily", lambda local: local.date()),
    ("weekly", lambda local: local.isocalendar()[:2]),
    ("monthly", lambda local: (local.year, local.month)),
    ("yearly", lambda local: local.year),
)


def retention(values: dict[str, Any]) -> Retention:
    """Return the rule that a checked state file or body describes."""
    return Retention(**RETENTION_SCHEMA(values))


def expired(backups: Iterable[T], rule: Retention, zone: tzinfo, now: datetime) -> list[T]:
    """Return those that the rule does not keep, oldest first. The newest is never among them.

    The calendar is that of `zone`. Of several with the same time the one that comes first in `backups` counts as newer.
    What is younger than now was made with another clock. It stays, and takes the place of no other: where this clock is
    the wrong one everything does, and where it is the right one each new backup still is the newest.
    """
    past = [backup for backup in backups if backup.date <= now + _CLOCK_SLACK]
    newest_first = sorted(past, key=lambda backup: backup.date, reverse=True)
    if not newest_first or rule.keeps_everything:
        return []
    kept = set(range(max(1, rule.last)))
    for name, period_of in _PERIODS:
        left, seen = getattr(rule, name), set()
        for index, backup in enumerate(newest_first):
            period = period_of(backup.date.astimezone(zone))
            if left and period not in seen:
                seen.add(period)
                kept.add(index)
                left -= 1
    return [backup for index, backup in reversed(list(enumerate(newest_first))) if index not in kept]
