"""The bytes of a long piece of work, shown on its job."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from supervisor.drivers.archive.work import Work
from supervisor.jobs import Job

_SECONDS: Final = 0.25


class ByteProgress:
    """Sums up several pieces of work. `total` is an estimate: the job never shows more than all of it."""

    def __init__(self, job: Job, total: int) -> None:
        self._job = job
        self._total = max(1, total)
        self._before = 0
        self._shown = 0.0
        self._loop = asyncio.get_running_loop()
        self._work: Work | None = None

    def work(self) -> Work:
        """Begin the next piece."""
        if self._work is not None:
            self._before += self._work.done
        before = self._before
        self._work = Work(lambda done: self._seen(before + done))
        return self._work

    def _seen(self, done: int) -> None:
        """Hand over to the loop, a few times a second; called in the working thread."""
        now = time.monotonic()
        if now - self._shown < _SECONDS:
            return
        self._shown = now
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._show, done)

    def _show(self, done: int) -> None:
        done = min(done, self._total)
        self._job.update(progress=99.0 * done / self._total, extra={"current": done, "total": self._total})
