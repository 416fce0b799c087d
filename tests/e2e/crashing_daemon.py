"""Runs the daemon so that it dies, as by kill -9, at one named step of a job or around one write of its state.

`CRASH_AT` names the step: `<job>:<stage>`, or `<file>:before` and `<file>:after` for the writing of a file, with `@n`
for the n-th time. Without it every step that is passed is appended to the file `CRASH_RECORD`. Steps count from the
moment on that the file `CRASH_ARMED` is there.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import supervisor.jobs.job
import supervisor.state
from supervisor.__main__ import main

CRASH_AT = os.environ.get("CRASH_AT")
RECORD = os.environ.get("CRASH_RECORD")
ARMED = Path(os.environ["CRASH_ARMED"])
passed: Counter[str] = Counter()


def step(name: str) -> None:
    if not ARMED.exists():
        return
    passed[name] += 1
    numbered = f"{name}@{passed[name]}"
    if numbered == CRASH_AT:
        os.kill(os.getpid(), signal.SIGKILL)
    if RECORD:
        with Path(RECORD).open("a") as record:
            record.write(f"{numbered}\n")


real_stage = supervisor.jobs.job.Job.stage
real_write = supervisor.state.write_atomic


def stage(job: Any, name: str) -> None:
    real_stage(job, name)
    step(f"{job.name}:{name}")


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    if path.suffix == ".json":
        step(f"{path.name}:before")
    real_write(path, content, mode)
    if path.suffix == ".json":
        step(f"{path.name}:after")


supervisor.jobs.job.Job.stage = stage  # type: ignore[method-assign]
supervisor.state.write_atomic = write_atomic
# The runner has its own name for it.
import supervisor.managers.addons.runner  # noqa: E402

supervisor.managers.addons.runner.write_atomic = write_atomic

if __name__ == "__main__":
    sys.argv[0] = "supervisor"
    main()
