"""Work that comes round (API contract §9.5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from supervisor.errors import SupervisorError
from supervisor.events import CoreState
from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)


class Scheduler:
    """Runs each piece of work a fixed time after its last run ended, in state running only."""

    def __init__(self, state: Callable[[], CoreState]) -> None:
        self._state = state
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Begin to run `work`, for the first time in `seconds`."""
        self._tasks.append(asyncio.get_running_loop().create_task(self._repeat(seconds, name, work), name=name))

    async def stop(self) -> None:
        """End all of it; what is being done is cancelled."""
        await end(self._tasks)
        self._tasks.clear()

    async def _repeat(self, seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            if self._state() is not CoreState.RUNNING:
                continue
            try:
                await work()
            except SupervisorError as err:
                _LOGGER.warning("%s: %s", name, err)
            except Exception:
                _LOGGER.exception("%s failed", name)
