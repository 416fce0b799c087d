"""Starts jobs, knows the running ones, remembers the last finished ones."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import attrs
import voluptuous as vol

from supervisor.errors import Blocked, Invalid, NotFound, SupervisorError, Unavailable
from supervisor.events import EventBus, JobChanged
from supervisor.state import StateFile
from supervisor.tasks import end

from .conditions import ORDER, JobCondition
from .job import Job
from .locks import NamedLocks

_LOGGER = logging.getLogger(__name__)

HISTORY_LENGTH = 50

ConditionCheck = Callable[[], Awaitable[str | None]]
T = TypeVar("T")


def _known_conditions(value: Any) -> list[str]:
    """Drop what other versions know: a condition that this one lacks keeps nothing from running."""
    known = {condition.value for condition in JobCondition}
    return [name for name in vol.Schema([str])(value) if name in known]


JOBS_SCHEMA = vol.Schema(
    {vol.Optional("ignore_conditions", default=list): _known_conditions},
    extra=vol.REMOVE_EXTRA,
)

_current: contextvars.ContextVar[Job | None] = contextvars.ContextVar("job", default=None)
_spawned: contextvars.ContextVar[Spawned[Any] | None] = contextvars.ContextVar("spawned", default=None)


@attrs.define(eq=False)
class Spawned(Generic[T]):
    """Work that runs as a root job of its own, whoever asked for it."""

    task: asyncio.Task[T]
    job: Job | None = None
    awaited: bool = False
    sound: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def accepted(self) -> bool:
        """Wait until the work said that the request was sound; False when it ended before (well or badly)."""
        sound = asyncio.ensure_future(self.sound.wait())
        try:
            await asyncio.wait({sound, self.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sound.cancel()
        return not self.task.done()

    async def result(self) -> T:
        """Wait for the end. The work goes on when the waiter gives up.

        Raises:
            SupervisorError: the work failed; `job_id` names its job when that is kept.
        """
        self.awaited = True
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if self.task.cancelled() and waiter is not None and not waiter.cancelling():
                raise Unavailable("The job was cancelled") from None
            raise
        except SupervisorError as err:
            if self.job is not None and self.job.keep:
                err.job_id = self.job.uuid
            raise


class JobManager:
    """Conditions are judged by whoever knows: `provide` names the judge. One without a judge fails loudly."""

    def __init__(self, bus: EventBus, state: StateFile) -> None:
        self._bus = bus
        self._state = state
        self._checks: dict[JobCondition, ConditionCheck] = {}
        self._locks = NamedLocks()
        self._roots: list[Job] = []
        self._history: deque[Job] = deque(maxlen=HISTORY_LENGTH)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.ignore_conditions: tuple[JobCondition, ...] = ()

    async def load(self) -> None:
        data = await self._state.load()
        self.ignore_conditions = tuple(JobCondition(value) for value in data["ignore_conditions"])

    async def stop(self) -> None:
        """Cancel spawned work and wait until it has cleaned up."""
        await end(self._tasks)

    def provide(self, condition: JobCondition, check: ConditionCheck) -> None:
        """Let `check` tell why the condition does not hold, or None when it does."""
        self._checks[condition] = check

    async def set_ignore_conditions(self, conditions: Iterable[JobCondition]) -> None:
        """Replace the list of conditions that no longer keep jobs from running."""
        conditions = tuple(dict.fromkeys(conditions))
        await self._state.save({"ignore_conditions": [condition.value for condition in conditions]})
        self.ignore_conditions = conditions

    @property
    def roots(self) -> tuple[Job, ...]:
        """Running and kept root jobs, newest first, without internal ones."""
        return tuple(job for job in sorted(self._roots, key=lambda job: job.created, reverse=True) if not job.internal)

    @property
    def history(self) -> tuple[Job, ...]:
        """Finished root jobs, newest first; bounded, gone after a restart."""
        return tuple(reversed(self._history))

    @property
    def current(self) -> Job | None:
        """The job that the calling code runs in."""
        return _current.get()

    def busy(self, lock: str) -> bool:
        return self._locks.holder(lock) is not None

    def get(self, uuid: str) -> Job:
        """Return a job that is running or kept.

        Raises:
            NotFound: there is no such job, or it has ended and was not kept.
        """
        pending = [job for job in self._roots if not job.internal]
        while pending:
            job = pending.pop()
            if job.uuid == uuid:
                return job
            pending.extend(child for child in job.children if not child.internal)
        raise NotFound(f"No job {uuid}")

    def forget(self, uuid: str) -> None:
        """Remove a kept job.

        Raises:
            NotFound: there is no such job.
            Invalid: it is still running.
        """
        job = self.get(uuid)
        if not job.done:
            raise Invalid(f"Job {job.name} is not done")
        self._remove(job)

    def cancel(self, uuid: str) -> None:
        """Stop a running job that declared itself safe to cancel.

        Raises:
            NotFound: there is no such job.
            Invalid: it can't be cancelled now.
        """
        job = self.get(uuid)
        if job.done:
            raise Invalid(f"Job {job.name} has ended")
        if not job.cancellable or job.task is None:
            raise Invalid(f"Job {job.name} can't be cancelled")
        job.task.cancel()

    @asynccontextmanager
    async def run(
        self,
        name: str,
        *,
        reference: str | None = None,
        conditions: Collection[JobCondition] = (),
        lock: str | None = None,
        wait: bool = False,
        internal: bool = False,
        keep: bool = False,
        cancellable: bool = False,
    ) -> AsyncIterator[Job]:
        """Make the block a job.

        `lock` is held meanwhile (`wait`: queue for it, else refuse); `keep` leaves the finished job listed until it
        is forgotten; `internal` jobs are neither listed nor announced; `cancellable` says the block cleans up after
        itself.

        Raises:
            Blocked: a condition does not hold.
            Busy: another chain of jobs holds the lock.
        """
        parent = _current.get()
        if parent is not None and parent.done:
            parent = None
        job = Job(name, reference, self._announce, parent, internal=internal, keep=keep, cancellable=cancellable)
        await self._check(job, conditions)
        siblings = parent.children if parent is not None else self._roots
        siblings.append(job)
        try:
            async with self._locks.hold(lock, job, wait=wait):
                self._begin(job)
                token = _current.set(job)
                try:
                    yield job
                except BaseException as err:
                    job.finish(err)
                    raise
                else:
                    job.finish(None)
                finally:
                    _current.reset(token)
        finally:
            if job.done and job.parent is None and not job.internal:
                self._history.append(job)
            if not (job.done and job.keep):
                self._remove(job)

    def _begin(self, job: Job) -> None:
        spawned = _spawned.get()
        validated = None
        if spawned is not None and spawned.job is None:
            spawned.job = job
            validated = spawned.sound.set
        job.start(asyncio.current_task(), validated)

    def begin(self, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Begin a task that belongs to no job, whatever job the caller is in: it passes none of that job's locks.

        The caller owns the task.
        """
        context = contextvars.copy_context()
        context.run(_current.set, None)
        context.run(_spawned.set, None)
        return asyncio.get_running_loop().create_task(work, name=name, context=context)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Spawned[T]:
        """Run `work` as a task of its own; the first job it opens is its root job."""

        async def guarded() -> T:
            _spawned.set(spawned)
            return await work()

        task = self.begin(guarded())
        spawned: Spawned[T] = Spawned(task)
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._reap(spawned))
        return spawned

    def _reap(self, spawned: Spawned[Any]) -> None:
        task = spawned.task
        self._tasks.discard(task)
        # Who waits for the end hears of an error; otherwise the log is the only place for it.
        if not task.cancelled() and (error := task.exception()) is not None and not spawned.awaited:
            if isinstance(error, SupervisorError):
                # Without names from encrypted archives; the job has them, for whoever may see it.
                _LOGGER.error("%s", error.unnamed)
            else:
                _LOGGER.error("Background work failed", exc_info=error)

    async def _check(self, job: Job, conditions: Collection[JobCondition]) -> None:
        for condition in sorted(conditions, key=ORDER.__getitem__):
            reason = await self._checks[condition]()
            if reason is None:
                continue
            if condition in self.ignore_conditions:
                _LOGGER.critical("%s runs although %s: the condition %s is ignored", job.name, reason, condition.value)
                continue
            raise Blocked(f"'{job.name}' blocked from execution, {reason}")

    def _announce(self, job: Job) -> None:
        if not job.internal:
            parent = job.parent.uuid if job.parent is not None else None
            self._bus.publish(JobChanged({**job.as_wire(), "parent_id": parent}))

    def _remove(self, job: Job) -> None:
        siblings = job.parent.children if job.parent is not None else self._roots
        if job in siblings:
            siblings.remove(job)
