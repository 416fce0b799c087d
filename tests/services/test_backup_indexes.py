"""Indexes of backup files: single files are got without reading all, and no index is believed when the file changed."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from hostile_archives import END, file, folder, hard, pax, symlink
from test_archive_roundtrip import PASSWORD, pack
from test_backup_archive_files import Stage

from supervisor.drivers.archive.cipher import CHUNK, SealedStream, decrypted
from supervisor.drivers.archive.content import Tree
from supervisor.drivers.archive.index import Index, IndexWriter
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader, Inner
from supervisor.drivers.archive.selection import content
from supervisor.drivers.archive.tar import Kind, Member
from supervisor.drivers.archive.walk import FrontToBack, Indexed
from supervisor.drivers.archive.work import Work
from supervisor.drivers.archive.writer import ArchiveWriter, Encryption
from supervisor.errors import ArchiveDamaged, ArchiveRefused, BackupError, NotFound
from supervisor.managers.backups.archive_files import rules_of
from supervisor.managers.backups.indexes import Indexes

SLUG = "aaaa1111"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    one = Stage(tmp_path)
    for name in ("a", "b", "c"):
        folder = one.paths.share / name
        folder.mkdir(parents=True)
        (folder / "big").write_bytes(os.urandom(6 * 1024 * 1024))
        (folder / "small").write_text(f"saved in {name}")
    make(one)
    return one


def make(stage: Stage, password: str | None = PASSWORD) -> None:
    """Make the backup as the daemon does, with its indexes."""
    indexes = Indexes(stage.paths.backup_indexes)
    writer = ArchiveWriter(stage.archive, compressed=True, password=password)
    with indexes.drafts() as drafts:
        with writer, indexes.writer(writer.keyring) as index:
            writer.add("share.tar.gz", [Tree(".", stage.paths.share)], Work(), index)
            assert index.path is not None
            drafts["share.tar.gz"] = index.path
            writer.finish(b"{}")
        indexes.keep(stage.archive, SLUG, drafts)
    assert len(kept(stage)) == 1


def kept(stage: Stage) -> list[Path]:
    return sorted(stage.paths.backup_indexes.iterdir())


async def read(stage: Stage, path: str) -> bytes:
    async with stage.files().reading(path) as blocks:
        return b"".join([block async for block in blocks])


def damage(stage: Stage, *, hidden: bool) -> None:
    """Change a byte of the first MiB, as a dying disk (`hidden`) or as somebody who writes into the file."""
    status = stage.archive.stat()
    with stage.archive.open("r+b") as file:
        file.seek(512 * 1024)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    if hidden:
        os.utime(stage.archive, ns=(status.st_atime_ns, status.st_mtime_ns))


def first_and_last(stage: Stage) -> tuple[str, str]:
    """Return the folders that lie at the beginning and at the end of the archive."""
    with Index(kept(stage)[0], Keyring(PASSWORD)) as index:
        order = [parts[0] for member, parts, _ in index.rows() if member.kind is Kind.FILE and parts[1] == "big"]
    return order[0], order[-1]


async def test_what_is_got_by_an_index_is_checked_and_nothing_else_is_read(stage: Stage) -> None:
    first, last = first_and_last(stage)
    damage(stage, hidden=True)
    assert [entry.name for entry in await stage.files().entries(f"share/{last}")] == ["big", "small"]
    assert await read(stage, f"share/{last}/small") == f"saved in {last}".encode()
    assert await read(stage, f"share/{last}/big") == (stage.paths.share / last / "big").read_bytes()
    with pytest.raises(BackupError, match="altered or is damaged"):
        await read(stage, f"share/{first}/big")


async def test_an_index_of_a_file_that_has_changed_is_not_believed(stage: Stage) -> None:
    _, last = first_and_last(stage)
    damage(stage, hidden=False)
    with pytest.raises(BackupError, match="altered or is damaged"):
        await stage.files().entries(f"share/{last}")
    (stage.paths.share / "new").touch()
    stage.archive.unlink()
    pack(stage.archive, [Tree(".", stage.paths.share)], encryption=Encryption.SECRETSTREAM)
    before = kept(stage)
    assert "new" in [entry.name for entry in await stage.files().entries("share")]
    # The new one took the place of the old one.
    assert len(kept(stage)) == 1
    assert kept(stage) != before


async def test_the_first_look_makes_an_index_and_the_next_ones_live_on_it(stage: Stage) -> None:
    first, last = first_and_last(stage)
    (made,) = kept(stage)
    made.unlink()
    found = await stage.files().entries("share/a")
    (made,) = kept(stage)
    assert made.stat().st_mode & 0o777 == 0o600
    damage(stage, hidden=True)
    assert await stage.files().entries("share/a") == found
    # Not even this index knows where to jump to: what lies before has to be read, and is damaged.
    with pytest.raises(BackupError):
        await read(stage, f"share/{last}/small")
    damage(stage, hidden=True)
    with stage.archive.open("r+b") as file:
        file.seek(-3 * 1024 * 1024, os.SEEK_END)
        status = stage.archive.stat()
        file.write(b"damage")
    os.utime(stage.archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    # But nothing behind is read.
    assert await read(stage, f"share/{first}/big") == (stage.paths.share / first / "big").read_bytes()


async def test_who_leaves_early_leaves_no_thread_behind(stage: Stage) -> None:
    (made,) = kept(stage)
    before = set(threading.enumerate())
    for indexed in (True, False):
        if not indexed:
            made.unlink()
            await stage.files().entries("share")
        async with stage.files().reading("share") as blocks:
            assert await anext(blocks)
        # Those of the pool that asyncio takes for blocking calls stay.
        left = set(threading.enumerate()) - before
        assert [thread.name for thread in left if thread.name.startswith("backup-")] == []


async def test_an_index_that_is_broken_or_can_not_be_written_is_no_misfortune(stage: Stage) -> None:
    found = await stage.files().entries("share/a")
    (made,) = kept(stage)
    whole = made.read_bytes()
    for broken in (
        b"",
        whole[:30],
        whole[:-5],
        whole[:-5] + b"other",
        b"\xff" * len(whole),
        whole[:200] + whole[:-200],
    ):
        made.write_bytes(broken)
        assert await stage.files().entries("share/a") == found
        (made,) = kept(stage)
        assert made.read_bytes() != broken
    made.unlink()
    stage.paths.backup_indexes.rmdir()
    stage.paths.backup_indexes.write_text("no folder")
    assert await stage.files().entries("share/a") == found


def test_the_index_of_an_encrypted_backup_opens_with_its_password_alone(stage: Stage) -> None:
    (made,) = kept(stage)
    for keys in (None, Keyring("another")):
        with pytest.raises(BackupError), Index(made, keys):
            pass
    with Index(made, Keyring(PASSWORD)) as index:
        assert ("a", "small") in [parts for _, parts, _ in index.rows()]


def test_indexes_are_bounded_each_and_all_together(stage: Stage, tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "other", None, limit=100_000) as writer:
        for number in range(50_000):
            writer.member(Member(os.urandom(20).hex(), Kind.FILE), 512 * number)
        assert writer.path is None
    assert list((tmp_path / "other").iterdir()) == []
    kept(stage)[0].unlink()
    with ArchiveReader(stage.archive) as archive:
        part = archive.inner["share.tar.gz"]
        with Indexes(stage.paths.backup_indexes).look(
            stage.archive, SLUG, part, Keyring(PASSWORD), rules_of("share"), Work()
        ) as look:
            assert list(look.members(lambda _: True))
    size = kept(stage)[0].stat().st_size
    indexes = Indexes(stage.paths.backup_indexes, limit=2 * size + size // 2)
    copies = [tmp_path / f"{number}.tar" for number in range(3)]
    looks = []
    # The first one is used again before the third one is made, for which the second one has to go.
    for copy in (copies[0], copies[1], copies[0], copies[2], copies[0], copies[1]):
        if not copy.exists():
            os.link(stage.archive, copy)
        with ArchiveReader(copy) as archive:
            part = archive.inner["share.tar.gz"]
            with indexes.look(copy, SLUG, part, Keyring(PASSWORD), rules_of("share"), Work()) as look:
                assert list(look.members(lambda _: True))
                looks.append(type(look))
        assert sum(path.stat().st_size for path in kept(stage)) <= 2 * size + size // 2
    assert looks == [FrontToBack, FrontToBack, Indexed, FrontToBack, Indexed, FrontToBack]


def test_a_copy_has_the_indexes_of_the_file_that_it_was_made_from(stage: Stage, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tar"
    shutil.copyfile(stage.archive, copy)
    indexes = Indexes(stage.paths.backup_indexes)
    indexes.copy(stage.archive, copy, SLUG)
    stage.archive.unlink()
    indexes.sweep([tmp_path], [copy])
    with ArchiveReader(copy) as archive:
        part = archive.inner["share.tar.gz"]
        with indexes.look(copy, SLUG, part, Keyring(PASSWORD), rules_of("share"), Work()) as look:
            assert isinstance(look, Indexed)


def test_indexes_of_files_that_are_gone_go_too(stage: Stage) -> None:
    indexes = Indexes(stage.paths.backup_indexes)
    (made,) = kept(stage)
    draft = stage.paths.backup_indexes / ".draft"
    draft.touch()
    here, elsewhere = [stage.archive.parent], [stage.archive.parent / "mount"]
    indexes.sweep(here, [stage.archive])
    assert kept(stage) == [draft, made]
    indexes.sweep(here, [stage.archive], drafts=True)
    assert kept(stage) == [made]
    # Its folder can't be looked into now: nobody knows whether it is gone.
    indexes.sweep(elsewhere, [])
    assert kept(stage) == [made]
    indexes.sweep(here, [stage.archive.with_name("other.tar")])
    assert kept(stage) == []
    with indexes.drafts() as drafts:
        draft.touch()
        drafts["share.tar.gz"] = draft
    assert kept(stage) == []


def test_only_the_blocks_that_are_needed_are_read(stage: Stage) -> None:
    make_again(stage, None)
    with ArchiveReader(stage.archive) as archive:
        part, work = archive.inner["share.tar.gz"], Work()
        with (
            Indexes(stage.paths.backup_indexes).look(stage.archive, SLUG, part, None, rules_of("share"), work) as look,
            closing(content(look, ("c", "small"), "small", rules_of("share"))) as pieces,
        ):
            assert b"".join(pieces) == b"saved in c"
        assert work.done <= 2 * 1024 * 1024 + 4096


def make_again(stage: Stage, password: str | None) -> None:
    stage.archive.unlink()
    make(stage, password)


def test_chunks_of_an_encrypted_archive_are_read_in_any_order_and_only_where_they_belong(stage: Stage) -> None:
    with ArchiveReader(stage.archive) as archive:
        part = archive.inner["share.tar.gz"]
        whole = b"".join(decrypted(part, Keyring(PASSWORD))[1])
        with Index(kept(stage)[0], Keyring(PASSWORD)) as index:
            seals = index.table.seals
        stream = SealedStream(part, Keyring(PASSWORD), seals)
        for start, size in (
            (5 * CHUNK + 7, 3 * CHUNK),
            (0, 10),
            (len(whole) - 5, 100),
            (CHUNK - 1, 2),
            (len(whole), 5),
        ):
            assert stream.read_at(start, size) == whole[start : start + size]
        swapped = seals[8:16] + seals[:8] + seals[16:]
        with pytest.raises(ArchiveDamaged):
            SealedStream(part, Keyring(PASSWORD), swapped).read_at(CHUNK, 1)
        with pytest.raises(ArchiveDamaged):
            SealedStream(part, Keyring(PASSWORD), seals[8:])
        plain = Inner(part.name, part.offset + 200, 100, part.descriptor)
        with pytest.raises(ArchiveDamaged):
            SealedStream(plain, Keyring(PASSWORD), seals)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def foreign(stage: Stage, stream: bytes) -> None:
    """Have an archive that somebody else made, of which there is no index."""
    stage.archive.write_bytes(file("share.tar.gz", gzip.compress(stream + END, 1)) + END)
    for index in kept(stage):
        index.unlink()


async def test_a_look_that_finds_nothing_leaves_one_index_and_no_draft(stage: Stage) -> None:
    foreign(stage, folder(".") + file("a"))
    files = stage.files(None)
    for _ in range(3):
        with pytest.raises(NotFound):
            await files.entries("share/gone")
    (made,) = kept(stage)
    assert not made.name.startswith(".")
    # What stands in the place of an index can't be replaced by one: nothing is left beside it.
    made.unlink()
    made.mkdir()
    for _ in range(2):
        assert [entry.name for entry in await files.entries("share")] == ["a"]
    assert kept(stage) == [made]


async def test_a_full_disk_takes_no_index_and_everything_is_found_without(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(stage)[0].unlink()
    before = open_files()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "writev", full)
    assert [entry.name for entry in await stage.files().entries("share")] == ["a", "b", "c"]
    assert await read(stage, "share/a/small") == b"saved in a"
    assert kept(stage) == []
    assert open_files() == before


async def test_what_no_file_has_is_no_trouble_for_an_index(stage: Stage) -> None:
    key, link = b"SCHILY.xattr.user." + b"k" * 70_000, b"b/" * 2000 + b"x"
    foreign(stage, pax((key, b"v" * 70_000)) + file("a") + pax((b"linkpath", link)) + symlink("b", "") + file("c"))
    for _ in range(2):
        assert [entry.name for entry in await stage.files(None).entries("share")] == ["a", "b", "c"]
        async with stage.files(None).reading("share/c") as blocks:
            assert b"".join([block async for block in blocks]) == b"x"
    with Index(kept(stage)[0], None) as index:
        members = [member for member, _, _ in index.rows()]
    assert [len(value) for _, value in members[0].attributes] == [70_000]
    assert members[1].link == link.decode()


@pytest.mark.parametrize(
    "stream",
    [
        pax((b"linkpath", b"x" * 4097)) + symlink("a", ""),
        b"".join(pax((b"SCHILY.xattr.user.%d" % n, b"v" * 900_000)) for n in range(2)) + file("a"),
        file("t") + b"".join(pax((b"linkpath", b"./" * 2000 + b"t")) + hard(f"l{n}", "") for n in range(4200)),
    ],
    ids=["a link", "attributes", "hard links"],
)
async def test_what_would_fill_the_memory_is_refused(stage: Stage, stream: bytes) -> None:
    foreign(stage, stream)
    with pytest.raises(ArchiveRefused):
        await stage.files(None).entries("share")
    assert kept(stage) == []


async def test_a_listing_holds_no_attributes(stage: Stage) -> None:
    big = pax((b"SCHILY.xattr.user.x", b"v" * 1_000_000))
    foreign(stage, b"".join(big + file(f"f{number}") for number in range(150)))
    tracemalloc.start()
    assert len(await stage.files(None).entries("share")) == 150
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * 1024 * 1024
