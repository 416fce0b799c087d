"""Schedules: what is due is done once, whatever happens to the daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs
import pytest
import pytest_asyncio
import voluptuous as vol

from daemon import until
from supervisor.errors import Busy, Conflict, Invalid, NotFound, SupervisorError, Unavailable
from supervisor.events import BackupScheduleEnded, CoreState, EventBus, JobChanged
from supervisor.jobs import JobManager
from supervisor.jobs.job import JobError
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.backups.retention import Retention
from supervisor.managers.backups.schedule_record import PLAN, SCHEDULES_SCHEMA, WISH, BeforeUpdates, Schedule
from supervisor.managers.backups.schedule_times import zone_named
from supervisor.managers.backups.schedules import ScheduleManager
from supervisor.managers.resolution import IssueType, Resolution
from supervisor.state import StateFile

NIGHTLY = {"name": "nightly", "cron": "30 3 * * *", "time_zone": "Europe/Berlin", "retention": {"daily": 7}}


@attrs.define(eq=False)
class Maker:
    """Notes what is wanted of it; `error` is raised instead of making a backup, `hold` keeps it busy."""

    made: list[Schedule] = attrs.field(factory=list)
    thinned: list[tuple[str, Retention, str]] = attrs.field(factory=list)
    checked: list[int] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    error: SupervisorError | None = None
    lacking: SupervisorError | None = None
    jobs: JobManager | None = None
    hold: asyncio.Event | None = None

    async def make(self, schedule: Schedule) -> str:
        self.made.append(schedule)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        if self.jobs is not None and self.lacking is not None:
            async with self.jobs.run("backup_store_apps", keep=True) as job:
                job.errors.append(JobError.of(self.lacking, None))
        return f"slug{len(self.made)}"

    async def thin_out(self, schedule: Schedule, zone: ZoneInfo) -> None:
        self.thinned.append((schedule.id, schedule.retention, zone.key))

    async def verify(self, share: int, passwords: Mapping[str, str]) -> list[str]:
        self.checked.append(share)
        return self.wrong


@attrs.define(eq=False)
class Clockwork:
    """A manager of schedules with a clock that the test turns."""

    folder: Path
    now: datetime = datetime(2026, 6, 1, 12, tzinfo=UTC)
    state: CoreState = CoreState.RUNNING
    maker: Maker = attrs.field(factory=Maker)
    bus: EventBus = attrs.field(factory=EventBus)
    heard: list[BackupScheduleEnded] = attrs.field(factory=list)
    jobs: JobManager = attrs.field(init=False)
    resolution: Resolution = attrs.field(init=False)
    manager: ScheduleManager = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.bus.subscribe(BackupScheduleEnded, self.heard.append)
        self.jobs = JobManager(self.bus, StateFile(self.folder / "jobs.json", JOBS_SCHEMA, self.bus))
        self.resolution = Resolution(self.bus)
        self.manager = self.again()

    def again(self) -> ScheduleManager:
        """Return the manager of a daemon that was started again."""
        return ScheduleManager(
            StateFile(self.folder / "schedules.json", SCHEDULES_SCHEMA, self.bus),
            self.maker,
            self.jobs,
            self.resolution,
            self.bus,
            daemon_state=lambda: self.state,
            zone=lambda: "Europe/Berlin",
            clock=lambda: self.now,
        )

    def issues(self, kind: IssueType) -> list[str | None]:
        return [issue.reference for issue in self.resolution.issues if issue.type is kind]


@pytest_asyncio.fixture
async def clockwork(tmp_path: Path) -> AsyncIterator[Clockwork]:
    made = Clockwork(tmp_path)
    await made.manager.load()
    yield made
    await made.manager.stop()
    await made.jobs.stop()


async def nightly(clockwork: Clockwork, **more: object) -> Schedule:
    return await clockwork.manager.add(vol.Schema(WISH)({**NIGHTLY, **more}))


async def test_what_is_due_is_done_once_and_then_thinned_out(clockwork: Clockwork) -> None:
    made = await nightly(clockwork)
    await clockwork.manager.run_due()
    assert clockwork.maker.made == []
    clockwork.now = datetime(2026, 6, 2, 1, 30, tzinfo=UTC)
    await clockwork.manager.run_due()
    await clockwork.manager.run_due()
    assert [one.name for one in clockwork.maker.made] == ["nightly"]
    assert clockwork.maker.thinned == [(made.id, Retention(daily=7), "Europe/Berlin")]
    last = clockwork.manager.get(made.id).last
    assert last is not None
    assert (last.slug, last.error, last.due) == ("slug1", None, clockwork.now)
    assert clockwork.heard == [BackupScheduleEnded(made.id, "slug1", None)]
    assert clockwork.manager.next_due(made.timing) == datetime(2026, 6, 3, 1, 30, tzinfo=UTC)


async def test_what_was_missed_while_the_daemon_was_down_is_made_up_once(clockwork: Clockwork) -> None:
    await nightly(clockwork)
    clockwork.now += timedelta(days=40)
    later = clockwork.again()
    await later.load()
    await later.run_due()
    await later.run_due()
    assert len(clockwork.maker.made) == 1


async def test_a_new_or_changed_schedule_has_missed_nothing(clockwork: Clockwork) -> None:
    made = await nightly(clockwork, enabled=False)
    clockwork.now += timedelta(days=10)
    await clockwork.manager.run_due()
    await clockwork.manager.change(made.id, {"enabled": True})
    await clockwork.manager.run_due()
    assert clockwork.maker.made == []
    await clockwork.manager.change(made.id, {"cron": "0 * * * *"})
    await clockwork.manager.run_due()
    assert clockwork.maker.made == []
    clockwork.now += timedelta(hours=1)
    await clockwork.manager.run_due()
    assert len(clockwork.maker.made) == 1


async def test_a_failure_makes_an_issue_and_an_event_and_a_success_ends_it(clockwork: Clockwork) -> None:
    made = await nightly(clockwork)
    clockwork.maker.error = Unavailable("the disk is full")
    clockwork.now += timedelta(days=1)
    await clockwork.manager.run_due()
    await clockwork.manager.run_due()
    assert len(clockwork.maker.made) == 1
    assert clockwork.issues(IssueType.BACKUP_SCHEDULE_FAILED) == [made.id]
    assert clockwork.heard == [BackupScheduleEnded(made.id, None, "the disk is full")]
    assert clockwork.maker.thinned == []
    clockwork.maker.error = None
    clockwork.now += timedelta(days=1)
    await clockwork.manager.run_due()
    assert clockwork.issues(IssueType.BACKUP_SCHEDULE_FAILED) == []
    await clockwork.manager.remove(made.id)
    with pytest.raises(NotFound):
        clockwork.manager.get(made.id)


async def test_a_backup_without_something_makes_an_issue_too_and_is_kept(clockwork: Clockwork) -> None:
    made = await nightly(clockwork)
    clockwork.maker.jobs, clockwork.maker.lacking = clockwork.jobs, Unavailable("nas is down")
    clockwork.now = datetime(2026, 6, 2, 1, 30, tzinfo=UTC)
    await clockwork.manager.run_due()
    last = clockwork.manager.get(made.id).last
    assert last is not None
    assert (last.slug, last.error) == ("slug1", "Not everything was saved: nas is down")
    assert last.ended == clockwork.now
    assert clockwork.issues(IssueType.BACKUP_SCHEDULE_FAILED) == [made.id]
    assert clockwork.heard == [BackupScheduleEnded(made.id, "slug1", last.error)]
    assert len(clockwork.maker.thinned) == 1
    clockwork.maker.lacking = None
    clockwork.now += timedelta(days=1)
    await clockwork.manager.run_due()
    assert clockwork.issues(IssueType.BACKUP_SCHEDULE_FAILED) == []


@pytest.mark.parametrize("error", [None, Unavailable("the disk is full")], ids=["good", "failed"])
async def test_whoever_waits_for_the_job_finds_what_came_of_it(
    clockwork: Clockwork, error: SupervisorError | None
) -> None:
    made = await nightly(clockwork)
    clockwork.maker.error = error
    found: list[tuple[bool, str | None, int, int]] = []

    def look(event: JobChanged) -> None:
        last = clockwork.manager.get(made.id).last
        if event.job["name"] == "backup_schedule" and event.job["done"] and last is not None:
            issues = clockwork.issues(IssueType.BACKUP_SCHEDULE_FAILED)
            found.append((last.ended is not None, last.slug, len(issues), len(clockwork.maker.thinned)))

    clockwork.bus.subscribe(JobChanged, look)
    clockwork.now = datetime(2026, 6, 2, 1, 30, tzinfo=UTC)
    await clockwork.manager.run_due()
    assert found == [(True, "slug1", 0, 1) if error is None else (True, None, 1, 0)]


async def test_it_waits_while_something_else_is_going_on_but_not_for_ever(clockwork: Clockwork) -> None:
    made = await nightly(clockwork)
    clockwork.maker.error = Busy("another backup")
    clockwork.now = datetime(2026, 6, 2, 1, 30, tzinfo=UTC)
    await clockwork.manager.run_due()
    assert clockwork.manager.get(made.id).last is None
    clockwork.now += timedelta(hours=2)
    clockwork.maker.error = None
    await clockwork.manager.run_due()
    last = clockwork.manager.get(made.id).last
    assert last is not None
    assert last.slug == "slug2"
    clockwork.maker.error = Busy("another backup")
    clockwork.now = datetime(2026, 6, 3, 9, tzinfo=UTC)
    await clockwork.manager.run_due()
    assert clockwork.issues(IssueType.BACKUP_SCHEDULE_FAILED) == [made.id]


async def test_a_run_that_a_crash_cut_off_is_tried_once_more(clockwork: Clockwork) -> None:
    made = await nightly(clockwork)
    clockwork.maker.hold = asyncio.Event()
    clockwork.now += timedelta(days=1)
    run = asyncio.create_task(clockwork.manager.run_due())
    await until(lambda: clockwork.maker.made, 30)
    # The daemon ends.
    clockwork.state = CoreState.STOPPING
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await clockwork.jobs.stop()
    for attempt in (2, 3):
        later = clockwork.again()
        await later.load()
        clockwork.maker.hold.set()
        clockwork.state = CoreState.RUNNING
        await later.run_due()
        assert len(clockwork.maker.made) == 2, attempt
    last = later.get(made.id).last
    assert last is not None
    assert (last.attempts, last.slug) == (2, "slug2")


async def test_one_that_kills_the_daemon_each_time_is_not_tried_for_ever(clockwork: Clockwork) -> None:
    made = await nightly(clockwork)
    path = clockwork.folder / "schedules.json"
    stored = json.loads(path.read_text())
    due = (clockwork.now + timedelta(hours=1)).isoformat()
    stored["schedules"][made.id]["last"] = {"due": due, "began": due, "ended": None, "attempts": 2}
    path.write_text(json.dumps(stored))
    clockwork.now += timedelta(hours=2)
    later = clockwork.again()
    await later.load()
    await later.run_due()
    assert clockwork.maker.made == []


async def test_cancelling_the_job_ends_that_run_alone(clockwork: Clockwork) -> None:
    made = await nightly(clockwork)
    clockwork.maker.hold = asyncio.Event()
    clockwork.now += timedelta(days=1)
    run = asyncio.create_task(clockwork.manager.run_due())
    await until(lambda: clockwork.maker.made, 30)
    (job,) = clockwork.jobs.roots
    assert job.task is not None
    job.task.cancel()
    await run
    assert clockwork.heard == [BackupScheduleEnded(made.id, None, "It was cancelled")]
    await clockwork.manager.run_due()
    assert len(clockwork.maker.made) == 1


async def test_no_two_schedules_have_one_name(clockwork: Clockwork) -> None:
    first = await nightly(clockwork)
    with pytest.raises(Conflict):
        await nightly(clockwork)
    other = await nightly(clockwork, name="other")
    with pytest.raises(Conflict):
        await clockwork.manager.change(other.id, {"name": first.name})
    assert (await clockwork.manager.change(first.id, {"name": first.name})).name == first.name


async def test_a_schedule_that_is_being_run_is_not_begun_again(clockwork: Clockwork) -> None:
    made = await nightly(clockwork)
    clockwork.maker.hold = asyncio.Event()
    running = asyncio.create_task(clockwork.manager.run_now(made.id))
    await until(lambda: clockwork.maker.made, 30)
    clockwork.now += timedelta(days=1)
    await clockwork.manager.run_due()
    with pytest.raises(Busy):
        await clockwork.manager.run_now(made.id)
    clockwork.maker.hold.set()
    assert await running == "slug1"
    assert len(clockwork.maker.made) == 1


async def test_a_clock_that_was_wrong_holds_nothing_up(clockwork: Clockwork) -> None:
    clockwork.now = datetime(2099, 1, 1, tzinfo=UTC)
    await nightly(clockwork)
    clockwork.now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    await clockwork.manager.run_due()
    clockwork.now += timedelta(days=1)
    await clockwork.manager.run_due()
    assert len(clockwork.maker.made) == 1


async def test_the_task_sleeps_until_it_is_due_and_looks_when_something_changes(clockwork: Clockwork) -> None:
    clockwork.manager.begin()
    await nightly(clockwork)
    await asyncio.sleep(0.05)
    assert clockwork.maker.made == []
    clockwork.now += timedelta(days=1)
    await nightly(clockwork, name="second")
    await until(lambda: clockwork.maker.made, 30)
    await until(lambda: clockwork.heard, 30)
    assert [one.name for one in clockwork.maker.made] == ["nightly"]


async def test_nothing_is_begun_while_the_daemon_is_not_running(clockwork: Clockwork) -> None:
    clockwork.state = CoreState.FREEZE
    await nightly(clockwork)
    clockwork.now += timedelta(days=1)
    clockwork.manager.begin()
    await asyncio.sleep(0.1)
    assert clockwork.maker.made == []


async def test_a_share_is_checked_by_itself_and_damage_makes_an_issue(clockwork: Clockwork) -> None:
    plan = vol.Schema(PLAN)({"cron": "0 5 * * SUN", "share": 25, "enabled": True})
    await clockwork.manager.change_plan(plan)
    clockwork.now += timedelta(days=7)
    clockwork.maker.wrong = ["aaaa1111: a file is damaged"]
    await clockwork.manager.run_due()
    await clockwork.manager.run_due()
    assert clockwork.maker.checked == [25]
    assert clockwork.issues(IssueType.BACKUP_VERIFICATION_FAILED) == [None]
    last = clockwork.manager.plan.last
    assert last is not None
    assert last.error == "aaaa1111: a file is damaged"
    clockwork.maker.wrong = []
    clockwork.now += timedelta(days=7)
    await clockwork.manager.run_due()
    assert clockwork.issues(IssueType.BACKUP_VERIFICATION_FAILED) == []


async def test_everything_survives_a_restart(clockwork: Clockwork) -> None:
    contents = {"addons": "ALL", "folders": ["share"], "homeassistant": True}
    made = await nightly(
        clockwork, contents=contents, locations=[None, "repository:nas"], password="secret", compressed=False
    )
    await clockwork.manager.set_before_updates(BeforeUpdates(Retention(last=1), automatic=False))
    later = clockwork.again()
    await later.load()
    assert later.get(made.id) == made
    assert later.before_updates == BeforeUpdates(Retention(last=1), automatic=False)
    assert "secret" not in repr(made)
    assert (clockwork.folder / "schedules.json").stat().st_mode & 0o777 == 0o600


async def test_a_schedule_without_a_name_or_a_time_is_refused(clockwork: Clockwork) -> None:
    for wish in ({"name": "x"}, {"cron": "* * * * *"}, {}):
        with pytest.raises(Invalid):
            await clockwork.manager.add(wish)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cron": "never"}, {"time_zone": "Mars/Base"}, {"contents": {"folders": ["etc"]}},
        {"contents": {"addons": "SOME"}},
        {"contents": {"addons": ["../x"]}}, {"contents": {"folders": ["share", "share"]}}, {"locations": [1]},
        {"locations": [None, ""]}, {"password": ""}, {"name": ""}, {"name": "x" * 65}, {"retention": {"daily": -1}},
        {"enabled": "yes"}, {"other": 1},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(vol.Invalid):
        vol.Schema(WISH)(wrong)


async def test_a_time_zone_that_a_system_no_longer_knows_costs_no_schedule(
    clockwork: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    """Debian 13 has the old names, such as US/Pacific, in a package that need not be there."""
    made = await nightly(clockwork)
    file = clockwork.folder / "schedules.json"
    file.write_text(file.read_text().replace("Europe/Berlin", "Lost/Zone"))
    later = clockwork.again()
    await later.load()
    kept = later.get(made.id)
    assert kept.timing.time_zone == "Lost/Zone", "it may come back"
    assert later.next_due(kept.timing) == clockwork.manager.next_due(made.timing), "until then the daemon's own counts"
    assert "nobody knows Lost/Zone here" in caplog.text
    assert zone_named("Lost/Zone", None, "../etc/passwd", "Europe").key == "UTC"
