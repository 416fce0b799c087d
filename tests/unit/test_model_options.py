"""The option schema language and effective options (add-on contract §1.7, §1.8)."""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import Any

import attrs
import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Invalid
from supervisor.model.option_types import parse_type
from supervisor.model.options import NoDevices, OptionSchema, ValidatedOptions, check_schema, merge_options

SECRETS = {"mqtt_password": "tide-and-time", "port": 8123, "empty": ""}


@attrs.frozen
class Stick:
    path: str = "/dev/ttyUSB0"
    by_id: str | None = "/dev/serial/by-id/usb-stick"
    subsystem: str = "tty"


class OneStick:
    stick = Stick()

    def find(self, path: str) -> Stick | None:
        return self.stick if path in (self.stick.path, self.stick.by_id) else None

    def by_subsystem(self, subsystem: str | None) -> list[Stick]:
        return [self.stick] if subsystem in (None, "tty") else []


def validate(schema: dict[str, Any] | None, options: object) -> ValidatedOptions:
    return OptionSchema(schema, "Lamp", "local_lamp").validate(options, secrets=SECRETS.get, devices=OneStick())


def refusal(schema: dict[str, Any], options: object) -> str:
    with pytest.raises(Invalid) as caught:
        validate(schema, options)
    assert "Lamp (local_lamp)" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("element", "given", "stored"),
    [
        ("str", "", ""),
        ("str(1,3)", "abc", "abc"),
        ("str(1,)", "long enough", "long enough"),
        ("password", "pw", "pw"),
        ("int", "7", 7),
        ("int", 7.9, 7),
        ("int", True, 1),
        ("int(-5,)", "-5", -5),
        ("int(,10)", 10, 10),
        ("float", "2.5", 2.5),
        ("float(.5,)", 0.5, 0.5),
        ("float(-1.5,-.5)", -1, -1.0),
        ("bool", "Yes", True),
        ("bool", "disable", False),
        ("bool", False, False),
        ("email", "me@example.org", "me@example.org"),
        ("url", "mqtt://broker:1883", "mqtt://broker:1883"),
        ("port", "80", 80),
        ("match(^[a-z]+)", "abc1", "abc1"),
        ("match(\\d+)", 42, "42"),
        ("list(a|b c|1)", 1, "1"),
        ("list(a|b c|1)", "b c", "b c"),
        ("device", "/dev/ttyUSB0", "/dev/ttyUSB0"),
        ("device(subsystem=tty)", "/dev/serial/by-id/usb-stick", "/dev/serial/by-id/usb-stick"),
        ("list(on|off)?\n", "on", "on"),
    ],
)
def test_a_value_of_its_type_is_stored_as_the_type_makes_it(element: str, given: object, stored: object) -> None:
    result = validate({"x": element}, {"x": given})
    assert result.stored == {"x": stored}
    assert type(result.stored["x"]) is type(stored)
    assert result.resolved == result.stored


