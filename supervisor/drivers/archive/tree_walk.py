"""Folders of the disk, gone through without following a link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

from supervisor.drivers.archive.names import can_be_read, shown
from supervisor.drivers.folder import OPEN_FOLDER
from supervisor.errors import SourceUnreadable

GONE: Final = (errno.ENOENT, errno.ESTALE)
REPLACED: Final = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)

Exclude = Callable[[str], bool]


class TreeWalk:
    """Goes through a folder without ever following a link: each folder is opened from the one above it.

    Yields (descriptor of the folder, name in it, path below the root, status), a folder before what is in it. Takes
    over the descriptor `root`.

    What can't be read back is passed over and counted: whoever may write here could otherwise spoil the whole archive.
    That bounds how many folders are open at once, too.
    """

    def __init__(self, root: int, name: str, exclude: Exclude) -> None:
        """Pass over what `exclude` says of its path below the root, and what can't be read back from below `name`."""
        self._name = name
        self._exclude = exclude
        self.beyond = 0
        self.example = ""
        self._open: list[tuple[int, str, Iterator[os.DirEntry[str]]]] = []
        self._enter(root, "")

    def __iter__(self) -> Iterator[tuple[int, str, str, os.stat_result]]:
        while self._open:
            folder, prefix, entries = self._open[-1]
            name = _next_name(entries, prefix)
            if name is None:
                os.close(folder)
                self._open.pop()
                continue
            path = prefix + name
            if self._exclude(path):
                continue
            if not can_be_read(f"{self._name}/{path}"):
                self.example = self.example or path
                self.beyond += 1
                continue
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    self._enter(os.open(name, OPEN_FOLDER, dir_fd=folder), f"{path}/")
            except OSError as err:
                if err.errno in (*GONE, *REPLACED):
                    continue
                raise unreadable(path, err) from err
            yield folder, name, path, status

    @property
    def folder(self) -> int:
        """The descriptor of the folder that was gone into last."""
        return self._open[-1][0]

    def _enter(self, folder: int, prefix: str) -> None:
        try:
            entries = os.scandir(folder)
        except OSError as err:
            os.close(folder)
            raise unreadable(prefix or ".", err) from err
        self._open.append((folder, prefix, entries))

    def close(self) -> None:
        while self._open:
            folder, _, entries = self._open.pop()
            entries.close()  # type: ignore[attr-defined]  # what scandir returns has it
            os.close(folder)


def _next_name(entries: Iterator[os.DirEntry[str]], prefix: str) -> str | None:
    try:
        entry = next(entries, None)
    except OSError as err:
        raise unreadable(prefix or ".", err) from err
    return entry.name if entry is not None else None


def unreadable(path: str, err: OSError) -> SourceUnreadable:
    return SourceUnreadable(f"{shown(path)} can't be read: {err.strerror}")
