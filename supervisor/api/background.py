"""Work that outlives its request (API contract §8.5)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from supervisor.api.models.system import StartedJob
from supervisor.jobs import JobManager


async def run_job(
    jobs: JobManager, work: Callable[[], Coroutine[Any, Any, Any]], *, background: bool
) -> StartedJob | None:
    """Run `work` as a root job and wait for its end, or in the background only until it is found sound.

    Raises:
        SupervisorError: the request was not sound, or the work that was waited for failed.
    """
    spawned = jobs.spawn(work)
    if background and await spawned.accepted() and spawned.job is not None:
        return StartedJob(job_id=spawned.job.uuid)
    await spawned.result()
    return None
