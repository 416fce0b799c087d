from __future__ import annotations

import contextlib
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli import option_edits
from supervisor.cli.client import route

OPTIONS: dict[str, Any] = {"a": 1, "web": {"title": "x"}, "names": ["a", "b"], "people": [{"name": "x"}]}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("a=2", ["a"], 2),
        ("a=true", ["a"], True),
        ("a='true'", ["a"], "true"),
        ("a=", ["a"], ""),
        ("a=x=y", ["a"], "x=y"),
        ("a=[1, b]", ["a"], [1, "b"]),
        ("a={oops", ["a"], "{oops"),
        ("web.title=Home", ["web", "title"], "Home"),
        ("new.deep.key=1", ["new", "deep", "key"], 1),
        ("names.0=z", ["names", 0], "z"),
        ("names.2=z", ["names", 2], "z"),
        ("people.0.name=y", ["people", 0, "name"], "y"),
    ],
)
def test_an_assignment_changes_one_place(assignment: str, path: list[Any], value: Any) -> None:
    found: Any = option_edits.apply(OPTIONS, [assignment], [])
    for part in path:
        found = found[part]
    assert found == value
    assert OPTIONS["a"] == 1
    assert OPTIONS["names"] == ["a", "b"]


@pytest.mark.parametrize("assignment", ["a", "=1", "a.b=1", "names.3=x", "names.x=1", "names.-1=1", "a.b.c=1"])
def test_an_assignment_that_leads_nowhere_is_refused(assignment: str) -> None:
    with pytest.raises(click.UsageError):
        option_edits.apply(OPTIONS, [assignment], [])


def test_an_option_can_be_taken_out() -> None:
    changed = option_edits.apply(OPTIONS, [], ["web.title", "names.0", "a"])
    assert changed == {"web": {}, "names": ["b"], "people": [{"name": "x"}]}


@pytest.mark.parametrize("key", ["nope", "web.nope", "nope.x", "a.b", "names.9"])
def test_taking_out_what_is_not_there_is_refused(key: str) -> None:
    with pytest.raises(click.UsageError):
        option_edits.apply(OPTIONS, [], [key])


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_assignment_is_either_done_or_refused_as_wrong_usage(key: str, value: str) -> None:
    with contextlib.suppress(click.UsageError):
        option_edits.apply(OPTIONS, [f"{key}={value}"], [key])


@pytest.mark.parametrize("document", ["- 1", "just text", "{", "\x00", "a: b: c"])
def test_a_file_must_hold_a_mapping(document: str) -> None:
    with pytest.raises(click.UsageError):
        option_edits.parse_document(document, "x.yaml")


def test_an_empty_file_means_no_options() -> None:
    assert option_edits.parse_document("# nothing\n", "x.yaml") == {}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_part_of_a_path_stays_one_segment(part: str) -> None:
    path = route("addons", part, "info")
    assert path.count("/") == 3
    assert not set(path) & set("?# \n\r\0")
