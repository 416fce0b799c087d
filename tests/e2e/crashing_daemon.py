"""Runs the daemon so that it dies, as by kill -9, at one named step of a job or around one write of its state.

A step is `<job>:<stage>`, or `<file>:before` and `<file>:after` for the writing of a file, with `@n` for the n-th time.
Steps count while the file that `CRASH_ARMED` names is there. What it holds is the step to die at; when it is empty,
every step that is passed is appended to the file `CRASH_RECORD`, but for those that come when nothing was changed on
the disk or in the engine since the step before: dying there is the same.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import supervisor.drivers.docker.link
import supervisor.jobs.job
import supervisor.state
from supervisor.__main__ import main

ARMED = Path(os.environ["CRASH_ARMED"])
RECORD = Path(os.environ["CRASH_RECORD"])
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "shutil.rmtree"}
passed: Counter[str] = Counter()
armed_since = 0
changed = True


def step(name: str) -> None:
    global armed_since, changed  # noqa: PLW0603 - an audit hook has no other place to leave a note
    try:
        wanted, since = ARMED.read_text(), ARMED.stat().st_mtime_ns
    except FileNotFoundError:
        return
    if since != armed_since:
        armed_since, changed = since, True
        passed.clear()
    passed[name] += 1
    numbered = f"{name}@{passed[name]}"
    if numbered == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    if changed and not wanted:
        with RECORD.open("a") as record:
            record.write(f"{numbered}\n")
    changed = False


def note(event: str, args: tuple[Any, ...]) -> None:
    global changed  # noqa: PLW0603
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if event in CHANGES or (writes and args[0] != str(RECORD)):
        changed = True


class Link(supervisor.drivers.docker.link.Link):
    """Notes what changes something in the engine."""

    async def change(self, *args: Any, **kwargs: Any) -> Any:
        note("os.rename", ())
        try:
            return await super().change(*args, **kwargs)
        finally:
            note("os.rename", ())

    async def stream(self, *args: Any, **kwargs: Any) -> Any:
        note("os.rename", ())
        try:
            return await super().stream(*args, **kwargs)
        finally:
            note("os.rename", ())


real_update = supervisor.jobs.job.Job.update
real_write = supervisor.state.write_atomic


def update(job: Any, **values: Any) -> None:
    real_update(job, **values)
    if (stage := values.get("stage")) is not None:
        step(f"{job.name}:{stage}")


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    if path.suffix == ".json":
        step(f"{path.name}:before")
    real_write(path, content, mode)
    if path.suffix == ".json":
        step(f"{path.name}:after")


supervisor.jobs.job.Job.update = update  # type: ignore[method-assign]
supervisor.state.write_atomic = write_atomic
# The runner has its own name for it.
import supervisor.managers.addons.runner  # noqa: E402

supervisor.managers.addons.runner.write_atomic = write_atomic
import supervisor.drivers.docker.engine  # noqa: E402

supervisor.drivers.docker.engine.Link = Link
sys.addaudithook(note)

if __name__ == "__main__":
    sys.argv[0] = "supervisor"
    main()
