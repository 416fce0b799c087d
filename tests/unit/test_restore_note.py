"""A restore is written down as long as it lasts, so that one that was cut off can be told of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from supervisor.errors import BackupError
from supervisor.managers.backups.restore_note import RestoreNote


@pytest.fixture
def note(tmp_path: Path) -> RestoreNote:
    return RestoreNote(tmp_path / "restore" / "under_way.json")


def left(note: RestoreNote) -> list[str]:
    return [path.name for path in note._file.parent.iterdir()]


async def test_it_is_there_as_long_as_the_restore_lasts(note: RestoreNote) -> None:
    assert await note.left() is None
    await note.forget()
    async with note.kept("aaaa1111"):
        assert await note.left() == "aaaa1111"
    assert await note.left() is None
    assert left(note) == []


async def test_a_restore_that_failed_was_told_already(note: RestoreNote) -> None:
    with pytest.raises(BackupError):
        async with note.kept("aaaa1111"):
            raise BackupError("it failed")
    assert left(note) == []


async def test_one_that_the_end_of_the_daemon_cuts_off_is_left_to_be_told(note: RestoreNote) -> None:
    begun = asyncio.Event()

    async def restore() -> None:
        async with note.kept("aaaa1111"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(restore())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await note.left() == "aaaa1111"
    await note.forget()
    assert left(note) == []


@pytest.mark.parametrize("content", ["", "[]", '{"slug": 5}', "{"])
async def test_one_that_makes_no_sense_is_none(note: RestoreNote, content: str) -> None:
    note._file.parent.mkdir()
    note._file.write_text(content)
    note._file.with_name(".under_way.json.new").write_text("half")
    assert await note.left() is None
    await note.forget()
    assert left(note) == []


async def test_a_disk_that_takes_no_note_holds_no_restore_up(
    note: RestoreNote, caplog: pytest.LogCaptureFixture
) -> None:
    note._file.parent.write_text("no folder")
    async with note.kept("aaaa1111"):
        pass
    assert "backup aaaa1111 is being restored can't be written down" in caplog.text
