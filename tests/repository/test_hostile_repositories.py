"""Repositories that somebody else wrote who knows the password: the rules are those of archives."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from forger import Forger, Node, node
from house import Stage, with_repository
from repository_stage import PASSWORD, described, has_attributes, silent

from supervisor.drivers.archive.rules import Limits, Rules
from supervisor.drivers.snapshot_engine import Selection
from supervisor.errors import ArchiveRefused, BackupError, NotFound
from supervisor.managers.backups.locations import RESERVE
from supervisor.managers.backups.progress import ByteProgress
from supervisor.managers.backups.repositories import RepositoryManager
from supervisor.managers.backups.repository_backups import RepositorySource
from supervisor.managers.backups.repository_tags import encode

pytestmark = pytest.mark.timeout(120)
SLUG = "aaaa1111"
# The version of the format, and CAP_SETUID as permitted and effective.
CAPABILITY = b"\x01\x00\x00\x02\x80\x00\x00\x00" + bytes(12)


async def written(stage: Stage, roots: Mapping[str, str], part: str = "share") -> RepositoryManager:
    """Have restic alone save the share folder, and call what lies there a backup."""
    manager = await with_repository(stage)
    access = stage.files.access("nas", manager.get("nas").record.place)
    description = {
        "backup": stage.metadata(SLUG, {}),
        "parts": {part: {"snapshot": None, "roots": dict(roots), "size": 1}},
    }
    await manager._engine.backup(access, Selection([stage.share]), encode(SLUG, description), silent)
    await manager.reload("nas")
    return manager


def target_of(stage: Stage) -> Path:
    target = stage.folder / "back"
    target.mkdir(mode=0o700)
    return target


def privileged(stage: Stage) -> None:
    """Put into the share what is honest in none, beside what is."""
    share = stage.share
    for name, mode in (("suid", 0o4755), ("sgid", 0o2711)):
        (share / "sub" / name).write_text("#!/bin/sh")
        (share / "sub" / name).chmod(mode)
    (share / "sub" / "team").mkdir()
    (share / "sub" / "team").chmod(0o6775)
    os.mkfifo(share / "sub" / "pipe")
    (share / "sub" / "out").symlink_to("/etc/passwd")
    (share / "sub" / "up").symlink_to("../../../etc")
    (share / "sub" / "in").symlink_to("../text.txt")
    if has_attributes(share):
        os.setxattr(share / "sub" / "sgid", "security.capability", CAPABILITY)
        os.setxattr(share / "sub", "trusted.overlay.opaque", b"y")
    os.utime(share / "sub", ns=(10**18, 10**18))


async def packed(stage: Stage, manager: RepositoryManager, path: str) -> dict[str, tarfile.TarInfo]:
    async with stage.contents(manager).reading("nas", SLUG, path) as blocks:
        whole = b"".join([block async for block in blocks])
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        return {member.name: member for member in tar}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_what_has_privileges_or_leads_out_comes_back_without(stage: Stage) -> None:
    privileged(stage)
    manager = await written(stage, {".": str(stage.share)})
    target = target_of(stage)
    await stage.contents(manager).fetch("nas", SLUG, "share", target)
    sub = target / "sub"
    assert (mode_of(sub / "suid"), mode_of(sub / "sgid"), mode_of(sub / "team")) == (0o755, 0o711, 0o2775)
    names = {path.name for path in sub.iterdir()}
    assert names >= {"suid", "sgid", "team", "in", "deeper"}
    assert not names & {"pipe", "out", "up"}
    assert (sub / "in").read_text() == (stage.share / "text.txt").read_text()
    assert sub.stat().st_mtime_ns == 10**18, "leaving something out is no change of the folder"
    for path in (sub, *sub.iterdir()):
        if not path.is_symlink():
            assert [name for name in os.listxattr(path) if not name.startswith("user.")] == []
    if has_attributes(stage.share):
        assert os.getxattr(target / "text.txt", "user.comment") == b"kept"


async def test_an_add_on_keeps_its_links_as_it_does_from_an_archive(stage: Stage) -> None:
    privileged(stage)
    manager = await written(stage, {"data": str(stage.share)}, part="local_x")
    target = target_of(stage)
    await stage.contents(manager).fetch("nas", SLUG, "local_x", target)
    sub = target / "data" / "sub"
    assert (sub / "out").readlink() == Path("/etc/passwd")
    assert not (sub / "pipe").exists()
    assert mode_of(sub / "suid") == 0o755


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK], ids=["character", "block"])
async def test_a_device_is_refused_with_all_that_is_around_it(stage: Stage, kind: int) -> None:
    os.mknod(stage.share / "sub" / "disk", kind | 0o666, os.makedev(1, 3))
    manager = await written(stage, {".": str(stage.share)})
    contents = stage.contents(manager)
    with pytest.raises(ArchiveRefused, match="sub/disk: a device"):
        await contents.fetch("nas", SLUG, "share", target_of(stage))
    one = stage.folder / "one"
    one.mkdir(mode=0o700)
    with pytest.raises(ArchiveRefused, match="sub/disk: a device"):
        await contents.fetch_path("nas", SLUG, "share/sub", one)
    (stage.share / "sub" / "disk").unlink()
    with pytest.raises(ArchiveRefused, match="sub/disk: a device"):
        await contents.restore_path("nas", SLUG, "share/sub/disk")
    assert not (stage.share / "sub" / "disk").exists()
    assert list((stage.paths.tmp / "repositories").iterdir()) == []
    # What restic packs instead is an empty file.
    assert {member.type for member in (await packed(stage, manager, "share/sub")).values()} <= {
        tarfile.REGTYPE, tarfile.DIRTYPE,
    }  # fmt: skip


async def test_one_thing_of_it_comes_under_the_rules_too(stage: Stage) -> None:
    privileged(stage)
    manager = await written(stage, {".": str(stage.share)})
    contents = stage.contents(manager)
    (stage.share / "sub" / "suid").unlink()
    await contents.restore_path("nas", SLUG, "share/sub/suid")
    assert mode_of(stage.share / "sub" / "suid") == 0o755
    for name in ("pipe", "out", "up"):
        with pytest.raises(NotFound, match=name):
            await contents.restore_path("nas", SLUG, f"share/sub/{name}")
    # Where it stands decides: this link leads to its neighbour above, inside of the share.
    (stage.share / "sub" / "in").unlink()
    await contents.restore_path("nas", SLUG, "share/sub/in")
    assert (stage.share / "sub" / "in").readlink() == Path("../text.txt")
    members = await packed(stage, manager, "share/sub")
    assert members["sub/suid"].mode == 0o755
    assert members["sub/in"].linkname == "../text.txt"
    assert not members.keys() & {"sub/out", "sub/up"}
    assert not any(member.isfifo() for member in members.values())
    assert not any("capability" in key for member in members.values() for key in member.pax_headers)


async def test_links_where_folders_were_lead_nobody_to_other_files(stage: Stage) -> None:
    """The description may name a path behind a link of the same snapshot: what is there is this machine's own."""
    outside = stage.folder / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    (stage.share / "way").symlink_to(outside)
    roots = {"zzz": f"{stage.share}/way", "data": f"{stage.share}/way/mine"}
    manager = await written(stage, roots, part="local_x")
    with pytest.raises(BackupError, match="behind a link"):
        await stage.contents(manager).fetch("nas", SLUG, "local_x", target_of(stage))
    assert (outside / "mine").read_text() == "mine"
    assert list(target_of_left(stage)) == []


