"""What is left out of backups, by the patterns of the contract, of add-ons and of people."""

from __future__ import annotations

import time
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Invalid
from supervisor.managers.backups.exclusions import (
    CORE_PATTERNS,
    DATABASE_PATTERNS,
    anchored,
    check_pattern,
    from_the_right,
)

OUT = [
    "a/__pycache__/x.pyc",
    "__pycache__/x.pyc",
    ".DS_Store",
    "deep/er/.DS_Store",
    "home-assistant_v2.db-shm",
    "core.corrupt.2026",
    "home-assistant.log",
    "home-assistant.log.1",
    ".storage/auth.corrupt.1",
    "OZW_Log.txt",
    "backups/x.tar",
    "tmp_backups/x.tar",
    "tts/a.mp3",
    ".cache/x",
]
IN = [
    "__pycache__",
    "a/__pycache__",
    "tts",
    ".cache",
    "sub/x.log",
    "sub/x.db-shm",
    "sub/core.corrupt.1",
    "backups/sub/x.tar",
    "backups/x.txt",
    "sub/tts/a.mp3",
    "home-assistant_v2.db",
    "configuration.yaml",
    "log",
]


@pytest.mark.parametrize("path", OUT)
def test_cores_waste_is_left_out(path: str) -> None:
    assert anchored(CORE_PATTERNS)(path)


@pytest.mark.parametrize("path", IN)
def test_cores_own_files_stay(path: str) -> None:
    assert not anchored(CORE_PATTERNS)(path)


def test_the_database_is_left_out_on_request_in_the_root_only() -> None:
    exclude = anchored(DATABASE_PATTERNS)
    assert exclude("home-assistant_v2.db")
    assert exclude("home-assistant_v2.db-wal")
    assert not exclude("sub/home-assistant_v2.db")
    assert not exclude("home-assistant_v22.db")


_NAMES = st.text("ab.*?[]!-c", min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))
_PATHS = st.lists(
    st.text("abc.-", min_size=1, max_size=5).filter(lambda n: n not in (".", "..")), min_size=1, max_size=4
)


@given(pattern=st.lists(_NAMES, min_size=1, max_size=3), path=_PATHS)
def test_patterns_of_add_ons_match_as_pathlib_does(pattern: list[str], path: list[str]) -> None:
    text = "/".join(pattern)
    if "**" in text or PurePosixPath(text).as_posix() != text:
        return
    expected = PurePosixPath("/data/addons/data/x", *path).match(text)
    assert from_the_right([text])("data/addons/data/x/" + "/".join(path)) == expected


def test_nothing_is_left_out_without_patterns() -> None:
    assert not from_the_right([])("anything")


@pytest.mark.parametrize("pattern", ["", "/etc", "../x", "a/../b", "x" * 300, "*" * 20, "a\nb"])
def test_patterns_that_make_no_sense_are_refused(pattern: str) -> None:
    with pytest.raises(Invalid):
        check_pattern(pattern)


def test_a_pattern_made_to_keep_us_busy_does_not() -> None:
    exclude = from_the_right(["*a" * 40 + "*b"])
    began = time.monotonic()
    for _ in range(20):
        exclude("a" * 200 + "c")
    assert time.monotonic() - began < 5
