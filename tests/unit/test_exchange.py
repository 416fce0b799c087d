"""Folders are exchanged whole: whatever happens in between, there is the old or the new."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.drivers import exchange as module
from supervisor.drivers.exchange import Exchange, Pair
from supervisor.drivers.mountinfo import mounted_below


def tree(folder: Path) -> dict[str, str | None]:
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in folder.rglob("*")}


OLD = {"a": "old a", "sub": None, "sub/b": "old b", "keep.db": "kept"}
NEW = {"a": "new a", "new": None, "new/c": "new c"}


@pytest.fixture(params=["same disk", "other disk"])
def staging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "same disk":
        yield tmp_path / "restore" / "x"
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        assert Path(other).stat().st_dev != tmp_path.stat().st_dev
        yield Path(other) / "restore" / "x"


@pytest.fixture
def staged(staging: Path, tmp_path: Path) -> Exchange:
    """Two folders that shall get new contents, one of them keeping a file."""
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

    def move(self, entry: Path, target: Path) -> bool:
        self._step()
        return self._move(entry, target)

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


def test_a_disk_that_refuses_any_step_leaves_the_old(
    staged: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_move, real_write, left = module._move, module.write_atomic, 0

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(28, "No space left on device")

    def move(entry: Path, target: Path) -> bool:
        step()
        return real_move(entry, target)

    def write(path: Path, content: bytes) -> None:
        step()
        real_write(path, content)

    monkeypatch.setattr(module, "_move", move)
    monkeypatch.setattr(module, "write_atomic", write)
    at = 0
    while True:
        at = left = at + 1
        try:
            staged.swap()
        except OSError:
            pass
        else:
            break
        assert (tree(tmp_path / "target1"), tree(tmp_path / "target2")) == (OLD, OLD), at
        assert not staged.staging.exists()
        _restage(staged, tmp_path)
    assert at > 10, "there are more steps than that"
    left = 0
    staged.undo()
    assert (tree(tmp_path / "target1"), tree(tmp_path / "target2")) == (OLD, OLD)
    assert not staged.staging.exists()


@pytest.mark.parametrize("staging", ["other disk"], indirect=True)
@pytest.mark.parametrize("large", ["target2/sub/b", "new2/new/c"])
def test_a_disk_that_takes_half_of_a_copy_leaves_the_old(staged: Exchange, tmp_path: Path, large: str) -> None:
    folder = tmp_path if large.startswith("target") else staged.staging
    (folder / large).write_text("x" * 1_000_000)
    before = (tree(tmp_path / "target1"), tree(tmp_path / "target2"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
    try:
        with pytest.raises(OSError, match="cp ended with"):
            staged.swap()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tree(tmp_path / "target1"), tree(tmp_path / "target2")) == before
    assert not staged.staging.exists()


def test_a_new_try_first_brings_back_what_the_last_one_could_not(staged: Exchange, tmp_path: Path) -> None:
    at = 1
    while cut_off(staged, at):
        Exchange.prepare(staged.staging)
        for name in ("target1", "target2"):
            assert tree(tmp_path / name)["a"] in ("old a", "new a"), at
            assert os.listdir(staged.staging) == []  # noqa: PTH208 - names alone
        _restage(staged, tmp_path)
        at += 1


@pytest.mark.parametrize("staging", ["other disk"], indirect=True)
def test_what_is_mounted_stays_where_it_is_also_on_another_disk(
    staged: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_mount_point", (tmp_path / "target1" / "sub").__eq__)
    staged.swap()
    staged.finish()
    assert tree(tmp_path / "target1") == {**NEW, "sub": None, "sub/b": "old b"}


@pytest.mark.parametrize("what", ["a link", "a file"])
def test_nothing_but_a_folder_is_put_in_place(staged: Exchange, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    second = staged.staging / "new2"
    second.rename(staged.staging.parent / "put aside")
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
