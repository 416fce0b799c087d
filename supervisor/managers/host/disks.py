"""What is on the disk of the data folder, and on mounts (host contract §33)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from supervisor.drivers.detached import detached
from supervisor.drivers.disk import Capacity, Folder, Measuring, device_number, life_time
from supervisor.errors import MOUNT_USAGE_READ, MOUNT_USAGE_TIMEOUT
from supervisor.paths import DataPaths
from supervisor.tasks import end

FRESH_SECONDS: Final = 5.0
MOUNT_SECONDS: Final = 60.0
TREE_SECONDS: Final = 300.0
# The wire calls add-ons "apps" in labels, whatever the version of the API (API contract §3.12).
LABELS: Final = {
    "addons_data": "apps_data",
    "addons_config": "apps_config",
    **{name: name for name in ("media", "share", "backup", "ssl", "homeassistant")},
}


@attrs.frozen
class Usage:
    """A node of the tree. `total` is the size of the whole disk, known of the root alone."""

    id: str
    label: str
    used: int
    total: int | None = None
    children: tuple[Usage, ...] = ()


class Disks:
    """`capacity` and `life_time` are answered from state; a look that is too old starts a new one behind the scenes.

    `percent_used` tells how worn the drive is that has the block device of a number, if it is of a kind that says so.
    """

    def __init__(self, paths: DataPaths, percent_used: Callable[[int], Awaitable[float | None]]) -> None:
        self._paths = paths
        self._percent_used = percent_used
        self.capacity = Capacity(0, 0, 0)
        self.life_time: float | None = None
        self._looked_at = -FRESH_SECONDS
        self._looking: asyncio.Task[None] | None = None
        self._measuring: dict[tuple[str, int], asyncio.Task[Usage]] = {}

    async def load(self) -> None:
        await self._look()
        number = await asyncio.to_thread(device_number, self._paths.root)
        if number is None:
            self.life_time = None
            return
        used = await self._percent_used(number)
        self.life_time = used if used is not None else await asyncio.to_thread(life_time, number)

    async def stop(self) -> None:
        await end([*self._measuring.values(), self._looking])

    def freshen(self) -> None:
        """Have the free space looked up, when nobody has for a while; the next question gets the answer."""
        old = time.monotonic() - self._looked_at > FRESH_SECONDS
        if old and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="free space")

    async def data_usage(self, depth: int) -> Usage:
        """Measure the data folder: its known parts, with what is in them when `depth` is above 1.

        Raises:
            Timeout: there is so much in it that it takes minutes. Invalid: it can't be read.
        """
        return await self._shared("default", depth, partial(self._measure_data, depth), TREE_SECONDS)

    async def mount_usage(self, name: str, path: Path, depth: int) -> Usage:
        """Measure a mount that is up: its totals, and what is in it when `depth` is above 1.

        Raises:
            Timeout: its server does not answer. Invalid: it can't be read.
        """
        return await self._shared(name, depth, partial(_measure_mount, name, path, depth), MOUNT_SECONDS)

    async def _shared(self, name: str, depth: int, work: Callable[[], Usage], seconds: float) -> Usage:
        """Do the work once for all that ask the same at the same time."""
        key = (name, depth)
        running = self._measuring.get(key)
        if running is None:
            running = asyncio.get_running_loop().create_task(
                detached(work, name=f"usage of {name}", seconds=seconds), name=f"usage of {name}"
            )
            self._measuring[key] = running
            running.add_done_callback(lambda _: self._measuring.pop(key, None))
        try:
            return await asyncio.shield(running)
        except TimeoutError:
            raise MOUNT_USAGE_TIMEOUT(name=name) from None
        except OSError as err:
            raise MOUNT_USAGE_READ(name=name, reason=err.strerror or str(err)) from err

    def _measure_data(self, depth: int) -> Usage:
        paths, walk = self._paths, Measuring()
        parts = (
            ("addons_data", paths.addons_data),
            ("addons_config", paths.addon_configs),
            ("media", paths.media),
            ("share", paths.share),
            ("backup", paths.backup),
            ("ssl", paths.ssl),
            ("homeassistant", paths.homeassistant),
        )
        capacity = Capacity.of(paths.root)
        found = [_part(name, walk, path, depth - 1) for name, path in parts]
        # The disk goes on being written to while it is measured.
        system = max(0, capacity.used - sum(part.used for part in found))
        children = (Usage("system", "System", system), *found) if depth >= 1 else ()
        return Usage("root", "Root", capacity.used, capacity.total, children)

    async def _look(self) -> None:
        try:
            self.capacity = await detached(partial(Capacity.of, self._paths.root), name="free space", seconds=10)
        except (OSError, TimeoutError):
            return
        finally:
            self._looked_at = time.monotonic()


def _part(name: str, walk: Measuring, path: Path, depth: int) -> Usage:
    try:
        folder = walk.folder(path, depth)
    except OSError:
        return Usage(name, LABELS[name], 0)
    return Usage(name, LABELS[name], folder.used, children=_inner(folder))


def _inner(folder: Folder) -> tuple[Usage, ...]:
    return tuple(Usage(child.name, child.name, child.used, children=_inner(child)) for child in folder.children)


def _measure_mount(name: str, path: Path, depth: int) -> Usage:
    capacity = Capacity.of(path)
    if depth < 2:
        return Usage(name, name, capacity.used, capacity.total)
    folder = Measuring().folder(path, depth - 1)
    children = _inner(folder)
    rest = capacity.used - sum(child.used for child in children)
    if rest < 0:
        # Servers that compress or share blocks say less than the files do; numbers that do not add up help nobody.
        return Usage(name, name, capacity.used, capacity.total)
    return Usage(name, name, capacity.used, capacity.total, (*children, Usage("other", "Other", rest)))
