"""The `json` reader of the example base image, run by the shell and the awk that it runs with there."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TOOL = Path(__file__).parents[2] / "script" / "base" / "bin" / "json"
BUSYBOX = shutil.which("busybox")

pytestmark = pytest.mark.skipif(BUSYBOX is None, reason="the tool is made for busybox, which script/setup installs")


def run(*arguments: str, text: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(BUSYBOX), "sh", str(TOOL), *arguments], input=text.encode(), capture_output=True, check=False, timeout=20
    )


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def flat(value: Any, path: tuple[str, ...] = ()) -> list[str]:
    """Return the lines that `json list` owes for `value`."""
    lines: list[str] = []
    match value:
        case dict():
            for key, member in value.items():
                lines += flat(member, (*path, escaped(key).replace(".", "\\.")))
            shown = ("map", str(len(value)))
        case list():
            for number, member in enumerate(value):
                lines += flat(member, (*path, str(number)))
            shown = ("list", str(len(value)))
        case str():
            shown = ("string", escaped(value))
        case bool():
            shown = ("bool", str(value).lower())
        case None:
            shown = ("null", "")
        case _:
            shown = ("number", json.dumps(value))
    return [*lines, "\t".join((".".join(path), *shown))]


# A lone surrogate and a NUL have no place in a shell's text; the tool replaces them.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts.filter(bool), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values, st.booleans(), st.sampled_from([None, 2]))
def test_list_shows_every_value_of_any_document(value: Any, ascii_only: bool, indent: int | None) -> None:
    done = run("list", "-", text=json.dumps(value, ensure_ascii=ascii_only, indent=indent))
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "\n".join(flat(value)) + "\n"


@settings(max_examples=30, deadline=None)
@given(texts.filter(bool), texts)
def test_get_gives_back_exactly_the_text_under_any_key(key: str, value: str) -> None:
    done = run("get", "-", "outer." + escaped(key).replace(".", "\\."), text=json.dumps({"outer": {key: value}}))
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == value + "\n"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1,]", '{"a":1,}', '{"a" 1}', '"a', '"\\x"', '"\n"', "01", "nul", "[1] 2", "{'a':1}", "--1", "1."],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    done = run("list", "-", text=text)
    assert done.returncode == 2
    assert done.stderr.startswith(b"json: ")


@pytest.mark.parametrize("path", ["missing", "list.7", "nothing"])
def test_a_missing_or_null_value_ends_with_one_or_with_the_default(path: str) -> None:
    text = json.dumps({"list": [1], "nothing": None})
    assert run("get", "-", path, text=text).returncode == 1
    assert run("get", "-", path, "else", text=text).stdout == b"else\n"
