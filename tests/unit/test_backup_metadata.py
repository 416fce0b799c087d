"""`backup.json` is read as the contract says, and written so that others read it."""

from __future__ import annotations

import json
from typing import Any, Final
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.body import MAX_DEPTH, parse_object
from supervisor.errors import BackupInvalidError, Invalid
from supervisor.managers.backups.metadata import (
    BackupType,
    Metadata,
    SavedAddon,
    SavedCore,
    new_slug,
    read_metadata,
)
from supervisor.model.repository import parse_source

READ_KEYS: Final = (
    "version",
    "supervisor_version",
    "compressed",
    "protected",
    "crypto",
    "homeassistant",
    "folders",
    "addons",
    "repositories",
    "extra",
)
LEAST: dict[str, Any] = {"slug": "f92f0339", "type": "partial", "name": "", "date": "2026-02-24T10:16:26+00:00"}


def read(**changes: Any) -> Metadata:
    return read_metadata(json.dumps({**LEAST, **changes}).encode())


def test_the_example_of_the_contract_is_read() -> None:
    metadata = read(
        version=2,
        supervisor_version="2026.02.3",
        extra={},
        compressed=True,
        protected=True,
        homeassistant={"version": "2026.2.3", "exclude_database": False, "size": 0.0, "unknown": 1},
        folders=["share", "ssl"],
        addons=[{"slug": "a0d7b954_example", "name": "Example", "version": "9.0.1", "size": 0.0, "unknown": 1}],
        repositories=["https://github.com/hassio-addons/repository", "core", "https://x.example/y#branch"],
        docker={"registries": {}},
    )
    assert metadata.homeassistant == SavedCore("2026.2.3")
    assert metadata.addons == (SavedAddon("a0d7b954_example", "Example", "9.0.1"),)
    assert metadata.more == {"docker": {"registries": {}}}, "unknown keys are kept"
    assert metadata.member("addons/local") == "addons_local.tar.gz"


def test_old_files_get_the_defaults_of_their_time() -> None:
    metadata = read(
        protected="a text", crypto="aes128", folders=["homeassistant", "ssl"], homeassistant={"version": None}
    )
    assert (metadata.version, metadata.supervisor_version, metadata.compressed) == (1, "2022.08.3", True)
    assert metadata.protected is True
    assert (metadata.folders, metadata.homeassistant) == (("ssl",), None)
    assert "crypto" not in metadata.as_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"slug": "../../etc"},
        {"slug": ""},
        {"slug": None},
        {"type": "other"},
        {"version": 3},
        {"name": None},
        {"date": 5},
        {"folders": ["share", "share"]},
        {"folders": ["etc"]},
        {"addons": [{"slug": "../x", "name": "x", "version": "1"}]},
        {"addons": [{"slug": ".x", "name": "x", "version": "1"}]},
        {"addons": [{"slug": "x", "name": "x", "version": "1"}] * 2},
        {"addons": [{"slug": "x"}]},
        {"repositories": "https://a/b"},
        {"compressed": "yes"},
        {"extra": []},
        {"crypto": "rot13"},
        {"slug": "abcd\n"},
        {"addons": [{"slug": "x", "name": "x", "version": "1", "size": float("nan")}]},
        {"addons": [{"slug": "x", "name": "x", "version": "1", "size": 10**400}]},
        {"addons": [{"slug": "x", "name": "x", "version": "1", "size": -1}]},
        {"homeassistant": {"version": "1", "size": float("inf")}},
        {"name": "\ud800"},
        {"more": {"\ud800": 1}},
        {"extra": {"a": [float("nan")]}},
        {"extra": json.loads('{"a":' * 100 + "1" + "}" * 100)},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BackupInvalidError):
        read(**changes)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(BackupInvalidError):
        read_metadata(content)


_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
_SLUGS = st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True)


