from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from supervisor.drivers.journal import UNLIMITED, Entry, EntryRange
from supervisor.errors import Invalid
from supervisor.managers.logs import LogFormat, LogRequest
from supervisor.managers.logs.request import parse_range
from supervisor.managers.logs.text import render

NOTHING = EntryRange("", -99, 100)


def read(headers: dict[str, str] | None = None, query: dict[str, str] | None = None, **more: object) -> LogRequest:
    return LogRequest.from_query(CIMultiDict(headers or {}), query or {}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "query", "verbose_by_default", "expected"),
    [
        ({}, {}, False, LogFormat.PLAIN),
        ({"Accept": "*/*"}, {}, False, LogFormat.PLAIN),
        ({"accept": "text/plain"}, {}, True, LogFormat.VERBOSE),
        ({"Accept": "text/x-log"}, {}, False, LogFormat.VERBOSE),
        ({}, {"verbose": ""}, False, LogFormat.VERBOSE),
        ({}, {"verbose": "false"}, False, LogFormat.VERBOSE),
        ({}, {"format": "timestamp"}, False, LogFormat.TIMESTAMP),
        ({}, {"format": "plain"}, True, LogFormat.PLAIN),
        ({"Accept": "text/plain"}, {"format": "verbose"}, False, LogFormat.VERBOSE),
    ],
)
def test_the_format_follows_accept_and_query(
    headers: dict[str, str], query: dict[str, str], verbose_by_default: bool, expected: LogFormat
) -> None:
    assert read(headers, query, default_verbose=verbose_by_default).format is expected


@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/plain, */*", "TEXT/PLAIN"])
def test_another_accept_is_invalid(accept: str) -> None:
    with pytest.raises(Invalid):
        read({"Accept": accept})


def test_an_unknown_format_is_invalid() -> None:
    with pytest.raises(Invalid, match="plain, timestamp, verbose"):
        read(query={"format": "json"})


@pytest.mark.parametrize(
    ("headers", "query", "more", "header"),
    [
        ({}, {}, {}, "entries=:-99:100"),
        ({}, {}, {"follow": True}, f"entries=:-99:{UNLIMITED}"),
        ({}, {"lines": "5"}, {}, "entries=:-4:5"),
        ({}, {"lines": "5"}, {"follow": True}, f"entries=:-4:{UNLIMITED}"),
        ({}, {"lines": "1"}, {}, "entries=:-1:2"),
        ({}, {"lines": "-7"}, {}, "entries=:-1:2"),
        ({}, {"lines": "many"}, {}, "entries=:-99:100"),
        ({}, {"lines": ""}, {}, "entries=:-99:100"),
        ({}, {"lines": "1.5"}, {}, "entries=:-99:100"),
        ({}, {}, {"latest": True}, f"entries=:0:{UNLIMITED}"),
        ({}, {"lines": "7"}, {"latest": True}, "entries=:-6:7"),
        ({"Range": "entries=c:2:3"}, {}, {"latest": True}, f"entries=:0:{UNLIMITED}"),
        ({"Range": "entries=c:2:3"}, {"lines": "4"}, {}, "entries=:-3:4"),
        ({"range": "entries=c:2:3"}, {}, {}, "entries=c:2:3"),
        ({"Range": "entries=c:-2:3"}, {}, {"follow": True}, "entries=c:-2:3"),
        ({"Range": "entries=c"}, {}, {}, "entries=c"),
        ({"Range": "entries=c:3"}, {}, {}, "entries=c:3"),
        ({"Range": "entries=c:-3:"}, {}, {}, f"entries=c:-3:{UNLIMITED}"),
        ({"Range": "entries=:-3:"}, {}, {}, f"entries=:-3:{UNLIMITED}"),
    ],
)
def test_the_range_that_is_sent(
    headers: dict[str, str], query: dict[str, str], more: dict[str, bool], header: str
) -> None:
    assert read(headers, query, **more).part.header == header


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes=0-5",
        "entries",
        "entries=c:",
        "entries=:",
        "entries=::",
        "entries=c::5",
        "entries=c:x:5",
        "entries=c:1:x",
        "entries=c:1:0",
        "entries=c:1:-1",
        "entries=c:1:+1",
        "entries=c:1:18446744073709551616",
        "entries=c:9999999999999999999:1",
        "entries=c:1_0:1",
        "entries=c:1:2:3",
        "entries=c\x00:1:2",
        f"entries={'c' * 600}:1:2",
    ],
)
def test_a_malformed_range_is_invalid(value: str) -> None:
    with pytest.raises(Invalid):
        read({"Range": value})


@given(
    st.text(string.ascii_letters + "=;-", max_size=40),
    st.none() | st.integers(-(2**62), 2**62),
    st.integers(1, UNLIMITED),
)
def test_every_range_survives_being_written_and_read(cursor: str, skip: int | None, count: int) -> None:
    part = EntryRange(cursor, skip, count)
    assert parse_range(part.header) == part


@given(st.text())
def test_any_range_is_read_or_invalid(text: str) -> None:
    for value in (text, f"entries={text}"):
        try:
            part = parse_range(value)
        except Invalid:
            continue
        assert part.header.startswith("entries=")
        assert part.count is None or 0 < part.count <= UNLIMITED


@given(st.integers() | st.text())
def test_any_number_of_lines_is_a_range_from_the_end(lines: object) -> None:
    part = read(query={"lines": str(lines)}).part
    assert part.skip is not None
    assert part.count is not None
    assert part.count >= 2
    assert part.skip == 1 - part.count


def test_no_colors_is_asked_for_or_comes_with_latest() -> None:
    assert not read().no_colors
    assert read(query={"no_colors": ""}).no_colors
    assert read(latest=True).no_colors


def test_boot_and_kind_are_carried() -> None:
    request = read(boot="-1", follow=True)
    assert (request.boot, request.follow, request.latest) == ("-1", True, False)


ENTRY = Entry("c", 1_700_000_000_123_999, "\x1b[1;31mred\x1b[0m", "addon_x", "box", "12")


@pytest.mark.parametrize(
    ("entry", "form", "expected"),
    [
        (ENTRY, LogFormat.PLAIN, "red"),
        (ENTRY, LogFormat.TIMESTAMP, "2023-11-14 22:13:20.123 red"),
        (ENTRY, LogFormat.VERBOSE, "2023-11-14 22:13:20.123 box addon_x[12]: red"),
        (Entry("c", 0, "a\nb"), LogFormat.VERBOSE, "1970-01-01 00:00:00.000  _UNKNOWN_: a\nb"),
    ],
)
def test_an_entry_in_each_format(entry: Entry, form: LogFormat, expected: str) -> None:
    assert render(entry, form, no_colors=True) == expected


def test_colors_stay_unless_they_are_not_wanted() -> None:
    assert render(ENTRY, LogFormat.PLAIN, no_colors=False) == "\x1b[1;31mred\x1b[0m"


@given(st.text(), st.sampled_from(LogFormat), st.text(string.digits, max_size=25))
def test_any_entry_can_be_rendered(message: str, form: LogFormat, time: str) -> None:
    entry = Entry.from_fields({"MESSAGE": message, "__REALTIME_TIMESTAMP": time})
    assert render(entry, form, no_colors=False).endswith(message)
