"""Puts one file or folder of a backup back to where it was.

The folders belong to add-ons: whoever runs there may put links anywhere, at any moment. So every step goes from an open
folder to the next one and follows no link.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from supervisor.drivers.mountinfo import mounted_below
from supervisor.errors import Internal, Invalid, NotFound, SupervisorError
from supervisor.paths import DataPaths

from .repository_backup import HERE

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CORE: Final = "homeassistant"


def live_folder(paths: DataPaths, part: str, root: str) -> Path:
    """Return where a root of a part lies on this machine.

    Raises:
        Invalid: it is no folder that single files could be put back into.
    """
    folders = {"share": paths.share, "ssl": paths.ssl, "media": paths.media, "addons_local": paths.addons_local}
    found: Path | None = None
    if part in folders:
        found = folders[part] if root == HERE else None
    elif part == _CORE:
        found = paths.homeassistant if root == "data" else None
    elif root in ("data", "config"):
        found = (paths.addons_data if root == "data" else paths.addon_configs) / part
    if found is None:
        raise Invalid(f"This belongs to what the Supervisor knows of {part}; it comes back only with the whole of it")
    return found


def put_back(source: Path, folder: Path, inner: str, aside: Path) -> None:
    """Move `source` to `inner` below `folder`; what was there is moved to `aside`, a path where nothing is. Blocking.

    Raises:
        NotFound: `folder` is not there.
        Invalid: a link or a file stands where a folder has to be; `inner` names nothing below the folder.
        Internal: the disk refused.
    """
    *parents, last = [name for name in inner.split("/") if name] or [""]
    if not last or ".." in (*parents, last):
        raise Invalid("A part as a whole is restored by restoring the backup")
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
        descriptor = os.open(folder, _FOLDER)
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
        return os.open(name, _FOLDER, dir_fd=descriptor)
    except OSError as err:
        raise _told(err, name) from err


def _told(err: OSError, name: str) -> SupervisorError:
    if err.errno in (errno.ELOOP, errno.ENOTDIR):
        return Invalid(f"{name} can't be put back: a link or a file stands where a folder has to be")
    if err.errno == errno.EXDEV:
        return Invalid(f"{name} can't be put back: its folder lies on another disk than the Supervisor's data")
    return Internal(f"{name} can't be put back: {err.strerror}")
