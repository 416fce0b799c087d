"""Exchanges what folders hold for something new, so that a crash at any instant loses neither.

A folder itself stays the same: containers have it mounted. Its entries move out to the staging folder, then the new
ones move in. The staging folder says how far that is, so that whoever comes after a crash can go back or go on. All of
it blocks.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor.drivers.folder import remove_tree
from supervisor.drivers.mountinfo import mounted_below
from supervisor.state import sync_folder, write_atomic

_PLAN: Final = "plan.json"
_OUT: Final = "out"
_IN: Final = "in"
_IN_THE_WAY: Final = (errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR)


@attrs.frozen
class Pair:
    """The entries of `new`, below the staging folder, take the place of those of `target`, but for `kept` names."""

    new: str
    target: Path
    kept: tuple[str, ...] = ()


@attrs.frozen
class Exchange:
    """`note` is for whoever has to finish the work after a crash."""

    staging: Path
    pairs: tuple[Pair, ...]
    note: dict[str, Any]

    @classmethod
    def prepare(cls, staging: Path) -> None:
        """Make an empty staging folder; what an older try left there goes."""
        remove_tree(staging)
        staging.mkdir(parents=True, mode=0o700)

    def swap(self) -> None:
        """Exchange everything.

        Raises:
            OSError: the disk refused, what is new is no folder, or something is mounted deep in what is there; all is
                as it was before.
        """
        self._check()
        for pair in self.pairs:
            if pair.target.is_symlink():
                # Others may write where it lies; what they put there is not followed.
                pair.target.unlink()
            pair.target.mkdir(parents=True, exist_ok=True)
        try:
            self._phase(_OUT)
            for number, pair in enumerate(self.pairs):
                self._move_out(number, pair)
        except OSError:
            self._back()
            raise
        self._phase(_IN)
        self._forward()

    def _check(self) -> None:
        for pair in self.pairs:
            new = self.staging / pair.new
            if new.is_symlink() or (new.exists() and not new.is_dir()):
                # Whoever packed it could otherwise have any folder of this machine emptied into the target.
                raise NotADirectoryError(errno.ENOTDIR, f"{pair.new} is no folder", str(new))
            for point in mounted_below(pair.target):
                # An entry that is mounted itself can't be moved and stays. One with a mount in it would take that
                # along, and what is mounted there would be removed with all else that is old.
                if len(point.parts) > 1:
                    raise OSError(errno.EBUSY, f"something is mounted at {pair.target / point}; unmount it first")

    def finish(self) -> None:
        """Remove what was there before, with everything else of the staging folder."""
        remove_tree(self.staging)

    @classmethod
    def recover(cls, staging: Path) -> Exchange | None:
        """Bring an exchange that was cut off to one of its ends.

        Returns:
            The exchange when the new is in place now; it wants `finish`. None when all is as before it.
        """
        try:
            plan = json.loads((staging / _PLAN).read_bytes())
            pairs = tuple(Pair(new, Path(target), tuple(kept)) for new, target, kept in plan["pairs"])
            exchange = cls(staging, pairs, plan["note"])
            phase = plan["phase"]
        except FileNotFoundError:
            remove_tree(staging)
            return None
        if phase == _IN:
            exchange._forward()
            return exchange
        exchange._back()
        remove_tree(staging)
        return None

    def _phase(self, phase: str) -> None:
        pairs = [(pair.new, str(pair.target), pair.kept) for pair in self.pairs]
        content = json.dumps({"phase": phase, "pairs": pairs, "note": self.note})
        write_atomic(self.staging / _PLAN, content.encode())

    def _old(self, number: int) -> Path:
        return self.staging / f"old{number}"

    def _move_out(self, number: int, pair: Pair) -> None:
        old = self._old(number)
        old.mkdir()
        for entry in _entries(pair.target):
            if entry.name not in pair.kept:
                _move(entry, old / entry.name)
        sync_folder(old)
        sync_folder(pair.target)

    def _back(self) -> None:
        for number, pair in enumerate(self.pairs):
            for entry in _entries(self._old(number)):
                _move(entry, pair.target / entry.name)

    def _forward(self) -> None:
        for pair in self.pairs:
            new = self.staging / pair.new
            for entry in _entries(new):
                _move(entry, pair.target / entry.name)
            if new.is_dir():
                _dress(pair.target, new.stat())
            sync_folder(pair.target)


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return ()


def _move(entry: Path, target: Path) -> None:
    """Move. What is mounted stays where it is, and so does what would go into the place of such a folder."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        target.unlink()
    try:
        entry.rename(target)
    except OSError as err:
        if err.errno == errno.EXDEV:
            _copy_over(entry, target)
        elif err.errno not in _IN_THE_WAY:
            raise


def _copy_over(entry: Path, target: Path) -> None:
    """Move to another file system."""
    done = subprocess.run(
        ("cp", "--archive", "--no-target-directory", "--", str(entry), str(target)),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise OSError(errno.EIO, done.stderr.strip()[:200])
    remove_tree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _dress(folder: Path, looks: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(folder, looks.st_uid, looks.st_gid)
    folder.chmod(looks.st_mode & 0o7777)
