"""How much is on a disk, where, and how worn it is. Everything here blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

import attrs

from supervisor.drivers.mountinfo import MOUNTINFO, mount_points, mounted_device

_BLOCK = 512  # what st_blocks counts, whatever the file system's own blocks are
_MOST_LAYERS = 8  # a volume on an encrypted partition is two


@attrs.frozen
class Capacity:
    """In bytes. What is reserved for root counts as used."""

    total: int
    used: int
    free: int

    @classmethod
    def of(cls, path: Path) -> Capacity:
        """Raises OSError where the path can't be reached."""
        found = os.statvfs(path)
        total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        return cls(total, total - free, free)


@attrs.frozen
class Folder:
    """A folder with all below it. `children` are its own folders that hold anything, as deep as was asked for."""

    name: str
    used: int
    children: tuple[Folder, ...] = ()


class Measuring:
    """One walk. Links are not followed, other file systems not entered, and a file with many names counts once."""

    def __init__(self, mounts: Collection[str] | None = None, given_up: Callable[[], bool] = lambda: False) -> None:
        # What something is mounted on is not even looked at: the look alone may hang.
        self._mounts = frozenset(map(os.fspath, mount_points()) if mounts is None else mounts)
        self._seen: set[tuple[int, int]] = set()
        self._given_up = given_up

    def folder(self, path: Path, depth: int) -> Folder:
        """Measure a folder, with the names of what is in it down to `depth`.

        Raises:
            OSError: it can't be read; what is missing or forbidden below it is left out.
        """
        own = path.stat()
        return Folder(path.name, *self._walk(os.fspath(path.resolve()), own.st_dev, depth, top=True))

    def _walk(self, path: str, device: int, depth: int, *, top: bool = False) -> tuple[int, tuple[Folder, ...]]:
        used = 0
        children: list[Folder] = []
        # A tree may be deeper than Python may call itself, so what lies below `depth` has no calls but a list.
        waiting = [path]
        while waiting and not self._given_up():
            here = waiting.pop()
            try:
                entries = os.scandir(here)
            except OSError:
                if top and here == path:
                    raise
                continue
            with entries:
                for entry in entries:
                    size = self._size(entry, device)
                    if size is None:
                        continue
                    if not entry.is_dir(follow_symlinks=False):
                        used += size
                    elif depth <= 0:
                        used += size
                        waiting.append(entry.path)
                    else:
                        below, inner = self._walk(entry.path, device, depth - 1)
                        used += size + below
                        if size + below:
                            children.append(Folder(entry.name, size + below, inner))
        return used, tuple(sorted(children, key=lambda child: child.name))

    def _size(self, entry: os.DirEntry[str], device: int) -> int | None:
        """Return what an entry takes on the disk, None for what is not counted."""
        if entry.path in self._mounts:
            return None
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return None
        if found.st_dev != device or stat.S_ISLNK(found.st_mode):
            return None
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            identity = (found.st_dev, found.st_ino)
            if identity in self._seen:
                return None
            self._seen.add(identity)
        return found.st_blocks * _BLOCK


def device_number(path: Path, sys: Path = Path("/sys"), table: Path = MOUNTINFO) -> int | None:
    """Return the number of the block device that `path` lies on in the end; None where there is none to be reached."""
    try:
        number = path.stat().st_dev
        if not os.major(number):
            # A file system that may lie on several devices, such as btrfs, has a number of its own.
            device = mounted_device(path, table)
            number = 0 if device is None else device.stat().st_rdev
    except OSError:
        return None
    return lowest_device(number, sys) if os.major(number) else None


def lowest_device(number: int, sys: Path = Path("/sys")) -> int:
    """Return the device below an encrypted one, or one of a volume group, as long as it is a single one."""
    for _ in range(_MOST_LAYERS):
        below = list((_sysfs(number, sys) / "slaves").glob("*/dev"))
        if len(below) != 1:
            break
        try:
            major, minor = map(int, below[0].read_text().split(":"))
        except (OSError, ValueError):  # it went away meanwhile
            break
        number = os.makedev(major, minor)
    return number


def _sysfs(number: int, sys: Path) -> Path:
    return sys / "dev/block" / f"{os.major(number)}:{os.minor(number)}"


def life_time(number: int, sys: Path = Path("/sys")) -> float | None:
    """Return how much of its life an eMMC has had, in percent; None for other devices, and when it won't say.

    The kernel gives two estimates in steps of 10 %; the second one is for the cells that hold data.
    """
    try:
        device = _sysfs(number, sys).resolve(strict=True)
    except OSError:
        return None
    if (device / "partition").exists():
        device = device.parent
    try:
        estimate = int((device / "device/life_time").read_text().split()[1], 16)
    except (OSError, ValueError, IndexError):
        return None
    if not 1 <= estimate <= 11:
        return None
    return 100.0 if estimate == 11 else (estimate - 1) * 10.0
