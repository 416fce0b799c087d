"""The whole option language, generated: schemas with options that fit them, and options with one thing wrong.

What fits is stored and handed to the add-on unchanged; what doesn't is refused with the path of the option.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Invalid
from supervisor.events import EventBus
from supervisor.model.manifest_schema import validate_manifest
from supervisor.model.options import OptionSchema, ValidatedOptions, merge_options
from supervisor.state import StateFile

SECRETS = {"one": "tide-and-time", "two": 8123}
NAMES = st.text("abcé-_. ", min_size=1, max_size=5)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: not text.startswith("!secret ")
)


@attrs.frozen
class Port:
    path: str = "/dev/ttyUSB0"
    by_id: str | None = None
    subsystem: str = "tty"


class Ports:
    def find(self, path: str) -> Port | None:
        return Port() if path == Port().path else None

    def by_subsystem(self, subsystem: str | None) -> list[Port]:
        return [Port()]


@attrs.frozen
class Leaf:
    """A type, a value as it is stored, and a value that the type refuses."""

    written: str
    good: Any
    bad: Any


@st.composite
def bounded_text(draw: st.DrawFn) -> Leaf:
    kind = draw(st.sampled_from(["str", "password"]))
    text = draw(TEXT)
    low, high = draw(st.integers(0, len(text))), draw(st.integers(len(text), 20))
    return Leaf(f"{kind}({low},{high})", text, draw(st.sampled_from(["x" * 21, 5, True, ["x"], {"x": "y"}])))


@st.composite
def bounded_int(draw: st.DrawFn) -> Leaf:
    number = draw(st.integers(-(10**9), 10**9))
    low, high = number - draw(st.integers(0, 99)), number + draw(st.integers(0, 99))
    written = draw(st.sampled_from([f"int({low},{high})", f"int({low},)", f"int(,{high})"]))
    too_far = low - 1 if written.endswith(",)") else high + 1
    return Leaf(written, number, draw(st.sampled_from([too_far, "seven", [number], {}, "", "1.5"])))


@st.composite
def bounded_float(draw: st.DrawFn) -> Leaf:
    tenths = draw(st.integers(-10_000, 10_000))
    written = f"float({tenths / 10 - 1},{tenths / 10 + 1})"
    return Leaf(written, tenths / 10, draw(st.sampled_from([tenths / 10 + 2, "much", [], "nan", "inf", float("inf")])))


@st.composite
def choices(draw: st.DrawFn) -> Leaf:
    words = draw(st.lists(st.text("abc123 -", min_size=1, max_size=4), min_size=1, max_size=4))
    return Leaf(f"list({'|'.join(words)})", draw(st.sampled_from(words)), draw(st.sampled_from(["other", 77, [], {}])))


LEAVES = st.one_of(
    bounded_text(),
    bounded_int(),
    bounded_float(),
    choices(),
    st.booleans().map(lambda value: Leaf("bool", value, "perhaps")),
    st.integers(1, 65535).map(lambda port: Leaf("port", port, 65536)),
    st.sampled_from([
        Leaf("str", "", 1),
        Leaf("email", "a.b@example.org", "a.b"),
        Leaf("url", "https://example.org/x?y#z", "example.org"),
        Leaf("match(^[a-z]+$)", "abc", "ABC"),
        Leaf("device", "/dev/ttyUSB0", "/dev/ttyUSB1"),
        Leaf("device(subsystem=tty)", "/dev/ttyUSB0", "/dev/sda"),
        Leaf("str", "!secret one", "!secret three"),
        Leaf("port", "!secret two", "!secret one"),
        Leaf("password", "!secret one", 5),
    ]),
)  # fmt: skip


@attrs.frozen
class Family:
    """A schema, options that fit it, and the leaf at the end of every path."""

    schema: dict[str, Any]
    options: dict[str, Any]
    leaves: dict[tuple[str | int, ...], Leaf]


@st.composite
def families(draw: st.DrawFn, depth: int = 0) -> Family:
    schema: dict[str, Any] = {}
    options: dict[str, Any] = {}
    leaves: dict[tuple[str | int, ...], Leaf] = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        kind = draw(st.sampled_from(["leaf", "list", "group", "groups"] if depth < 2 else ["leaf", "list"]))
        if kind in ("leaf", "list"):
            leaf = draw(LEAVES)
            optional = draw(st.sampled_from(["", "?"]))
            schema[name] = leaf.written + optional if kind == "leaf" else [leaf.written + optional]
            if kind == "leaf":
                options[name], leaves[name,] = leaf.good, leaf
            else:
                count = draw(st.integers(0, 2))
                options[name] = [leaf.good] * count
                leaves |= {(name, index): leaf for index in range(count)}
        else:
            inner = draw(families(depth + 1))
            schema[name] = inner.schema if kind == "group" else [inner.schema]
            options[name] = inner.options if kind == "group" else [inner.options, copy.deepcopy(inner.options)]
            before: tuple[tuple[str | int, ...], ...] = ((name,),) if kind == "group" else ((name, 0), (name, 1))
            leaves |= {(*start, *path): leaf for start in before for path, leaf in inner.leaves.items()}
    return Family(schema, options, leaves)


def validate(schema: dict[str, Any], options: object) -> ValidatedOptions:
    return OptionSchema(schema, "Lamp", "local_lamp").validate(options, secrets=SECRETS.get, devices=Ports())


def shown(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]


def resolved(value: Any) -> Any:
    """Replace references to secrets, as an add-on will see it."""
    if isinstance(value, dict):
        return {key: resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item) for item in value]
    return SECRETS[value.removeprefix("!secret ")] if isinstance(value, str) and value.startswith("!secret ") else value


@given(families())
def test_what_fits_is_stored_and_rendered_unchanged(family: Family) -> None:
    checked = validate(family.schema, family.options)
    assert checked.stored == family.options
    assert checked.dropped == ()
    assert json.loads(checked.rendered) == resolved(family.options)
    again = validate(family.schema, json.loads(json.dumps(checked.stored)))
    assert (again.stored, again.rendered) == (checked.stored, checked.rendered)


@given(families())
def test_a_schema_survives_its_manifest_and_defaults_alone_are_enough(family: Family) -> None:
    manifest = {
        "name": "Lamp", "version": "1", "slug": "lamp", "description": "d", "arch": ["amd64"],
        "schema": family.schema, "options": family.options,
    }  # fmt: skip
    config, _ = validate_manifest(json.loads(json.dumps(manifest)))
    assert (config["schema"], config["options"]) == (family.schema, family.options)
    effective = merge_options(config["options"], {})
    assert validate(config["schema"], effective).stored == family.options
    assert validate(config["schema"], merge_options(config["options"], family.options)).stored == family.options


@given(families().filter(lambda family: bool(family.leaves)), st.data())
def test_one_wrong_value_is_refused_with_its_path(family: Family, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(family.leaves, key=str)))
    leaf = family.leaves[path]
    wrong = data.draw(st.sampled_from([leaf.bad, None]))
    options = copy.deepcopy(family.options)
    *way, last = path
    place: Any = options
    for step in way:
        place = place[step]
    place[last] = wrong
    with pytest.raises(Invalid) as refused:
        validate(family.schema, options)
    assert f"'{shown(path)}'" in refused.value.message
    assert "Lamp (local_lamp)" in refused.value.message


def required(schema: dict[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the way to every mapping with a key that it must have."""
    for key, element in schema.items():
        if not (isinstance(element, str) and element.endswith("?")) and not (
            isinstance(element, list) and isinstance(element[0], str) and element[0].endswith("?")
        ):
            yield path, key
        if isinstance(element, dict):
            yield from required(element, (*path, key))
        elif isinstance(element, list) and isinstance(element[0], dict):
            yield from required(element[0], (*path, key, 1))


