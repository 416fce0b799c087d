from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.body import parse_object
from supervisor.api.invalid import MAX_PROBLEMS, MAX_SHOWN, describe_invalid
from supervisor.errors import Invalid

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=5), st.booleans())
def test_every_object_is_read_as_it_was_written(data: dict[str, Any], ascii_only: bool) -> None:
    assert parse_object(json.dumps(data, ensure_ascii=ascii_only).encode()) == data


def test_broken_json_is_told_with_its_place() -> None:
    with pytest.raises(Invalid, match=r"invalid JSON: Unterminated string starting at character 1$"):
        parse_object(b'{"x')


@pytest.mark.parametrize("raw", [b"", b" ", b"\r\n\t ", b"{}", b" {} \n"])
def test_a_blank_body_is_an_empty_object(raw: bytes) -> None:
    assert parse_object(raw) == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nothing",
        b"[]",
        b"1",
        b"null",
        b'"text"',
        b"true",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 9223372036854775808}',
        b'{"a": ' + b"9" * 100_000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\xff"}',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"{} {}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"\x00",
    ],
)
def test_what_is_no_plain_json_object_is_invalid(raw: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        parse_object(raw)
    assert 0 < len(str(caught.value)) < 300


@given(st.binary(max_size=200) | st.text('[]{}",:0\\ud8e', max_size=60).map(str.encode))
def test_no_bytes_do_worse_than_being_invalid(raw: bytes) -> None:
    with contextlib.suppress(Invalid):
        assert isinstance(parse_object(raw), dict)


def describe(schema: dict[Any, Any], data: Any) -> str:
    with pytest.raises(vol.Invalid) as caught:
        vol.Schema(schema)(data)
    return describe_invalid(data, caught.value)


def test_problems_are_told_one_per_line_and_sorted() -> None:
    schema = {vol.Required("repository"): str, "name": str}
    assert describe(schema, {"x": 1, "name": 1}).splitlines() == [
        "expected str for dictionary value @ data['name']. Got 1",
        "extra keys not allowed @ data['x']. Got 1",
        "required key not provided @ data['repository']. Got None",
    ]


def test_the_place_of_a_nested_problem_is_told() -> None:
    assert describe({"a": [{"b": int}]}, {"a": [{"b": 1}, {"b": "x"}]}) == (
        "expected int for dictionary value @ data['a'][1]['b']. Got 'x'"
    )


@pytest.mark.parametrize("key", ["password", "refresh_token", "psk", "SUPERVISOR_TOKEN", "mqtt_password"])
def test_a_secret_is_never_repeated(key: str) -> None:
    assert "hunter2" not in describe({key: int}, {key: "hunter2"})
    assert "hunter2" not in describe({key: int}, {key: ["hunter2"]})
    assert "hunter2" not in describe({}, {key: "hunter2"})
    assert "hunter2" not in describe({}, {"outer": {"inner": [{key: "hunter2"}]}})
    assert "hunter2" not in describe({"outer": int}, {"outer": {key: {"deep": "hunter2"}}})


def test_a_validator_that_repeats_its_value_does_not_tell_a_secret() -> None:
    def gossip(value: str) -> str:
        raise vol.Invalid(f"{value} is too weak")

    assert "hunter2" not in describe({"password": gossip}, {"password": "hunter2"})
    assert describe({"name": gossip}, {"name": "x"}).startswith("x is too weak for dictionary value @ data['name']")


def test_huge_bodies_make_short_messages() -> None:
    text = describe({}, {f"{'k' * 10_000}{index}": "v" * 100_000 for index in range(1000)})
    assert len(text.splitlines()) <= MAX_PROBLEMS + 1
    assert max(map(len, text.splitlines())) < 3 * MAX_SHOWN
    assert text.splitlines()[-1] == f"and {1000 - MAX_PROBLEMS} more problems"
    assert len(describe({"a": int}, {"a": [list(range(100_000))] * 1000})) < 3 * MAX_SHOWN


@given(JSON, JSON)
def test_any_data_can_be_described(first: Any, second: Any) -> None:
    data = {"a": first, "b": second}
    schema = vol.Schema({"a": vol.All(int, vol.Range(min=0)), vol.Required("c"): str})
    with pytest.raises(vol.Invalid) as caught:
        schema(data)
    assert "required key not provided @ data['c']. Got None" in describe_invalid(data, caught.value)
