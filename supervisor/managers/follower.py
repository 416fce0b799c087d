"""Works on news of something in a task of its own, so that whoever has the news does not wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from supervisor.errors import SupervisorError
from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)

Unsubscribe = Callable[[], None]
BeginTask = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Follower:
    """Awaits `work` after each `wake` from `begin` to `stop`; several at once, or while it works, are one.

    `subscribe` asks for the news, and returns what ends that. `what` is named in the log when the work fails; that ends
    nothing. It begins after `settle` seconds, for news that come in several steps.
    """

    def __init__(
        self,
        subscribe: Callable[[], Unsubscribe],
        work: Callable[[], Awaitable[object]],
        begin_task: BeginTask,
        what: str,
        *,
        settle: float = 0,
    ) -> None:
        self._subscribe = subscribe
        self._work = work
        self._begin_task = begin_task
        self._what = what
        self._settle = settle
        self._news = asyncio.Event()
        self._unsubscribe: Unsubscribe | None = None
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        self._news.set()

    async def begin(self) -> None:
        self._unsubscribe = self._subscribe()
        self._task = self._begin_task(self._follow())

    async def stop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        task, self._task = self._task, None
        await end([task])

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(self._settle)
            self._news.clear()
            try:
                await self._work()
            except SupervisorError as err:
                _LOGGER.warning("%s: %s", self._what, err)
            except Exception:
                _LOGGER.exception("%s", self._what)
