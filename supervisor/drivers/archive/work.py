"""One long piece of archive work, seen from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The work was told to stop, and did."""


class Work:
    """Counts the bytes that are done and carries the wish to stop.

    `progress`, where given, is called in the working thread with all bytes done so far, once for each block.
    """

    def __init__(self, progress: Callable[[int], None] | None = None) -> None:
        self.done = 0
        self._progress = progress
        self._stop = False

    def advance(self, size: int) -> None:
        """Count `size` more bytes. Raises Stopped when the work shall end."""
        self.check()
        self.done += size
        if self._progress is not None:
            self._progress(self.done)

    def check(self) -> None:
        if self._stop:
            raise Stopped

    def stop(self) -> None:
        """Let the work end at its next block; may be called from any thread."""
        self._stop = True


async def in_thread(work: Work, function: Callable[[], T]) -> T:
    """Run the blocking `function`, which reports to `work`, in a thread.

    Cancelling tells the work to stop and waits until it has: nothing goes on behind the caller's back.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        work.stop()
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({running})
        if not running.cancelled():
            running.exception()
        raise
    except Stopped:
        raise asyncio.CancelledError from None


@asynccontextmanager
async def opened(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a blocking context in threads; it is left whatever happens."""
    entering = asyncio.ensure_future(asyncio.to_thread(context.__enter__))
    try:
        entered = await asyncio.shield(entering)
    except asyncio.CancelledError:
        await asyncio.wait({entering})
        if not entering.cancelled() and entering.exception() is None:
            await asyncio.shield(asyncio.to_thread(context.__exit__, None, None, None))
        raise
    try:
        yield entered
    except BaseException as err:
        await asyncio.shield(asyncio.to_thread(context.__exit__, type(err), err, err.__traceback__))
        raise
    else:
        await asyncio.shield(asyncio.to_thread(context.__exit__, None, None, None))
