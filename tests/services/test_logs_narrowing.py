from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_engine_stand import BEGIN, EngineStand, LineStand
from multidict import CIMultiDict

from supervisor.drivers.journal import ANYTHING, WHOLE_LOG, EntryRange, MessagePattern
from supervisor.errors import Invalid
from supervisor.events import EventBus
from supervisor.managers.logs import LogManager, LogRequest, LogTarget
from supervisor.managers.logs.levels import NAMES, level_of_record, parse_levels
from supervisor.model.moment import parse_moment

NOW = 1_769_860_800_000_000  # 2026-01-31 12:00 UTC
X = LogTarget(("addon_x",), "addon_x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", NOW),
        ("2026-01-31T13:30:00+01:30", NOW),
        ("2026-01-31T13:00:00 01:00", NOW),  # the plus was not escaped
        ("2026-01-31 12:00:00.000", NOW),
        ("2026-01-31T12:00", NOW),
        ("2026-01-31", NOW - 43_200_000_000),
        ("now", NOW),
        ("-1h", NOW - 3_600_000_000),
        ("-1h30m", NOW - 5_400_000_000),
        ("- 2 days 1.5 s", NOW - 172_801_500_000),
        ("+5min", NOW + 300_000_000),
        ("1769860800", NOW),
        ("@1769860800.000001", NOW + 1),
        ("1769860800.5", NOW + 500_000),
        ("-999999999999w", 0),
    ],
)
def test_a_moment_is_written_in_several_ways(text: str, expected: int) -> None:
    assert parse_moment(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "1h", "-1x", "-h", "2026-13-01", "1e9", "--1h", "١٢", "-1h;"])
def test_what_is_no_moment_is_invalid(text: str) -> None:
    with pytest.raises(Invalid, match="is no time"):
        parse_moment(text)


def test_a_window_that_ends_before_it_begins_is_invalid() -> None:
    for since, until in (("-1h", "-2h"), ("2026-02-01", "2026-01-31")):
        with pytest.raises(Invalid, match="since is the later one"):
            LogRequest.from_query(CIMultiDict(), {"since": since, "until": until})
    for since, until in (("-2h", "-1h"), ("now", "now")):
        LogRequest.from_query(CIMultiDict(), {"since": since, "until": until})


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_invalid(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert 0 <= parse_moment(text, now=NOW) < 2**58


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)).map(lambda when: when.replace(tzinfo=UTC)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60),
)
def test_a_date_means_the_same_moment_in_every_zone(when: datetime, minutes: int) -> None:
    there = when.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_moment(there.isoformat()) == (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_a_level_means_it_and_what_is_graver() -> None:
    assert parse_levels("err") == parse_levels("ERROR") == parse_levels("3") == {0, 1, 2, 3}
    assert parse_levels("notice..err") == parse_levels("err..notice") == {3, 4, 5}
    assert parse_levels("emerg") == {0}
    assert parse_levels("debug") is None
    for wrong in ("", "8", "loud", "err..", "..err", "err..loud", "err...info"):
        with pytest.raises(Invalid, match="one of emerg"):
            parse_levels(wrong)


def test_levels_of_our_own_records_are_known() -> None:
    found = {
        name: NAMES[level_of_record(name)] for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "Level 7")
    }
    assert list(found.values()) == ["debug", "info", "warning", "err", "crit", "info"]


@pytest.mark.parametrize("text", ["(", "[", "a{2", "*", "a**", "(?P<x>a)(?P=y)", "(" * 400 + ")" * 400, "x" * 1001])
def test_a_pattern_is_refused_with_the_reason_or_taken(text: str) -> None:
    if text == "a{2":
        assert MessagePattern(text).search("aa{2")
        return
    with pytest.raises(Invalid, match="The pattern to search for"):
        MessagePattern(text)


@given(st.text("ab(|)[]{}*+?\\.^$1,:<>=!Pi-", max_size=12), st.text("ab", max_size=20))
def test_no_pattern_does_more_than_be_refused(pattern: str, message: str) -> None:
    with contextlib.suppress(Invalid):
        MessagePattern(pattern).search(message)


def test_case_counts_when_the_pattern_holds_a_capital_letter() -> None:
    assert MessagePattern("error").search("ERROR")
    assert not MessagePattern("Error").search("ERROR")


