"""Single files of a backup file: what is cancelled leaves nothing behind, what is not whole is not taken for whole."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from pathlib import Path

import attrs
import pytest
from test_archive_roundtrip import PASSWORD, pack

from supervisor.drivers.archive.content import Tree
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.work import Work
from supervisor.drivers.archive.writer import Encryption
from supervisor.errors import BackupError, BackupFileNotFoundError, BackupInvalidError, NotFound
from supervisor.events import EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.backups.archive_files import ArchiveFiles
from supervisor.managers.backups.backup import Backup, Copy
from supervisor.managers.backups.indexes import Indexes
from supervisor.managers.backups.metadata import BackupType, Metadata
from supervisor.managers.backups.path_restore import restore_path
from supervisor.paths import DataPaths
from supervisor.state import StateFile


@attrs.define
class Stage:
    """A machine with a shared folder and an encrypted backup of it."""

    folder: Path
    room: int = 2**40
    vanished: int = 0

    @property
    def paths(self) -> DataPaths:
        return DataPaths(self.folder, self.folder)

    @property
    def archive(self) -> Path:
        return self.folder / "backup.tar"

    def files(self, password: str | None = PASSWORD) -> ArchiveFiles:
        metadata = Metadata("aaaa1111", "A", "2026-01-01T00:00:00+00:00", BackupType.PARTIAL, folders=("share",))
        copy = Copy(self.archive, protected=True, size=1)
        bus = EventBus()
        jobs = JobManager(bus, StateFile(self.folder / "jobs.json", JOBS_SCHEMA, bus))
        keys = Keyring(password) if password else None

        async def room() -> int:
            return self.room

        async def vanished() -> None:
            self.vanished += 1

        indexes = Indexes(self.paths.backup_indexes)
        return ArchiveFiles(Backup(metadata, {None: copy}), copy, keys, indexes, jobs, room, vanished)

    async def restore(self, path: str) -> None:
        await restore_path(self.files(), path, self.paths, self.paths.tmp / "backup")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    one = Stage(tmp_path)
    photos = one.paths.share / "photos"
    photos.mkdir(parents=True)
    (photos / "big").write_bytes(os.urandom(32 * 1024 * 1024))
    (photos / "small").write_text("saved")
    pack(one.archive, [Tree(".", one.paths.share)], encryption=Encryption.SECRETSTREAM)
    (photos / "small").write_text("here")
    return one


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Work.check

    def slowly(work: Work) -> None:
        time.sleep(0.005)
        check(work)

    monkeypatch.setattr(Work, "check", slowly)


@pytest.fixture
def halted(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Work goes no further than its tenth block until somebody stops it; the event tells that it has come so far."""
    check, passed, there = Work.check, itertools.count(), threading.Event()

    def halt(work: Work) -> None:
        if next(passed) >= 10:
            there.set()
            deadline = time.monotonic() + 60
            while not work._stop and time.monotonic() < deadline:
                time.sleep(0.005)
        check(work)

    monkeypatch.setattr(Work, "check", halt)
    return there


def rooms(stage: Stage) -> list[Path]:
    folder = stage.paths.tmp / "backup"
    return list(folder.iterdir()) if folder.exists() else []


async def test_a_restore_that_is_cancelled_changes_nothing_and_leaves_nothing(
    stage: Stage, halted: threading.Event
) -> None:
    task = asyncio.create_task(stage.restore("share/photos"))
    assert await asyncio.to_thread(halted.wait, 60)
    assert len(rooms(stage)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rooms(stage) == []
    assert (stage.paths.share / "photos" / "small").read_text() == "here"


@pytest.mark.usefixtures("slow")
async def test_a_reader_may_leave_at_any_time(stage: Stage) -> None:
    async with stage.files().reading("share/photos") as blocks:
        assert await anext(blocks)

    began = asyncio.Event()

    async def read() -> None:
        async with stage.files().reading("share/photos") as blocks:
            async for _ in blocks:
                began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_can_not_be_restored_changes_nothing(stage: Stage) -> None:
    stage.room = 1000
    with pytest.raises(BackupError, match="No space left"):
        await stage.restore("share/photos")
    with pytest.raises(NotFound, match="holds no share/gone"):
        await stage.restore("share/gone")
    # Damage behind what was asked for counts, too: until the end nobody knows that it is what was saved.
    with stage.archive.open("r+b") as file:
        file.seek(20 * 1024 * 1024)
        file.write(b"damage")
    stage.room = 2**40
    with pytest.raises(BackupError):
        await stage.restore("share/photos/small")
    assert rooms(stage) == []
    assert (stage.paths.share / "photos" / "small").read_text() == "here"


async def test_a_wrong_password_is_told_from_damage_and_items_need_none(stage: Stage) -> None:
    assert [entry.path for entry in await stage.files(None).entries("")] == ["share"]
    for password in (None, "another"):
        with pytest.raises(BackupInvalidError, match="Invalid password"):
            await stage.files(password).entries("share")
    stage.archive.unlink()
    with pytest.raises(BackupFileNotFoundError):
        await stage.files().entries("share")
    assert stage.vanished == 1
