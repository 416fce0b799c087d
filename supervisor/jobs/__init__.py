"""What is running: jobs with progress, conditions, locks and history (API contract §8).

`async with jobs.run("store_manager_reload", lock="store") as job:` makes the block a job; jobs opened inside it become
its children by themselves. `jobs.spawn(...)` runs work as a root job of its own, for answers that don't wait for the
end.
"""

from .conditions import JobCondition
from .job import Job, JobError
from .manager import JobManager, Spawned

__all__ = ["Job", "JobCondition", "JobError", "JobManager", "Spawned"]