def target_of_left(stage: Stage) -> list[Path]:
    return list((stage.folder / "back").iterdir())


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "..", "", "a\0b"])
async def test_a_name_that_leads_elsewhere_makes_no_backup(stage: Stage, name: str) -> None:
    manager = await written(stage, {name: str(stage.share)})
    assert dict(manager.get("nas").backups) == {}


@pytest.mark.parametrize("path", ["relative", "/a/../../b", "/..", "/a\0b", ""])
async def test_a_path_that_leads_elsewhere_makes_no_backup(stage: Stage, path: str) -> None:
    manager = await written(stage, {"data": path})
    assert dict(manager.get("nas").backups) == {}


async def test_what_lies_too_deep_is_left_out_when_it_is_saved_and_when_strangers_saved_it(stage: Stage) -> None:
    deep = stage.share / "/".join(["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (stage.share / "d" / "near").write_text("near")
    manager = await written(stage, {".": str(stage.share)})
    target = target_of(stage)
    await stage.contents(manager).fetch("nas", SLUG, "share", target)
    assert (target / "d" / "near").read_text() == "near"
    assert 120 < len(list((target / "d").rglob("d"))) < 128

    async with manager.writing("nas", "bbbb2222") as writer:
        await writer.finish(lambda kept: stage.metadata("bbbb2222", kept), stage.parts()[:1], silent)
    packed = writer.packed["share"]
    assert (packed.beyond, packed.example.startswith("d/d/d/")) == (1, True)
    again = stage.folder / "again"
    again.mkdir(mode=0o700)
    await stage.contents(manager).fetch("nas", "bbbb2222", "share", again)
    assert described(again / "d").keys() == described(target / "d").keys()


@pytest.mark.parametrize("look", [0.01, 60.0], ids=["seen", "done before anybody looks"])
async def test_a_part_that_is_larger_than_its_description_says_fills_no_disk(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, look: float
) -> None:
    monkeypatch.setattr("supervisor.drivers.restic_process._LOOK_SECONDS", look)
    with (stage.share / "huge").open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    manager = await written(stage, {".": str(stage.share)})
    backup = manager.get("nas").backups[SLUG]
    assert backup.parts["share"].size == 1
    source = RepositorySource(stage.contents(manager), "nas", backup, stage.paths.tmp)
    async with manager._jobs.run("restore") as job:
        target, rules, progress = target_of(stage), Rules(limits=Limits(size=32 * 1024 * 1024)), ByteProgress(job, 1)
        with pytest.raises(BackupError, match="share can't be restored: not enough space is left"):
            await source.unpack("share", target, rules, progress)


async def forged(stage: Stage, *inside: Node, root: str = "/share", forger: Forger | None = None) -> RepositoryManager:
    """Have a repository with a backup of the share folder that restic would never have written."""
    manager = stage.manager()
    await manager.load()
    if not manager.repositories:
        manager = await with_repository(stage)
    forger = forger or Forger(stage.folder / "repository", PASSWORD)
    description = {
        "backup": stage.metadata(SLUG, {}),
        "parts": {"share": {"snapshot": None, "roots": {".": root}, "size": 1}},
    }
    forger.snapshot(forger.tree(node("share", "dir", subtree=forger.tree(*inside))), encode(SLUG, description))
    await manager.reload("nas")
    return manager


@pytest.mark.parametrize("root", ["/share", "//share/./"])
@pytest.mark.parametrize("first", ["link", "file"])
async def test_the_second_of_two_entries_of_one_name_does_not_go_through_the_first(
    stage: Stage, root: str, first: str
) -> None:
    victim = stage.folder / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    link, file = (
        node("x", "symlink", linktarget=str(victim)),
        node("x", "file", size=0, content=[], mode=1 << 23 | 0o777),
    )
    manager = await forged(stage, *((link, file) if first == "link" else (file, link)), root=root)
    contents = stage.contents(manager)
    with pytest.raises(ArchiveRefused, match="share/x is in the backup twice"):
        await contents.fetch("nas", SLUG, "share", target_of(stage))
    if root == "/share":
        with pytest.raises(ArchiveRefused, match="share/x is in the backup twice"):
            await contents.restore_path("nas", SLUG, "share/x")
    assert (victim.read_text(), mode_of(victim)) == ("mine", 0o600)


async def test_a_folder_that_is_there_twice_is_refused_also_above_of_what_is_wanted(stage: Stage) -> None:
    await with_repository(stage)
    forger = Forger(stage.folder / "repository", PASSWORD)
    one = forger.tree(node("a", "dir", subtree=forger.tree(node("x", "symlink", linktarget="/etc"))))
    two = forger.tree(node("a", "dir", subtree=forger.tree(node("x", "dir", subtree=forger.tree()))))
    manager = await forged(stage, node("d", "dir", subtree=one), node("d", "dir", subtree=two), forger=forger)
    for path in ("share/d", "share/d/a", "share/d/a/x"):
        with pytest.raises(ArchiveRefused, match="twice"):
            await stage.contents(manager).restore_path("nas", SLUG, path)


async def test_names_that_only_look_alike_come_back(stage: Stage) -> None:
    (stage.share / os.fsdecode(b"caf\xe9")).write_text("one")
    (stage.share / os.fsdecode(b"caf\xe8")).write_text("two")
    manager = await written(stage, {".": str(stage.share)})
    target = target_of(stage)
    await stage.contents(manager).fetch("nas", SLUG, "share", target)
    assert (target / os.fsdecode(b"caf\xe9")).read_text() == "one"
    assert (target / os.fsdecode(b"caf\xe8")).read_text() == "two"


async def test_a_small_repository_that_holds_more_files_than_any_disk_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_repository(stage)
    forger = Forger(stage.folder / "repository", PASSWORD)
    inner = forger.tree()
    for _ in range(20):
        inner = forger.tree(*(node(f"d{number}", "dir", subtree=inner) for number in range(30)))
    manager = await forged(stage, node("much", "dir", subtree=inner), forger=forger)
    monkeypatch.setattr("supervisor.drivers.restic_tree.Limits", lambda: Limits(members=10_000))
    with pytest.raises(ArchiveRefused, match="more than 10000 files"):
        await stage.contents(manager).restore_path("nas", SLUG, "share/much")


async def test_neither_one_folder_nor_the_files_about_an_add_on_fill_the_disk(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.drivers.restic_process._LOOK_SECONDS", 0.01)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, RESERVE + 32 * 1024 * 1024))
    with (stage.share / "sub" / "huge").open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    manager = await written(stage, {".": str(stage.share)})
    contents = stage.contents(manager)
    source = RepositorySource(contents, "nas", manager.get("nas").backups[SLUG], stage.paths.tmp)
    with pytest.raises(BackupError, match="not enough space is left"):
        await contents.restore_path("nas", SLUG, "share/sub")
    async with manager._jobs.run("restore") as job:
        with pytest.raises(BackupError, match="not enough space is left"):
            await source.pick("share", {"text.txt"}, ByteProgress(job, 1))
    await contents.restore_path("nas", SLUG, "share/text.txt")


async def test_a_folder_with_more_in_it_than_anybody_reads_is_not_listed_and_its_files_are_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.drivers.restic.MAX_ENTRIES", 3)
    manager = await written(stage, {".": str(stage.share)})
    contents = stage.contents(manager)
    with pytest.raises(ArchiveRefused, match="more than 3 entries"):
        await contents.entries("nas", SLUG, "share")
    assert [entry.path for entry in await contents.entries("nas", SLUG, "share/text.txt")] == ["share/text.txt"]
    wanted = (stage.share / "text.txt").read_text()
    (stage.share / "text.txt").unlink()
    await contents.restore_path("nas", SLUG, "share/text.txt")
    assert (stage.share / "text.txt").read_text() == wanted