@given(
    name=_WORDS,
    folders=st.sets(st.sampled_from(["share", "ssl", "media", "addons/local"])),
    addons=st.dictionaries(_SLUGS, st.tuples(_WORDS, _WORDS), max_size=4),
    extra=st.dictionaries(_WORDS, st.integers() | _WORDS | st.none(), max_size=3),
    protected=st.booleans(),
)
def test_what_is_written_is_read_again(
    name: str,
    folders: set[str],
    addons: dict[str, tuple[str, str]],
    extra: dict[str, Any],
    protected: bool,
) -> None:
    metadata = Metadata(
        slug=new_slug(LEAST["date"], name),
        name=name,
        date=LEAST["date"],
        type=BackupType.PARTIAL,
        protected=protected,
        folders=tuple(sorted(folders)),
        addons=tuple(SavedAddon(slug, name, version) for slug, (name, version) in addons.items()),
        extra=extra,
    )
    again = read_metadata(metadata.packed())
    assert again == metadata
    assert again.same_as(attrs.evolve(metadata, protected=not protected)), "copies may be encrypted or not"
    assert not again.same_as(attrs.evolve(metadata, name=name + "x"))


def test_a_missing_image_is_said_and_files_without_one_missing_look_as_they_always_did() -> None:
    lacking, whole = SavedAddon("a", "A", "1", imageless=True), SavedAddon("b", "B", "1")
    metadata = Metadata("1", "n", LEAST["date"], BackupType.PARTIAL, addons=(lacking, whole))
    first, second = json.loads(metadata.packed())["addons"]
    assert (first["imageless"], "imageless" in second) == (True, False)
    assert read_metadata(metadata.packed()).addons == (lacking, whole)


def test_the_slug_is_the_one_that_others_make() -> None:
    assert new_slug("2025-02-03T18:48:28.273501+00:00", "My Backup") == "29c8bf26"
    assert new_slug("A", "B") == new_slug("a", "b"), "letters' case does not matter"


def test_a_date_without_a_zone_counts_as_utc_and_none_as_very_old() -> None:
    assert read(date="2026-01-01T00:00:00").moment.isoformat() == "2026-01-01T00:00:00+00:00"
    assert read(date="yesterday").moment.year == 1970


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1066-10-14T09:00:00"])
def test_a_date_that_no_time_zone_can_hold_counts_as_very_old(date: str) -> None:
    moment = read(date=date).moment
    assert moment.year == 1970
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        assert moment.astimezone(ZoneInfo(zone))


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(changes=st.dictionaries(st.sampled_from([*LEAST, *READ_KEYS]) | st.text(max_size=5), _ANY, max_size=4))
def test_whatever_a_description_says_it_is_read_or_refused(changes: dict[str, Any]) -> None:
    content = json.dumps({**LEAST, **changes}).encode()
    try:
        metadata = read_metadata(content)
    except BackupInvalidError:
        return
    assert metadata.moment.tzinfo is not None
    assert read_metadata(metadata.packed()) == metadata


def test_whatever_the_store_holds_a_backup_can_be_read_again() -> None:
    """A source that one day is no proper one any more must not hide the backup."""
    sources = ["file:///srv/addons", "HTTPS://x.example/Y#main", "ssh://git@x.example/y", "core"]
    assert list(read(repositories=sources).repositories) == sources
    for source in sources[:3]:
        parse_source(source)
    longest = f"0a1b2c3d_{'x' * 128}"
    assert [one.slug for one in read(addons=[{"slug": longest, "name": "x", "version": "1"}]).addons] == [longest]
    odd = ["https://a/b", "https://a/b\n", "https://a/b", "--upload-pack=x", "ext::sh", "", None, 5, ["https://c/d"]]
    assert read(repositories=odd).repositories == ("https://a/b",)


def test_what_a_client_may_say_beside_a_backup_can_be_read_again() -> None:
    said: Any = {"number": -(2**63), "float": 1e308, "text": "\x00\u2028\U0001f600"}
    deepest = None
    for _ in range(MAX_DEPTH):
        said = {"a": said}
        try:
            deepest = parse_object(json.dumps({"extra": said}).encode())
        except Invalid:
            break
    assert deepest is not None
    assert read(**deepest, name="\x00\n\x1b[31m").extra == deepest["extra"]
