"""What a retention rule keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import attrs
import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.managers.backups.retention import Retention, expired, retention

BERLIN = ZoneInfo("Europe/Berlin")
LATER = datetime(2030, 1, 1, tzinfo=UTC)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Australia/Lord_Howe"])
COUNTS = st.integers(0, 6)
RULES = st.builds(Retention, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
MOMENTS = st.integers(0, 7 * 365 * 86400).map(
    lambda second: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
)


@attrs.frozen
class Made:
    date: datetime
    number: int = 0


HISTORIES = st.lists(MOMENTS, max_size=60).map(lambda times: [Made(time, n) for n, time in enumerate(times)])


def daily(count: int, *, hour: int = 3, end: datetime = datetime(2026, 3, 31, tzinfo=BERLIN)) -> list[Made]:
    days = [(end - timedelta(days=back)).replace(hour=hour) for back in range(count)]
    return [Made(day.astimezone(UTC), n) for n, day in enumerate(days)]


def kept(backups: list[Made], rule: Retention, zone: ZoneInfo = BERLIN) -> list[datetime]:
    gone = expired(backups, rule, zone, LATER)
    return sorted((b.date.astimezone(zone) for b in backups if b not in gone), reverse=True)


def test_days_weeks_and_months_are_counted_by_the_calendar() -> None:
    left = kept(daily(120), Retention(daily=7, weekly=4, monthly=3))
    assert [f"{day:%m-%d}" for day in left] == [
        "03-31", "03-30", "03-29", "03-28", "03-27", "03-26", "03-25", "03-22", "03-15", "02-28", "01-31",
    ]  # fmt: skip


def test_the_last_ones_are_kept_whatever_the_day() -> None:
    same_day = [Made(datetime(2026, 3, 1, hour, tzinfo=UTC), hour) for hour in range(10)]
    assert [day.hour for day in kept(same_day, Retention(last=3), ZoneInfo("UTC"))] == [9, 8, 7]
    assert [day.hour for day in kept(same_day, Retention(daily=3), ZoneInfo("UTC"))] == [9]


def test_a_day_is_that_of_the_time_zone() -> None:
    # Half an hour apart, around midnight in Berlin; one day in UTC.
    pair = [Made(datetime(2026, 6, 1, 21, 45, tzinfo=UTC)), Made(datetime(2026, 6, 1, 22, 15, tzinfo=UTC))]
    assert len(kept(pair, Retention(daily=2), BERLIN)) == 2
    assert len(kept(pair, Retention(daily=2), ZoneInfo("UTC"))) == 1


def test_weeks_are_whole_over_the_turn_of_the_year() -> None:
    # Monday 2025-12-29 to Sunday 2026-01-04 is one ISO week.
    week = [Made(datetime(2025, 12, 29, tzinfo=UTC) + timedelta(days=day)) for day in range(7)]
    assert len(kept(week, Retention(weekly=5), ZoneInfo("UTC"))) == 1


def test_times_without_backups_use_nothing_up() -> None:
    sparse = [Made(datetime(year, 1, 1, tzinfo=UTC)) for year in (2020, 2022, 2026)]
    assert len(kept(sparse, Retention(daily=3), ZoneInfo("UTC"))) == 3


@given(HISTORIES, RULES, ZONES)
def test_the_newest_is_never_removed(history: list[Made], rule: Retention, zone: str) -> None:
    gone = expired(history, rule, ZoneInfo(zone), LATER)
    if history:
        newest = max(history, key=lambda made: made.date)
        assert newest.date not in {made.date for made in gone} or sum(m.date == newest.date for m in history) > 1
        assert len(gone) < len(history)


@given(HISTORIES, RULES, ZONES)
def test_what_is_kept_stays_kept_when_the_rule_is_applied_again(
    history: list[Made], rule: Retention, zone: str
) -> None:
    gone = expired(history, rule, ZoneInfo(zone), LATER)
    left = [made for made in history if made not in gone]
    assert expired(left, rule, ZoneInfo(zone), LATER) == []
    assert gone == sorted(gone, key=lambda made: made.date)
    assert all(made in history for made in gone)


@given(HISTORIES, RULES, ZONES)
def test_no_more_is_kept_than_the_rule_adds_up_to(history: list[Made], rule: Retention, zone: str) -> None:
    left = len(history) - len(expired(history, rule, ZoneInfo(zone), LATER))
    if rule.keeps_everything:
        assert left == len(history)
    else:
        assert left <= max(1, sum(attrs.astuple(rule)))
        assert left >= min(len(history), max(1, rule.last))


@given(HISTORIES, RULES, ZONES, st.sampled_from(["last", "daily", "weekly", "monthly", "yearly"]))
def test_a_more_generous_rule_never_removes_more(history: list[Made], rule: Retention, zone: str, more: str) -> None:
    generous = attrs.evolve(rule, **{more: getattr(rule, more) + 1})
    if not rule.keeps_everything:
        removed = expired(history, rule, ZoneInfo(zone), LATER)
        removed_then = expired(history, generous, ZoneInfo(zone), LATER)
        assert set(removed_then) <= set(removed)


@given(HISTORIES, COUNTS.filter(bool), ZONES)
def test_each_kept_day_keeps_its_newest(history: list[Made], days: int, zone: str) -> None:
    where = ZoneInfo(zone)
    gone = expired(history, Retention(daily=days), where, LATER)
    newest: dict[object, datetime] = {}
    for made in history:
        day = made.date.astimezone(where).date()
        newest[day] = max(newest.get(day, made.date), made.date)
    wanted = {newest[day] for day in sorted(newest, reverse=True)[:days]}  # type: ignore[type-var]
    assert {made.date for made in history if made not in gone} == wanted


@pytest.mark.parametrize("wrong", [{"daily": -1}, {"daily": True}, {"hourly": 1}, {"last": 1.5}, {"last": 10_001}])
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(vol.Invalid):
        retention(wrong)


def test_a_rule_is_read_with_what_it_leaves_out() -> None:
    assert retention({"daily": 7}) == Retention(daily=7)
    assert retention({}).keeps_everything


def test_what_another_clock_dates_into_the_future_neither_goes_nor_takes_the_place_of_another() -> None:
    """A machine without a clock of its own may begin in any year; its backups must not cost any other."""
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    astray = [Made(datetime(2099, 1, day, tzinfo=UTC), 99) for day in (1, 2, 3)]
    honest = daily(5)
    gone = expired([*astray, *honest], Retention(last=2), BERLIN, now)
    assert gone == [honest[4], honest[3], honest[2]], "the ones that were just made stay"
    long_ago = Made(datetime(1970, 1, 1, 0, 5, tzinfo=UTC), 70)
    assert expired([long_ago, *honest], Retention(last=1), BERLIN, long_ago.date) == []
