"""Repositories as the manager looks after them, with real ones in folders."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import tarfile
from datetime import UTC
from pathlib import Path

import pytest
from house import Stage, with_repository
from repository_stage import LONG, PASSWORD, begun, described, silent

from daemon import until
from leftovers import children
from supervisor.drivers.restic import Restic
from supervisor.drivers.snapshot_engine import Selection
from supervisor.errors import Conflict, Internal, Invalid, NotFound, SupervisorError, Unavailable
from supervisor.events import BackupRepositoryChanged
from supervisor.managers.backups.repository_backup import KeptPart, Part, Root
from supervisor.managers.backups.repository_files import Secrets
from supervisor.managers.backups.repository_place import parse
from supervisor.managers.backups.repository_tags import encode
from supervisor.managers.backups.retention import Retention


async def test_a_backup_of_parts_comes_back_part_by_part(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    (backup,) = manager.get("nas").backups.values()
    assert backup.metadata["extra"] == {"commas": "a,b,c"}
    assert set(backup.parts) == {"share", "local_x"}
    assert backup.parts["local_x"].size == len(b"of the add-on") + len(b'{"version":"1.0"}')
    target = stage.folder / "back"
    target.mkdir(mode=0o700)
    await stage.contents(manager).fetch("nas", "aaaa1111", "share", target)
    (stage.share / "sub" / "junk.tmp").unlink()
    wanted, found = described(stage.share), described(target)
    # As from an archive: no link that leads out of a shared folder, no set-id bit.
    wanted.pop("dangling")
    kind, mode, *more = wanted["setgid"]
    assert mode == 0o2755
    wanted["setgid"] = (kind, 0o755, *more)
    # Taking the excluded file away has changed the time of its folder.
    assert {k: v for k, v in found.items() if k not in (".", "sub")} == {
        k: v for k, v in wanted.items() if k not in (".", "sub")
    }
    addon = stage.folder / "addon"
    addon.mkdir(mode=0o700)
    await stage.contents(manager).fetch("nas", "aaaa1111", "local_x", addon)
    assert sorted(str(p.relative_to(addon)) for p in addon.rglob("*")) == [
        "addon.json", "data", "data/deep", "data/deep/file",
    ]  # fmt: skip
    assert not (stage.paths.tmp / "repositories" / "nas").exists()


async def test_what_was_written_is_known_as_a_fresh_look_finds_it(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    await stage.save(manager, "bbbb2222")
    written = manager.get("nas")
    known, snapshots = dict(written.backups), list(written.snapshots)
    await manager.reload("nas")
    found = manager.get("nas")
    assert list(known) == list(found.backups) == ["aaaa1111", "bbbb2222"]
    for slug, backup in found.backups.items():
        assert (known[slug].date, known[slug].metadata) == (backup.date, backup.metadata)
        for name, part in backup.parts.items():
            mine = known[slug].parts[name]
            assert (mine.roots, mine.size, part.snapshot.startswith(mine.snapshot)) == (part.roots, part.size, True)
    for one, other in zip(snapshots, found.snapshots, strict=True):
        assert other.id.startswith(one.id)
        assert (set(one.tags), set(one.paths), one.host) == (set(other.tags), set(other.paths), other.host)
        assert abs((one.time - other.time).total_seconds()) < 60


async def test_one_file_or_folder_is_found_by_walking_and_comes_back_alone(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")

    async def names(path: str) -> list[str]:
        return [entry.path for entry in await stage.contents(manager).entries("nas", "aaaa1111", path)]

    assert await names("") == ["local_x", "share"]
    assert await names("local_x") == ["local_x/addon.json", "local_x/data"]
    assert await names("local_x/data/deep/") == ["local_x/data/deep/file"]
    assert "share/text.txt" in await names("share")
    assert await names("share/text.txt") == ["share/text.txt"]
    with pytest.raises(NotFound):
        await names("share/missing")
    target = stage.folder / "one"
    target.mkdir(mode=0o700)
    found = await stage.contents(manager).fetch_path("nas", "aaaa1111", "local_x/data/deep", target)
    assert (found / "file").read_text() == "of the add-on"
    async with stage.contents(manager).reading("nas", "aaaa1111", "share/text.txt") as blocks:
        assert b"".join([block async for block in blocks]) == (stage.share / "text.txt").read_bytes()
    for wrong in ("nothing", "share/missing", "local_x/config/x"):
        with pytest.raises(NotFound):
            await stage.contents(manager).fetch_path("nas", "aaaa1111", wrong, target)
    for wrong in ("", "share/../local_x", "a\0b"):
        with pytest.raises(Invalid):
            await stage.contents(manager).fetch_path("nas", "aaaa1111", wrong, target)


async def test_another_daemon_adopts_the_repository_and_sees_the_same_slugs(stage: Stage) -> None:
    await stage.save(await with_repository(stage), "aaaa1111")
    other = Stage(stage.folder / "other")
    other.folder.mkdir()
    manager = other.manager()
    await manager.load()
    place = parse(str(stage.folder / "repository"))
    with pytest.raises(Invalid, match="password"):
        await manager.add("old", place, Secrets("wrong"), adopt=True)
    assert not other.files.of("old").exists()
    with pytest.raises(Conflict, match="adopt"):
        await manager.add("old", place, Secrets(PASSWORD), adopt=False)
    await manager.add("old", place, Secrets(PASSWORD), adopt=True)
    assert manager.get("old").backups["aaaa1111"].name == "backup aaaa1111"
    with pytest.raises(NotFound):
        await manager.add("none", parse(str(stage.folder / "nowhere")), Secrets(PASSWORD), adopt=True)


async def test_what_is_configured_survives_a_restart_and_holds_no_secret(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    await manager.change("nas", Retention(daily=7))
    await manager.verify("nas", 0)
    again = stage.manager()
    await again.load()
    assert again.get("nas").record == manager.get("nas").record
    await again.reload()
    assert list(again.get("nas").backups) == ["aaaa1111"]
    assert PASSWORD not in (stage.folder / "backup_repositories.json").read_text()
    secret = stage.files.of("nas") / "password"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700


async def test_removing_forgets_the_secrets_and_keeps_the_data(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    await manager.remove("nas")
    assert not stage.files.of("nas").exists()
    assert manager.repositories == ()
    await manager.add("again", parse(str(stage.folder / "repository")), Secrets(PASSWORD), adopt=True)
    assert list(manager.get("again").backups) == ["aaaa1111"]


async def test_a_part_that_can_not_be_read_is_told_and_the_others_are_saved(stage: Stage) -> None:
    manager = await with_repository(stage)
    parts = [
        Part("share", (Root(".", stage.share),)),
        Part("broken", (Root("mem", Path("/proc/self/mem")),)),
        Part("missing", (Root(".", stage.folder / "missing"),)),
    ]
    async with manager.writing("nas", "aaaa1111") as writer:
        stored = await writer.finish(lambda kept: stage.metadata("aaaa1111", kept), parts, silent)
    backup = manager.get("nas").backups["aaaa1111"]
    assert set(backup.parts) == {"share"}
    assert backup.metadata["folders"] == ["share"]
    assert isinstance(stored["broken"], Unavailable)
    assert isinstance(stored["missing"], NotFound)
    assert isinstance(stored["share"], KeptPart)
    assert list(manager.get("nas").backups) == ["aaaa1111"]


async def test_a_run_that_is_killed_leaves_no_half_backup_and_its_rest_is_pruned(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    (stage.share / "more").write_bytes(os.urandom(LONG))

    async def cut_off() -> None:
        share, addon = stage.parts()
        async with manager.writing("nas", "bbbb2222") as writer:
            await writer.store([addon], silent)
            await writer.finish(lambda kept: stage.metadata("bbbb2222", kept), [share], silent)

    run = asyncio.create_task(cut_off())
    await until(
        lambda: manager._jobs.roots and len(list((stage.folder / "repository" / "snapshots").iterdir())) == 3, 30
    )
    await begun(stage.folder / "repository")
    for number in children():
        os.kill(number, signal.SIGKILL)
    with pytest.raises(SupervisorError):
        await run
    await manager.reload("nas")
    assert list(manager.get("nas").backups) == ["aaaa1111"]
    assert manager.get("nas").leftovers == []
    # What a daemon that was killed leaves may be another machine's backup that is being made: it goes a day later.
    access = stage.files.access("nas", manager.get("nas").record.place)
    await manager._engine.backup(access, Selection([stage.addon]), encode("cccc3333"), silent)
    assert await manager.prune("nas", UTC) == []
    assert len(manager.get("nas").leftovers) == 1
    assert list(manager.get("nas").backups) == ["aaaa1111"]
    await stage.save(manager, "bbbb2222")
    assert (await manager.verify("nas", 100)).good


async def test_pruning_goes_by_the_rule_and_never_takes_the_newest(stage: Stage) -> None:
    manager = await with_repository(stage)
    small = [Part("ssl", (Root(".", stage.paths.addons_data),))]
    for slug in ("a1", "b2", "c3", "d4"):
        await stage.save(manager, slug, small)
    assert await manager.prune("nas", UTC) == []
    await manager.change("nas", Retention(last=2))
    assert await manager.prune("nas", UTC) == ["a1", "b2"]
    assert set(manager.get("nas").backups) == {"c3", "d4"}
    await manager.forget("nas", ["c3"])
    assert set(manager.get("nas").backups) == {"d4"}
    with pytest.raises(NotFound):
        await manager.forget("nas", ["c3"])
    back = stage.folder / "back"
    back.mkdir()
    await stage.contents(manager).fetch("nas", "d4", "ssl", back)
    assert (back / "local_x" / "deep" / "file").exists()


async def test_verification_reads_one_share_after_the_other_and_remembers_what_it_found(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    seen = [await manager.verify("nas", 33) for _ in range(4)]
    assert [(v.part, v.parts, v.good) for v in seen] == [(1, 3, True), (2, 3, True), (3, 3, True), (1, 3, True)]
    packs = [p for p in (stage.folder / "repository" / "data").rglob("*") if p.is_file()]
    pack = max(packs, key=lambda p: p.stat().st_size)
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 0xFF
    pack.write_bytes(content)
    found = await manager.verify("nas", 100)
    assert not found.good
    assert found.reason
    assert manager.get("nas").record.verification == found
    back = stage.folder / "back"
    back.mkdir()
    with pytest.raises(Internal):
        await stage.contents(manager).fetch("nas", "aaaa1111", "share", back)


async def test_another_repository_in_its_place_is_noticed(stage: Stage) -> None:
    await with_repository(stage)
    shutil.rmtree(stage.folder / "repository")
    engine, files = Restic(), stage.files
    await engine.init(files.access("nas", parse(str(stage.folder / "repository"))))
    again = stage.manager()
    await again.load()
    with pytest.raises(NotFound, match="another repository"):
        await again.reload("nas")
    assert again.get("nas").problem


async def test_a_share_that_is_not_mounted_gets_no_repository(stage: Stage) -> None:
    manager = stage.manager()
    await manager.load()
    (stage.folder / "mounts" / "nas").mkdir(parents=True)
    with pytest.raises(Unavailable, match="not active"):
        await manager.add("nas", parse("mount:nas/repo"), Secrets(PASSWORD), adopt=False)
    assert list((stage.folder / "mounts" / "nas").iterdir()) == []


async def test_changes_are_told(stage: Stage) -> None:
    heard: list[str] = []
    stage.bus.subscribe(BackupRepositoryChanged, lambda event: heard.append(event.name))
    manager = await with_repository(stage)
    heard.clear()
    await stage.save(manager, "aaaa1111")
    assert heard == ["nas"]


async def test_a_file_goes_back_to_where_it_was_and_nothing_else_is_touched(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    before = described(stage.share)
    (stage.share / "text.txt").write_text("spoiled")
    (stage.share / "new").write_text("made since then")
    await stage.contents(manager).restore_path("nas", "aaaa1111", "share/text.txt")
    assert (stage.share / "text.txt").read_text().startswith("words")
    assert (stage.share / "new").read_text() == "made since then"
    shutil.rmtree(stage.share / "sub")
    await stage.contents(manager).restore_path("nas", "aaaa1111", "share/sub/deeper")
    after = described(stage.share)
    assert {name: after[name] for name in after if "deeper" in name} == {
        name: before[name] for name in before if "deeper" in name
    }
    (stage.addon / "deep").rename(stage.addon / "moved")
    await stage.contents(manager).restore_path("nas", "aaaa1111", "local_x/data/deep/file")
    assert (stage.addon / "deep" / "file").read_text() == "of the add-on"
    assert list((stage.paths.tmp / "repositories").iterdir()) == []


async def test_links_lead_nothing_out_of_the_folder_of_an_add_on(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    outside = stage.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("not ours")
    shutil.rmtree(stage.addon / "deep")
    (stage.addon / "deep").symlink_to(outside)
    with pytest.raises(Invalid, match="link"):
        await stage.contents(manager).restore_path("nas", "aaaa1111", "local_x/data/deep/file")
    assert (outside / "file").read_text() == "not ours"
    # A link in the place of the wanted thing itself is replaced.
    await stage.contents(manager).restore_path("nas", "aaaa1111", "local_x/data/deep")
    assert not (stage.addon / "deep").is_symlink()
    assert (stage.addon / "deep" / "file").read_text() == "of the add-on"
    assert (outside / "file").read_text() == "not ours"


async def test_what_can_not_be_put_back_alone_is_refused(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    for path in ("local_x/addon.json", "share", "local_x/data"):
        with pytest.raises(Invalid):
            await stage.contents(manager).restore_path("nas", "aaaa1111", path)
    shutil.rmtree(stage.addon)
    with pytest.raises(NotFound, match="no folder"):
        await stage.contents(manager).restore_path("nas", "aaaa1111", "local_x/data/deep/file")


async def test_a_repository_does_not_lie_where_it_would_be_saved_into_itself(stage: Stage) -> None:
    manager = stage.manager()
    await manager.load()
    for folder in (stage.share / "x", stage.paths.root, stage.paths.backup, stage.folder):
        with pytest.raises(Invalid):
            await manager.add("nas", parse(str(folder)), Secrets(PASSWORD), adopt=False)
    await manager.add("nas", parse(str(stage.paths.backup / "repository")), Secrets(PASSWORD), adopt=False)


async def test_a_backup_that_fails_half_way_leaves_no_snapshot(stage: Stage) -> None:
    manager = await with_repository(stage)
    share, addon = stage.parts()

    async def spoiled() -> None:
        async with manager.writing("nas", "bbbb2222") as writer:
            await writer.store([addon], silent)
            await writer.store([share], silent)
            raise Unavailable("something else went wrong")

    with pytest.raises(Unavailable):
        await spoiled()
    await manager.reload("nas")
    assert manager.get("nas").snapshots == []
    assert not (stage.paths.tmp / "repositories" / "nas").exists()


async def test_a_link_among_the_backups_leads_no_repository_elsewhere(stage: Stage) -> None:
    """Add-ons may write there; root must not write for them wherever they like."""
    manager = stage.manager()
    await manager.load()
    outside = stage.folder / "outside"
    outside.mkdir()
    (stage.paths.backup / "link").symlink_to(outside)
    place = parse(str(stage.paths.backup / "link" / "deep" / "repository"))
    with pytest.raises(Unavailable, match="a link leads out of"):
        await manager.add("evil", place, Secrets(PASSWORD), adopt=False)
    assert list(outside.iterdir()) == []
    folder = stage.paths.backup / "good"
    await manager.add("good", parse(str(folder)), Secrets(PASSWORD), adopt=False)
    folder.rename(outside / "good")
    folder.symlink_to(outside / "good")
    with pytest.raises(Unavailable, match="a link leads out of"):
        await manager.prune("good", UTC)


async def test_a_folder_is_read_as_an_archive_with_its_own_name_and_a_file_as_it_is(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    contents = stage.contents(manager)

    async def read(path: str) -> bytes:
        async with contents.reading("nas", "aaaa1111", path) as blocks:
            return b"".join([block async for block in blocks])

    for path, folder in (("share", stage.share), ("local_x/data", stage.addon), ("share/sub", stage.share / "sub")):
        own = path.rpartition("/")[2]
        # Neither pipes nor what leads out of a shared folder.
        saved = [i for i in folder.rglob("*") if i.suffix != ".tmp" and not i.is_fifo() and i.name != "dangling"]
        wanted = {f"{own}/{inner.relative_to(folder)}" for inner in saved}
        with tarfile.open(fileobj=io.BytesIO(await read(path))) as tar:
            assert set(tar.getnames()) - {own} == wanted
    assert await read("local_x/data/deep/file") == b"of the add-on"


async def test_a_path_that_is_not_there_is_told_with_its_key(stage: Stage) -> None:
    manager = await with_repository(stage)
    await stage.save(manager, "aaaa1111")
    contents = stage.contents(manager)
    for path, key in (("share/gone", "backup_path_not_found_error"), ("gone/x", "backup_part_not_found_error")):
        with pytest.raises(NotFound) as listed:
            await contents.entries("nas", "aaaa1111", path)
        with pytest.raises(NotFound) as restored:
            await contents.restore_path("nas", "aaaa1111", path)
        with pytest.raises(NotFound) as read:
            async with contents.reading("nas", "aaaa1111", path):
                pass
        assert {listed.value.key, restored.value.key, read.value.key} == {key}
