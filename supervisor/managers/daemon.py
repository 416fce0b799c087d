"""The daemon as a thing that is looked after like the rest: its version, its use of the machine, its end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from supervisor import __version__
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import Stats
from supervisor.errors import SUPERVISOR_UNKNOWN, SupervisorError
from supervisor.managers.updater import Updater
from supervisor.model.version import is_newer

PROC = Path("/proc")
SAMPLE_SECONDS = 0.1


class Daemon:
    """`container_name` is our own container, None when we run straight on the machine."""

    def __init__(
        self, engine: Engine, updater: Updater, *, container_name: str | None, dev: bool, restart: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._updater = updater
        self._container_name = container_name
        self._dev = dev
        self.restart = restart
        self._last_sample: tuple[float, float] | None = None

    @property
    def version(self) -> str:
        return __version__

    @property
    def update_available(self) -> bool:
        """Tell whether a newer version is known; never while developing."""
        latest = self._updater.versions.supervisor
        return not self._dev and latest is not None and is_newer(latest, __version__) is True

    async def stats(self) -> Stats:
        """Return what the daemon uses of the machine.

        Raises:
            Internal: the engine can't tell about our container.
        """
        if self._container_name is not None:
            try:
                return await self._engine.containers.stats(self._container_name)
            except SupervisorError as err:
                raise SUPERVISOR_UNKNOWN() from err  # noqa: RSE102 - the call makes the exception
        if self._last_sample is None:
            self._last_sample = await asyncio.to_thread(_cpu_sample)
            await asyncio.sleep(SAMPLE_SECONDS)
        stats, self._last_sample = await asyncio.to_thread(_process_stats, self._last_sample)
        return stats


def _cpu_sample() -> tuple[float, float]:
    """Return the CPU seconds of this process and the moment."""
    times = os.times()
    return times.user + times.system, time.monotonic()


def _process_stats(before: tuple[float, float]) -> tuple[Stats, tuple[float, float]]:
    now = _cpu_sample()
    elapsed = max(now[1] - before[1], 1e-6)
    percent = (now[0] - before[0]) / elapsed / (os.cpu_count() or 1) * 100
    resident = _kilobytes(PROC / "self" / "status", "VmRSS") * 1024
    total = _kilobytes(PROC / "meminfo", "MemTotal") * 1024
    io = _colon_lines(PROC / "self" / "io")
    stats = Stats(
        cpu_percent=round(max(0.0, percent), 2),
        memory_usage=resident,
        memory_limit=total,
        memory_percent=round(resident / total * 100, 2) if total else 0.0,
        blk_read=int(io.get("read_bytes", "0")),
        blk_write=int(io.get("write_bytes", "0")),
    )
    return stats, now


def _kilobytes(path: Path, key: str) -> int:
    return int(_colon_lines(path).get(key, "0 kB").split()[0])


def _colon_lines(path: Path) -> dict[str, str]:
    with suppress(OSError):
        pairs = (line.partition(":") for line in path.read_text().splitlines())
        return {key: value.strip() for key, _, value in pairs}
    return {}
