"""What is packed comes out again: contents, names, owners, modes, times and links."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import resource
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from file_trees import attributes_of, mark
from supervisor.drivers.archive import stream as stream_module
from supervisor.drivers.archive.content import Content, Extent, File, Folder, Text, Tree, measure
from supervisor.drivers.archive.index import IndexWriter
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader
from supervisor.drivers.archive.rules import ForeignLinks, Rules
from supervisor.drivers.archive.tar import Kind, Member, header, members
from supervisor.drivers.archive.unpack import check, pick, unpack
from supervisor.drivers.archive.work import Stopped, Work, in_thread, opened
from supervisor.drivers.archive.writer import ArchiveWriter, Encryption, Written
from supervisor.errors import BackupError, BackupFatalIOError, SourceUnreadable

PASSWORD = "correct horse"
KINDS = [(compressed, encryption) for compressed in (True, False) for encryption in (None, *Encryption)]


def pack(
    outer: Path,
    contents: list[Content],
    *,
    compressed: bool = True,
    encryption: Encryption | None = None,
    work: Work | None = None,
    index: IndexWriter | None = None,
) -> Written:
    with ArchiveWriter(
        outer,
        compressed=compressed,
        password=PASSWORD if encryption else None,
        encryption=encryption or Encryption.AES,
    ) as archive:
        written = archive.add("share.tar.gz" if compressed else "share.tar", contents, work or Work(), index)
        archive.finish(b"{}")
    return written


def keyring(encryption: Encryption | None) -> Keyring | None:
    return Keyring(PASSWORD) if encryption else None


def described(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        looks = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, attributes_of(path))
        found[os.fsencode(path.relative_to(folder)).decode(errors="backslashreplace")] = (content, *looks)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "deep" / "er" / "empty").mkdir(parents=True)
    (root / "text").write_text("line of text\n" * 200_000)
    (root / "random").write_bytes(os.urandom(2 * 1024 * 1024 + 7))
    (root / "deep" / "er" / "nothing").touch()
    (root / "deep" / "script").write_text("#!/bin/sh\n")
    (root / "deep" / "script").chmod(0o4755)
    (root / os.fsdecode(b"caf\xe9")).write_text("latin")
    (root / ("ü" * 120)).write_text("long")
    (root / "link").symlink_to("deep/script")
    (root / "dangling").symlink_to("nowhere")
    os.link(root / "random", root / "deep" / "same")
    if os.geteuid() == 0:
        os.chown(root / "text", 1000, 65534)
        os.chown(root / "link", 5, 6, follow_symlinks=False)
        os.chown(root / "deep" / "er", 70_000, 3_000_000)
    (root / "deep").chmod(0o2775)
    for path in (root, root / "deep", root / "text"):
        mark(path)
    os.utime(root / "deep" / "er", ns=(1, 1_234_567_890_123_456_789))
    os.utime(root / "deep", ns=(1, 987_654_321_000_000_001))
    return root


@pytest.mark.parametrize(("compressed", "encryption"), KINDS)
def test_a_folder_comes_out_as_it_went_in(
    source: Path, tmp_path: Path, encryption: Encryption | None, *, compressed: bool
) -> None:
    outer, target = tmp_path / "a.tar", tmp_path / "target"
    target.mkdir()
    written = pack(outer, [Tree(".", source)], compressed=compressed, encryption=encryption)
    assert written.packed.left_out == written.packed.changed == 0
    with ArchiveReader(outer) as archive:
        (part,) = archive.inner.values()
        work = Work()
        found = unpack(part, keyring(encryption), target, Rules(set_id=True), work)
        # What tells the password is read once more.
        assert 0 <= work.done - written.stored < 4096
        checked = check(part, keyring(encryption), Rules(), Work())
    assert (found.files, found.size) == (checked.files, checked.size)
    assert described(target) == described(source)
    assert (target / "random").stat().st_ino == (target / "deep" / "same").stat().st_ino


def test_the_outer_archive_is_laid_out_as_the_contract_tells(source: Path, tmp_path: Path) -> None:
    outer = tmp_path / "a.tar"
    with ArchiveWriter(outer, compressed=True) as archive:
        archive.add("homeassistant.tar.gz", [Folder("."), Text("./homeassistant.json", b"{}")], Work())
        archive.add("share.tar.gz", [Tree(".", source)], Work())
        size = archive.finish(b'{"slug":"1"}')
    content = outer.read_bytes()
    assert len(content) == size
    assert size % 10240 == 0
    assert content.endswith(bytes(1024))
    assert content[156:157] == b"x", "an extended header comes first, for a size beyond 8 GiB"
    assert content[1024 : 1024 + 21] == b"homeassistant.tar.gz\0"
    assert content[1536:1539] == b"\x1f\x8b\x08"
    with tarfile.open(outer, "r:") as tar:
        infos = tar.getmembers()
        assert [info.name for info in infos] == ["homeassistant.tar.gz", "share.tar.gz", "./backup.json"]
        assert all((info.mode, info.uid, info.gid, info.uname, info.gname) == (0o644, 0, 0, "", "") for info in infos)
        assert [list(info.pax_headers) for info in infos] == [["mtime"], ["mtime"], []]
        assert infos[2].offset_data - infos[2].offset == 512
        assert tar.extractfile("./backup.json").read() == b'{"slug":"1"}'  # type: ignore[union-attr]
        inner = io.BytesIO(tar.extractfile("homeassistant.tar.gz").read())  # type: ignore[union-attr]
    with tarfile.open(fileobj=inner, mode="r:gz") as tar:
        assert [(info.name, info.mode) for info in tar] == [(".", 0o755), ("./homeassistant.json", 0o600)]
    done = subprocess.run(("tar", "tzf", "-"), input=inner.getvalue(), capture_output=True, check=True)
    assert done.stdout == b"./\n./homeassistant.json\n"


def test_sizes_beyond_8_gib_are_written_and_read(tmp_path: Path) -> None:
    size = 9 * 1024**3 + 1
    told = header(Member("big", Kind.FILE, size, mtime=5_000_000_001))
    info = tarfile.TarInfo.frombuf(told[-512:], "utf-8", "surrogateescape")
    assert info.size == 0, "what is too large for the classic header stands in the extended one"
    source = io.BytesIO(told + bytes(1024))

    class Source:
        def take(self, size: int) -> bytes:
            return source.read(size)

        def skip(self, size: int) -> None:
            source.seek(size, io.SEEK_CUR)

    assert next(members(Source())) == Member("big", Kind.FILE, size, mtime=5_000_000_001)


def test_an_outer_member_beyond_8_gib_is_found_where_it_is(tmp_path: Path) -> None:
    outer = tmp_path / "big.tar"
    size = 9 * 1024**3
    with outer.open("wb") as file:
        head = header(Member("media.tar", Kind.FILE, size, mtime=1_000_000_001))
        file.write(head)
        file.seek(len(head) + size)
        with tarfile.open(fileobj=file, mode="w:") as tar:
            info = tarfile.TarInfo("./backup.json")
            info.size = 2
            tar.addfile(info, io.BytesIO(b"{}"))
    with ArchiveReader(outer) as archive:
        assert archive.members["media.tar"].size == size
        assert archive.metadata() == b"{}"


def test_members_may_come_in_any_order_and_strange_ones_are_no_trouble(tmp_path: Path) -> None:
    outer = tmp_path / "a.tar"
    with tarfile.open(outer, "w:") as tar:
        for name, content in (("./backup.json", b"new"), ("README", b"x"), ("./snapshot.json", b"old")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with ArchiveReader(outer) as archive:
        assert archive.metadata() == b"old", "the oldest name is preferred"
        assert list(archive.inner) == []


def test_excluded_folders_are_not_looked_into(source: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def exclude(path: str) -> bool:
        asked.append(path)
        return path in ("deep/er", "random")

    pack(tmp_path / "a.tar", [Tree("data", source, exclude)])
    with tarfile.open(tmp_path / "a.tar") as tar:
        inner = tar.extractfile("share.tar.gz")
        with tarfile.open(fileobj=inner, mode="r|gz") as inside:
            names = inside.getnames()
    assert "data/deep/script" in names
    assert "data/deep/er" not in names
    assert "data/random" not in names
    assert "deep/er/nothing" not in asked
    extent = measure(Tree("data", source, exclude), Work())
    assert extent.files == 5 + 0
    assert extent.size == sum((source / name).stat().st_size for name in ("text", "deep/script", "deep/same")) + 9


def test_sockets_and_pipes_are_left_out(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "sock"))
        written = pack(tmp_path / "a.tar", [Tree(".", source)])
    assert written.packed.left_out == 2


@pytest.mark.parametrize(("name", "levels"), [("d", 140), ("n" * 200, 25), ("d", 700)])
def test_what_lies_too_deep_to_be_read_back_is_left_out_and_told(tmp_path: Path, name: str, levels: int) -> None:
    """Whoever may write into a shared folder could otherwise make a backup of it that nobody can restore."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "precious").write_text("here")
    at = os.open(source, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=at)
        deeper = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    os.close(at)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        written = pack(tmp_path / "a.tar", [Tree("data", source)])
        measured = measure(Tree("data", source), Work())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (written.packed.beyond, written.packed.files, measured.files) == (1, 1, 1)
    assert written.packed.example.startswith(f"{name}/{name}"[:50])
    with ArchiveReader(tmp_path / "a.tar") as archive:
        unpack(archive.inner["share.tar.gz"], None, target, Rules(), Work())
    assert (target / "data" / "precious").read_text() == "here"


