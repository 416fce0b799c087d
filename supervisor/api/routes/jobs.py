"""Jobs (API contract §2.15)."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import voluptuous as vol

from supervisor.api.models import system as wire
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.managers.resolution import Resolution, UnsupportedReason
from supervisor.model.validators import unique_list

OPTIONS = vol.Schema(
    {vol.Optional("ignore_conditions"): unique_list(vol.In([condition.value for condition in JobCondition]))}
)

# Older clients know the update job by this name (API contract §8.1).
OLDER_NAMES = {"app_manager_update": "addon_manager_update"}


@attrs.frozen
class JobRoutes:
    """Handlers of `/jobs`."""

    _jobs: JobManager
    _resolution: Resolution

    def routes(self) -> list[Route]:
        one, manager = "/jobs/{uuid}", Access.MANAGER
        return [
            Route("GET", "/jobs/info", Access.ALL, self._info, "List running jobs", None, wire.JobsInfo),
            Route("POST", "/jobs/options", manager, self._set_options, "Ignore conditions of jobs", OPTIONS),
            Route("POST", "/jobs/reset", manager, self._reset, "Heed every condition again", NOTHING),
            Route("GET", "/jobs/history", manager, self._history, "List jobs that ended lately", None, wire.JobHistory),
            Route("GET", one, manager, self._one, "Show a job", None, wire.Job),
            Route("POST", f"{one}/cancel", manager, self._cancel, "Stop a job where that is safe", NOTHING),
            Route("DELETE", one, manager, self._forget, "Forget a finished job"),
        ]

    async def _info(self, _call: Call) -> wire.JobsInfo:
        return wire.JobsInfo(
            ignore_conditions=[condition.value for condition in self._jobs.ignore_conditions],
            jobs=[job_model(job) for job in self._jobs.roots],
        )

    async def _history(self, _call: Call) -> wire.JobHistory:
        return wire.JobHistory(jobs=[job_model(job) for job in self._jobs.history])

    async def _set_options(self, call: Call) -> None:
        if "ignore_conditions" in call.body:
            await self._ignore(JobCondition(value) for value in call.body["ignore_conditions"])

    async def _reset(self, _call: Call) -> None:
        await self._ignore(())

    async def _ignore(self, conditions: Iterable[JobCondition]) -> None:
        await self._jobs.set_ignore_conditions(conditions)
        self._resolution.set_unsupported(UnsupportedReason.JOB_CONDITIONS, bool(self._jobs.ignore_conditions))

    async def _one(self, call: Call) -> wire.Job:
        return job_model(self._jobs.get(_uuid(call)))

    async def _cancel(self, call: Call) -> None:
        self._jobs.cancel(_uuid(call))

    async def _forget(self, call: Call) -> None:
        self._jobs.forget(_uuid(call))


def _uuid(call: Call) -> str:
    return call.path["uuid"].replace("-", "").lower()


def job_model(job: Job) -> wire.Job:
    """Return a job with everything below it, oldest child first, internal jobs left out."""
    return wire.Job(
        name=OLDER_NAMES.get(job.name, job.name),
        reference=job.reference,
        uuid=job.uuid,
        progress=job.progress,
        stage=job.current_stage,
        done=job.done,
        errors=[wire.JobError(**attrs.asdict(error)) for error in job.errors],
        created=job.created,
        extra=job.extra,
        child_jobs=[job_model(child) for child in job.children if not child.internal],
    )
