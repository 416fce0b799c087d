"""Issues and suggestions (host contract §1)."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import state
from supervisor.errors import Internal, NotFound
from supervisor.events import (
    EventBus,
    HealthChanged,
    IssueChanged,
    IssueRemoved,
    StateFileCorrupt,
    SupportedChanged,
)
from supervisor.managers.resolution import (
    ContextType,
    IssueType,
    Resolution,
    SuggestionType,
    UnhealthyReason,
    UnsupportedReason,
)
from supervisor.state import StateFile


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def news(bus: EventBus) -> list[Any]:
    heard: list[Any] = []
    for event in (IssueChanged, IssueRemoved, HealthChanged, SupportedChanged):
        bus.subscribe(event, heard.append)
    return heard


@pytest.fixture
def resolution(bus: EventBus) -> Resolution:
    return Resolution(bus)


def boot_fail(resolution: Resolution, slug: str = "lamp", *suggestions: SuggestionType) -> str:
    return resolution.raise_issue(IssueType.BOOT_FAIL, ContextType.ADDON, reference=slug, suggestions=suggestions).uuid


def test_an_issue_is_told_with_what_could_help(resolution: Resolution, news: list[Any]) -> None:
    uuid = boot_fail(resolution, "lamp", SuggestionType.EXECUTE_START, SuggestionType.DISABLE_BOOT)
    [event] = news
    assert event.issue["uuid"] == uuid
    assert (event.issue["type"], event.issue["context"], event.issue["reference"]) == ("boot_fail", "addon", "lamp")
    assert [found["type"] for found in event.issue["suggestions"]] == ["execute_start", "disable_boot"]


def test_the_same_issue_again_stays_one_and_makes_no_news(resolution: Resolution, news: list[Any]) -> None:
    first = boot_fail(resolution, "lamp", SuggestionType.EXECUTE_START)
    assert boot_fail(resolution, "lamp", SuggestionType.EXECUTE_START) == first
    assert len(news) == 1
    assert len(resolution.suggestions) == 1


def test_the_reason_is_for_people_and_makes_no_other_issue(resolution: Resolution, news: list[Any]) -> None:
    def raise_for(reason: str | None) -> str:
        return resolution.raise_issue(IssueType.FATAL_ERROR, ContextType.STORE, reference="core", reason=reason).uuid

    uuid = raise_for("no route")
    assert raise_for("no route") == raise_for(None) == uuid
    assert resolution.issue(uuid).reason == "no route"
    assert raise_for("refused") == uuid
    assert [issue.reason for issue in resolution.issues] == ["refused"]
    assert [event.issue["reason"] for event in news] == ["no route", "refused"]
    raise_for("x" * 10_000)
    assert len(resolution.issue(uuid).reason or "") == 500


def test_a_new_suggestion_for_a_known_issue_is_news(resolution: Resolution, news: list[Any]) -> None:
    boot_fail(resolution, "lamp", SuggestionType.EXECUTE_START)
    boot_fail(resolution, "lamp", SuggestionType.DISABLE_BOOT)
    assert [len(event.issue["suggestions"]) for event in news] == [1, 2]


@pytest.mark.parametrize(
    "other",
    [
        {"reference": "other"},
        {"extra": {"port": 2}},
        {"type_": IssueType.MISSING_IMAGE},
        {"context": ContextType.PLUGIN},
    ],
)
def test_issues_that_differ_in_anything_but_the_uuid_are_two(resolution: Resolution, other: dict[str, Any]) -> None:
    base = {"type_": IssueType.APP_PORT_CONFLICT, "context": ContextType.ADDON, "reference": "a", "extra": {"port": 1}}
    resolution.raise_issue(**base)
    resolution.raise_issue(**{**base, **other})
    assert len(resolution.issues) == 2


def test_a_suggestion_that_helps_against_something_else_is_listed_but_not_attached(resolution: Resolution) -> None:
    uuid = boot_fail(resolution, "lamp", SuggestionType.EXECUTE_REPAIR)
    assert resolution.suggestions_for(resolution.issue(uuid)) == ()
    assert len(resolution.suggestions) == 1


def test_a_dismissed_issue_takes_along_what_helps_against_nothing_else(resolution: Resolution, news: list[Any]) -> None:
    boot = boot_fail(resolution, "lamp", SuggestionType.EXECUTE_START, SuggestionType.DISABLE_BOOT)
    resolution.raise_issue(IssueType.APP_PORT_CONFLICT, ContextType.ADDON, reference="lamp")
    news.clear()
    resolution.dismiss_issue(boot)
    assert [found.type for found in resolution.suggestions] == [SuggestionType.EXECUTE_START]
    [event] = news
    assert isinstance(event, IssueRemoved)
    assert set(event.issue) == {"uuid", "type", "context", "reference", "reference_extra", "reason"}


def test_a_dismissed_suggestion_leaves_its_issue(resolution: Resolution, news: list[Any]) -> None:
    issue = boot_fail(resolution, "lamp", SuggestionType.EXECUTE_START)
    resolution.dismiss_suggestion(resolution.suggestions[0].uuid)
    assert resolution.issue(issue).reference == "lamp"
    assert news[-1].issue["suggestions"] == []


def test_what_is_not_there_has_its_own_error(resolution: Resolution) -> None:
    for call, key in (
        (resolution.issue, "resolution_issue_not_found_error"),
        (resolution.dismiss_issue, "resolution_issue_not_found_error"),
        (resolution.dismiss_suggestion, "resolution_suggestion_not_found_error"),
    ):
        with pytest.raises(NotFound) as caught:
            call("0" * 32)
        assert caught.value.key == key
        assert caught.value.fields == {"uuid": "0" * 32}


def test_all_issues_of_a_subject_go_at_once(resolution: Resolution) -> None:
    for port in (80, 81):
        resolution.raise_issue(IssueType.APP_PORT_CONFLICT, ContextType.ADDON, reference="lamp", extra={"port": port})
    boot_fail(resolution, "other")
    resolution.dismiss_issue_of(IssueType.APP_PORT_CONFLICT, ContextType.ADDON, "lamp")
    assert [issue.reference for issue in resolution.issues] == ["other"]


def test_unhealthy_reasons_stay_and_are_told_once(resolution: Resolution, news: list[Any]) -> None:
    assert resolution.healthy
    for reason in (UnhealthyReason.SETUP, UnhealthyReason.DOCKER, UnhealthyReason.SETUP):
        resolution.add_unhealthy(reason)
    assert [event.reasons for event in news] == [("setup",), ("docker", "setup")]
    assert not resolution.healthy


def test_unsupported_reasons_come_and_go_and_only_changes_are_told(resolution: Resolution, news: list[Any]) -> None:
    for present in (False, True, True, False):
        resolution.set_unsupported(UnsupportedReason.OS, present)
    assert [event.reasons for event in news] == [("os",), ()]
    assert resolution.supported


def test_a_damaged_state_file_becomes_an_issue(resolution: Resolution, bus: EventBus) -> None:
    kept = Path("/data/store.json.corrupt-1")
    bus.publish(StateFileCorrupt(Path("/data/store.json"), kept, "x" * 9999, recovered=True, when=datetime.now(UTC)))
    [issue] = resolution.issues
    assert (issue.type, issue.reference) == ("corrupt_state_file", "store.json")
    assert issue.reference_extra is not None
    assert issue.reference_extra["recovered"] is True
    assert len(issue.reference_extra["reason"]) <= 500


def bad_message(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EBADMSG, "Bad message")


async def test_a_file_system_that_is_damaged_makes_the_system_unhealthy(
    resolution: Resolution, bus: EventBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(tmp_path / "store.json", dict, bus)
    monkeypatch.setattr(state, "write_atomic", bad_message)
    with pytest.raises(Internal):
        await file.save({"a": 1})
    assert resolution.unhealthy == ("oserror_bad_message",)


async def test_a_state_file_that_the_disk_does_not_give_is_a_sign_of_damage_and_one_that_makes_no_sense_is_none(
    resolution: Resolution, bus: EventBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(tmp_path / "store.json", dict, bus)
    file.path.write_text("{")
    assert await file.load() == {}
    assert resolution.healthy
    await file.save({"a": 1})
    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", bad_message)
        assert await file.load() == {}
    assert resolution.unhealthy == ("oserror_bad_message",)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, None])
def test_other_troubles_of_a_disk_pass(resolution: Resolution, error: int | None) -> None:
    resolution.judge_disk(error)
    assert resolution.healthy


SUBJECTS = st.tuples(
    st.sampled_from([IssueType.BOOT_FAIL, IssueType.APP_PORT_CONFLICT, IssueType.MISSING_IMAGE]),
    st.sampled_from(["lamp", "radio"]),
    st.sets(
        st.sampled_from([SuggestionType.EXECUTE_START, SuggestionType.DISABLE_BOOT, SuggestionType.EXECUTE_REPAIR])
    ),
)


@given(st.lists(SUBJECTS))
def test_when_every_issue_is_dismissed_no_attached_suggestion_is_left(raised: list[Any]) -> None:
    resolution = Resolution(EventBus())
    for type_, slug, suggestions in raised:
        resolution.raise_issue(type_, ContextType.ADDON, reference=slug, suggestions=suggestions)
    attached = {found for issue in resolution.issues for found in resolution.suggestions_for(issue)}
    for issue in resolution.issues:
        resolution.dismiss_issue(issue.uuid)
    assert resolution.issues == ()
    assert not attached & set(resolution.suggestions)