@pytest.mark.parametrize(
    ("element", "given", "said"),
    [
        ("str", 1, "expected str"),
        ("str", "\ud800", "UTF-8"),
        ("str", "x" * 65537, "length of value must be at most 65536.0"),
        ("str(2,)", "a", "length of value must be at least 2.0"),
        ("str(,2)", "abc", "length of value must be at most 2.0"),
        ("int", "seven", "expected int"),
        ("int", float("inf"), "expected int"),
        ("int", [1], "expected int"),
        ("int(1,10)", 11, "value must be at most 10.0"),
        ("int(1,10)", 0, "value must be at least 1.0"),
        ("float", "nan", "expected float"),
        ("bool", "maybe", "expected boolean"),
        ("bool", [], "expected boolean"),
        ("email", "me@", "expected an email address"),
        ("url", "example.org", "expected a URL"),
        ("url", "http://[", "expected a URL"),
        ("port", 0, "value must be at least 1"),
        ("port", 65536, "value must be at most 65535"),
        ("match(^a$)", "b", "does not match regular expression ^a$"),
        ("list(a|b)", "c", "value must be one of ['a', 'b']"),
        ("list(a|b)", {"a": 1}, "expected str"),
        ("device", "/dev/ttyUSB9", "does not exist"),
        ("device(subsystem=video4linux)", "/dev/ttyUSB0", "doesn't match the filter subsystem=video4linux"),
        ("", "anything", "type error"),
        ([], [], "type error"),
        ("str?", None, "Missing required option"),
        (["str"], "a", "Invalid list"),
        ({"a": "str"}, ["a"], "Invalid dict"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(element: Any, given: object, said: str) -> None:
    message = refusal({"outer": {"thing": element}}, {"outer": {"thing": given}})
    assert said in message
    assert "outer.thing" in message


@pytest.mark.parametrize(
    "element",
    [
        "str(5)",
        "list()",
        "int(1, 2)",
        "float(1.,2)",
        "string",
        "str ",
        "match([)",
        "match(a{200}",
        "match((?:(?:a{1000}){1000}){1000})",
        "match(" + "(" * 2000 + ")" * 2000 + ")",
        "match(" + "a" * 5000 + ")",
        "device(subsystem=TTY)",
        "int(" + "9" * 400 + ",)",
        [["str"]],
        [None],
        None,
        3,
        {1: "str"},
    ],
)
def test_a_bad_type_makes_the_whole_schema_invalid_and_is_located(element: object) -> None:
    with pytest.raises(vol.Invalid) as caught:
        check_schema({"thing": element})
    assert caught.value.path[:1] == ["thing"]


def test_further_items_of_a_list_type_are_ignored() -> None:
    assert validate({"x": ["int", "not a type"]}, {"x": ["1"]}).stored == {"x": [1]}


def test_a_schema_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {"x": "str"}
    for _ in range(40):
        schema = {"x": schema}
    with pytest.raises(vol.Invalid, match="nested deeper"):
        check_schema(schema)


def test_a_schema_broken_after_installation_is_reported_with_the_add_on() -> None:
    with pytest.raises(Invalid, match=r"Lamp \(local_lamp\)"):
        OptionSchema({"x": "nonsense"}, "Lamp", "local_lamp")


def test_unknown_keys_are_dropped_at_every_level_and_reported() -> None:
    schema = {"a": "str", "list": [{"b": "str"}]}
    result = validate(schema, {"a": "1", "c": 2, 3: 4, "list": [{"b": "x", "d": "y"}]})
    assert result.stored == {"a": "1", "list": [{"b": "x"}]}
    assert result.dropped == ("c", "3", "list[0].d")


def test_missing_options_are_named_with_their_container() -> None:
    schema = {"logins": [{"user": "str", "note": "str?"}], "tags": ["str?"]}
    assert "Missing option 'user' in logins" in refusal(schema, {"logins": [{"note": "x"}]})
    assert "Missing option 'logins' in root" in refusal(schema, {})
    assert validate(schema, {"logins": []}).stored == {"logins": []}


def test_a_nested_mapping_is_never_optional() -> None:
    assert "Missing option 'tls' in root" in refusal({"tls": {"cert": "str?"}}, {})


def test_errors_show_neither_passwords_nor_keys_that_nobody_knows() -> None:
    schema = {"logins": [{"password": "password", "user": "str"}], "pin": "password(8,)"}
    missing = refusal(schema, {"pin": "sesame-sesame", "other": "hush", "logins": [{"password": "open"}]})
    assert "open" not in missing
    shown = refusal(schema, {"pin": "sesame", "logins": []})
    assert "sesame" not in shown
    outer = refusal({**schema, "last": "str"}, {"pin": "sesame-sesame", "other": "hush", "logins": ["open"]})
    assert "open" not in outer
    assert "hush" not in outer


def test_references_to_secrets_are_stored_and_only_resolved_for_the_add_on() -> None:
    schema = {"password": "password", "port": "port", "names": ["str"]}
    result = validate(schema, {"password": "!secret mqtt_password", "port": "!secret port", "names": ["!secret empty"]})
    assert result.stored == {"password": "!secret mqtt_password", "port": "!secret port", "names": ["!secret empty"]}
    assert result.resolved == {"password": "tide-and-time", "port": 8123, "names": [""]}
    assert "tide-and-time" not in repr(result)


def test_an_unknown_secret_is_named() -> None:
    assert "Unknown secret 'nope'" in refusal({"x": "str"}, {"x": "!secret nope"})


def test_a_secret_of_the_wrong_type_is_not_shown() -> None:
    message = refusal({"x": "int"}, {"x": "!secret mqtt_password"})
    assert "tide-and-time" not in message
    assert "!secret mqtt_password" in message


def test_password_hashes_are_collected_from_what_the_add_on_gets() -> None:
    result = validate({"a": "password", "b": "password", "c": "str"}, {"a": "!secret mqtt_password", "b": "", "c": "x"})
    assert result.password_hashes == {hashlib.sha1(b"tide-and-time").hexdigest().upper()}


def test_devices_named_in_options_are_collected_once() -> None:
    options = {"a": "/dev/ttyUSB0", "b": ["/dev/serial/by-id/usb-stick"]}
    assert validate({"a": "device", "b": ["device?"]}, options).devices == (Stick(),)


def test_without_a_schema_whatever_is_set_is_ignored() -> None:
    assert validate(None, {"anything": 1}) == ValidatedOptions({}, {})


@pytest.mark.parametrize("options", [None, [], "x", 1])
def test_options_that_are_no_mapping_are_refused(options: object) -> None:
    assert "must be a mapping" in refusal({}, options)


def test_a_pattern_that_would_never_end_is_stopped() -> None:
    began = time.process_time()
    message = refusal({"x": "match((a|aa)+$)"}, {"x": "a" * 80 + "b"})
    assert "takes too long" in message
    assert time.process_time() - began < 5


def test_merging_replaces_everything_but_mappings() -> None:
    defaults = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    user = {"a": {"c": [3]}, "d": None, "g": {"h": 1}}
    assert merge_options(defaults, user) == {"a": {"b": 1, "c": [3]}, "d": None, "f": 1, "g": {"h": 1}}
    assert defaults == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(["!secret port", "!secret nope", "/dev/ttyUSB0", "a@b.cc", "http://x", "1", "on", "b"]),
)  # fmt: skip
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc") | st.text(), inner, max_size=3),
    max_leaves=8,
)
types = st.sampled_from(
    ["str", "str(1,3)", "password?", "int", "int(-2,5)?", "float", "float(.5,)", "bool", "email", "url", "port?",
     "match(^[a-c]*$)", "list(a|b|1)?", "device", "device(subsystem=tty)?", "", "?"]
)  # fmt: skip
schemas = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        types | types.map(lambda kind: [kind]),
        lambda inner: (
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
            | st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(lambda nested: [nested])
        ),
        max_leaves=5,
    ),
    max_size=3,
)


