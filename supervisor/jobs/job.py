"""One job: what is going on, how far it is, what went wrong."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs

from supervisor.errors import SupervisorError

UNKNOWN_ERROR_TEXT = "Something unexpected went wrong; the Supervisor log has the details"


@attrs.frozen
class JobError:
    """Why a job failed, as clients read it (API contract §3.13)."""

    type: str
    message: str
    stage: str | None = None
    error_key: str | None = None
    extra_fields: dict[str, Any] | None = None

    @classmethod
    def of(cls, error: BaseException, stage: str | None) -> JobError:
        if isinstance(error, SupervisorError):
            return cls(
                error.told_as or type(error).__name__, str(error) or UNKNOWN_ERROR_TEXT, stage, error.key, error.fields
            )
        if isinstance(error, asyncio.CancelledError):
            return cls("Cancelled", "The job was cancelled", stage)
        return cls("SupervisorError", UNKNOWN_ERROR_TEXT, stage)


@attrs.define(eq=False)
class Job:
    """A running or finished piece of work. Only the code inside the job changes it, and only until it is done.

    `done` is None before it starts, then False, then True. `progress` is in percent and never leaves 0-100.
    """

    name: str
    reference: str | None
    _changed: Callable[[Job], None]
    parent: Job | None = None
    internal: bool = False
    keep: bool = False
    cancellable: bool = False
    uuid: str = attrs.field(factory=lambda: secrets.token_hex(16))
    created: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    finished: datetime | None = None
    done: bool | None = None
    errors: list[JobError] = attrs.field(factory=list)
    children: list[Job] = attrs.field(factory=list)
    extra: dict[str, Any] | None = None
    task: asyncio.Task[Any] | None = None
    _stage: str | None = None
    _progress: float = 0.0
    on_validated: Callable[[], None] | None = None

    @property
    def progress(self) -> float:
        return self._progress

    @progress.setter
    def progress(self, percent: float) -> None:
        self.update(progress=percent)

    @property
    def current_stage(self) -> str | None:
        return self._stage

    def stage(self, name: str) -> None:
        """Say which part of the work begins now."""
        self.update(stage=name)

    def update(
        self,
        *,
        progress: float | None = None,
        stage: str | None = None,
        reference: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Change several values as one piece of news; nothing is told when nothing changed."""
        if self.done:
            return
        before = (self._progress, self._stage, self.reference, self.extra)
        if progress is not None:
            self._progress = round(min(100.0, max(0.0, progress)), 1)
        if stage is not None:
            self._stage = stage
        if reference is not None:
            self.reference = reference
        if extra is not None:
            self.extra = extra
        if (self._progress, self._stage, self.reference, self.extra) != before:
            self._changed(self)

    def validated(self) -> None:
        """Tell a caller who doesn't wait for the end that the request was sound and the work goes on (§8.5)."""
        for job in self.within():
            if job.on_validated is not None:
                job.on_validated()

    def within(self) -> Iterator[Job]:
        """Yield this job and every job around it, innermost first."""
        job: Job | None = self
        while job is not None:
            yield job
            job = job.parent

    def problems(self) -> list[str]:
        """Return what went wrong in this job and in those below it that are still known, each once, for people."""
        told = [error.message for error in self.errors]
        for child in self.children:
            told.extend(child.problems())
        return list(dict.fromkeys(told))

    def start(self, task: asyncio.Task[Any] | None, validated: Callable[[], None] | None) -> None:
        self.task = task
        self.done = False
        self.on_validated = validated
        self._changed(self)

    def finish(self, error: BaseException | None) -> None:
        if error is None:
            self._progress = 100.0
        else:
            self.errors.append(JobError.of(error, self._stage))
        self.task = None
        self.done = True
        self.finished = datetime.now(UTC)
        self._changed(self)

    def as_wire(self) -> dict[str, Any]:
        """Return the values that REST answers and events share (API contract §3.13)."""
        return {
            "name": self.name,
            "reference": self.reference,
            "uuid": self.uuid,
            "progress": self._progress,
            "stage": self._stage,
            "done": self.done,
            "errors": [attrs.asdict(error) for error in self.errors],
            "created": self.created,
            "extra": self.extra,
        }