def test_a_search_that_would_never_end_is_given_up() -> None:
    with pytest.raises(Invalid, match="takes too long"):
        MessagePattern(r"(a|aa)+\Z").search("a" * 300 + "b")


@pytest.mark.parametrize("text", ["a{1000000000}", "(?:(?:a{99}){99}){99}", "(?x)(?:a{999}) {999}", "x{ 99999}"])
def test_a_pattern_that_would_become_huge_is_refused_at_once(text: str) -> None:
    began = time.thread_time()
    with pytest.raises(Invalid, match="too often"):
        MessagePattern(text)
    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "3c51b2a6-90d1-4d1e-8c39-0a1b2c3d4e5f"),
        (r"(?:\d{1,3}\.){3}\d{1,3}", "from 192.0.2.17"),
        ("x{,99999}", "x"),
    ],
)
def test_a_pattern_may_count(text: str, message: str) -> None:
    assert MessagePattern(text).search(message)


def test_a_search_that_is_hard_in_every_message_is_given_up_as_a_whole() -> None:
    pattern, message = MessagePattern(r"(a|aa)+\Z"), "a" * 24 + "b"
    began = time.thread_time()
    with pytest.raises(Invalid, match="takes too long"):
        any(pattern.search(message) for _ in range(1000))
    assert time.thread_time() - began < 10


def ask(follow: bool = False, **query: str) -> LogRequest:
    return LogRequest.from_query(CIMultiDict(), query, follow=follow)


def test_what_a_request_narrows_is_read_from_its_query() -> None:
    asked = ask(level="warning", since="1769860800", until="@1769860801", grep="x")
    assert asked.levels == {0, 1, 2, 3, 4}
    assert (asked.narrowing.since, asked.narrowing.until) == (NOW, NOW + 1_000_000)
    assert asked.narrowing.pattern == MessagePattern("x")
    assert asked.part == WHOLE_LOG
    assert ask(until="now").part == ask(grep="x").part == EntryRange("", -99, 100)
    assert ask(since="-1h", lines="5").part == EntryRange("", -4, 5)
    assert ask(grep="").narrowing == ANYTHING
    with pytest.raises(Invalid, match="has no end"):
        ask(follow=True, until="now")


# A log that the engine has.


async def engine_log(tmp_path: Path) -> tuple[EngineStand, LogManager]:
    engine = EngineStand(EventBus())
    container = engine.start("addon_x", "one")
    container.lines = [
        LineStand(BEGIN + timedelta(seconds=number), "stderr" if number % 3 == 0 else "stdout", f"line {number}")
        for number in range(1200)
    ]
    return engine, LogManager(None, engine, engine.bus, tmp_path)


async def read(logs: LogManager, request: LogRequest) -> list[str]:
    async with contextlib.aclosing(await logs.stream(X, request)) as stream:
        return [line async for line in stream.lines]


async def test_a_log_of_the_engine_is_narrowed_in_the_same_way(tmp_path: Path) -> None:
    _, logs = await engine_log(tmp_path)
    since = (BEGIN + timedelta(seconds=600)).isoformat()
    until = (BEGIN + timedelta(seconds=609)).isoformat()
    numbers = range(600, 610)
    assert await read(logs, ask(since=since, until=until)) == [f"line {number}" for number in numbers]
    assert await read(logs, ask(since=since, until=until, level="err")) == [f"line {n}" for n in numbers if n % 3 == 0]
    assert await read(logs, ask(until=until, lines="2")) == ["line 608", "line 609"]
    assert await read(logs, ask(grep="7$", lines="3")) == ["line 1177", "line 1187", "line 1197"]
    assert await read(logs, ask(grep="LINE")) == []
    assert len(await read(logs, ask(grep="line"))) == 100
    assert await read(logs, ask(level="err..crit", lines="2")) == ["line 1194", "line 1197"]


async def test_what_comes_is_searched_as_well(tmp_path: Path) -> None:
    engine, logs = await engine_log(tmp_path)
    asked = ask(follow=True, grep="found|119[89]")
    async with asyncio.timeout(30), contextlib.aclosing(await logs.stream(X, asked)) as stream:
        assert [await anext(stream.lines) for _ in range(2)] == ["line 1198", "line 1199"]
        coming = asyncio.ensure_future(anext(stream.lines))
        await asyncio.sleep(0.01)
        await engine.say("addon_x", 1300, "nothing", "found it")
        assert await coming == "found it"
