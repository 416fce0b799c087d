"""Folders that strangers filled: measured, read and removed, however they are nested. Everything here blocks."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

# How to open a folder that strangers may have put a link in the place of: that is not followed.
OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_FILES: Final = 100_000
MAX_DEPTH: Final = 100


def fits(folder: Path, max_bytes: int) -> bool:
    """Tell whether the tree stays within `max_bytes`, `MAX_FILES` entries and `MAX_DEPTH` levels.

    Entries may come and go meanwhile. Links are not followed.
    """
    size = files = 0
    pending = [(str(folder), 0)]
    while pending:
        path, depth = pending.pop()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
            for entry in entries:
                files += 1
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, depth + 1))
                else:
                    with suppress(FileNotFoundError):
                        size += entry.stat(follow_symlinks=False).st_size
                if size > max_bytes or files > MAX_FILES or depth > MAX_DEPTH:
                    return False
    return True


def taken(folder: Path) -> int:
    """Return how many bytes of its disk a tree takes. Links are not followed; what can't be read counts as nothing."""
    size = 0
    linked: set[int] = set()
    pending = [str(folder)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
                elif status.st_nlink > 1:
                    if status.st_ino in linked:
                        continue
                    linked.add(status.st_ino)
                size += status.st_blocks * 512
    return size


def open_plain_file(path: Path) -> BinaryIO:
    """Open a file to read it; a link in its place is not followed, and nothing that is no file is waited for.

    Raises:
        FileNotFoundError: there is nothing.
        OSError: it can't be read, or is no plain file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "It is no plain file")
    return open(descriptor, "rb")


def remove_tree(folder: Path) -> None:
    """Remove the folder and all below it; a link is removed, not followed; nothing there is fine.

    Raises:
        OSError: something of it could not be removed.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except (RecursionError, OSError):
        # Levels beyond what the interpreter or a path's length can hold are no trouble for rm.
        if (said := _rm(folder)) is not None and shutil.which("chattr"):
            # What somebody marked as immutable can't even be removed by root.
            subprocess.run(("chattr", "-R", "-f", "-ia", "--", str(folder)), check=False, capture_output=True)
            said = _rm(folder)
        if said is not None:
            raise OSError(said) from None


def _rm(folder: Path) -> str | None:
    """Return why not all of it is gone, None when it is."""
    done = subprocess.run(("rm", "-rf", "--", str(folder)), check=False, capture_output=True, text=True)
    return done.stderr.strip()[:300] if done.returncode else None
