"""Telling systemd how the daemon does: ready, alive, what it is doing, stopping. And asking it without the bus."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from typing import Final

from systemd import daemon

from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)

_MAX_STATUS: Final = 512
_ASK_SECONDS: Final = 5.0


async def system_is_stopping() -> bool:
    """Ask systemd's program whether the whole machine goes down; False where there is no systemd to ask."""
    try:
        process = await asyncio.create_subprocess_exec(
            "systemctl",
            "is-system-running",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            answer, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    return answer.strip() == b"stopping"


class Notifier:
    """Speaks to the service manager through `NOTIFY_SOCKET`; where there is none, every call does nothing.

    From `start` to `stop` the watchdog is fed twice in each period that the unit sets. The feeding runs on the event
    loop, so a loop that hangs feeds nobody; `healthy` may add a reason of its own to hold back.
    """

    def __init__(self, healthy: Callable[[], bool] = lambda: True, environment: Mapping[str, str] = os.environ) -> None:
        self._healthy = healthy
        self._wanted = bool(environment.get("NOTIFY_SOCKET"))
        self._period = _watchdog_period(environment) if self._wanted else None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._period is not None and self._task is None:
            self._task = asyncio.create_task(self._feed(self._period), name="watchdog")

    async def stop(self) -> None:
        task, self._task = self._task, None
        await end([task])

    def ready(self) -> None:
        self._notify("READY=1")

    def status(self, text: str) -> None:
        """Set the one line that `systemctl status` shows."""
        self._notify(f"STATUS={' '.join(text.split())[:_MAX_STATUS]}")

    def stopping(self) -> None:
        self._notify("STOPPING=1")

    async def _feed(self, period: float) -> None:
        fed = True
        while True:
            healthy = self._healthy()
            if healthy:
                self._notify("WATCHDOG=1")
            elif fed:
                _LOGGER.error("The daemon is not healthy: systemd's watchdog is not fed")
            fed = healthy
            await asyncio.sleep(period / 2)

    def _notify(self, state: str) -> None:
        if not self._wanted:
            return
        try:
            daemon.notify(state)
        except OSError as err:
            _LOGGER.debug("systemd was not told %s: %s", state.partition("=")[0], err)


def _watchdog_period(environment: Mapping[str, str]) -> float | None:
    """Return the seconds in which systemd wants a sign of life, None when it wants none from this process."""
    text = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 1_000_000 if text.isascii() and text.isdigit() and int(text) else None