def test_a_disk_image_of_zeros_comes_back_and_takes_no_room(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    size = 200 * 1024 * 1024
    for name, island in (("ends in zeros", 5_000_000), ("ends in data", size - 3)):
        with (source / name).open("wb") as file:
            file.truncate(size)
            file.seek(island)
            file.write(b"abc")
    pack(tmp_path / "a.tar", [Tree(".", source)])
    with ArchiveReader(tmp_path / "a.tar") as archive:
        unpack(archive.inner["share.tar.gz"], None, target, Rules(), Work())
    for name, island in (("ends in zeros", 5_000_000), ("ends in data", size - 3)):
        status = (target / name).stat()
        assert (status.st_size, status.st_blocks * 512 < 4_000_000) == (size, True)
        with (target / name).open("rb") as file:
            file.seek(island - 10)
            assert file.read(16)[:13] == bytes(10) + b"abc"


def test_a_file_that_shrinks_while_it_is_read_spoils_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "log").write_bytes(b"x" * 5_000_000)
    (source / "zzz").write_text("after")

    def shrink(_done: int) -> None:
        os.truncate(source / "log", 2_000_000)

    written = pack(tmp_path / "a.tar", [Tree(".", source)], work=Work(shrink))
    assert written.packed.changed == 1
    target = tmp_path / "target"
    target.mkdir()
    with ArchiveReader(tmp_path / "a.tar") as archive:
        unpack(archive.inner["share.tar.gz"], None, target, Rules(), Work())
    assert (target / "log").stat().st_size == 5_000_000
    assert (target / "zzz").read_text() == "after"


