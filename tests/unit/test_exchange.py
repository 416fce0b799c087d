"""Folders are exchanged whole: whatever happens in between, there is the old or the new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.drivers import exchange as module
from supervisor.drivers.exchange import Exchange, Pair
from supervisor.drivers.mountinfo import mounted_below


def tree(folder: Path) -> dict[str, str | None]:
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in folder.rglob("*")}


OLD = {"a": "old a", "sub": None, "sub/b": "old b", "keep.db": "kept"}
NEW = {"a": "new a", "new": None, "new/c": "new c"}


@pytest.fixture
def staged(tmp_path: Path) -> Exchange:
    """Two folders that shall get new contents, one of them keeping a file."""
    staging = tmp_path / "restore" / "x"
    Exchange.prepare(staging)
    for number in (1, 2):
        target = tmp_path / f"target{number}"
        (target / "sub").mkdir(parents=True)
        (target / "a").write_text("old a")
        (target / "sub" / "b").write_text("old b")
        (target / "keep.db").write_text("kept")
        (staging / f"new{number}" / "new").mkdir(parents=True)
        (staging / f"new{number}" / "a").write_text("new a")
        (staging / f"new{number}" / "new" / "c").write_text("new c")
        (staging / f"new{number}").chmod(0o2750)
    pairs = (Pair("new1", tmp_path / "target1"), Pair("new2", tmp_path / "target2", ("keep.db",)))
    return Exchange(staging, pairs, {"slug": "x"})


def test_the_new_takes_the_place_of_the_old_and_the_folder_stays_the_same(staged: Exchange, tmp_path: Path) -> None:
    number = (tmp_path / "target1").stat().st_ino
    staged.swap()
    assert tree(tmp_path / "target1") == NEW
    assert tree(tmp_path / "target2") == {**NEW, "keep.db": "kept"}
    assert (tmp_path / "target1").stat().st_ino == number, "containers have it mounted"
    assert (tmp_path / "target1").stat().st_mode & 0o7777 == 0o2750
    staged.finish()
    assert not staged.staging.exists()


def test_a_missing_folder_is_made_and_a_link_in_its_place_is_not_followed(staged: Exchange, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    for path in sorted((tmp_path / "target1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "target1").rmdir()
    (tmp_path / "target1").symlink_to(elsewhere)
    staged.swap()
    assert tree(tmp_path / "target1") == NEW
    assert tree(elsewhere) == {"mine": "mine"}


class Cut:
    """Cuts an exchange off at its n-th move or writing of the plan."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self._left = at
        self._move, self._write = module._move, module.write_atomic
        monkeypatch.setattr(module, "_move", self.move)
        monkeypatch.setattr(module, "write_atomic", self.write)

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt

    def move(self, entry: Path, target: Path) -> None:
        self._step()
        self._move(entry, target)

    def write(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        self._step()
        self._write(path, content, mode)
        self._step()


def cut_off(staged: Exchange, at: int) -> bool:
    """Tell whether there was such a step."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        Cut(monkeypatch, at)
        try:
            staged.swap()
        except KeyboardInterrupt:
            return True
        return False


def test_a_crash_at_any_step_leaves_the_old_or_the_new(staged: Exchange, tmp_path: Path) -> None:
    at = 1
    while cut_off(staged, at):
        recovered = Exchange.recover(staged.staging)
        both = (tree(tmp_path / "target1"), tree(tmp_path / "target2"))
        if recovered is None:
            assert both == (OLD, OLD), at
            assert not staged.staging.exists()
        else:
            assert both == (NEW, {**NEW, "keep.db": "kept"}), at
            assert recovered.note == {"slug": "x"}
            recovered.finish()
        _restage(staged, tmp_path)
        at += 1
    assert at > 10, "there are more steps than that"


def _restage(staged: Exchange, tmp_path: Path) -> None:
    for number in (1, 2):
        target = tmp_path / f"target{number}"
        for path in sorted(target.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (target / "sub").mkdir()
        (target / "a").write_text("old a")
        (target / "sub" / "b").write_text("old b")
        (target / "keep.db").write_text("kept")
    Exchange.prepare(staged.staging)
    for number in (1, 2):
        (staged.staging / f"new{number}" / "new").mkdir(parents=True)
        (staged.staging / f"new{number}" / "a").write_text("new a")
        (staged.staging / f"new{number}" / "new" / "c").write_text("new c")


def test_a_disk_that_refuses_leaves_the_old(staged: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = module._move, 0

    def move(entry: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        real(entry, target)

    monkeypatch.setattr(module, "_move", move)
    with pytest.raises(OSError, match="No space"):
        staged.swap()
    assert (tree(tmp_path / "target1"), tree(tmp_path / "target2")) == (OLD, OLD)


@pytest.mark.parametrize("what", ["a link", "a file"])
def test_nothing_but_a_folder_is_put_in_place(staged: Exchange, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    second = staged.staging / "new2"
    second.rename(tmp_path / "put aside")
    second.symlink_to(elsewhere) if what == "a link" else second.write_text("no folder")
    with pytest.raises(NotADirectoryError):
        staged.swap()
    assert tree(elsewhere) == {"mine": "mine"}
    assert (tree(tmp_path / "target1"), tree(tmp_path / "target2")) == (OLD, OLD)


def test_a_folder_with_something_mounted_deep_in_it_is_left_alone(
    staged: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mounted would be removed with what was there before. A mount right below stays where it is."""
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(module, "mounted_below", lambda folder: mounted_below(folder, table))
    table.write_text(f"1 1 0:1 / {tmp_path}/target2/sub/nas rw - cifs //nas/x rw\n")
    with pytest.raises(OSError, match="unmount it first"):
        staged.swap()
    assert (tree(tmp_path / "target1"), tree(tmp_path / "target2")) == (OLD, OLD)
    table.write_text(f"1 1 0:1 / {tmp_path}/target2/sub rw - cifs //nas/x rw\n")
    staged.swap()
    assert tree(tmp_path / "target1") == NEW


def test_what_was_never_planned_is_swept_away(tmp_path: Path) -> None:
    staging = tmp_path / "restore" / "half"
    Exchange.prepare(staging)
    (staging / "unpacked").mkdir()
    (staging / "unpacked" / "half").write_text("half")
    assert Exchange.recover(staging) is None
    assert not staging.exists()
    assert os.listdir(tmp_path / "restore") == []  # noqa: PTH208 - names alone
