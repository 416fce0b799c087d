"""Puts one file or folder of a backup back to where it was.

The folders belong to add-ons: whoever runs there may put links anywhere, at any moment. So every step goes from an open
folder to the next one and follows no link.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from supervisor.drivers.archive.work import Work, in_thread
from supervisor.drivers.folder import OPEN_FOLDER, remove_tree
from supervisor.drivers.mountinfo import mounted_below
from supervisor.errors import Internal, Invalid, NotFound, SupervisorError
from supervisor.paths import DataPaths

from .browsing import Browsable, split_path
from .contents import CORE, SUPERVISOR


def live_place(paths: DataPaths, path: str) -> tuple[Path, str]:
    """Return the folder of this machine that a path of a backup belongs to, and the path below that.

    Raises:
        Invalid: it is nothing that could be put back alone.
    """
    part, inner = split_path(path)
    folders = {"share": paths.share, "ssl": paths.ssl, "media": paths.media, "addons_local": paths.addons_local}
    if part in folders:
        folder, below = folders[part], inner
    else:
        root, _, below = inner.partition("/")
        known = {"data": paths.homeassistant}
        if part != CORE:
            known = {"data": paths.addons_data / part, "config": paths.addon_configs / part}
        if part == SUPERVISOR or (root and root not in known):
            raise Invalid(
                f"This belongs to what the Supervisor knows of {part}; it comes back only with the whole of it"
            )
        folder = known.get(root, Path())
    if not below:
        raise Invalid("A part as a whole is restored by restoring the backup")
    return folder, below


async def restore_path(backup: Browsable, path: str, paths: DataPaths, rooms: Path) -> None:
    """Put one file or folder (`part/path`) of a backup back to where it was; what is there now is replaced.

    It is made whole in a folder of its own below `rooms` first; nothing is left there.

    Raises:
        Invalid, NotFound: there is no such path in the backup, or nothing to put it back into.
        SupervisorError: it can't be read or written.
    """
    folder, below = live_place(paths, path)
    room = rooms / secrets.token_hex(8)
    await asyncio.to_thread(_make_rooms, room)
    try:
        found = await backup.fetch_path(path, room / "restored")
        # Waited for in any case: nobody may tidy up while it is at work.
        await in_thread(Work(), lambda: put_back(found, folder, below, room / "replaced"))
    finally:
        await asyncio.shield(asyncio.to_thread(remove_tree, room))


def _make_rooms(room: Path) -> None:
    room.mkdir(mode=0o700, parents=True)
    (room / "restored").mkdir(mode=0o700)


def put_back(source: Path, folder: Path, inner: str, aside: Path) -> None:
    """Move `source` to `inner`, a clean path below `folder`; what was there goes to `aside`, which is free. Blocking.

    Raises:
        NotFound: `folder` is not there.
        Invalid: a link or a file stands where a folder has to be, or something is mounted there.
        Internal: the disk refused.
    """
    *parents, last = inner.split("/")
    if below := mounted_below(folder.joinpath(*parents, last)):
        raise Invalid(f"{inner} can't be put back: something is mounted at {below[0]} in it; unmount it first")
    with _opened(folder, parents) as descriptor:
        try:
            with suppress(FileNotFoundError):
                os.rename(last, aside, src_dir_fd=descriptor)
            os.rename(source, last, dst_dir_fd=descriptor)
        except OSError as err:
            with suppress(OSError):
                os.rename(aside, last, dst_dir_fd=descriptor)
            raise _told(err, inner) from err


@contextmanager
def _opened(folder: Path, parents: list[str]) -> Iterator[int]:
    try:
        descriptor = os.open(folder, OPEN_FOLDER)
    except OSError as err:
        raise NotFound(f"There is no folder {folder.name} to put it back into") from err
    try:
        for name in parents:
            following = _step(descriptor, name)
            os.close(descriptor)
            descriptor = following
        yield descriptor
    finally:
        os.close(descriptor)


def _step(descriptor: int, name: str) -> int:
    try:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=descriptor)
        return os.open(name, OPEN_FOLDER, dir_fd=descriptor)
    except OSError as err:
        raise _told(err, name) from err


def _told(err: OSError, name: str) -> SupervisorError:
    if err.errno in (errno.ELOOP, errno.ENOTDIR):
        return Invalid(f"{name} can't be put back: a link or a file stands where a folder has to be")
    if err.errno == errno.EXDEV:
        return Invalid(f"{name} can't be put back: its folder lies on another disk than the Supervisor's data")
    return Internal(f"{name} can't be put back: {err.strerror}")
