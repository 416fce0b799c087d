from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli import text
from supervisor.cli.columns import moment, show
from supervisor.cli.output import dump_yaml, load_yaml

ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
SGR = re.compile(r"\x1b\[[0-9;:]*m")
NASTY = st.text(
    st.one_of(st.sampled_from("\x1b[]PX^_\x9b\x9d\x07\\0123;:mHJ\r\n\t\x00\u202e\x7f"), st.characters()), max_size=60
)


@given(NASTY)
def test_no_text_for_people_can_act_on_a_terminal(raw: str) -> None:
    assert not ACTING.search(text.block(raw))
    assert not ACTING.search(text.line(raw))
    assert "\n" not in text.line(raw)
    assert not ACTING.search(text.log_line(raw, colours=False))


@given(NASTY)
def test_a_coloured_log_line_holds_no_control_but_colours(raw: str) -> None:
    assert not ACTING.search(SGR.sub("", text.log_line(raw, colours=True)))


@given(st.text())
def test_making_text_safe_twice_changes_nothing_more(raw: str) -> None:
    assert text.block(text.block(raw)) == text.block(raw)


@given(
    st.recursive(st.one_of(NASTY, st.integers(), st.none()), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
)
def test_safe_json_still_means_the_same(data: object) -> None:
    document = text.json_safe(json.dumps(data, ensure_ascii=False))
    assert json.loads(document) == data
    assert not ACTING.search(document)


@given(st.dictionaries(st.sampled_from("ab"), NASTY, max_size=2))
def test_yaml_output_acts_on_no_terminal_and_reads_back(data: dict[str, str]) -> None:
    document = dump_yaml(data)
    assert not ACTING.search(document)
    if not any("\ud800" <= character <= "\udfff" for value in data.values() for character in value):
        assert load_yaml(document) == data


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x1b[2Jb", "ab"),
        ("\x1b]0;no end", "\\x1b]0;no end"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("bell\x07", "bell\\x07"),
        ("över 日本 🏠", "över 日本 🏠"),
    ],
)
def test_sequences_vanish_and_other_controls_become_visible(raw: str, safe: str) -> None:
    assert text.block(raw) == safe


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("\x1b[1;32mok\x1b[0m", True),
        ("\x1b[38;5;196mx", True),
        ("\x1b[38;2;1;2;3mx", True),
        ("\x1b[8mhidden", False),
        ("\x1b[5mblink", False),
        ("\x1b[38;5mx", False),
        ("\x1b[38;9;1mx", False),
        (f"\x1b[{'1' * 5000}mx", False),
    ],
)
def test_logs_keep_colours_but_not_concealing(raw: str, kept: bool) -> None:
    assert ("\x1b" in text.log_line(raw, colours=True)) is kept


def test_a_carriage_return_can_not_overwrite_a_log_line() -> None:
    assert text.log_line("secret\rfake\r", colours=True) == "secret\nfake"


def test_values_are_shown_as_words() -> None:
    assert [show(value) for value in (None, "", True, False, 1.5, [], ["a", "b"], {}, {"a": 1})] == [
        "-",
        "-",
        "yes",
        "no",
        "1.5",
        "-",
        "a, b",
        "-",
        '{"a": 1}',
    ]


def test_times_are_shown_in_the_time_zone_that_they_belong_to() -> None:
    told = "2026-07-01T01:30:00.123456Z"
    assert moment(told) == "2026-07-01 01:30:00"
    assert moment(told, "Europe/Berlin") == "2026-07-01 03:30:00"
    assert moment(told, "Nowhere/Else") == told
    assert moment("noon\x1b[31m") == show("noon\x1b[31m")
    assert moment(None) == "-"
    assert moment("0001-01-01T00:00:00+00:00", "America/New_York") == "0001-01-01T00:00:00+00:00"
