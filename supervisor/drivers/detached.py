"""Blocking work that may never come back, such as a look at a network mount whose server is dead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def detached(work: Callable[[], T], *, name: str, seconds: float) -> T:
    """Run `work` in a thread of its own, and wait for it that long.

    The thread is nobody's: it takes no place of others, and the process ends without it.

    Raises:
        TimeoutError: it is not done yet; it may go on unseen.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # of T, when there is no error

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except Exception as err:  # noqa: BLE001 - the root of a thread: it is raised where the work is waited for
            error = err
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the daemon has ended meanwhile

    threading.Thread(target=run, name=f"detached-{name}", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await future
