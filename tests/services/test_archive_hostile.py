"""Hostile and damaged archives: each is refused with its reason, and nothing outside of the folder changes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hostile_archives import (
    END,
    GOOD,
    OUTERS,
    PASSWORD,
    STREAMS,
    Case,
    OuterCase,
    file,
    folder,
    hard,
    head,
    symlink,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import MAX_METADATA, ArchiveReader, Inner
from supervisor.drivers.archive.rules import ForeignLinks, Limits, Rules
from supervisor.drivers.archive.unpack import Unpacked, check, unpack
from supervisor.drivers.archive.work import Work
from supervisor.errors import ArchiveDamaged, ArchiveRefused, BackupError, WrongPassword
from tarballs import tar_of


class Cell:
    """A folder to unpack into, with things around it that must stay as they are."""

    def __init__(self, root: Path) -> None:
        self.target = root / "cell" / "target"
        self.target.mkdir(parents=True)
        self.archive = root / "archive"
        (root / "cell" / "outside").write_text("untouched")
        (root / "outside").write_text("untouched")
        self._root = root
        self._before = self._around()

    def _around(self) -> dict[str, object]:
        return {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode, path.lstat().st_nlink)
            for path in sorted(self._root.rglob("*"))
            if path not in (self.target, self.archive) and self.target not in path.parents
        }

    def unpack(self, stream: bytes, rules: Rules | None = None) -> Unpacked:
        self.archive.write_bytes(gzip.compress(stream, 1))
        descriptor = os.open(self.archive, os.O_RDONLY)
        try:
            part = Inner("share.tar.gz", 0, self.archive.stat().st_size, descriptor)
            return unpack(part, None, self.target, rules or Rules(), Work())
        finally:
            os.close(descriptor)

    def assert_untouched(self) -> None:
        assert self._around() == self._before
        for path in self.target.rglob("*"):
            assert path.is_symlink() or path.is_dir() or path.is_file(), f"{path} is something strange"


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path)


def test_there_are_enough_of_them() -> None:
    assert len(STREAMS) >= 60
    assert len(OUTERS) >= 30
    assert len({case.what for case in STREAMS}) == len(STREAMS)


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.what)
def test_a_hostile_inner_archive_is_refused_with_its_reason(cell: Cell, case: Case) -> None:
    with pytest.raises(BackupError) as refused:
        cell.unpack(case.stream)
    assert type(refused.value) is case.error
    assert case.says in str(refused.value)
    assert str(refused.value).isprintable()
    # What is kept of encrypted archives names nothing in them.
    unnamed = refused.value.unnamed
    assert unnamed == str(refused.value) or unnamed.startswith(("Something in it", "A folder in it"))
    assert not any(word in unnamed for word in ("evil", "passwd", "good", "/", "\\"))
    cell.assert_untouched()


def open_and_unpack(cell: Cell) -> None:
    with ArchiveReader(cell.archive) as archive:
        part = archive.inner["share.tar.gz"]
        plain = part.read_at(0, 3) == b"\x1f\x8b\x08"
        unpack(part, None if plain else Keyring(PASSWORD), cell.target, Rules(), Work())


@pytest.mark.parametrize("case", OUTERS, ids=lambda case: case.what)
def test_a_hostile_outer_archive_is_refused_with_its_reason(cell: Cell, case: OuterCase, tmp_path: Path) -> None:
    content = case.make(cell.archive)
    cell.archive.write_bytes(content)
    with pytest.raises(BackupError) as refused:
        open_and_unpack(cell)
    assert type(refused.value) is case.error
    assert case.says in str(refused.value)
    cell.assert_untouched()


def test_an_outer_archive_cut_off_anywhere_is_no_backup(tmp_path: Path) -> None:
    """At every block, and once in the middle of each: it is never taken for one that holds less."""
    path = tmp_path / "whole.tar"
    parts = {f"{name}.tar.gz": gzip.compress(GOOD + END) for name in ("homeassistant", "share", "ssl")}
    whole_one = tar_of({**parts, "./backup.json": b"{}"})
    # Two empty blocks end it; what fills up the record behind them can be spared.
    needed = len(whole_one.rstrip(b"\0")) // 512 * 512 + 512
    for cut in range(0, needed, 256):
        path.write_bytes(whole_one[:cut])
        with pytest.raises(BackupError), ArchiveReader(path):
            pass
    path.write_bytes(whole_one)
    with ArchiveReader(path) as archive:
        assert set(archive.inner) == set(parts)


def test_what_stands_behind_the_end_is_not_looked_at(cell: Cell, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of({"./backup.json": b"{}"}) + file("evil.tar.gz") + os.urandom(2000))
    with ArchiveReader(path) as archive:
        assert list(archive.members) == ["backup.json"]
    cell.unpack(GOOD + END + file("evil") + os.urandom(5000))
    assert [entry.name for entry in cell.target.iterdir()] == ["good.txt"]


def test_a_description_beyond_measure_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of({"./backup.json": b"[" * (MAX_METADATA + 1)}))
    with ArchiveReader(path) as archive, pytest.raises(ArchiveRefused, match="larger than any"):
        archive.metadata()
    path.write_bytes(tar_of({"share.tar.gz": b""}))
    with ArchiveReader(path) as archive, pytest.raises(ArchiveDamaged, match=r"no backup\.json"):
        archive.metadata()


def test_pipes_are_left_out_and_the_rest_is_unpacked(cell: Cell) -> None:
    found = cell.unpack(GOOD + head("pipe", b"6") + file("more.txt") + END)
    assert (found.files, found.left_out) == (2, 1)
    assert sorted(path.name for path in cell.target.iterdir()) == ["good.txt", "more.txt"]


def test_links_to_outside_can_be_left_out_or_kept_but_are_never_followed(cell: Cell) -> None:
    stream = symlink("out", "/etc") + symlink("up", "../outside") + symlink("in", "good.txt") + GOOD + END
    assert cell.unpack(stream, Rules(links=ForeignLinks.LEAVE_OUT)).left_out == 2
    assert sorted(path.name for path in cell.target.iterdir()) == ["good.txt", "in"]
    assert cell.unpack(stream, Rules(links=ForeignLinks.KEEP)).left_out == 0
    assert (cell.target / "out").readlink() == Path("/etc")
    with pytest.raises(ArchiveRefused, match="is no folder"):
        cell.unpack(symlink("out", "/etc") + file("out/evil") + END, Rules(links=ForeignLinks.KEEP))
    cell.unpack(symlink("up", "../outside") + file("up", b"mine") + END, Rules(links=ForeignLinks.KEEP))
    assert (cell.target / "up").read_bytes() == b"mine"
    cell.assert_untouched()


def test_a_file_that_comes_twice_does_not_write_through_its_hard_link(cell: Cell) -> None:
    cell.unpack(file("a", b"first") + hard("b", "a") + file("a", b"second") + END)
    assert (cell.target / "b").read_bytes() == b"first"
    assert (cell.target / "a").read_bytes() == b"second"


def test_set_id_bits_are_dropped_from_files_unless_they_belong(cell: Cell) -> None:
    stream = file("suid", mode=0o6755) + head("shared", b"5", mode=0o3775) + head("odd", b"5", mode=0o4755) + END
    cell.unpack(stream)
    assert (cell.target / "suid").stat().st_mode & 0o7777 == 0o755
    assert (cell.target / "shared").stat().st_mode & 0o7777 == 0o3775
    assert (cell.target / "odd").stat().st_mode & 0o7777 == 0o755
    cell.unpack(file("suid", mode=0o6755) + END, Rules(set_id=True))
    assert (cell.target / "suid").stat().st_mode & 0o7777 == 0o6755


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(members=2), "more than 2 members"),
        (Limits(size=100_000), "unpacks to more than 100000 bytes"),
    ],
    ids=["count", "size"],
)
def test_an_archive_that_is_too_much_is_refused_before_it_is_unpacked(cell: Cell, limits: Limits, says: str) -> None:
    zeros = file("a", bytes(1_500_000)) + file("b") + file("c") + END
    with pytest.raises(ArchiveRefused, match=says):
        cell.unpack(zeros, Rules(limits=limits))


def test_a_bomb_of_a_terabyte_is_refused_by_its_header_alone(cell: Cell) -> None:
    bomb = head("bomb", size_field=b"\x80" + (2**40).to_bytes(11, "big")) + bytes(1024)
    with pytest.raises(ArchiveRefused, match="unpacks to more than"):
        cell.unpack(bomb, Rules(limits=Limits(size=2**30)))
    assert list(cell.target.iterdir()) == []


def test_zeros_without_end_behind_the_archive_are_refused(cell: Cell) -> None:
    with pytest.raises(ArchiveRefused, match="unpacks to more than"):
        cell.unpack(GOOD + END + bytes(4_000_000), Rules(limits=Limits(size=1_000_000)))


def test_names_in_any_encoding_come_out_as_they_went_in(cell: Cell) -> None:
    names = [b"caf\xe9", "日本".encode("shift-jis"), "ünï".encode(), b"new\nline", b"tab\there", b"back\\slash", b"-rf"]
    cell.unpack(b"".join(file(name) for name in names) + END)
    assert sorted(os.fsencode(path.name) for path in cell.target.iterdir()) == sorted(names)


def test_folders_get_their_times_and_modes_after_what_is_in_them(cell: Cell) -> None:
    stream = (
        head("d", b"5", mode=0o500, mtime=b"00000001750\0")
        + file("d/a")
        + folder("e")
        + file("d/sub/b")
        + head("d/sub", b"5", mode=0o711, mtime=b"00000003720\0")
        + END
    )
    cell.unpack(stream)
    assert (cell.target / "d").stat().st_mode & 0o777 == 0o500
    assert (cell.target / "d/sub").stat().st_mode & 0o777 == 0o711
    assert (cell.target / "d/sub").stat().st_mtime == 2000


def test_a_password_for_an_open_archive_is_a_wrong_password(cell: Cell) -> None:
    cell.archive.write_bytes(gzip.compress(GOOD + END))
    descriptor = os.open(cell.archive, os.O_RDONLY)
    try:
        part = Inner("share.tar.gz", 0, cell.archive.stat().st_size, descriptor)
        with pytest.raises(WrongPassword, match="not encrypted"):
            check(part, Keyring("x"), Rules(), Work())
    finally:
        os.close(descriptor)


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 4000), flips=st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 255)), max_size=4))
def test_no_damage_makes_anything_but_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    cell = Cell(tmp_path_factory.mktemp("damage"))
    stream = bytearray(folder("d") + file("d/a", b"a" * 700) + symlink("l", "d/a") + hard("h", "d/a") + END)
    for at, change in flips:
        stream[at % len(stream)] ^= change
    try:
        cell.unpack(bytes(stream[: len(stream) - cut % len(stream)]))
    except BackupError as err:
        assert str(err)  # noqa: PT017 - either way nothing else may come out
    cell.assert_untouched()
