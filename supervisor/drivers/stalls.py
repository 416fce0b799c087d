"""Finds what holds the event loop up: a thread knocks at it, and looks what it is at when it does not answer."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from typing import Final

_LOGGER = logging.getLogger(__name__)

LIMIT_SECONDS: Final = 0.1
_PAUSE_SECONDS: Final = 0.05
_FRAMES: Final = 12


class StallWatch:
    """Logs what held the loop up for longer than `limit` seconds, with where that was.

    Off until it is started: it wakes the machine twenty times a second.
    """

    def __init__(self, limit: float = LIMIT_SECONDS) -> None:
        self._limit = limit
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def watching(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Watch the loop that runs now; nothing happens when that is watched already."""
        if self._thread is not None:
            return
        self._end = threading.Event()
        watched = (asyncio.get_running_loop(), threading.get_ident(), self._end)
        self._thread = threading.Thread(target=self._watch, args=watched, name="stalls", daemon=True)
        self._thread.start()
        _LOGGER.info("What holds up the event loop for %.1f s or longer is logged", self._limit)

    async def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._end.set()
            await asyncio.to_thread(thread.join)

    def _watch(self, loop: asyncio.AbstractEventLoop, ident: int, end: threading.Event) -> None:
        while not end.wait(_PAUSE_SECONDS):
            answered, began = threading.Event(), time.monotonic()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return  # the loop is closed
            if answered.wait(self._limit):
                continue
            place = _place(ident)
            while not answered.wait(_PAUSE_SECONDS) and not end.is_set():
                pass
            _LOGGER.warning("The event loop was held up for %.2f s:\n%s", time.monotonic() - began, place)


def _place(ident: int) -> str:
    frame = sys._current_frames().get(ident)  # noqa: SLF001 - the documented way to look at a thread
    return "".join(traceback.format_stack(frame)[-_FRAMES:]).rstrip() if frame is not None else "unknown"