@given(families().filter(lambda family: any(required(family.schema))), st.data())
def test_a_missing_key_is_named_with_what_it_is_missing_in(family: Family, data: st.DataObject) -> None:
    way, key = data.draw(st.sampled_from(sorted(required(family.schema), key=str)))
    options = copy.deepcopy(family.options)
    place: Any = options
    for step in way:
        place = place[step]
    del place[key]
    with pytest.raises(Invalid) as refused:
        validate(family.schema, options)
    parent = next((step for step in reversed(way) if isinstance(step, str)), "root")
    assert f"Missing option '{key}' in {parent} in Lamp (local_lamp)" in refused.value.message


@given(families(), st.dictionaries(NAMES.map(lambda name: f"x{name}"), st.none() | st.integers() | TEXT, max_size=3))
def test_keys_that_the_schema_does_not_know_are_dropped_and_named(family: Family, extra: dict[str, Any]) -> None:
    checked = validate(family.schema, {**extra, **family.options})
    assert checked.stored == family.options
    assert set(checked.dropped) == set(extra) - set(family.schema)


async def test_options_come_back_from_the_disk_as_they_were_stored(tmp_path: Path) -> None:
    schema = {"a": ["float"], "b": {"c": "str", "d": "int(,9007199254740991)"}, "é ": "password?"}
    options = {"a": [0.1, 1e300, -0.0], "b": {"c": "\u2028\x00\U0001f4a1", "d": 9007199254740991}, "é ": "!secret one"}
    first = validate(schema, options)
    file = StateFile(tmp_path / "options.json", lambda value: value, EventBus())
    await file.save(first.stored)
    loaded = await file.load()
    assert loaded == options
    assert validate(schema, loaded).rendered == first.rendered
