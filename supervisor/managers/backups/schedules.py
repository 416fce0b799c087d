"""Backups that are made by themselves, and checked by themselves.

What is due is decided from what is written down: when a thing was last due and how that went. So a time that was missed
because the daemon was down is made up once, and one that a crash cut off is tried once more.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

import attrs

from supervisor.errors import Blocked, Busy, Conflict, Invalid, NotFound, SupervisorError
from supervisor.events import BackupScheduleEnded, CoreState, EventBus
from supervisor.jobs import JobManager
from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.state import StateFile
from supervisor.tasks import end

from .retention import Retention
from .schedule_record import (
    SCHEDULES_SCHEMA,
    BeforeUpdates,
    LastRun,
    Schedule,
    Timing,
    VerificationPlan,
    included,
    schedule,
    verification_plan,
)
from .schedule_times import due_after, latest_due, zone_named

_LOGGER = logging.getLogger(__name__)

MAX_SCHEDULES: Final = 64
_MAX_ATTEMPTS: Final = 2
# The clock may be set at any time: nothing is slept through for longer.
_LOOK_SECONDS: Final = 30.0
# Something else may be going on; later than that it has failed.
_PATIENCE: Final = timedelta(hours=6)
# A clock that is set right by a little is no reason to run anything twice.
_CLOCK_SLACK: Final = timedelta(days=1)
VERIFICATION: Final = "verification"

Planned = TypeVar("Planned", Schedule, VerificationPlan)


class BackupMaker(Protocol):
    """Makes, removes and checks backups of both kinds."""

    async def make(self, schedule: Schedule) -> str:
        """Make the backup that a schedule wants, in all its locations; return the slug.

        Raises:
            SupervisorError: it could not be made.
        """
        ...

    async def thin_out(self, schedule: Schedule, zone: ZoneInfo) -> None:
        """Remove what the schedule made before and its retention does not keep.

        Raises:
            SupervisorError: something could not be removed.
        """
        ...

    async def verify(self, share: int, passwords: Mapping[str, str]) -> list[str]:
        """Check a share of the backups; return what is wrong with which. `passwords` by the schedules' identifiers."""
        ...


