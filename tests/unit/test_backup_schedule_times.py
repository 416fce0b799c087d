"""When a schedule is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import voluptuous as vol
from hypothesis import assume, example, given
from hypothesis import strategies as st

from supervisor.managers.backups.schedule_times import cron, due_after, latest_due
from supervisor.model.validators import time_zone

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]).map(
    ZoneInfo
)
MOMENTS = st.integers(0, 4 * 365 * 86400).map(
    lambda second: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
)
FIXED = st.builds(lambda minute, hour: f"{minute} {hour} * * *", st.integers(0, 59), st.integers(0, 23))
SIMPLE = st.one_of(
    FIXED,
    st.sampled_from(
        ["*/15 * * * *", "0 */6 * * *", "30 2 * * SUN", "0 4 1 * *", "0 0 29 2 *", "5 4 * * 1-5", "0 3 L * *"]
    ),
)


def local(moment: datetime | None, zone: ZoneInfo = BERLIN) -> str:
    assert moment is not None
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


def berlin(*when: int) -> datetime:
    return datetime(*when, tzinfo=BERLIN)  # type: ignore[arg-type,misc]


def test_a_time_that_the_clock_skips_is_due_right_after_the_gap() -> None:
    due = due_after("30 2 * * *", BERLIN, berlin(2026, 3, 28, 12))
    assert local(due) == "2026-03-29 03:00"
    assert local(due_after("30 2 * * *", BERLIN, due or berlin(1, 1, 1))) == "2026-03-30 02:30"


def test_a_time_that_comes_twice_is_due_once() -> None:
    first = due_after("30 2 * * *", BERLIN, berlin(2026, 10, 24, 12))
    assert local(first) == "2026-10-25 02:30"
    assert local(due_after("30 2 * * *", BERLIN, first or berlin(1, 1, 1))) == "2026-10-26 02:30"


def test_every_quarter_of_an_hour_goes_by_elapsed_time() -> None:
    moment, seen = berlin(2026, 10, 25, 1, 50), 0
    end = berlin(2026, 10, 25, 4, 0)
    while (due := due_after("*/15 * * * *", BERLIN, moment)) is not None and due < end:
        assert due - moment.astimezone(UTC) <= timedelta(minutes=15)
        moment, seen = due, seen + 1
    assert seen == 12


def test_a_change_by_half_an_hour_costs_no_time_of_a_day() -> None:
    lord_howe, moment, seen = ZoneInfo("Australia/Lord_Howe"), datetime(2025, 4, 5, 9, 33, tzinfo=UTC), []
    for _ in range(4):
        due = due_after("0 */6 * * *", lord_howe, moment)
        assert due is not None
        moment = due
        seen.append(local(due, lord_howe))
    assert seen == ["2025-04-06 00:00", "2025-04-06 06:00", "2025-04-06 12:00", "2025-04-06 18:00"]


# Lord Howe changes its clock by half an hour, Chatham at a quarter to three, Morocco by the moon.
CHANGES = st.sampled_from(
    [
        ("Australia/Lord_Howe", datetime(2025, 4, 5, 15, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2025, 10, 4, 15, 30, tzinfo=UTC)),
        ("Pacific/Chatham", datetime(2026, 4, 4, 14, tzinfo=UTC)),
        ("Pacific/Chatham", datetime(2026, 9, 26, 14, tzinfo=UTC)),
        ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ]
)
ELAPSED = st.sampled_from(
    [("0 */6 * * *", 6, {0}), ("45 */2 * * *", 2, {45}), ("*/20 */3 * * *", 3, {0, 20, 40}), ("30 * * * *", 1, {30})]
)


@given(CHANGES, ELAPSED, st.integers(-40_000, 40_000))
def test_around_changes_of_the_clock_elapsed_time_counts_each_minute(
    change: tuple[str, datetime], wanted: tuple[str, int, set[int]], seconds: int
) -> None:
    zone, moment = ZoneInfo(change[0]), change[1] + timedelta(seconds=seconds)
    expression, hours, minutes = wanted
    expected = moment.replace(second=0) + timedelta(minutes=1)
    while (shown := expected.astimezone(zone)).hour % hours or shown.minute not in minutes:
        expected += timedelta(minutes=1)
    assert due_after(expression, zone, moment) == expected


@given(SIMPLE, ZONES, MOMENTS)
@example("30 2 * * *", BERLIN, datetime(2026, 10, 25, 0, 45, tzinfo=UTC))
@example("30 2 * * *", BERLIN, datetime(2026, 10, 25, 1, 45, tzinfo=UTC))
def test_what_is_due_next_lies_in_the_future_and_nothing_lies_before_it(
    expression: str, zone: ZoneInfo, moment: datetime
) -> None:
    due = due_after(expression, zone, moment)
    assert due is not None
    assert due > moment
    earlier = moment + (due - moment) / 2
    assert due_after(expression, zone, earlier) == due


@given(FIXED, ZONES, MOMENTS)
def test_a_daily_time_is_due_once_on_every_day_of_the_calendar(
    expression: str, zone: ZoneInfo, moment: datetime
) -> None:
    days = []
    for _ in range(40):
        due = due_after(expression, zone, moment)
        assert due is not None
        days.append(due.astimezone(zone).date())
        moment = due
    # A gap at midnight may move one to the next day; none of these zones has one.
    assert all(after - before == timedelta(days=1) for before, after in pairwise(days))


@given(SIMPLE, ZONES, MOMENTS, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_the_last_missed_time_is_found_however_long_nobody_looked(
    expression: str, zone: ZoneInfo, since: datetime, away: timedelta
) -> None:
    now = since + away
    assume(not expression.startswith("*/15") or away < timedelta(days=3))
    expected, moment = None, due_after(expression, zone, since)
    while moment is not None and moment <= now:
        expected, moment = moment, due_after(expression, zone, moment)
    assert latest_due(expression, zone, since, now) == expected


def test_years_of_quarters_are_not_walked_one_by_one() -> None:
    now = datetime(2026, 6, 1, 12, 7, tzinfo=UTC)
    assert latest_due("*/15 * * * *", BERLIN, datetime(1970, 1, 1, tzinfo=UTC), now) == now.replace(minute=0)


@pytest.mark.parametrize(
    "wrong", ["", "* * * *", "60 * * * *", "* * * * * *", "0 0 31 2 *", "@daily", "a b c d e", 5, None, "* " * 200]
)
def test_an_expression_that_never_comes_round_is_refused(wrong: object) -> None:
    with pytest.raises(vol.Invalid, match="expected"):
        cron(wrong)


@given(st.text(alphabet="0123456789*/,-#LW SUN\t", max_size=30))
def test_any_text_is_a_sound_expression_or_refused(text: str) -> None:
    try:
        accepted = cron(text)
    except vol.Invalid:
        return
    assert due_after(accepted, BERLIN, datetime(2026, 3, 28, 12, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "Berlin",
        "../etc/passwd",
        "/etc/localtime",
        3,
        None,
        "Europe/Berlin\0",
        "x" * 400,
        "right/Europe/Berlin",
        "localtime",
        "Europe",
    ],
)
def test_a_time_zone_that_nobody_knows_is_refused(wrong: object) -> None:
    with pytest.raises(vol.Invalid):
        time_zone(wrong)
    assert time_zone("Europe/Berlin") == "Europe/Berlin"
