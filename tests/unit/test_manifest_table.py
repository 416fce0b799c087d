"""The table of manifest keys in docs/addons.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.errors import Invalid
from supervisor.model.manifest import Manifest, MapFolder, MapType
from supervisor.model.manifest_schema import MANIFEST_KEYS, validate_manifest

GUIDE = (Path(__file__).parents[2] / "docs" / "addons.md").read_text()
CHAPTER = GUIDE[GUIDE.index("## The manifest\n") : GUIDE.index("## Options\n")]
LEAST = {"name": "Lamp", "version": "1", "slug": "lamp", "description": "d", "arch": ["amd64"]}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of every row of the tables that begin with `heading`."""
    found: list[list[str]] = []
    inside = False
    for line in CHAPTER.splitlines():
        if line.startswith(f"| {heading} |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


TABLE = {cells[0].strip("`"): cells[1:] for cells in rows("Key")}


def test_every_key_of_the_schema_has_one_row_and_every_row_a_key() -> None:
    named = [cells[0].strip("`") for cells in rows("Key")]
    assert sorted(named) == sorted(MANIFEST_KEYS)
    assert all(len(cells) == 4 and cells[3] for cells in rows("Key")), "each says what it does"


@pytest.mark.parametrize("name", sorted(MANIFEST_KEYS))
def test_the_default_of_a_key_is_the_one_in_the_table(name: str) -> None:
    _value, written, _effect = TABLE[name]
    try:
        config = validate_manifest({key: value for key, value in LEAST.items() if key != name})[0]
    except Invalid:
        assert written == "required"
        return
    default = config.get(name)
    if written in {"", "empty"}:
        assert default in ([None] if written == "" else [[], {}])
    else:
        assert _plain(written) == default


def _plain(written: str) -> object:
    word = re.fullmatch(r"`(.+)`", written)
    assert word is not None, written
    return {"true": True, "false": False}.get(word[1], int(word[1]) if word[1].isdigit() else word[1])


@pytest.mark.parametrize("name", sorted(MANIFEST_KEYS))
def test_a_key_called_bool_takes_bools_and_nothing_else(name: str) -> None:
    value, _default, _effect = TABLE[name]
    is_bool = isinstance(getattr(Manifest.from_config(validate_manifest(LEAST)[0]), name), bool)
    assert (value == "bool") == is_bool


def test_every_shared_folder_has_a_row_with_its_place() -> None:
    table = {cells[0].strip("`"): cells[1].strip("`") for cells in rows("`type`")}
    assert table == {kind.value: MapFolder(kind).target for kind in MapType}