def test_a_folder_swapped_for_a_link_while_it_is_packed_leads_nowhere(tmp_path: Path) -> None:
    """What an add-on plants in its data must not make us save somebody else's files."""
    source, secret = tmp_path / "source", tmp_path / "secret"
    (source / "b").mkdir(parents=True)
    (source / "b" / "mine").write_text("mine")
    secret.mkdir()
    (secret / "mine").write_text("secret")

    def swap(path: str) -> bool:
        if path == "b/mine":
            (source / "b" / "mine").unlink()
            (source / "b" / "mine").symlink_to(secret / "mine")
        return False

    pack(tmp_path / "a.tar", [Tree(".", source, swap)])
    with ArchiveReader(tmp_path / "a.tar") as archive:
        assert pick(archive.inner["share.tar.gz"], None, {"b/mine"}, Work()) == {}


def test_an_item_that_fails_was_never_there_and_the_next_one_is_fine(tmp_path: Path) -> None:
    outer = tmp_path / "a.tar"
    with ArchiveWriter(outer, compressed=True, password=PASSWORD) as archive:
        archive.add("first.tar.gz", [Text("a", b"1")], Work())
        with pytest.raises(SourceUnreadable, match="missing can't be read"):
            archive.add("second.tar.gz", [Text("a", os.urandom(3_000_000)), Tree(".", tmp_path / "missing")], Work())
        archive.add("third.tar.gz", [Text("a", b"3")], Work())
        archive.finish(b"{}")
    with ArchiveReader(outer) as archive:
        assert list(archive.inner) == ["first.tar.gz", "third.tar.gz"]
        assert pick(archive.inner["third.tar.gz"], Keyring(PASSWORD), {"a"}, Work()) == {"a": b"3"}


def test_an_archive_that_is_not_finished_leaves_no_file_and_spares_what_is_there(tmp_path: Path) -> None:
    outer = tmp_path / "a.tar"

    def fail() -> None:
        with ArchiveWriter(outer, compressed=True) as archive:
            archive.add("first.tar.gz", [Text("a", b"1")], Work())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not outer.exists()
    outer.write_text("precious")
    with pytest.raises(FileExistsError), ArchiveWriter(outer, compressed=True):
        pass
    assert outer.read_text() == "precious"


def test_a_full_disk_is_told_and_leaves_no_file(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = os.writev, []

    def full(descriptor: int, pieces: list[memoryview]) -> int:
        written.append(sum(map(len, pieces)))
        if sum(written) > 1_500_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, pieces)

    monkeypatch.setattr(stream_module.os, "writev", full)
    with pytest.raises(BackupFatalIOError, match="No space left"):
        pack(tmp_path / "a.tar", [Tree(".", source)])
    assert not (tmp_path / "a.tar").exists()
    assert "backup-write" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(("compressed", "encryption"), [(True, None), (False, Encryption.AES)])
