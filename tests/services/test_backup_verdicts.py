"""What a check finds is told to whoever gave the password, and kept without the names of what is encrypted."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hostile_archives import END, GOOD, head, symlink

from supervisor.drivers.archive.cipher import LegacyEncryptor, StreamEncryptor
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.work import Work
from supervisor.events import EventBus
from supervisor.managers.backups.backup import Backup, Copy
from supervisor.managers.backups.metadata import BackupType, Metadata
from supervisor.managers.backups.settings import BACKUP_NOTES_SCHEMA, BACKUPS_SCHEMA, BackupSettings, Verdict
from supervisor.managers.backups.verification import verify
from supervisor.state import StateFile
from tarballs import tar_of

PASSWORD = "correct horse"
DATE = "2026-01-01T00:00:00+00:00"
DIARY = GOOD + head("dear-diary", b"3") + END


def checked(folder: Path, stream: bytes, encryptor: LegacyEncryptor | StreamEncryptor | None) -> Verdict:
    inner, protected = gzip.compress(stream), encryptor is not None
    if encryptor is not None:
        sealed = encryptor.update(inner) + encryptor.finish()
        inner = encryptor.header + sealed
    metadata = Metadata("aaaa1111", "A", DATE, BackupType.PARTIAL, protected=protected, folders=("share",))
    path = folder / "backup.tar"
    path.write_bytes(tar_of({"share.tar.gz": inner, "./backup.json": metadata.packed()}))
    copy = Copy(path, protected, path.stat().st_size)
    return verify(Backup(metadata, {None: copy}), copy, Keyring(PASSWORD) if protected else None, Work())


@pytest.mark.parametrize("sealed", [True, False])
async def test_what_is_kept_of_an_encrypted_backup_names_nothing_in_it(tmp_path: Path, *, sealed: bool) -> None:
    keys = Keyring(PASSWORD)
    found = checked(tmp_path, DIARY, StreamEncryptor(keys) if sealed else LegacyEncryptor(keys, bytes(range(16))))
    assert found.told == ("share.tar.gz: dear-diary: a device",)
    assert found.problems == ("share.tar.gz: Something in it: a device",)
    assert "diary" not in repr(found)
    notes = StateFile(tmp_path / "backup_notes.json", BACKUP_NOTES_SCHEMA, EventBus())
    settings = BackupSettings(StateFile(tmp_path / "backups.json", BACKUPS_SCHEMA, EventBus()), notes)
    await settings.keep_check("aaaa1111", None, found)
    kept = settings.check_of("aaaa1111", None)
    assert kept is not None
    assert kept.told == kept.problems == found.problems
    assert "diary" not in (tmp_path / "backup_notes.json").read_text()
    assert "a device" in (tmp_path / "backup_notes.json").read_text()


def test_of_an_open_backup_everything_is_told(tmp_path: Path) -> None:
    found = checked(tmp_path, DIARY, None)
    assert found.told == found.problems == ("share.tar.gz: dear-diary: a device",)


def test_a_good_backup_has_no_problems_either_way(tmp_path: Path) -> None:
    found = checked(tmp_path, GOOD + symlink("out", "/etc") + END, StreamEncryptor(Keyring(PASSWORD)))
    assert (found.good, found.problems, found.told, found.files) == (True, (), (), 1)
