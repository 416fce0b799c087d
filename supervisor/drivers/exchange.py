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
from supervisor.drivers.mount_point import is_mount_point
from supervisor.drivers.mountinfo import mounted_below
from supervisor.state import sync_folder, write_atomic

_PLAN: Final = "plan.json"
# The plan as it was when the old moved out: going back to it takes no room on a disk that may be full.
_WAY_BACK: Final = "plan.back.json"
_OUT: Final = "out"
_IN: Final = "in"
_MOVING: Final = ".supervisor-moving"
_IN_THE_WAY: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR)


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
    _moved: list[tuple[Path, Path]] = attrs.field(factory=list, init=False, eq=False, repr=False)

    @classmethod
    def prepare(cls, staging: Path) -> None:
        """Make an empty staging folder. What an older try left there is brought to an end first.

        Raises:
            OSError: the disk refused; what was there before is still there.
        """
        cls.recover(staging)
        remove_tree(staging)
        staging.mkdir(parents=True, mode=0o700)

    def swap(self) -> None:
        """Exchange everything.

        Raises:
            OSError: the disk refused, what is new is no folder, or something is mounted deep in what is there; all is
                as it was before. When the disk refuses that, too, the staging folder holds what is not in place, and
                `recover` goes on from there.
        """
        self._check()
        for pair in self.pairs:
            if pair.target.is_symlink():
                # Others may write where it lies; what they put there is not followed.
                pair.target.unlink()
            pair.target.mkdir(parents=True, exist_ok=True)
        try:
            self._phase(_OUT)
            os.link(self.staging / _PLAN, self.staging / _WAY_BACK)
            for number, pair in enumerate(self.pairs):
                self._move_out(number, pair)
            self._phase(_IN)
        except OSError:
            self._back()
            self.finish()
            raise
        try:
            self._forward()
        except OSError:
            self.undo()
            raise

    def undo(self) -> None:
        """Bring back the old after a `swap` of this object, in place of its `finish`.

        Raises:
            OSError: the disk refused; `recover` brings it to an end, forwards or back.
        """
        while self._moved:
            entry, target = self._moved[-1]
            _move(target, entry)
            self._moved.pop()
        (self.staging / _WAY_BACK).replace(self.staging / _PLAN)
        sync_folder(self.staging)
        self._back()
        self.finish()

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
        # First of all the plan: with a part of what it speaks of gone, nobody could go on from it.
        (self.staging / _PLAN).unlink(missing_ok=True)
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
                if _move(entry, pair.target / entry.name):
                    self._moved.append((entry, pair.target / entry.name))
            if new.is_dir():
                _dress(pair.target, new.stat())
            sync_folder(pair.target)


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.endswith(_MOVING)]
    except FileNotFoundError:
        return ()


def _move(entry: Path, target: Path) -> bool:
    """Move; what is in the way goes. What is mounted stays where it is, and so does what would go into its place.

    Returns:
        Whether it was moved.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        target.unlink()
    try:
        entry.rename(target)
    except OSError as err:
        if err.errno == errno.EXDEV:
            return _copy_over(entry, target)
        if err.errno == errno.EBUSY or (err.errno in _IN_THE_WAY and _holds_mount(target)):
            return False
        if err.errno not in _IN_THE_WAY:
            raise
        remove_tree(target)
        entry.rename(target)
    return True


def _copy_over(entry: Path, target: Path) -> bool:
    """Move to another file system: under its name there is the whole of it, or nothing."""
    if _holds_mount(entry) or _holds_mount(target):
        return False
    copy = target.with_name(f".{target.name}{_MOVING}")
    _remove(copy)
    done = subprocess.run(
        ("cp", "--archive", "--no-target-directory", "--", str(entry), str(copy)),
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode:
        _remove(copy)
        reason = done.stderr.strip() or f"cp ended with {done.returncode}"
        raise OSError(errno.ENOSPC if os.strerror(errno.ENOSPC) in reason else errno.EIO, reason[:200])
    _remove(target)
    copy.rename(target)
    sync_folder(target.parent)
    _remove(entry)
    return True


def _remove(path: Path) -> None:
    remove_tree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _holds_mount(path: Path) -> bool:
    """Tell whether something is mounted there, or below."""
    return is_mount_point(path) or bool(mounted_below(path))


def _dress(folder: Path, looks: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(folder, looks.st_uid, looks.st_gid)
    folder.chmod(looks.st_mode & 0o7777)
