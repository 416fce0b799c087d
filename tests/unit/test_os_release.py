"""Which version of the operating system comes next, and where it is."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.model.os_release import OsReleases, is_safe
from supervisor.model.version import at_least, is_newer, major

STEPS = {"13": "13.2", "14": "14.2", "15": "15.2"}
TEMPLATE = "https://os.example.org/{version}/{os_name}_{board}-{version}.raucb"


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ("13.0", "13.2"),
        ("13.2", "14.2"),
        ("14.0.rc1", "14.2"),
        ("14.2", "15.2"),
        ("15.1", "15.2"),
        ("15.2", "16.1"),
        # Newer than the last one of its kind, as a test version is: nobody is sent back.
        ("14.3", "15.2"),
        ("12.4", "13.2"),
        ("11.0", "16.1"),
        ("16.0", "16.1"),
        ("dev", "16.1"),
        (None, "16.1"),
    ],
)
def test_no_major_version_is_left_out_and_each_is_left_from_its_last_one(running: str | None, expected: str) -> None:
    assert OsReleases("16.1", STEPS).latest(running) == expected


def test_without_a_map_the_newest_is_next() -> None:
    assert OsReleases("16.1").latest("3.0") == "16.1"
    assert OsReleases().latest("3.0") is None


@given(st.dictionaries(st.integers(1, 20), st.integers(0, 9)), st.integers(1, 20), st.integers(0, 9))
def test_following_the_map_always_arrives_and_never_goes_back(last: dict[int, int], number: int, minor: int) -> None:
    releases = OsReleases("21.0", {str(key): f"{key}.{value}" for key, value in last.items()})
    running, seen = f"{number}.{minor}", []
    while (following := releases.latest(running)) != running:
        assert following is not None
        assert is_newer(following, running)
        seen.append(following)
        running = following
    assert running == "21.0"
    assert len(seen) <= 2 * 21


@pytest.mark.parametrize(
    ("version", "board", "expected"),
    [
        ("16.1", "ova", "https://os.example.org/16.1/haos_ova-16.1.raucb"),
        ("6.0", "intel-nuc", "https://os.example.org/6.0/haos_generic-x86-64-6.0.raucb"),
        ("5.13", "intel-nuc", "https://os.example.org/5.13/hassos_intel-nuc-5.13.raucb"),
        ("6.0.rc1", "ova", "https://os.example.org/6.0.rc1/hassos_ova-6.0.rc1.raucb"),
    ],
)
def test_the_url_is_made_of_the_template(version: str, board: str, expected: str) -> None:
    assert OsReleases(ota=TEMPLATE).url(version, board) == expected


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (None, "does not tell"),
        ("https://example.org/{version}/{secret}", "unknown placeholder 'secret'"),
        ("https://example.org/{version.__class__}", "unknown placeholder"),
        ("{version}.raucb", "makes no URL"),
        ("file:///etc/{version}", "makes no URL"),
        ("https:///{version}", "makes no URL"),
    ],
)
def test_a_template_that_makes_no_url_is_refused(template: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        OsReleases(ota=template).url("16.1", "ova")


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_version_and_no_board_leads_elsewhere(version: str, board: str) -> None:
    try:
        url = OsReleases(ota=TEMPLATE).url(version, board)
    except ValueError:
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "os.example.org", "", "")
    assert parts.path.startswith(f"/{version}/")
    assert parts.path.count("/") == 2
    assert ".." not in parts.path.split("/")


@pytest.mark.parametrize("text", ["", "..", "../1.0", "1/0", "1.0?x", "1.0#x", "1 0", "1.0\n", "ü", "x" * 65])
def test_what_may_not_stand_in_a_name_is_told(text: str) -> None:
    assert not is_safe(text)


def test_versions_are_compared_with_a_floor() -> None:
    assert at_least("18.0", "18.0.rc1")
    assert at_least("18.0.rc1", "18.0.rc1")
    assert not at_least("17.3", "18.0.rc1")
    assert not at_least(None, "18.0.rc1")
    assert not at_least("strange", "18.0.rc1")


@pytest.mark.parametrize(
    ("text", "number"), [("15.2", 15), ("15", 15), ("2026.8.0.dev1", 2026), ("dev", None), ("", None), ("9" * 40, None)]
)
def test_the_major_number_is_what_a_version_begins_with(text: str, number: int | None) -> None:
    assert major(text) == number