@given(schemas, st.dictionaries(st.sampled_from("abcd"), json_values, max_size=4))
def test_what_validates_is_json_and_validates_again_unchanged_and_what_does_not_names_the_add_on(
    schema: dict[str, Any], options: dict[str, Any]
) -> None:
    refused: str | None = None
    try:
        first = validate(schema, options)
    except Invalid as err:
        refused = err.message
    if refused is not None:
        assert "Lamp (local_lamp)" in refused
        assert re.search(r"option '[abc](\.[abc]|\[\d+\])*'", refused)
        return
    assert json.loads(json.dumps(first.stored).encode()) == first.stored
    again = validate(schema, first.stored)
    assert again.stored == first.stored
    assert again.resolved == first.resolved
    assert again.dropped == ()


@given(st.text(max_size=30) | st.from_regex(r"(str|int|float|list|match|device)\([^)]{0,8}\)\??", fullmatch=True))
def test_any_text_is_a_type_or_a_clean_error(written: str) -> None:
    try:
        rule = parse_type(written)
    except vol.Invalid:
        return
    assert rule.optional == written.removesuffix("\n").endswith("?")


@given(json_values)
def test_any_data_is_a_schema_or_a_clean_error(schema: object) -> None:
    try:
        assert check_schema(schema) == schema
    except vol.Invalid:
        return
    assert isinstance(schema, dict)


def test_a_machine_without_hardware_has_no_devices() -> None:
    with pytest.raises(Invalid, match="does not exist"):
        OptionSchema({"x": "device"}, "Lamp", "local_lamp").validate(
            {"x": "/dev/null"}, secrets=SECRETS.get, devices=NoDevices()
        )


@pytest.mark.parametrize(
    ("schema", "options", "there"),
    [
        ({"a": "device"}, {"a": "/dev/ttyUSB0"}, True),
        ({"a": "device(subsystem=tty)?"}, {"a": "/dev/serial/by-id/usb-stick"}, True),
        ({"a": "device(subsystem=usb)"}, {"a": "/dev/ttyUSB0"}, False),
        ({"a": ["device"]}, {"a": ["/dev/none", "/dev/ttyUSB0"]}, True),
        ({"a": [{"b": "device"}], "c": "int"}, {"a": [{"b": "/dev/ttyUSB0"}]}, True),
        ({"a": "str"}, {"a": "/dev/ttyUSB0"}, False),
        ({"a": "device"}, {"a": ["/dev/ttyUSB0"]}, False),
        ({"a": "device"}, {}, False),
        (None, {"a": "/dev/ttyUSB0"}, False),
    ],
)
def test_devices_are_found_in_options_valid_or_not(
    schema: dict[str, Any] | None, options: dict[str, Any], there: bool
) -> None:
    found = OptionSchema(schema, "Lamp", "local_lamp").option_devices(options, OneStick())
    assert found == ((OneStick.stick,) if there else ())