def test_a_disk_that_is_full_at_the_very_end_of_an_item_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, compressed: bool, encryption: Encryption | None
) -> None:
    real, left = os.writev, 100

    def full(descriptor: int, pieces: list[memoryview]) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, pieces)

    def attempt(room: int) -> None:
        nonlocal left
        left = room
        pack(tmp_path / f"{room}.tar", [Text("a", b"1")], compressed=compressed, encryption=encryption)

    monkeypatch.setattr(stream_module.os, "writev", full)
    attempt(100)
    for room in range(100 - left):
        with pytest.raises(BackupFatalIOError, match="No space left"):
            attempt(room)
        assert not (tmp_path / f"{room}.tar").exists()
        assert "backup-write" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("compressed", [True, False])
async def test_cancelling_stops_at_once_and_leaves_nothing(tmp_path: Path, *, compressed: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "huge").open("wb") as file:
        file.truncate(200 * 1024**3)
    started = threading.Event()
    work = Work(lambda _: started.set())
    task = asyncio.create_task(
        in_thread(work, lambda: pack(tmp_path / "a.tar", [Tree(".", source)], compressed=compressed, work=work))
    )
    await asyncio.to_thread(started.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (tmp_path / "a.tar").exists()


def test_work_that_is_stopped_says_so(source: Path, tmp_path: Path) -> None:
    work = Work()
    work.stop()
    with pytest.raises(Stopped):
        pack(tmp_path / "a.tar", [Tree(".", source)], work=work)
    pack(tmp_path / "a.tar", [Tree(".", source)])
    with ArchiveReader(tmp_path / "a.tar") as archive, pytest.raises(Stopped):
        check(archive.inner["share.tar.gz"], None, Rules(), work)


@pytest.mark.parametrize("sealed", [True, False])
def test_memory_stays_bounded_whatever_the_size(tmp_path: Path, *, sealed: bool) -> None:
    """A process packs, checks and unpacks 160 MB, half of which shrinks; its peak is compared with its start."""
    source = tmp_path / "source"
    source.mkdir()
    block = os.urandom(1024 * 1024)
    with (source / "a").open("wb") as file:
        for number in range(160):
            file.write(block if number % 2 else b"%d" % number * 200_000)
    script = Path(__file__).with_name("archive_memory.py")
    arguments = (sys.executable, str(script), str(tmp_path), PASSWORD if sealed else "")
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    above = float(done.stdout)
    assert 0 < above < 64


async def test_the_event_loop_stays_free_while_an_archive_is_made(source: Path, tmp_path: Path) -> None:
    work = Work()
    turns = 0
    task = asyncio.create_task(in_thread(work, lambda: pack(tmp_path / "a.tar", [Tree(".", source)], work=work)))
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    # How long each turn takes is for the machine to say; whoever did the work in the loop would leave it two.
    assert turns > 5
    assert (await task).plain > 4_000_000


_NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@settings(max_examples=40, deadline=None)
@given(files=st.dictionaries(_NAMES, st.binary(max_size=3000), max_size=6), kind=st.sampled_from(KINDS))
def test_any_names_and_contents_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], kind: tuple[bool, Encryption | None]
) -> None:
    root = tmp_path_factory.mktemp("any")
    source, target = root / "source", root / "target"
    source.mkdir()
    target.mkdir()
    for name, content in files.items():
        (source / name).write_bytes(content)
    compressed, encryption = kind
    pack(root / "a.tar", [Tree(".", source)], compressed=compressed, encryption=encryption)
    with ArchiveReader(root / "a.tar") as archive:
        (part,) = archive.inner.values()
        unpack(part, keyring(encryption), target, Rules(links=ForeignLinks.REFUSE), Work())
    assert described(target) == described(source)


def test_a_single_file_of_the_disk_goes_in_under_its_new_name(source: Path, tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", [File("./image.tar", source / "text")])
    assert measure(File("./image.tar", source / "text"), Work()) == Extent(1, (source / "text").stat().st_size)
    with ArchiveReader(tmp_path / "a.tar") as archive:
        picked = pick(archive.inner["share.tar.gz"], None, {"image.tar", "nothing"}, Work())
        assert picked == {"image.tar": (source / "text").read_bytes()}
        with pytest.raises(BackupError, match="larger than it may be"):
            pick(archive.inner["share.tar.gz"], None, {"image.tar"}, Work(), limit=10)


async def test_a_context_that_is_entered_when_nobody_waits_any_more_is_left_again(tmp_path: Path) -> None:
    began, goes_on = threading.Event(), threading.Event()

    class Slow(ArchiveWriter):
        def __enter__(self) -> Self:
            began.set()
            goes_on.wait(30)
            super().__enter__()
            return self

    async def use() -> None:
        async with opened(Slow(tmp_path / "a.tar", compressed=True)):
            pytest.fail("it was cancelled before")

    task = asyncio.create_task(use())
    await asyncio.to_thread(began.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not (tmp_path / "a.tar").exists()
