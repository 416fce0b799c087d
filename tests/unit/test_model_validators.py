"""The building blocks of every schema."""

from __future__ import annotations

from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.model import validators as v


@pytest.mark.parametrize("check", [v.lenient_bool, v.boolean])
@pytest.mark.parametrize(
    ("given_value", "result"), [("YES", True), ("1", True), ("off", False), (True, True), (0, False)]
)
def test_words_for_yes_and_no_are_understood(check: v.Validator, given_value: object, result: bool) -> None:
    assert check(given_value) is result


def test_a_lenient_boolean_takes_anything_but_other_words_by_its_truth() -> None:
    assert v.lenient_bool([1]) is True
    assert v.lenient_bool(None) is False
    with pytest.raises(vol.Invalid, match="expected boolean"):
        v.lenient_bool("")


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (v.boolean, []),
        (v.boolean, 2),
        (v.boolean, None),
        (v.strict_bool, 1),
        (v.strict_int, True),
        (v.strict_int, "1"),
        (v.lenient_int, True),
        (v.lenient_int, "1.5"),
        (v.lenient_int, None),
        (v.lenient_int, float("inf")),
        (v.lenient_int, "9" * 5000),
        (v.lenient_float, True),
        (v.lenient_float, "inf"),
        (v.lenient_float, []),
        (v.version, []),
        (v.version, True),
        (v.version, ""),
        (v.version, "1\n2"),
        (v.version, "1" * 200),
        (v.required_version, None),
        (v.port, 0),
        (v.port, 65536),
        (v.port, True),
        (v.port_key, "80/TCP"),
        (v.port_key, "99999"),
        (v.port_key, 80),
        (v.url, "no-scheme"),
        (v.url, "http://"),
        (v.url, "http://x\ty"),
        (v.url, 1),
        (v.docker_image, "a:1"),
        (v.docker_image, ""),
        (v.docker_image, "host:5000"),
        (v.docker_image, "-a/b"),
        (v.docker_image, "a" * 300),
        (v.token, "ab" * 15),
        (v.token, "AB" * 20),
        (v.token, "ab" * 20 + "\n"),
        (v.uuid_hex, "0" * 31),
        (v.unique_list(str), ["a", "a"]),
        (v.unique_list(str), [1]),
        (v.unique_list(str), "a"),
        (v.json_object, []),
        (v.json_object, {"a": {1, 2}}),
        (v.json_object, {(1,): 2}),
        (v.non_empty_text, " "),
    ],
)
def test_what_does_not_fit_is_refused(check: v.Validator, value: object) -> None:
    with pytest.raises(vol.Invalid):
        check(value)


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (v.lenient_int, "5", 5),
        (v.lenient_float, "5", 5.0),
        (v.version, 1.5, "1.5"),
        (v.version, None, None),
        (v.required_version, 7, "7"),
        (v.port, "80", 80),
        (v.network_ports, {"80/tcp": "8080", "1/udp": None}, {"80/tcp": 8080, "1/udp": None}),
        (v.docker_image, "localhost:5000/a/{arch}-b", "localhost:5000/a/{arch}-b"),
        (v.docker_image, "ghcr.io/x/y", "ghcr.io/x/y"),
        (v.token, "ab" * 56, "ab" * 56),
        (v.uuid_hex, "0" * 32, "0" * 32),
        (v.unique_list(str), ["a", "b"], ["a", "b"]),
        (v.json_object, {True: {1: None}}, {"true": {"1": None}}),
    ],
)
def test_what_fits_is_cleaned(check: v.Validator, value: object, result: object) -> None:
    assert check(value) == result


def test_errors_name_the_place_and_show_what_was_there_one_line_each_in_order() -> None:
    schema = vol.Schema({vol.Required("name"): v.text, "ports": v.network_ports, vol.Required("x"): int})
    data: dict[str, Any] = {"name": 1, "ports": {"80": "many"}, "extra": 2}
    with pytest.raises(vol.Invalid) as caught:
        schema(data)
    assert v.describe(data, caught.value).splitlines() == [
        "expected int for dictionary value @ data['ports']['80']. Got 'many'",
        "expected str for dictionary value @ data['name']. Got 1",
        "extra keys not allowed @ data['extra']. Got 2",
        "required key not provided @ data['x']. Got None",
    ]


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)


@given(ANYTHING)
def test_every_block_cleans_or_refuses_and_leaves_clean_values_alone(value: object) -> None:
    blocks = (v.text, v.lenient_bool, v.boolean, v.lenient_int, v.lenient_float, v.version, v.port, v.port_key, v.url,
              v.docker_image, v.token, v.uuid_hex, v.unique_list(v.text))  # fmt: skip
    for block in blocks:
        try:
            clean = block(value)
        except vol.Invalid:
            continue
        assert block(clean) == clean
