"""Whole archives as files: put in place at once, copied, never over something else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from supervisor.drivers.archive.work import Work
from supervisor.state import sync_folder

_PIECE: Final = 1024 * 1024


def put_in_place(path: Path, target: Path) -> None:
    """Give the finished file `path` its name; what is there already stays. Blocking.

    Raises:
        FileExistsError: there is a file of that name.
        OSError: the disk refused.
    """
    try:
        # Add-ons may write beside it: a link that one puts there is not followed.
        os.link(path, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # Some shares know no hard links.
        if target.exists():
            raise FileExistsError(target) from None
        path.rename(target)
    else:
        path.unlink()
    sync_folder(target.parent)


def copy_file(source: Path, target: Path, work: Work) -> None:
    """Copy to the new file `target`; a copy that does not come to its end is removed. Blocking.

    Raises:
        OSError: a disk refused, or there is such a file.
        Stopped: the work was told to stop.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file, target.open("xb", buffering=0) as copy:
        try:
            while piece := file.read(_PIECE):
                rest = memoryview(piece)
                while rest:
                    rest = rest[copy.write(rest) :]
                work.advance(len(piece))
            os.fsync(copy.fileno())
        except BaseException:
            target.unlink(missing_ok=True)
            raise
