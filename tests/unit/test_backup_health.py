"""Backups that are too old are an issue, what helps does what it says, and Core's folder is cleared (contract §20)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from test_backup_catalogue import House, house

from supervisor.events import EventBus
from supervisor.managers.backups.backup import CLOUD
from supervisor.managers.backups.files import BackupFiles
from supervisor.managers.backups.health import BackupFixups, BackupsCheck
from supervisor.managers.backups.indexes import Indexes
from supervisor.managers.backups.manager import BackupManager
from supervisor.managers.backups.metadata import BackupType, Metadata
from supervisor.managers.backups.settings import BACKUP_NOTES_SCHEMA, BACKUPS_SCHEMA, BackupSettings
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType, UnhealthyReason
from supervisor.state import StateFile

__all__ = ["house"]


@attrs.define
class Stage:
    house: House
    manager: BackupManager
    resolution: Resolution

    async def have(self, folder: Path, slug: str, days: float, kind: BackupType = BackupType.FULL) -> None:
        date = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        self.house.write(folder, Metadata(slug=slug, name="N", date=date, type=kind))
        await self.manager.reload()

    @property
    def slugs(self) -> set[str]:
        return set(self.manager.catalogue.backups)

    @property
    def issues(self) -> list[IssueType]:
        return [issue.type for issue in self.resolution.issues]


@pytest.fixture
def stage(house: House, tmp_path: Path) -> Stage:
    """A manager with what looking after finished backups takes; nothing here makes or restores one."""
    bus = EventBus()
    settings = BackupSettings(
        StateFile(tmp_path / "backups.json", BACKUPS_SCHEMA, bus),
        StateFile(tmp_path / "backup_notes.json", BACKUP_NOTES_SCHEMA, bus),
    )
    resolution = Resolution(bus)
    absent = cast("Any", None)
    files = BackupFiles(house.catalogue, absent, Indexes(house.paths.backup_indexes), house.jobs, absent, house.paths)
    manager = BackupManager(
        house.catalogue,
        settings,
        absent,
        house.imports,
        files,
        house.jobs,
        absent,
        absent,
        absent,
        absent,
        resolution,
        absent,
        house.paths,
    )
    return Stage(house, manager, resolution)


async def test_only_a_full_backup_that_is_young_enough_counts(stage: Stage) -> None:
    check = BackupsCheck(stage.manager, stage.resolution)
    folder = stage.house.paths.backup
    await check.run()
    assert stage.issues == [IssueType.NO_CURRENT_BACKUP]
    (issue,) = stage.resolution.issues
    assert [(s.type, s.context) for s in stage.resolution.suggestions_for(issue)] == [
        (SuggestionType.CREATE_FULL_BACKUP, ContextType.SYSTEM)
    ]
    await stage.have(folder, "00000001", 1, BackupType.PARTIAL)
    await stage.have(folder, "00000002", 31)
    assert stage.issues == [IssueType.NO_CURRENT_BACKUP]
    assert await check.approve(issue)
    await stage.have(folder, "00000003", 29.9)
    assert stage.issues == [], "it goes as soon as there is one"
    assert not await check.approve(issue)
    await stage.manager.settings.set_days_until_stale(7)
    await check.run()
    assert stage.issues == [IssueType.NO_CURRENT_BACKUP]


async def test_clearing_full_backups_keeps_the_two_youngest_and_all_others(stage: Stage) -> None:
    for number, days in enumerate((5, 1, 9, 3), 1):
        await stage.have(stage.house.paths.backup, f"0000000{number}", days)
    await stage.have(stage.house.paths.backup, "0000000a", 99, BackupType.PARTIAL)
    fixups = {fixup.type: fixup for fixup in BackupFixups(stage.manager).fixups()}
    await fixups[SuggestionType.CLEAR_FULL_BACKUP].apply(cast("Any", None))
    assert stage.slugs == {"00000002", "00000004", "0000000a"}
    assert sorted(path.stem for path in stage.house.paths.backup.iterdir()) == sorted(stage.slugs)


async def test_what_waits_for_a_cloud_goes_after_two_days_and_stays_elsewhere(stage: Stage) -> None:
    paths = stage.house.paths
    await stage.have(paths.core_backup, "00000001", 1.9)
    await stage.have(paths.core_backup, "00000002", 2.1)
    await stage.have(paths.backup, "00000003", 2.1)
    (paths.core_backup / "00000003.tar").write_bytes((paths.backup / "00000003.tar").read_bytes())
    await stage.manager.reload()
    stage.resolution.add_unhealthy(UnhealthyReason.SETUP)
    await stage.manager.clear_cloud()
    assert len(stage.slugs) == 3, "nothing is removed from a system that is not well"
    stage.resolution._unhealthy.clear()
    await stage.manager.clear_cloud()
    assert stage.slugs == {"00000001", "00000003"}
    assert set(stage.manager.catalogue.get("00000003").copies) == {None}
    assert set(stage.manager.catalogue.get("00000001").copies) == {CLOUD}
    assert [path.stem for path in paths.core_backup.iterdir()] == ["00000001"]
