"""Folders that something is mounted on. Everything here blocks, and a server that is dead may hold it for long."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from supervisor.drivers.mountinfo import mount_points


class TargetTaken(Exception):
    """Nothing can be mounted there: it is no folder, or there is something in it."""

    def __init__(self, path: Path, *, is_folder: bool) -> None:
        super().__init__(str(path))
        self.path = path
        self.is_folder = is_folder


def is_alive(path: Path) -> bool:
    """Tell whether another file system is mounted on a folder, and answers."""
    try:
        os.statvfs(path)
        return path.stat().st_dev != path.parent.stat().st_dev
    except OSError:
        return False


def is_mount_point(path: Path) -> bool:
    """Tell it from the kernel's table, without touching what is mounted."""
    return path.parent.resolve() / path.name in mount_points()


def make_target(path: Path) -> None:
    """Have an empty folder to mount on; where something is mounted already nothing is looked at.

    Raises:
        TargetTaken: there is something else. OSError: it can't be made.
    """
    if is_mount_point(path):
        return
    check_target(path)
    path.mkdir(parents=True, exist_ok=True)


def check_target(path: Path) -> None:
    """Raise TargetTaken where `make_target` would; nothing is made."""
    if is_mount_point(path):
        return
    try:
        with os.scandir(path) as entries:
            if next(entries, None) is not None:
                raise TargetTaken(path, is_folder=True)
    except FileNotFoundError:
        if path.is_symlink():
            raise TargetTaken(path, is_folder=False) from None
    except NotADirectoryError:
        raise TargetTaken(path, is_folder=False) from None
    else:
        if path.is_symlink():
            raise TargetTaken(path, is_folder=False)


def drop_target(path: Path) -> None:
    """Remove a folder that nothing is mounted on any more; what is in it stays."""
    if not is_mount_point(path):
        with suppress(OSError):
            path.rmdir()


def set_aside(path: Path, recovery: Path) -> Path | None:
    """Move what lies in the way of a mount into a new folder beside others; return it, None when there is nothing.

    Raises:
        OSError: it can't be moved.
    """
    if is_mount_point(path):
        return None
    try:
        check_target(path)
    except TargetTaken:
        pass
    else:
        return None
    place, number = recovery, 1
    while os.path.lexists(place):
        number += 1
        place = recovery.with_name(f"{recovery.name}_{number}")
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)
    path.mkdir()
    return place
