"""Named locks that belong to a job and everything it does inside (API contract §8.3)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from supervisor.errors import Busy

from .job import Job


class NamedLocks:
    """A name is held by one job at a time; jobs nested in the holder pass."""

    def __init__(self) -> None:
        self._holders: dict[str, Job] = {}
        self._waiting: dict[str, deque[tuple[Job, asyncio.Future[None]]]] = {}

    def holder(self, name: str) -> Job | None:
        return self._holders.get(name)

    @asynccontextmanager
    async def hold(self, name: str | None, job: Job, *, wait: bool) -> AsyncIterator[None]:
        """Hold `name` for `job` inside the block.

        Raises:
            Busy: another chain of jobs holds it and `wait` is off.
        """
        holder = self._holders.get(name) if name is not None else None
        if name is None or holder in tuple(job.within()):
            yield
            return
        if holder is not None:
            if not wait:
                raise Busy(f"Another job ({holder.name}) is running for job group {name}; try again when it has ended")
            await self._queue(name, job)
        else:
            self._holders[name] = job
        try:
            yield
        finally:
            self._release(name)

    async def _queue(self, name: str, job: Job) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(name, deque())
        queue.append((job, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(name)
            elif (job, turn) in queue:
                queue.remove((job, turn))
            raise

    def _release(self, name: str) -> None:
        queue = self._waiting.get(name)
        while queue:
            job, turn = queue.popleft()
            if not turn.done():
                self._holders[name] = job
                turn.set_result(None)
                return
        self._holders.pop(name, None)
        self._waiting.pop(name, None)
