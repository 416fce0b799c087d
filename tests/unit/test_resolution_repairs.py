"""Checks, evaluations and fix-ups: who looks when, what is mended, and how often (host contract §3-6, §9)."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import until
from supervisor.errors import Blocked, Busy, Internal, NotFound, SupervisorError, Unavailable, Unsupported
from supervisor.events import CoreState, CoreStateChanged, EventBus, InternetChanged
from supervisor.jobs import JobCondition, JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.resolution import (
    RESOLUTION_SCHEMA,
    Check,
    Checks,
    ContextType,
    Evaluation,
    Evaluations,
    Fixup,
    Fixups,
    HealthCheck,
    Issue,
    IssueType,
    Resolution,
    Suggestion,
    SuggestionType,
    UnsupportedReason,
)
from supervisor.managers.resolution.data import REMEDIES
from supervisor.state import StateFile

ADDON = ContextType.ADDON
PROBLEM = IssueType.BOOT_FAIL


class Look(Check):
    """Finds what stands in `problems`: subject -> whether it has the problem (None: nobody can tell)."""

    slug = "app_pwned"
    issue = PROBLEM
    context = ADDON
    states = frozenset({CoreState.RUNNING})

    def __init__(self, resolution: Resolution) -> None:
        self.resolution = resolution
        self.problems: dict[str | None, bool | None] = {}
        self.runs = 0
        self.error: Exception | None = None

    async def run(self) -> None:
        self.runs += 1
        if self.error is not None:
            raise self.error
        for subject, found in self.problems.items():
            if found:
                self.resolution.raise_issue(
                    self.issue, self.context, reference=subject, suggestions=(SuggestionType.EXECUTE_START,)
                )

    async def approve(self, issue: Issue) -> bool | None:
        return self.problems.get(issue.reference, False)


class SystemLook(Look):
    slug = "free_space"
    issue = IssueType.FREE_SPACE
    context = ContextType.SYSTEM


class Judge(Evaluation):
    reason = UnsupportedReason.LXC
    states = frozenset({CoreState.RUNNING})

    def __init__(self) -> None:
        self.verdict: bool | None = False
        self.error: Exception | None = None

    async def unsupported(self) -> bool | None:
        if self.error is not None:
            raise self.error
        return self.verdict


class Stage:
    def __init__(self, root: Path, *, first_pause: float = 0.0) -> None:
        self.bus = EventBus()
        self.root = root
        self.state = CoreState.RUNNING
        self.resolution = Resolution(self.bus)
        self.jobs = JobManager(self.bus, StateFile(root / "jobs.json", JOBS_SCHEMA, self.bus))
        self.why_not: str | None = None
        for condition in (JobCondition.HEALTHY, JobCondition.RUNNING):
            self.jobs.provide(condition, self.judge)
        file = StateFile(root / "resolution.json", RESOLUTION_SCHEMA, self.bus)
        self.checks = Checks(self.resolution, file, lambda: self.state)
        self.look, self.system_look = Look(self.resolution), SystemLook(self.resolution)
        self.checks.add([self.look, self.system_look])
        self.evaluations = Evaluations(self.resolution, lambda: self.state)
        self.judgement = Judge()
        self.evaluations.add([self.judgement])
        self.fixups = Fixups(self.resolution, self.jobs, first_pause=first_pause)
        self.health = HealthCheck(self.resolution, self.checks, self.evaluations, self.fixups, self.jobs, self.bus)
        self.applied: list[str | None] = []
        self.errors: list[Exception] = []

    async def judge(self) -> str | None:
        return self.why_not

    async def fix(self, suggestion: Suggestion) -> None:
        self.applied.append(suggestion.reference)
        if self.errors:
            raise self.errors.pop(0)

    def can(self, type_: SuggestionType = SuggestionType.EXECUTE_START, **more: Any) -> None:
        self.fixups.add([Fixup(ADDON, type_, self.fix, **more)])

    def trouble(self, slug: str = "lamp", *types: SuggestionType) -> Suggestion:
        types = types or (SuggestionType.EXECUTE_START,)
        self.resolution.raise_issue(PROBLEM, ADDON, reference=slug, suggestions=types)
        return next(found for found in self.resolution.suggestions if (found.type, found.reference) == (types[0], slug))

    def subjects(self) -> list[str | None]:
        return [issue.reference for issue in self.resolution.issues]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_a_check_raises_what_it_finds_and_takes_back_what_is_over(stage: Stage) -> None:
    stage.look.problems = {"lamp": True, "radio": True, "fine": False}
    await stage.checks.run_all()
    assert stage.subjects() == ["lamp", "radio"]
    stage.look.problems = {"lamp": None, "radio": False, "tv": True}
    await stage.checks.run_all()
    assert stage.subjects() == ["lamp", "tv"], "what nobody can tell stays"


async def test_a_problem_of_the_whole_system_is_looked_for_once(stage: Stage) -> None:
    stage.system_look.problems = {None: True}
    for _ in range(3):
        await stage.checks.run_all()
    assert stage.system_look.runs == 1
    assert stage.subjects() == [None]


class UnitsLook(SystemLook):
    slug = "systemd_unit_failure"
    issue = IssueType.SYSTEMD_UNIT_FAILED
    many_subjects = True


async def test_a_problem_of_one_subject_says_nothing_about_the_others(stage: Stage) -> None:
    look = UnitsLook(stage.resolution)
    stage.checks.add([look])
    for unit in ("a.service", "b.service"):
        look.problems[unit] = True
        await stage.checks.run(look.slug)
    assert stage.subjects() == ["a.service", "b.service"]


async def test_a_check_looks_in_its_states_only(stage: Stage) -> None:
    stage.look.problems = {"lamp": True}
    stage.state = CoreState.FREEZE
    await stage.checks.run_all()
    await stage.checks.run("app_pwned")
    assert (stage.look.runs, stage.subjects()) == (0, [])


@pytest.mark.parametrize("error", [Internal("no"), ZeroDivisionError()])
async def test_a_check_that_fails_keeps_no_other_from_looking(
    stage: Stage, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    stage.look.error = error
    stage.system_look.problems = {None: True}
    await stage.checks.run_all()
    assert stage.subjects() == [None]
    assert "app_pwned" in caplog.text


@pytest.mark.parametrize("slug", ["app_pwned", "addon_pwned"])
async def test_a_check_is_switched_off_under_either_of_its_names_and_stays_off(tmp_path: Path, slug: str) -> None:
    stage = Stage(tmp_path)
    await stage.checks.load()
    await stage.checks.set_enabled(slug, enabled=False)
    assert stage.checks.enabled == {"app_pwned": False, "free_space": True}
    stored = json.loads((tmp_path / "resolution.json").read_text())
    assert stored == {"checks": {"addon_pwned": {"enabled": False}}}
    again = Stage(tmp_path)
    await again.checks.load()
    again.look.problems = {"lamp": True}
    await again.checks.run_all()
    assert again.look.runs == 0
    await again.checks.run(slug)
    assert again.look.runs == 1, "asked for by name it looks nevertheless"


async def test_switches_of_checks_that_this_version_lacks_are_kept(tmp_path: Path) -> None:
    theirs = {"dns_server": {"enabled": False}, "deprecated_addon": {"enabled": False}}
    (tmp_path / "resolution.json").write_text(json.dumps({"checks": theirs}))
    stage = Stage(tmp_path)
    await stage.checks.load()
    await stage.checks.set_enabled("free_space", enabled=False)
    stored = json.loads((tmp_path / "resolution.json").read_text())["checks"]
    assert stored == {**theirs, "free_space": {"enabled": False}}


async def test_a_check_that_is_not_there_has_its_own_error(stage: Stage) -> None:
    with pytest.raises(NotFound) as caught:
        stage.checks.make_sure("nothing")
    assert (caught.value.key, caught.value.fields) == ("resolution_check_not_found_error", {"check": "nothing"})
    with pytest.raises(NotFound):
        await stage.checks.run("nothing")
    with pytest.raises(NotFound):
        await stage.checks.set_enabled("nothing", enabled=True)


async def test_a_verdict_comes_and_goes_and_none_changes_nothing(stage: Stage) -> None:
    for verdict, reasons in ((True, ("lxc",)), (None, ("lxc",)), (False, ())):
        stage.judgement.verdict = verdict
        await stage.evaluations.run()
        assert stage.resolution.unsupported == reasons
    assert stage.resolution.unhealthy == ("docker",), "a confined daemon can't look after containers"


async def test_some_reasons_can_be_judged_alone(stage: Stage) -> None:
    stage.judgement.verdict = True
    await stage.evaluations.run({UnsupportedReason.OS})
    assert stage.resolution.supported
    await stage.evaluations.run({UnsupportedReason.LXC})
    assert stage.resolution.unsupported == ("lxc",)


@pytest.mark.parametrize("error", [Internal("no"), ZeroDivisionError()])
async def test_an_evaluation_that_fails_changes_nothing(stage: Stage, error: Exception) -> None:
    stage.judgement.verdict = True
    await stage.evaluations.run()
    stage.judgement.error = error
    await stage.evaluations.run()
    assert stage.resolution.unsupported == ("lxc",)


async def test_an_applied_suggestion_goes_with_its_issue_and_another_look_is_taken(stage: Stage) -> None:
    stage.can()
    uuid = stage.trouble("lamp", SuggestionType.EXECUTE_START, SuggestionType.DISABLE_BOOT).uuid
    stage.trouble("radio")
    stage.look.problems = {"radio": None}
    stage.system_look.problems = {None: True}
    await stage.health.apply(uuid)
    assert stage.applied == ["lamp"]
    assert stage.subjects() == ["radio", None]
    assert "lamp" not in [found.reference for found in stage.resolution.suggestions]
    with pytest.raises(NotFound):
        await stage.health.apply(uuid)
    await stage.jobs.stop()


async def test_a_suggestion_that_did_not_help_stays_with_its_issue_and_the_caller_is_told(stage: Stage) -> None:
    stage.can()
    suggestion = stage.trouble()
    stage.errors = [Internal("no use")]
    with pytest.raises(Internal, match="no use"):
        await stage.health.apply(suggestion.uuid)
    assert stage.subjects() == ["lamp"]
    assert stage.resolution.suggestions == (suggestion,)


async def test_an_issue_that_looked_solved_for_a_moment_is_back_when_the_help_failed(stage: Stage) -> None:
    async def starts_and_falls_over(found: Suggestion) -> None:
        stage.resolution.dismiss_issue_of(PROBLEM, ADDON, found.reference)
        raise Internal("it fell over")

    stage.fixups.add([Fixup(ADDON, SuggestionType.EXECUTE_START, starts_and_falls_over)])
    suggestion = stage.trouble("lamp", SuggestionType.EXECUTE_START, SuggestionType.DISABLE_BOOT)
    with pytest.raises(Internal):
        await stage.health.apply(suggestion.uuid)
    assert stage.subjects() == ["lamp"]
    assert {found.type.value for found in stage.resolution.suggestions} == {"execute_start", "disable_boot"}


async def test_what_nothing_here_can_do_is_said(stage: Stage) -> None:
    suggestion = stage.trouble()
    with pytest.raises(Unsupported, match="by hand"):
        await stage.health.apply(suggestion.uuid)
    assert stage.subjects() == ["lamp"]


async def test_only_what_may_is_carried_out_unasked(stage: Stage) -> None:
    stage.can(SuggestionType.DISABLE_BOOT)
    stage.can(SuggestionType.EXECUTE_START, auto=True)
    lamp = stage.trouble("lamp")
    radio = stage.trouble("radio", SuggestionType.DISABLE_BOOT)
    assert (stage.fixups.is_auto(lamp), stage.fixups.is_auto(radio)) == (True, False)
    await stage.fixups.run_auto()
    assert (stage.applied, stage.subjects()) == (["lamp"], ["radio"])


async def test_nothing_is_carried_out_unasked_while_the_system_is_not_well(stage: Stage) -> None:
    stage.can(auto=True)
    stage.trouble()
    stage.why_not = "system is not healthy - setup"
    await stage.fixups.run_auto()
    assert (stage.applied, stage.subjects()) == ([], ["lamp"])
    stage.why_not = None
    await stage.fixups.run_auto()
    assert stage.applied == ["lamp"]


async def test_unasked_attempts_end_at_their_limit_for_each_subject(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.can(auto=True, attempts=5)
    stage.trouble("lamp")
    stage.errors = [Internal("no"), ZeroDivisionError(), *[Internal("no")] * 3]
    for _ in range(8):
        await stage.fixups.run_auto()
    assert stage.applied == ["lamp"] * 5
    assert "left to you" in caplog.text
    stage.trouble("radio")
    await stage.fixups.run_auto()
    assert stage.applied[5:] == ["radio"]
    (left,) = stage.resolution.suggestions
    await stage.health.apply(left.uuid)
    assert stage.applied[6:] == ["lamp"], "on demand it is tried as often as somebody likes"
    stage.trouble("lamp")
    await stage.fixups.run_auto()
    assert stage.applied[7:] == ["lamp"], "what helped once may be tried again when the trouble comes back"
    await stage.jobs.stop()


async def test_after_a_failure_the_next_unasked_attempt_waits_longer_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, first_pause=60)
    clock = 1000.0
    monkeypatch.setattr("supervisor.managers.resolution.fixups.time.monotonic", lambda: clock)
    stage.can(auto=True)
    stage.trouble()
    stage.errors = [Internal("no")] * 100
    tried: list[float] = []
    for second in range(0, 48 * 3600, 30):
        clock = 1000.0 + second
        before = len(stage.applied)
        await stage.fixups.run_auto()
        if len(stage.applied) > before:
            tried.append(second)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert pauses[:5] == [60, 120, 240, 480, 960]
    assert max(pauses) == 6 * 3600


async def test_what_waited_for_the_internet_is_tried_again_as_soon_as_that_is_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path, first_pause=60)
    stage.can(auto=True, online=True)
    stage.can(SuggestionType.EXECUTE_RESTART, auto=True)
    await stage.health.load()
    stage.trouble("lamp")
    stage.trouble("radio", SuggestionType.EXECUTE_RESTART)
    stage.errors = [Blocked("no internet"), Internal("no")]
    await stage.fixups.run_auto()
    await stage.fixups.run_auto()
    assert stage.applied == ["lamp", "radio"]
    stage.bus.publish(InternetChanged(online=False))
    stage.bus.publish(InternetChanged(online=True))
    await until(lambda: len(stage.applied) > 2, 30)
    assert stage.applied == ["lamp", "radio", "lamp"]
    await stage.jobs.stop()


@pytest.mark.parametrize("error", [Busy("at work"), Blocked("no space"), Unavailable("no engine")])
async def test_what_is_only_in_the_way_for_now_is_no_attempt(stage: Stage, error: SupervisorError) -> None:
    stage.can(auto=True, attempts=1)
    stage.trouble()
    stage.errors = [error]
    await stage.fixups.run_auto()
    await stage.fixups.run_auto()
    assert (stage.applied, stage.subjects()) == (["lamp", "lamp"], [])


async def test_when_the_daemon_has_come_to_run_it_looks_and_mends(stage: Stage) -> None:
    stage.can(auto=True)
    stage.state = CoreState.SETUP
    stage.look.problems = {"lamp": True}
    await stage.health.load()
    assert stage.look.runs == 0
    stage.state = CoreState.RUNNING
    stage.bus.publish(CoreStateChanged(CoreState.RUNNING))
    async with asyncio.timeout(30):
        while stage.applied != ["lamp"]:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)
    await stage.jobs.stop()


SLUGS = st.sampled_from(["lamp", "radio", "tv"])
TYPES = st.sampled_from(sorted({type_ for context, type_ in REMEDIES if context == ADDON}))


@given(st.lists(st.tuples(SLUGS, TYPES), max_size=12), st.lists(st.booleans(), max_size=12))
async def test_whatever_is_applied_no_suggestion_is_left_that_was_and_none_is_lost_that_failed(
    tmp_path_factory: pytest.TempPathFactory, raised: list[tuple[str, SuggestionType]], luck: list[bool]
) -> None:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    for type_ in SuggestionType:
        stage.can(type_)
    for slug, type_ in raised:
        for issue in REMEDIES[ADDON, type_]:
            stage.resolution.raise_issue(issue, ADDON, reference=slug, suggestions=(type_,))
    for lucky in luck:
        if not stage.resolution.suggestions:
            break
        suggestion = stage.resolution.suggestions[0]
        before = (stage.resolution.issues, stage.resolution.suggestions)
        stage.errors = [] if lucky else [Internal("no")]
        try:
            await stage.fixups.apply(suggestion)
        except Internal:
            assert (stage.resolution.issues, stage.resolution.suggestions) == before
        else:
            assert suggestion not in stage.resolution.suggestions
            assert not stage.resolution.helped_by(suggestion)
