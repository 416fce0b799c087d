"""The driver of restic, with the real program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository_stage import LONG, PASSWORD, access_to, begun, described, filled, silent

from daemon import ROOT, until
from leftovers import children
from supervisor.drivers import restic as module
from supervisor.drivers.restic import Restic
from supervisor.drivers.restic_failure import failure, plain
from supervisor.drivers.restic_process import Patience, running
from supervisor.drivers.snapshot_engine import EntryKind, Progress, RepositoryAccess, Selection
from supervisor.errors import (
    BackupError,
    Busy,
    Conflict,
    Internal,
    Invalid,
    NotFound,
    SupervisorError,
    Timeout,
    Unsupported,
)


@pytest.fixture
def engine() -> Restic:
    return Restic(name_of=lambda _: "nas")


async def test_what_is_restored_is_as_it_was(tmp_path: Path, engine: Restic, no_blocking_calls: None) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    target = tmp_path / "back"
    target.mkdir(mode=0o700)
    heard: list[Progress] = []
    await engine.restore(access, snapshot, [str(source)], target, heard.append)
    assert described(target / source.relative_to("/")) == described(source)
    if (engine._known or (0, 0)) >= module._SPARSE_SINCE:
        assert (target / source.relative_to("/") / "sparse").stat().st_blocks * 512 < 4 * 1024 * 1024


async def test_one_file_comes_back_alone_whatever_its_name(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    (source / "sub" / "xx").write_text("matched by the special name, if that were a pattern")
    snapshot = (await engine.backup(access, Selection([source], parent=snapshot), ("supervisor",), silent)).snapshot.id
    target = tmp_path / "back"
    target.mkdir()
    wanted = [str(source / "sub" / "*?[x]"), str(source / "sub" / "deeper" / "blank name .txt ")]
    await engine.restore(access, snapshot, wanted, target, silent)
    assert sorted(str(p) for p in target.rglob("*") if p.is_file()) == sorted(f"{target}{path}" for path in wanted)


async def test_a_file_can_be_read_and_a_folder_comes_as_a_tar(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    content = await _read(engine, access, snapshot, source / "noise.bin")
    assert content == (source / "noise.bin").read_bytes()
    content = await _read(engine, access, snapshot, source / "sub")
    assert content[257:262] == b"ustar"
    with pytest.raises(NotFound):
        await _read(engine, access, snapshot, source / "missing")


async def test_whoever_stops_reading_ends_the_program(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    async with engine.read(access, snapshot, str(source / "sparse")) as blocks:
        assert await anext(blocks)


async def test_a_folder_is_listed_without_what_lies_deeper(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    entries = await engine.entries(access, snapshot, str(source))
    assert {(e.name, e.kind) for e in entries} >= {
        ("sub", EntryKind.FOLDER),
        ("text.txt", EntryKind.FILE),
        ("link", EntryKind.LINK),
    }
    assert not any(e.name in ("deeper", "source") for e in entries)
    by_name = {e.name: e for e in entries}
    assert by_name["text.txt"].size == 6000
    assert by_name["private"].mode == 0o600
    assert [e.name for e in await engine.entries(access, snapshot, "/")] == [source.parts[1]]


async def test_excluded_paths_stay_out_and_their_neighbours_stay_in(tmp_path: Path, engine: Restic) -> None:
    access, source = access_to(tmp_path), tmp_path / "source"
    names = ["a*b", "a b", "axb", "end ", "end", "$HOME", "new\nline", "new line", "#x", "ba\\ck", "[q]", "q"]
    for name in names:
        (source / name).mkdir(parents=True)
        (source / name / "file").write_text(name)
    await engine.init(access)
    out = ["a*b", "end ", "$HOME", "new\nline", "#x", "ba\\ck", "[q]"]
    selection = Selection([source], excluded=[source / name for name in out])
    saved = await engine.backup(access, selection, ("x",), silent)
    kept = {entry.name for entry in await engine.entries(access, saved.snapshot.id, str(source))}
    assert kept == set(names) - set(out)
    assert [path.name for path in access.cache.iterdir() if path.name.startswith("exclude")] == []


async def test_what_did_not_change_is_not_stored_again(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    heard: list[Progress] = []
    again = await engine.backup(access, Selection([source], parent=snapshot), ("a", "b"), heard.append)
    assert again.processed > 12 * 1024 * 1024
    assert again.added < 100_000
    listed = await engine.snapshots(access)
    assert [s.tags for s in listed] == [("supervisor",), ("a", "b")]
    assert listed[1].id.startswith(again.snapshot.id)
    assert listed[0].paths == (str(source),)


async def test_a_wrong_password_and_a_missing_repository_are_told_apart(tmp_path: Path, engine: Restic) -> None:
    access, _, _ = await filled(tmp_path, engine)
    with pytest.raises(Invalid) as wrong:
        await engine.identity(access_to(tmp_path, password="other"))
    assert wrong.value.key == "backup_repository_wrong_password"
    assert "nas" in str(wrong.value)
    for nowhere in (tmp_path / "nowhere", tmp_path / "cache"):
        with pytest.raises(NotFound) as missing:
            await engine.identity(access_to(tmp_path, url=str(nowhere)))
        assert missing.value.key == "backup_repository_missing"
    with pytest.raises(Conflict):
        await engine.init(access)
    assert await engine.identity(access) == await engine.identity(access)


async def test_a_snapshot_that_is_gone_is_named(tmp_path: Path, engine: Restic) -> None:
    access, source, _ = await filled(tmp_path, engine)
    with pytest.raises(NotFound):
        await engine.backup(access, Selection([source], parent="00000000"), ("x",), silent)
    with pytest.raises(NotFound):
        await engine.restore(access, "00000000", [str(source)], tmp_path / "back", silent)


async def test_tags_can_be_replaced_and_snapshots_removed(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    await engine.retag(access, snapshot, ("new", "tags"))
    (only,) = await engine.snapshots(access)
    assert only.tags == ("new", "tags")
    size = sum(p.stat().st_size for p in (tmp_path / "repository" / "data").rglob("*") if p.is_file())
    await engine.forget(access, [only.id], prune=True)
    assert await engine.snapshots(access) == []
    left = sum(p.stat().st_size for p in (tmp_path / "repository" / "data").rglob("*") if p.is_file())
    assert left < size / 10
    with pytest.raises(Invalid, match="comma"):
        await engine.backup(access, Selection([source]), ("a,b",), silent)


async def test_a_damaged_pack_is_found_by_reading_it_and_by_restoring_from_it(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    await engine.verify(access, 1, 1)
    pack = max(
        (p for p in (tmp_path / "repository" / "data").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )
    content = bytearray(pack.read_bytes())
    content[5000] ^= 0xFF
    pack.chmod(0o600)
    pack.write_bytes(content)
    await engine.verify(access, 0, 0)
    with pytest.raises(Internal) as damaged:
        await engine.verify(access, 1, 1)
    assert damaged.value.key == "backup_repository_damaged"
    found = 0
    for part in (1, 2, 3):
        try:
            await engine.verify(access, part, 3)
        except Internal:
            found += 1
    assert found == 1
    (tmp_path / "back").mkdir()
    with pytest.raises(Internal):
        await engine.restore(access, snapshot, [str(source)], tmp_path / "back", silent)


async def test_what_could_not_be_read_is_named_and_the_rest_is_saved(tmp_path: Path, engine: Restic) -> None:
    access, source = access_to(tmp_path), tmp_path / "source"
    source.mkdir()
    (source / "good").write_text("good")
    await engine.init(access)
    selection = Selection([source, Path("/proc/self/mem")])
    saved = await engine.backup(access, selection, ("x",), silent)
    assert [unread.path for unread in saved.unread] == ["/proc/self/mem"]
    assert saved.unread[0].reason
    gone = await engine.backup(access, Selection([source, tmp_path / "gone"]), ("x",), silent)
    assert [unread.path for unread in gone.unread] == [str(tmp_path / "gone")]


async def test_a_killed_run_leaves_a_repository_that_works(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    (source / "more").write_bytes(os.urandom(LONG))

    async def killed() -> None:
        await engine.backup(access, Selection([source], parent=snapshot), ("half",), silent)

    run = asyncio.create_task(killed())
    await begun(tmp_path / "repository")
    for number in children():
        os.kill(number, signal.SIGKILL)
    with pytest.raises(SupervisorError):
        await run
    assert [s.tags for s in await engine.snapshots(access)] == [("supervisor",)]
    # It needs the repository for itself, so the dead one's lock would be in its way.
    await engine.forget(access, [], prune=True)
    await engine.verify(access, 1, 1)
    again = await engine.backup(access, Selection([source], parent=snapshot), ("whole",), silent)
    await engine.verify(access, 1, 1)
    assert again.snapshot.id


async def test_a_run_that_is_cancelled_takes_its_lock_away(tmp_path: Path, engine: Restic) -> None:
    access, source, _ = await filled(tmp_path, engine)
    (source / "more").write_bytes(os.urandom(LONG))
    locks = tmp_path / "repository" / "locks"
    run = asyncio.create_task(engine.backup(access, Selection([source]), ("half",), silent))
    await begun(tmp_path / "repository")
    assert any(locks.iterdir())
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not any(locks.iterdir())
    assert len(await engine.snapshots(access)) == 1


async def test_a_lock_of_somebody_alive_is_respected(tmp_path: Path, engine: Restic) -> None:
    access, source, snapshot = await filled(tmp_path, engine)
    (source / "more").write_bytes(os.urandom(LONG))
    run = asyncio.create_task(engine.backup(access, Selection([source]), ("long",), silent))
    # Its lock is whole by then.
    await begun(tmp_path / "repository")
    (alive,) = children()
    os.kill(alive, signal.SIGSTOP)
    try:
        with pytest.raises(Busy) as locked:
            await engine.forget(access, [snapshot], prune=True)
    finally:
        os.kill(alive, signal.SIGCONT)
    assert locked.value.key == "backup_repository_locked"
    assert (await run).unread == ()


async def test_the_password_is_in_no_argument_and_in_no_variable(tmp_path: Path) -> None:
    spy = tmp_path / "spy"
    spy.write_text(
        f"#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/cmdline >> {tmp_path}/seen\nenv >> {tmp_path}/seen\nexec restic \"$@\"\n"
    )
    spy.chmod(0o755)
    engine = Restic(str(spy))
    await filled(tmp_path, engine)
    seen = (tmp_path / "seen").read_text()
    assert "RESTIC_PASSWORD_FILE" in seen
    assert PASSWORD not in seen


async def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="install the package restic"):
        await Restic("/nowhere/restic").init(access_to(tmp_path))


async def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Timeout, match="Nothing has moved"):
        async with running("nas", ("sleep", "60"), {}, Patience(stuck=0.5)) as run:
            await run.lines.read()
    with pytest.raises(Timeout, match="did not answer"):
        async with running("nas", ("sleep", "60"), {}, Patience(whole=0.3)) as run:
            await run.lines.read()


async def test_a_program_that_writes_more_than_it_may_is_ended_with_the_reason_for_that(
    tmp_path: Path,
) -> None:
    def count(written: int) -> None:
        if written > 10_000_000:
            raise BackupError("that is too much")

    endless = ("dd", "if=/dev/zero", "of=/dev/null", "bs=1M")
    with pytest.raises(BackupError, match="that is too much"):
        async with running("nas", endless, {}, Patience(), on_written=count) as run:
            await run.lines.read()
    assert run.process.returncode is not None


async def test_a_full_disk_is_told_as_such_and_harms_nothing(tmp_path: Path, engine: Restic) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    small = tmp_path / "small"
    small.mkdir()
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small))
    assert await mount.wait() == 0
    try:
        access = access_to(tmp_path, url=str(small / "repository"))
        source = tmp_path / "source"
        source.mkdir()
        (source / "little").write_text("little")
        await engine.init(access)
        first = await engine.backup(access, Selection([source]), ("x",), silent)
        (source / "much").write_bytes(os.urandom(48 * 1024 * 1024))
        with pytest.raises(SupervisorError) as full:
            await engine.backup(access, Selection([source]), ("x",), silent)
        assert full.value.key == "backup_repository_no_space"
        assert [s.id.startswith(first.snapshot.id) for s in await engine.snapshots(access)] == [True]
        await engine.forget(access, [], prune=True)
        await engine.verify(access, 1, 1)
    finally:
        unmount = await asyncio.create_subprocess_exec("umount", str(small))
        assert await unmount.wait() == 0


def test_failures_are_told_by_text_where_the_code_says_nothing() -> None:
    said = {
        "Fatal: wrong password or no key found": "backup_repository_wrong_password",
        "subprocess ssh: me@host: Permission denied (publickey).\nFatal: unable to open repository": (
            "backup_repository_access_denied"
        ),
        "dial tcp 127.0.0.1:1: connect: connection refused\nIs there a repository at the following location?": (
            "backup_repository_unreachable"
        ),
        "Fatal: unable to open config file: stat /x/config: no such file or directory\nIs there a repository at the "
        "following location?\n/x": "backup_repository_missing",
        "Save(<data/1>) returned error: write /x: no space left on device": "backup_repository_no_space",
        "something nobody has seen before": "backup_repository_failed",
        "": "backup_repository_failed",
    }
    assert {text: failure("nas", 1, text).key for text in said} == said
    assert failure("nas", 12, "").key == "backup_repository_wrong_password"
    assert failure("nas", 11, "").key == "backup_repository_locked"


@given(st.text(), st.integers(-9, 130))
def test_whatever_restic_says_makes_an_error_with_a_key(text: str, code: int) -> None:
    error = failure("nas", code, text)
    assert (error.key or "").startswith("backup_repository_")
    assert len(str(error)) < 800
    assert all(line.strip() for line in plain(text))


async def _read(engine: Restic, access: RepositoryAccess, snapshot: str, path: Path) -> bytes:
    async with engine.read(access, snapshot, str(path)) as blocks:
        return b"".join([block async for block in blocks])


def test_the_program_is_installed() -> None:
    assert shutil.which("restic"), "script/setup installs it"


async def test_a_daemon_that_is_killed_takes_its_restic_along(tmp_path: Path, engine: Restic) -> None:
    access, source, _ = await filled(tmp_path, engine)
    (source / "more").write_bytes(os.urandom(LONG))
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from supervisor.drivers.restic import Restic\n"
        "from supervisor.drivers.snapshot_engine import RepositoryAccess, Selection\n"
        "url, password, cache, source = sys.argv[1:]\n"
        "access = RepositoryAccess(url, Path(password), Path(cache))\n"
        "asyncio.run(Restic().backup(access, Selection([Path(source)]), ('half',), lambda _: None))\n"
    )
    arguments = (access.url, str(access.password_file), str(access.cache), str(source))
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments, cwd=ROOT)
    await begun(tmp_path / "repository")
    daemon.kill()
    await daemon.wait()
    await until(lambda: not _working_on(source), 30)
    assert [s.tags for s in await engine.snapshots(access)] == [("supervisor",)]

    async def usable() -> bool:
        # Until somebody has buried the dead process, its lock looks like that of a living one.
        with contextlib.suppress(Busy):
            await engine.forget(access, [], prune=True)
            return True
        return False

    await until(usable, 45)


def _working_on(source: Path) -> bool:
    """Tell whether a process was given the folder as an argument."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(source) in file.read_bytes().split(b"\0"):
                return True
    return False
