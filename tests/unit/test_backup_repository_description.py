"""What is written beside the files of a snapshot, and read from it again."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.snapshot_engine import Snapshot
from supervisor.errors import Invalid
from supervisor.managers.backups.repository_backup import KeptPart, collect, describe
from supervisor.managers.backups.repository_files import Secrets
from supervisor.managers.backups.repository_place import parse
from supervisor.managers.backups.repository_tags import decode, encode, slug_of


def test_snapshots_of_other_programs_are_left_alone() -> None:
    foreign = Snapshot("ff" * 32, datetime.now(UTC), ("supervisor", "x"), ("/home",), "laptop")
    assert collect([foreign]) == ({}, [])


@given(
    st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)),
)
def test_a_description_comes_back_from_its_tags(slug: str, description: dict[str, Any]) -> None:
    tags = encode(slug, description)
    assert not any("," in tag for tag in tags)
    assert decode(reversed(tags)) == description
    assert slug_of(tags) == slug
    assert decode(tags[:2]) is None


@given(st.lists(st.text() | st.from_regex(r"description-[12]-2=[A-Za-z0-9_=-]{0,20}", fullmatch=True)))
def test_tags_of_strangers_do_no_harm(tags: list[str]) -> None:
    assert decode(tags) is None or isinstance(decode(tags), dict)
    snapshot = Snapshot("ab" * 32, datetime.now(UTC), ("supervisor", "slug=x", *tags), (), "h")
    assert collect([snapshot])[0] == {}


def test_a_long_description_is_cut_into_pieces_and_a_longer_one_refused() -> None:
    letters = random.Random(5)
    long = {"extra": "".join(letters.choices("abcdefghijklmnop", k=300_000))}
    assert len(encode("x", long)) > 4
    assert decode(encode("x", long)) == long
    with pytest.raises(Invalid, match="too long"):
        encode("x", {"extra": "".join(letters.choices("abcdefghijklmnopqrstuvwxyzABCDEF", k=3_000_000))})


def test_a_part_whose_snapshot_is_gone_is_left_out_of_its_backup() -> None:
    parts = {"a": KeptPart("", {".": "/a"}, 1), "b": KeptPart("deadbeef", {".": "/b"}, 1)}
    tags = encode("x", describe({"slug": "x", "date": "2026-01-01T00:00:00"}, parts))
    found, _ = collect([Snapshot("ab" * 32, datetime.now(UTC), tuple(tags), (), "h")])
    assert set(found["x"].parts) == {"a"}
    assert found["x"].date == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_secrets_have_to_fit_the_place() -> None:
    for place, given_secrets in (
        ("/x", Secrets("p", access_key="a")),
        ("s3://host/bucket", Secrets("p")),
        ("/x", Secrets("p", private_key="k")),
        ("sftp://me@host/x", Secrets("p", secret_key="s")),
    ):
        with pytest.raises(Invalid):
            given_secrets.check(parse(place))
    assert "hidden" not in repr(Secrets("hidden"))
