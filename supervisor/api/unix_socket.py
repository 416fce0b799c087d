"""Puts the API's Unix socket in place, and takes it away again. All of this blocks."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Final

import attrs

from supervisor.errors import Conflict, Unavailable

_LOGGER = logging.getLogger(__name__)

SOCKET_MODE: Final = 0o660


@attrs.frozen
class BoundSocket:
    """A socket that is in its place; device and inode tell it from one that another process put there later."""

    socket: socket.socket
    path: Path
    place: tuple[int, int]


def bind(path: Path, group: int | None) -> BoundSocket:
    """Return a bound socket at `path`, which only root and `group` can open.

    It is made under another name, gets its owner and mode, and then its place, so it is never there half guarded.

    Raises:
        Conflict: a living process answers at `path`, or what lies there is no socket.
        Unavailable: the socket can't be made there.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    temporary = path.with_name(f".{path.name}.new")
    try:
        _require_free(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        made.bind(str(temporary))
        temporary.chmod(SOCKET_MODE)
        if group is not None:
            _give(temporary, group)
        # It listens before it is in its place: another daemon that starts now finds somebody there.
        made.listen()
        found = temporary.stat()
        temporary.rename(path)
    except OSError as err:
        made.close()
        raise Unavailable(f"Can't make the socket {path}: {err}") from err
    except Conflict:
        made.close()
        raise
    return BoundSocket(made, path, (found.st_dev, found.st_ino))


def release(bound: BoundSocket) -> None:
    """Remove the socket's file, unless another process has put its own there."""
    with contextlib.suppress(FileNotFoundError):
        found = bound.path.lstat()
        if (found.st_dev, found.st_ino) == bound.place:
            bound.path.unlink()


def _give(path: Path, group: int) -> None:
    try:
        os.chown(path, -1, group)
    except PermissionError:
        _LOGGER.warning("%s can't be given to group %d: only this user can open it", path, group)


def _require_free(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            pass
    raise Conflict(f"Another process answers at {path}")