class ScheduleManager:
    """Runs one thing after the other, in state running only."""

    def __init__(
        self,
        state: StateFile,
        maker: BackupMaker,
        jobs: JobManager,
        resolution: Resolution,
        bus: EventBus,
        *,
        daemon_state: Callable[[], CoreState],
        zone: Callable[[], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._state = state
        self._maker = maker
        self._jobs = jobs
        self._resolution = resolution
        self._bus = bus
        self._daemon_state = daemon_state
        self._zone = zone
        self._clock = clock
        self._known: dict[str, Schedule] = {}
        self._plan = verification_plan(SCHEDULES_SCHEMA({})["verification"])
        self._before_updates = BeforeUpdates()
        self._running: set[str] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        data = await self._state.load()
        self._known = {key: schedule(key, stored) for key, stored in data["schedules"].items()}
        for one in self._known.values():
            if one.timing.time_zone not in (None, zone := self.zone_of(one.timing).key):
                _LOGGER.warning("Schedule %s goes by %s: nobody knows %s here", one.name, zone, one.timing.time_zone)
        self._plan = verification_plan(data["verification"])
        self._before_updates = BeforeUpdates(Retention(**data["update_retention"]), data["save_before_auto_update"])

    def begin(self) -> None:
        """Begin to look what is due."""
        self._task = self._jobs.begin(self._run(), name="backup schedules")

    async def stop(self) -> None:
        """End; a backup that is being made is cancelled and tried again at the next start."""
        task, self._task = self._task, None
        await end([task])

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        return tuple(sorted(self._known.values(), key=lambda known: (known.name.casefold(), known.id)))

    @property
    def plan(self) -> VerificationPlan:
        return self._plan

    @property
    def before_updates(self) -> BeforeUpdates:
        return self._before_updates

    def get(self, identifier: str) -> Schedule:
        """Return a schedule.

        Raises:
            NotFound: there is none of this identifier.
        """
        if identifier not in self._known:
            raise NotFound(f"No backup schedule {identifier}")
        return self._known[identifier]

    def next_due(self, timing: Timing) -> datetime | None:
        return due_after(timing.cron, self.zone_of(timing), self._clock())

    def zone_of(self, timing: Timing) -> ZoneInfo:
        return zone_named(timing.time_zone, self._zone())

    async def add(self, wish: Mapping[str, Any]) -> Schedule:
        """Add a schedule; `wish` is checked, and holds at least a name and a cron expression.

        Raises:
            Invalid: something is missing, or there are too many.
            Conflict: another one has that name.
        """
        if len(self._known) >= MAX_SCHEDULES:
            raise Invalid(f"There can't be more than {MAX_SCHEDULES} schedules")
        if "name" not in wish or "cron" not in wish:
            raise Invalid("A schedule needs a name and a cron expression")
        self._require_free(wish["name"])
        timing = Timing(wish["cron"], wish.get("time_zone"), self._clock())
        added = _changed(Schedule(secrets.token_hex(8), wish["name"], timing), wish)
        await self._keep(added)
        return added

    async def change(self, identifier: str, wish: Mapping[str, Any]) -> Schedule:
        """Change what is named; a new time counts from now on.

        Raises:
            NotFound: there is no such schedule.
            Conflict: another one has that name.
        """
        if "name" in wish and wish["name"] != self.get(identifier).name:
            self._require_free(wish["name"])
        changed = _changed(self.get(identifier), wish)
        if wish.keys() & {"cron", "time_zone", "enabled"}:
            changed = attrs.evolve(changed, timing=attrs.evolve(changed.timing, since=self._clock()))
        await self._keep(changed)
        return changed

    def _require_free(self, name: str) -> None:
        # People go by names, and adding the same schedule again would make each of its backups twice.
        if any(known.name == name for known in self._known.values()):
            raise Conflict(f"There is a backup schedule {name} already")

    async def remove(self, identifier: str) -> None:
        """Remove a schedule; what it made stays.

        Raises:
            NotFound: there is no such schedule.
        """
        self.get(identifier)
        await self._save({key: known for key, known in self._known.items() if key != identifier}, self._plan)
        self._resolution.dismiss_issue_of(IssueType.BACKUP_SCHEDULE_FAILED, ContextType.SYSTEM, identifier)

    async def change_plan(self, wish: Mapping[str, Any]) -> VerificationPlan:
        """Change when and how much is checked."""
        plan = self._plan
        timing = Timing(wish.get("cron", plan.timing.cron), wish.get("time_zone", plan.timing.time_zone), self._clock())
        changed = attrs.evolve(
            plan, timing=timing, share=wish.get("share", plan.share), enabled=wish.get("enabled", plan.enabled)
        )
        await self._save(self._known, changed)
        self._changed.set()
        return changed

    async def set_before_updates(self, wish: BeforeUpdates) -> None:
        before, self._before_updates = self._before_updates, wish
        try:
            await self._save(self._known, self._plan)
        except BaseException:
            self._before_updates = before
            raise

    async def run_now(self, identifier: str) -> str:
        """Make the backup of a schedule at once; return its slug.

        Raises:
            NotFound: there is no such schedule.
            SupervisorError: it failed.
        """
        return await self._make(self.get(identifier), self._clock())

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            if self._daemon_state() is CoreState.RUNNING:
                try:
                    await self.run_due()
                except Exception:
                    _LOGGER.exception("The backup schedules can't be looked after")
            try:
                async with asyncio.timeout(self._pause()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _pause(self) -> float:
        timings = [known.timing for known in self._known.values() if known.enabled]
        timings += [self._plan.timing] if self._plan.enabled else []
        due = [moment for timing in timings if (moment := self.next_due(timing)) is not None]
        if not due:
            return _LOOK_SECONDS
        return min(_LOOK_SECONDS, max(0.05, (min(due) - self._clock()).total_seconds()))

    async def run_due(self) -> None:
        """Do all that is due, what is due longest first."""
        now = self._clock()
        await self._mend(now)
        waiting = [(due, known.id) for known in self._known.values() if (due := self._due_of(known, now)) is not None]
        if (due := self._due_of(self._plan, now)) is not None:
            waiting.append((due, VERIFICATION))
        for due, identifier in sorted(waiting):
            # A root job of its own: cancelling it must not end the scheduler.
            spawned = self._jobs.spawn(partial(self._do, identifier, due))
            try:
                await spawned.result()
            except (Busy, Blocked) as err:
                _LOGGER.info("Schedule %s waits: %s", identifier, err)
            except SupervisorError as err:
                _LOGGER.error("Schedule %s: %s", identifier, err)

    async def _mend(self, now: datetime) -> None:
        """Where the clock was wrong when a time was written down, time counts from now on."""
        known = {key: _mended(one, now) for key, one in self._known.items()}
        plan = _mended(self._plan, now)
        if known != self._known or plan != self._plan:
            _LOGGER.warning("The clock went back: backup schedules count from now on")
            await self._save(known, plan)

    async def _do(self, identifier: str, due: datetime) -> None:
        if identifier == VERIFICATION:
            await self._verify(due)
        elif identifier in self._known:
            await self._make(self._known[identifier], due)

    def _due_of(self, known: Schedule | VerificationPlan, now: datetime) -> datetime | None:
        """Return since when something is due; None when it is not, or is being done."""
        identifier = known.id if isinstance(known, Schedule) else VERIFICATION
        if not known.enabled or identifier in self._running:
            return None
        return self._due(known.timing, known.last, now)

    def _due(self, timing: Timing, last: LastRun | None, now: datetime) -> datetime | None:
        """Return since when something is due, None when it is not."""
        if last is not None and last.ended is None and last.attempts < _MAX_ATTEMPTS:
            return last.due
        since = timing.since if last is None else max(timing.since, last.due)
        return latest_due(timing.cron, self.zone_of(timing), since, now)

    async def _make(self, known: Schedule, due: datetime) -> str:
        run = self._attempt(known.last, due)
        with self._busy(known.id):
            await self._note(known.id, run)
            # What came of it is written down inside: whoever waits for the job looks at the schedule next.
            async with self._jobs.run("backup_schedule", reference=known.id) as job:
                slug = await self._made(known, run)
                run = attrs.evolve(run, slug=slug)
                if problems := job.problems():
                    # A copy that never arrives, or an add-on that can't be saved, must not pass for a backup of all.
                    await self._failed(known, run, f"Not everything was saved: {'; '.join(problems)}")
                else:
                    await self._note(known.id, attrs.evolve(run, ended=self._clock()))
                    self._resolution.dismiss_issue_of(IssueType.BACKUP_SCHEDULE_FAILED, ContextType.SYSTEM, known.id)
                    self._bus.publish(BackupScheduleEnded(known.id, slug, None))
                await self._thin_out(known)
            return slug

    async def _made(self, known: Schedule, run: LastRun) -> str:
        """Make the backup; a failure is noted."""
        try:
            return await self._maker.make(known)
        except (Busy, Blocked) as err:
            if self._clock() - run.due < _PATIENCE:
                await self._note(known.id, known.last)
                raise
            await self._failed(known, run, str(err))
            raise
        except SupervisorError as err:
            await self._failed(known, run, str(err))
            raise
        except asyncio.CancelledError:
            # Somebody cancelled the job. When the daemon ends it is tried again at the next start.
            if self._daemon_state() in (CoreState.RUNNING, CoreState.FREEZE):
                await asyncio.shield(self._failed(known, run, "It was cancelled"))
            raise

    @contextmanager
    def _busy(self, identifier: str) -> Iterator[None]:
        if identifier in self._running:
            raise Busy("This schedule is just being run")
        self._running.add(identifier)
        try:
            yield
        finally:
            self._running.discard(identifier)

    async def _thin_out(self, known: Schedule) -> None:
        try:
            await self._maker.thin_out(known, self.zone_of(known.timing))
        except SupervisorError as err:
            _LOGGER.warning("Old backups of schedule %s are still there: %s", known.name, err)

    async def _failed(self, known: Schedule, run: LastRun, reason: str) -> None:
        await self._note(known.id, attrs.evolve(run, ended=self._clock(), error=reason))
        self._resolution.dismiss_issue_of(IssueType.BACKUP_SCHEDULE_FAILED, ContextType.SYSTEM, known.id)
        extra = {"name": known.name, "reason": reason[:500]}
        self._resolution.raise_issue(
            IssueType.BACKUP_SCHEDULE_FAILED, ContextType.SYSTEM, reference=known.id, extra=extra
        )
        self._bus.publish(BackupScheduleEnded(known.id, run.slug, reason))

    async def _verify(self, due: datetime) -> None:
        run = self._attempt(self._plan.last, due)
        with self._busy(VERIFICATION):
            await self._note_check(run)
            async with self._jobs.run("backup_verification", cancellable=True):
                passwords = {known.id: known.password for known in self._known.values() if known.password is not None}
                wrong = await self._maker.verify(self._plan.share, passwords)
                await self._note_check(attrs.evolve(run, ended=self._clock(), error="; ".join(wrong) or None))
                self._resolution.dismiss_issue_of(IssueType.BACKUP_VERIFICATION_FAILED, ContextType.SYSTEM)
                if wrong:
                    self._resolution.raise_issue(
                        IssueType.BACKUP_VERIFICATION_FAILED, ContextType.SYSTEM, extra={"problems": wrong[:20]}
                    )

    async def _note_check(self, run: LastRun) -> None:
        await self._save(self._known, attrs.evolve(self._plan, last=run))

    def _attempt(self, last: LastRun | None, due: datetime) -> LastRun:
        again = last is not None and last.due == due and last.ended is None
        return LastRun(due, self._clock(), attempts=last.attempts + 1 if last is not None and again else 1)

    async def _note(self, identifier: str, run: LastRun | None) -> None:
        """Write the outcome down; a schedule that was removed meanwhile stays removed."""
        if identifier in self._known:
            changed = attrs.evolve(self._known[identifier], last=run)
            await self._save({**self._known, identifier: changed}, self._plan)

    async def _keep(self, changed: Schedule) -> None:
        await self._save({**self._known, changed.id: changed}, self._plan)
        self._changed.set()

    async def _save(self, known: dict[str, Schedule], plan: VerificationPlan) -> None:
        await self._state.save(
            {
                "schedules": {key: one.as_state() for key, one in known.items()},
                "verification": plan.as_state(),
                "update_retention": attrs.asdict(self._before_updates.retention),
                "save_before_auto_update": self._before_updates.automatic,
            }
        )
        self._known, self._plan = known, plan


def _mended(known: Planned, now: datetime) -> Planned:
    timing, last = known.timing, known.last
    if timing.since > now:
        timing = attrs.evolve(timing, since=now)
    if last is not None and last.due > now + _CLOCK_SLACK:
        last = attrs.evolve(last, due=now)
    return attrs.evolve(known, timing=timing, last=last)


def _changed(known: Schedule, wish: Mapping[str, Any]) -> Schedule:
    timing = attrs.evolve(
        known.timing,
        cron=wish.get("cron", known.timing.cron),
        time_zone=wish.get("time_zone", known.timing.time_zone),
    )
    plain = {key: wish[key] for key in ("name", "compressed", "password", "enabled") if key in wish}
    if "contents" in wish:
        plain["included"] = included(wish["contents"])
    if "locations" in wish:
        plain["locations"] = tuple(wish["locations"])
    if "retention" in wish:
        plain["retention"] = Retention(**wish["retention"])
    return attrs.evolve(known, timing=timing, **plain)
