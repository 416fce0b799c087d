"""One file or folder comes out of an inner archive, and nothing that it asks for beside that."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from hostile_archives import END, PASSWORD, file, folder, hard, symlink
from test_archive_roundtrip import KINDS, keyring, pack

from file_trees import attributes_of, mark
from supervisor.drivers.archive.content import Tree
from supervisor.drivers.archive.index import Index, IndexWriter, Recorder
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.names import parts_of
from supervisor.drivers.archive.reader import ArchiveReader, Inner
from supervisor.drivers.archive.rename import renamed
from supervisor.drivers.archive.rules import ForeignLinks, Rules
from supervisor.drivers.archive.selection import content, listed
from supervisor.drivers.archive.tar import Kind, Member, header
from supervisor.drivers.archive.unpack import unpack_path
from supervisor.drivers.archive.walk import FrontToBack, Indexed, Look
from supervisor.drivers.archive.work import Stopped, Work
from supervisor.drivers.archive.writer import Encryption
from supervisor.errors import ArchiveDamaged, ArchiveRefused, BackupError, Invalid, NotFound, WrongPassword

RULES = Rules(links=ForeignLinks.KEEP)
WAYS = ("front to back", "index of a look", "index of the writer")
Steps = tuple[str, ...]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "photos" / "deep").mkdir(parents=True)
    (root / "photos" / "big").write_bytes(os.urandom(3_000_001))
    (root / "photos" / "deep" / "script").write_text("#!/bin/sh\n")
    (root / "photos" / "deep" / "script").chmod(0o750)
    (root / "photos" / "empty").touch()
    (root / "photos" / "to").symlink_to("deep/script")
    (root / "first").write_text("shared by both")
    os.link(root / "first", root / "photos" / "linked")
    (root / "photo").write_text("no part of photos")
    for path in ("photos", "photos/big", "photos/deep/script", "first"):
        mark(root / path)
    return root


def front(part: Inner, keys: Keyring | None, rules: Rules = RULES) -> Look:
    return FrontToBack(part, keys, rules, Work())


def read(look: Look, path: Steps, rules: Rules = RULES) -> bytes:
    with closing(content(look, path, path[-1] if path else "share", rules)) as pieces:
        return b"".join(pieces)


@contextmanager
def looking(way: str, outer: Path, source: Path, kind: tuple[bool, Encryption | None]) -> Iterator[Look]:
    """Pack `source`, and look into it in one of the ways there are."""
    compressed, encryption = kind
    keys = keyring(encryption)
    with ExitStack() as stack:
        writer = stack.enter_context(IndexWriter(outer.parent / "indexes", keys))
        index = writer if way == "index of the writer" else None
        pack(outer, [Tree(".", source)], compressed=compressed, encryption=encryption, index=index)
        (part,) = stack.enter_context(ArchiveReader(outer)).inner.values()
        look: Look = FrontToBack(part, keys, RULES, Work(), Recorder(writer) if way == "index of a look" else None)
        if way != "front to back":
            if index is None:
                listed(look, ())
            assert writer.path is not None
            look = Indexed(part, keys, RULES, Work(), stack.enter_context(Index(writer.path, keys)))
        yield look


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_files_and_folders_come_out_as_they_went_in(
    tmp_path: Path, source: Path, kind: tuple[bool, Encryption | None], way: str
) -> None:
    with looking(way, tmp_path / "outer.tar", source, kind) as look:
        assert read(look, ("photos", "big")) == (source / "photos" / "big").read_bytes()
        assert read(look, ("photos", "empty")) == b""
        assert read(look, ("photos", "linked")) == b"shared by both"
        with tarfile.open(fileobj=io.BytesIO(read(look, ("photos",)))) as tar:
            names = sorted(member.name for member in tar)
            assert names == sorted(
                [
                    "photos",
                    *(f"photos/{path.relative_to(source / 'photos')}" for path in (source / "photos").rglob("*")),
                ]
            )
            assert tar.extractfile("photos/linked").read() == b"shared by both"  # type: ignore[union-attr]
            assert tar.getmember("photos/deep/script").mode == 0o750
        found = listed(look, ("photos",))
        assert isinstance(found, dict)
        assert {name: (member.kind, member.size) for name, member in found.items()} == {
            "big": (Kind.FILE, 3_000_001),
            "deep": (Kind.FOLDER, 0),
            "empty": (Kind.FILE, 0),
            "to": (Kind.SYMLINK, 0),
            "linked": (found["linked"].kind, len("shared by both")),
        }
        assert found["big"].mtime == (source / "photos" / "big").stat().st_mtime_ns
        assert isinstance(listed(look, ("photo",)), Member)
        target = tmp_path / "target"
        target.mkdir()
        back = unpack_path(look, ("photos",), target, RULES, room=10_000_000)
        assert (back / "linked").read_text() == "shared by both"
        assert (back / "deep" / "script").stat().st_mode & 0o777 == 0o750
        assert [path.name for path in target.iterdir()] == ["photos"]
        for path in (".", "big", "deep/script", "linked"):
            assert attributes_of(back / path) == attributes_of(source / "photos" / path)
        for wrong in (("phot",), ("photos", "big", "more"), ("photos", "gone")):
            with pytest.raises(NotFound):
                read(look, wrong)
            with pytest.raises(NotFound):
                listed(look, wrong)
            with pytest.raises(NotFound):
                unpack_path(look, wrong, target, RULES, room=10**9)


@pytest.mark.parametrize(("compressed", "encryption"), [kind for kind in KINDS if kind[1]])
def test_another_password_opens_nothing(tmp_path: Path, source: Path, compressed: bool, encryption: Encryption) -> None:
    outer = tmp_path / "outer.tar"
    pack(outer, [Tree(".", source)], compressed=compressed, encryption=encryption)
    with ArchiveReader(outer) as archive:
        (part,) = archive.inner.values()
        for other in (None, Keyring("another")):
            with pytest.raises((WrongPassword, ArchiveDamaged)):
                read(front(part, other), ("photos",))


def outer_of(tmp_path: Path, stream: bytes) -> Path:
    path = tmp_path / "hostile.tar"
    path.write_bytes(file("share.tar", stream) + END)
    return path


@pytest.mark.parametrize(
    ("stream", "path", "says"),
    [
        (file("a/x") + file("../out"), ("a",), "climbs"),
        (file("a/x") + file("/etc/passwd"), ("a",), "absolute"),
        (folder("a") + hard("a/x", "b/gone"), ("a",), "not there"),
        (folder("b") + hard("a/x", "b"), ("a",), "no file"),
        (symlink("b", "/etc/passwd") + hard("a/x", "b"), ("a",), "no file"),
        (b"".join(hard(f"l{n}", f"l{n + 1}") for n in range(20)) + file("l20"), ("l0",), "chain"),
        (file("a") + file("a", b"second"), ("a",), "twice"),
        (folder("a") + file("a"), ("a",), "twice"),
        (folder("a") + hard("a/x", "/etc/passwd"), ("a",), "absolute"),
    ],
)
def test_what_a_stranger_asks_for_is_refused(tmp_path: Path, stream: bytes, path: Steps, says: str) -> None:
    with ArchiveReader(outer_of(tmp_path, stream + END)) as archive:
        (part,) = archive.inner.values()
        with pytest.raises(ArchiveRefused, match=says):
            read(front(part, None), path)


def test_links_are_not_followed_and_set_id_bits_do_not_come_out(tmp_path: Path) -> None:
    stream = symlink("a/out", "/etc") + file("a/su", mode=0o4755) + symlink("b", "/etc/passwd") + file("out/x") + END
    with ArchiveReader(outer_of(tmp_path, stream)) as archive:
        (part,) = archive.inner.values()
        with tarfile.open(fileobj=io.BytesIO(read(front(part, None), ("a",)))) as tar:
            assert tar.getmember("a/su").mode == 0o755
            assert tar.getmember("a/out").linkname == "/etc"
        left_out = Rules(links=ForeignLinks.LEAVE_OUT)
        with tarfile.open(fileobj=io.BytesIO(read(front(part, None, left_out), ("a",), left_out))) as tar:
            assert tar.getnames() == ["a/su"]
        with pytest.raises(NotFound):
            read(front(part, None, left_out), ("a", "out"), left_out)
        with pytest.raises(Invalid, match="link to /etc/passwd"):
            read(front(part, None), ("b",))


def test_what_is_cut_off_behind_the_file_is_told_and_so_is_a_lack_of_room(tmp_path: Path) -> None:
    with ArchiveReader(outer_of(tmp_path, file("a", b"x" * 100_000) + file("b")[:700])) as archive:
        (part,) = archive.inner.values()
        with pytest.raises(ArchiveDamaged):
            read(front(part, None), ("a",))
        target = tmp_path / "target"
        target.mkdir()
        with pytest.raises(BackupError, match="No space left"):
            unpack_path(front(part, None), ("a",), target, RULES, room=99_999)


def test_work_that_was_told_to_stop_stops(tmp_path: Path, source: Path) -> None:
    outer = tmp_path / "outer.tar"
    pack(outer, [Tree(".", source)], encryption=Encryption.SECRETSTREAM)
    with ArchiveReader(outer) as archive:
        (part,) = archive.inner.values()
        work = Work()
        look = FrontToBack(part, Keyring(PASSWORD), RULES, work)
        with closing(content(look, ("photos",), "photos", RULES)) as pieces:
            next(pieces)
            work.stop()
            with pytest.raises(Stopped):
                list(pieces)


async def in_blocks(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        await asyncio.sleep(0)
        yield data[at : at + size]


@pytest.mark.parametrize("size", [100, 512, 65536])
async def test_a_stream_gets_other_names_and_keeps_all_else(size: int) -> None:
    big, made = os.urandom(700_001), io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in (("data/share/big", big), (f"data/share/{'ü' * 120}", b"long"), ("data/share/e", b"")):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = len(data), 1.5, "somebody"  # type: ignore[assignment]
            info.pax_headers = {"SCHILY.xattr.user.note": "kept"}
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("data/share/link")
        link.type, link.linkname = tarfile.SYMTYPE, "big"
        tar.addfile(link)

    def stream(data: bytes, name: Callable[[str], str] = str) -> AsyncIterator[bytes]:
        return renamed(in_blocks(data, size), name, RULES, parts_of)

    passed = b"".join([piece async for piece in stream(made.getvalue(), lambda name: name.removeprefix("data/"))])
    assert len(passed) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(passed)) as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == ["share/big", f"share/{'ü' * 120}", "share/e", "share/link"]
        assert tar.extractfile("share/big").read() == big  # type: ignore[union-attr]
        assert {(m.mtime, m.uname, m.pax_headers["SCHILY.xattr.user.note"]) for m in members[:3]} == {
            (1.5, "somebody", "kept")
        }
        assert members[3].linkname == "big"
    with pytest.raises(ArchiveDamaged):
        [piece async for piece in stream(made.getvalue()[:300_000])]
    with pytest.raises(ArchiveDamaged):
        [piece async for piece in stream(header(Member("x", Kind.FILE, 5)) + b"ab")]


async def test_a_stream_of_strangers_comes_under_the_rules() -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for kind, name, link, data in (
            (tarfile.REGTYPE, "a/tool", "", b"x"),
            (tarfile.FIFOTYPE, "a/pipe", "", b""),
            (tarfile.SYMTYPE, "a/out", "/etc", b""),
            (tarfile.SYMTYPE, "a/deep/in", "../tool", b""),
            (tarfile.REGTYPE, "a/last", "", b"y" * 600),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mode = kind, link, len(data), 0o6755
            tar.addfile(info, io.BytesIO(data))
    whole = made.getvalue()

    async def passed(data: bytes, rules: Rules) -> list[tarfile.TarInfo]:
        pieces = [piece async for piece in renamed(in_blocks(data, 512), str, rules, lambda name: parts_of(name)[1:])]
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
            return tar.getmembers()

    members = await passed(whole, Rules(links=ForeignLinks.LEAVE_OUT))
    assert [member.name for member in members] == ["a/tool", "a/deep/in", "a/last"]
    assert {member.mode for member in members if member.isreg()} == {0o755}
    assert [m.name for m in await passed(whole, Rules(links=ForeignLinks.KEEP))][1] == "a/out"
    with pytest.raises(ArchiveRefused, match="outside of its folder"):
        await passed(whole, Rules())
    device = tarfile.TarInfo("a/disk")
    device.type, device.devmajor, device.devminor = tarfile.BLKTYPE, 8, 0
    with pytest.raises(ArchiveRefused, match="a device"):
        await passed(device.tobuf() + bytes(1024), Rules())
