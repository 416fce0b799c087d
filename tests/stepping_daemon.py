"""Runs the daemon so that something happens to it at one named step of a job or around one write of its state.

A step is `<job>:<stage>`, or `<file>:before` and `<file>:after` for the writing of a file, with `@n` for the n-th time.
Steps count while the file that `STEPS_ARMED` names is there. Its first line is the step, the rest a shell command that
is run there while the daemon waits; without one the daemon dies, as by kill -9. When the file is empty, every step that
is passed is appended to the file `STEPS_RECORD`, but for those that come when nothing was changed on the disk or in the
engine since the step before: dying there is the same. When a command was run, `done` is appended.

There are more steps for commands alone, most of them inside the work of threads: `pack:<content>` and `unpack:<folder>`
before an item is read or written, `pack:half` and `unpack:half` before a file of more than a block, `plan.json:before`
and `move` in the exchange of folders, `publish` before a finished backup gets its name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import supervisor.assembly.steps
import supervisor.drivers.archive.content
import supervisor.drivers.archive.files
import supervisor.drivers.archive.unpack
import supervisor.drivers.archive.writer
import supervisor.drivers.docker.engine
import supervisor.drivers.docker.link
import supervisor.drivers.exchange
import supervisor.jobs.job
import supervisor.managers.addons.runner
import supervisor.managers.backups.copies
import supervisor.managers.backups.creation
import supervisor.state
from supervisor.__main__ import main

ARMED = Path(os.environ["STEPS_ARMED"])
RECORD = Path(os.environ["STEPS_RECORD"])
BLOCK = 65536
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "shutil.rmtree"}
passed: Counter[str] = Counter()
armed_since = 0
changed = True


def step(name: str) -> None:
    global armed_since, changed  # noqa: PLW0603 - an audit hook has no other place to leave a note
    try:
        text, since = ARMED.read_text(), ARMED.stat().st_mtime_ns
    except FileNotFoundError:
        return
    if since != armed_since:
        armed_since, changed = since, True
        passed.clear()
    passed[name] += 1
    numbered = f"{name}@{passed[name]}"
    wanted, _, command = text.partition("\n")
    if numbered == wanted:
        if not command:
            os.kill(os.getpid(), signal.SIGKILL)
        subprocess.run(["sh", "-euc", command], check=True)
        _record("done")
    if changed and not wanted:
        _record(numbered)
    changed = False


def _record(line: str) -> None:
    with RECORD.open("a") as record:
        record.write(f"{line}\n")


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


def inner_step(name: str) -> None:
    """Pass a step that no walk of deaths stops at."""
    with contextlib.suppress(FileNotFoundError):
        if ARMED.stat().st_size:
            step(name)


class Packer(supervisor.drivers.archive.content.Packer):
    def add(self, content: Any) -> None:
        inner_step(f"pack:{content.name}")
        super().add(content)

    def _copy(self, descriptor: int, size: int, archived: str) -> None:
        if size > BLOCK:
            inner_step("pack:half")
        super()._copy(descriptor, size, archived)


class Place(supervisor.drivers.archive.unpack._Place):
    def __enter__(self) -> Any:
        inner_step(f"unpack:{self._target.parent.name}")
        return super().__enter__()

    def _write(self, folder: int, name: str, member: Any, stream: Any) -> None:
        if member.size > BLOCK:
            inner_step("unpack:half")
        super()._write(folder, name, member, stream)


real_move = supervisor.drivers.exchange._move


def move(entry: Path, target: Path) -> bool:
    inner_step("move")
    return real_move(entry, target)


def write_plan(path: Path, content: bytes) -> None:
    inner_step(f"{path.name}:before")
    real_write(path, content)


def put_in_place(path: Path, target: Path) -> None:
    inner_step("publish")
    supervisor.drivers.archive.files.put_in_place(path, target)


supervisor.drivers.archive.writer.Packer = Packer  # type: ignore[attr-defined]
supervisor.drivers.archive.unpack._Place = Place  # type: ignore[misc]
supervisor.drivers.exchange._move = move
supervisor.drivers.exchange.write_atomic = write_plan
supervisor.managers.backups.creation.put_in_place = put_in_place
supervisor.managers.backups.copies.put_in_place = put_in_place
# Nobody waits that long here.
supervisor.assembly.steps.WAKE_SECONDS = 1
supervisor.jobs.job.Job.update = update  # type: ignore[method-assign]
supervisor.state.write_atomic = write_atomic
# The runner has its own name for it.
supervisor.managers.addons.runner.write_atomic = write_atomic
supervisor.drivers.docker.engine.Link = Link
sys.addaudithook(note)

if __name__ == "__main__":
    sys.argv[0] = "supervisor"
    main()
