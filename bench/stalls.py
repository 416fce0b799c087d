"""Runs the daemon with a watch over its event loop: `python bench/stalls.py REPORT run ...`, not `supervisor run ...`.

A heartbeat goes round in the loop; how late it comes is how long the loop was held up, waits for a processor included.
A second thread notes what the loop is at when the heartbeat stays away. The longest stalls are written to REPORT as
JSON at SIGUSR1, and when the daemon ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

KEPT = 5
BEAT = 0.002
LATE = 0.02


class Watch:
    def __init__(self, report: Path) -> None:
        self._report = report
        self._beat = time.perf_counter()
        self._processor = 0.0
        self._where = ""
        self._main = threading.get_ident()
        self._stalls: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Begin to watch the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._beat, self._processor = time.perf_counter(), time.thread_time()
        self._loop.call_later(BEAT, self._round)
        threading.Thread(target=self._look, daemon=True).start()

    def write(self) -> None:
        temporary = self._report.with_name(f"{self._report.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self._stalls, indent=2))
        temporary.rename(self._report)
        self._stalls = []

    def _round(self) -> None:
        now, processor = time.perf_counter(), time.thread_time()
        late = {
            "ms": (now - self._beat - BEAT) * 1000,
            "processor_ms": (processor - self._processor) * 1000,
            "where": self._where,
        }
        self._stalls = sorted([*self._stalls, late], key=lambda stall: -stall["ms"])[:KEPT]
        self._beat, self._processor, self._where = now, processor, ""
        self._loop.call_later(BEAT, self._round)

    def _look(self) -> None:
        while True:
            time.sleep(LATE / 4)
            frame = sys._current_frames().get(self._main)  # noqa: SLF001 - the documented way to look at a thread
            if frame is not None and time.perf_counter() - self._beat > LATE:
                shown = traceback.extract_stack(frame)[-6:]
                self._where = " > ".join(f"{Path(entry.filename).name}:{entry.lineno} {entry.name}" for entry in shown)


def main() -> None:
    watch = Watch(Path(sys.argv[1]))
    sys.argv = ["supervisor", *sys.argv[2:]]
    from supervisor.__main__ import main as run  # noqa: PLC0415 - imports are no stalls
    from supervisor.assembly import daemon  # noqa: PLC0415

    build: Callable[..., Any] = daemon.build

    def watched(*arguments: Any) -> Any:
        watch.begin()
        return build(*arguments)

    def tell(_number: int, _frame: FrameType | None) -> None:
        watch.write()

    daemon.build = watched
    signal.signal(signal.SIGUSR1, tell)
    try:
        run()
    finally:
        watch.write()


if __name__ == "__main__":
    main()
