"""Archives that are no plain attack and no plain damage: two headers that disagree, twins, work without end."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import time
from pathlib import Path

import pytest
from hostile_archives import (
    AES,
    END,
    GOOD,
    PASSWORD,
    block,
    file,
    folder,
    gnu_long,
    hard,
    head,
    pax,
    raw_pax,
    record,
    symlink,
    whole,
)
from test_archive_hostile import Cell

from supervisor.drivers.archive.keys import MAX_ROOTS, Keyring, StreamHeader
from supervisor.drivers.archive.reader import ArchiveReader, check_password
from supervisor.drivers.archive.rules import ForeignLinks, Limits, Rules
from supervisor.drivers.archive.tar import MAX_ATTRIBUTES
from supervisor.drivers.archive.unpack import check, unpack
from supervisor.drivers.archive.work import Work
from supervisor.errors import ArchiveDamaged, ArchiveRefused, BackupError, WrongPassword
from supervisor.managers.backups.metadata import read_metadata
from tarballs import tar_of


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell(tmp_path)


def names(cell: Cell) -> list[str]:
    return sorted(str(path.relative_to(cell.target)) for path in cell.target.rglob("*"))


def test_of_two_sizes_the_extended_one_counts_and_nothing_hides_between_them(cell: Cell) -> None:
    """Whoever believed the small header would take the rest of the content for members."""
    hidden = file("evil", b"evil") + END
    cell.unpack(pax((b"size", b"%d" % len(hidden))) + head("a", size=0) + block(hidden) + file("b") + END)
    assert names(cell) == ["a", "b"]
    assert (cell.target / "a").read_bytes() == hidden


def test_an_extended_size_beyond_the_archive_is_damage(cell: Cell) -> None:
    with pytest.raises(ArchiveDamaged, match="cut off in a file"):
        cell.unpack(pax((b"size", b"5000")) + head("a", size=1) + block(b"x") + END)
    cell.assert_untouched()


def test_the_last_of_two_records_and_of_two_headers_counts_and_is_what_is_judged(cell: Cell) -> None:
    cell.unpack(pax((b"path", b"/etc/evil"), (b"path", b"inside")) + file("x") + END)
    cell.unpack(gnu_long(b"L", b"/etc/evil\0") + pax((b"path", b"other")) + file("x") + END)
    assert names(cell) == ["inside", "other"]
    for disguised in (
        pax((b"path", b"inside"), (b"path", b"../evil")) + file("x"),
        pax((b"path", b"inside")) + gnu_long(b"L", b"../evil\0") + file("x"),
        pax((b"linkpath", b"inside")) + gnu_long(b"K", b"../../evil\0") + symlink("l", "inside"),
    ):
        with pytest.raises(ArchiveRefused):
            cell.unpack(disguised + END)
    cell.assert_untouched()


def test_a_header_of_one_member_says_nothing_about_the_next(cell: Cell) -> None:
    cell.unpack(pax((b"path", b"first"), (b"size", b"3")) + head("x") + block(b"abc") + file("second", b"de") + END)
    assert (cell.target / "first").read_bytes() == b"abc"
    assert (cell.target / "second").read_bytes() == b"de"


def test_what_only_folders_and_links_pretend_to_hold_is_no_content(cell: Cell) -> None:
    """A folder or link with a size has nothing behind it; what stands there is the next header, and judged."""
    pretender = head("d", tarfile.DIRTYPE, size=512, mode=0o755)
    cell.unpack(pretender + file("good") + END)
    assert names(cell) == ["d", "good"]
    with pytest.raises(ArchiveDamaged):
        cell.unpack(head("l", tarfile.SYMTYPE, size=512, link="good") + os.urandom(512) + END)
    cell.assert_untouched()


@pytest.mark.parametrize("sparse", [b"GNU.sparse.realsize", b"GNU.sparse.name", b"GNU.sparse.map"])
def test_sparse_files_in_any_spelling_are_refused(cell: Cell, sparse: bytes) -> None:
    with pytest.raises(ArchiveRefused, match="sparse"):
        cell.unpack(pax((b"size", b"1"), (sparse, b"../../evil")) + file("x") + END)
    cell.assert_untouched()


def test_twins_that_differ_in_case_or_in_their_spelling_of_a_letter_are_two_files(cell: Cell) -> None:
    twins = ["note", "NOTE", "\u00e9", "e\u0301"]
    cell.unpack(b"".join(file(name, name.encode()) for name in twins) + END)
    assert {path.name: path.read_text() for path in cell.target.iterdir()} == {name: name for name in twins}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (symlink("x", "good.txt"), file("x", b"mine")),
        (symlink("x", "/etc/passwd"), file("x", b"mine")),
        (hard("x", "good.txt"), file("x", b"mine")),
        (file("x", b"first"), file("x", b"mine")),
    ],
    ids=["link inside", "link outside", "hard link", "file"],
)
def test_a_member_takes_the_place_of_its_earlier_twin_and_never_writes_through_it(
    cell: Cell, first: bytes, second: bytes
) -> None:
    cell.unpack(GOOD + first + second + END, Rules(links=ForeignLinks.KEEP))
    assert (cell.target / "x").read_bytes() == b"mine"
    assert (cell.target / "good.txt").read_bytes() == b"good"
    cell.assert_untouched()


def test_a_hard_link_to_a_link_that_came_in_the_place_of_a_file_is_refused(cell: Cell) -> None:
    with pytest.raises(ArchiveRefused, match="which is no file"):
        cell.unpack(file("x") + symlink("x", "/etc/passwd") + hard("y", "x") + END, Rules(links=ForeignLinks.KEEP))
    cell.assert_untouched()


def test_attributes_that_give_privileges_are_not_set_and_too_many_are_refused(cell: Cell) -> None:
    capability = b"\x01\x00\x00\x02\x80\x00\x00\x00" + bytes(12)
    privileged = pax(
        (b"SCHILY.xattr.security.capability", capability),
        (b"SCHILY.xattr.trusted.overlay.opaque", b"y"),
        (b"SCHILY.xattr.user.", b"nameless"),
        (b"SCHILY.xattr.user.a\0b", b"cut off"),
        (b"RHT.security.selinux", b"system_u:object_r:shadow_t:s0"),
        (b"LIBARCHIVE.xattr.security.capability", b"AQAAAg=="),
    )
    cell.unpack(privileged + file("tool") + END)
    assert os.listxattr(cell.target / "tool") == []
    huge = pax((b"SCHILY.xattr.user.x", b"v" * (4 * MAX_ATTRIBUTES)))
    with pytest.raises(ArchiveRefused, match="beyond measure"):
        cell.unpack(huge + file("x") + END)


def test_an_attribute_that_no_file_system_takes_costs_only_itself(cell: Cell) -> None:
    found = cell.unpack(pax((b"SCHILY.xattr.user.x", b"v" * 200_000)) + file("x", b"kept") + END)
    assert (found.left_out, (cell.target / "x").read_bytes()) == (1, b"kept")


def test_times_at_the_edge_of_what_is_allowed_are_set_or_refused_clearly(cell: Cell) -> None:
    for seconds in (b"0", b"-1", b"0.000000001", b"17179869184", b"-17179869184", b"1e9"):
        try:
            cell.unpack(pax((b"mtime", seconds)) + file("x") + folder("d") + END)
        except BackupError as err:
            assert str(err)  # noqa: PT017 - either way nothing else may come out
    cell.assert_untouched()


def test_gzip_in_a_million_empty_pieces_does_not_keep_us_busy(cell: Cell) -> None:
    nothing = gzip.compress(b"", mtime=0) * 500_000
    path = cell.archive
    path.write_bytes(tar_of({"share.tar.gz": nothing + gzip.compress(GOOD + END)}))
    began = time.monotonic()
    with ArchiveReader(path) as archive, pytest.raises(ArchiveRefused, match="more pieces"):
        check(archive.inner["share.tar.gz"], None, Rules(), Work())
    assert time.monotonic() - began < 20
    # What honest programs make of many blocks is no trouble.
    content = file("a", os.urandom(3_000_000)) + END
    pieces = [gzip.compress(content[at : at + 2000], 1) for at in range(0, len(content), 2000)]
    path.write_bytes(tar_of({"share.tar.gz": b"".join(pieces)}))
    with ArchiveReader(path) as archive:
        assert check(archive.inner["share.tar.gz"], None, Rules(), Work()).size == 3_000_000


def test_parts_that_each_want_a_key_of_their_own_do_not_keep_us_busy(cell: Cell) -> None:
    def part() -> bytes:
        salts = [os.urandom(16) for _ in range(3)]
        return StreamHeader(5, salts[0], salts[1], os.urandom(32), salts[2], os.urandom(24)).packed() + bytes(22)

    cell.archive.write_bytes(tar_of({f"{number}.tar.gz": part() for number in range(MAX_ROOTS + 50)}))
    keyring = Keyring(PASSWORD)
    refused: list[type[Exception]] = []
    with ArchiveReader(cell.archive) as archive:
        for one in archive.inner.values():
            with pytest.raises((WrongPassword, ArchiveRefused)) as caught:
                check_password(one, keyring)
            refused.append(caught.type)
    assert refused == [WrongPassword] * MAX_ROOTS + [ArchiveRefused] * 50


@pytest.mark.parametrize(
    "name",
    ["share.tar.gz/../../evil.tar.gz", "./../share.tar.gz", "/share.tar.gz", "a/" * 200 + "x.tar.gz", "x" * 300],
    ids=["climbs behind", "climbs", "absolute", "deep", "long"],
)
def test_an_inner_archive_whose_name_escapes_makes_no_backup(cell: Cell, name: str) -> None:
    content = pax((b"path", name.encode())) + file("x", gzip.compress(GOOD + END)) + END
    cell.archive.write_bytes(content)
    with pytest.raises(ArchiveRefused), ArchiveReader(cell.archive):
        pass


def test_an_inner_archive_in_a_folder_is_not_the_one_that_is_wanted(cell: Cell) -> None:
    cell.archive.write_bytes(tar_of({"deep/share.tar.gz": b"x", "SHARE.tar.gz": b"y", "./backup.json": b"{}"}))
    with ArchiveReader(cell.archive) as archive:
        assert "share.tar.gz" not in archive.inner


@pytest.mark.parametrize("text", [b"[" * 1_000_000, b'{"a":' * 300_000, b'"' + b"x" * 2_000_000, b"9" * 2_000_000])
def test_a_description_that_is_huge_or_nested_without_end_is_an_error_of_ours(cell: Cell, text: bytes) -> None:
    cell.archive.write_bytes(tar_of({"./backup.json": text}))
    with ArchiveReader(cell.archive) as archive, pytest.raises(BackupError):
        read_metadata(archive.metadata())


def test_a_block_of_aes_that_is_missing_in_the_middle_is_damage(cell: Cell, tmp_path: Path) -> None:
    """Both sizes are told again as they are then: only what is inside tells."""
    with tarfile.open(fileobj=io.BytesIO(whole(cell.archive, AES))) as tar:
        part = tar.extractfile("share.tar.gz").read()  # type: ignore[union-attr]
    size = struct.unpack(">Q", part[16:24])[0]
    cut = part[:100_000] + part[100_016:]
    cell.archive.write_bytes(tar_of({"share.tar.gz": cut[:16] + struct.pack(">Q", size - 16) + cut[24:]}))
    with ArchiveReader(cell.archive) as archive, pytest.raises(ArchiveDamaged):
        unpack(archive.inner["share.tar.gz"], Keyring(PASSWORD), cell.target, Rules(), Work())


def test_records_of_extended_headers_that_overlap_are_damage(cell: Cell) -> None:
    good = record(b"path", b"inside")
    with pytest.raises(ArchiveDamaged, match="extended header"):
        cell.unpack(raw_pax(good[:-1] + b"x" + good) + file("x") + END)
    with pytest.raises(ArchiveDamaged, match="extended header"):
        cell.unpack(raw_pax(b"005 a=\n") + file("x") + END)


def test_an_archive_of_nothing_but_headers_ends_at_the_limit_of_its_members(cell: Cell) -> None:
    with pytest.raises(ArchiveRefused, match="more than 1000 members"):
        cell.unpack(head("d", tarfile.DIRTYPE) * 2000 + END, Rules(limits=Limits(members=1000)))
    assert names(cell) == ["d"]
