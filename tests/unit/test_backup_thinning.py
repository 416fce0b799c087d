"""What schedules and updates made before is thinned out place by place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from supervisor.errors import BackupError, BackupMountDownError, Unavailable
from supervisor.managers.backups.backup import Backup, Copy, Location, RepositoryCopy
from supervisor.managers.backups.manager import BEFORE_UPDATE, BackupManager
from supervisor.managers.backups.metadata import BackupType, Metadata, SavedAddon
from supervisor.managers.backups.repositories import RepositoryManager
from supervisor.managers.backups.retention import Retention
from supervisor.managers.backups.schedule_backups import BY_SCHEDULE, ScheduledBackups
from supervisor.managers.backups.schedule_record import Schedule, Timing
from supervisor.managers.backups.schedule_times import ZoneInfo

UTC = ZoneInfo("UTC")


@attrs.define
class Keeper:
    """Holds backups, and stands for the manager, its catalogue and the repositories at once."""

    backups: dict[str, Backup] = attrs.field(factory=dict)
    down: set[Location] = attrs.field(factory=set)
    forgotten: list[tuple[str, list[str]]] = attrs.field(factory=list)

    @property
    def catalogue(self) -> Keeper:
        return self

    @property
    def installed(self) -> tuple[str, ...]:
        return ("local_lamp", "local_box")

    def add(self, day: int, extra: Mapping[str, Any], *locations: Location, addons: str = "") -> None:
        slug = f"0000000{day}"
        date = f"2026-06-0{day}T12:00:00+00:00"
        saved = tuple(SavedAddon(addon, addon, "1") for addon in addons.split())
        metadata = Metadata(slug=slug, name="n", date=date, type=BackupType.PARTIAL, extra=extra, addons=saved)
        copies: dict[Location, Copy] = {}
        for location in locations:
            is_file = location is None or not location.startswith("repository:")
            copy = Copy(Path("x"), protected=False, size=1)
            copies[location] = copy if is_file else RepositoryCopy(Path("x"), protected=False, size=1, repository="far")
        self.backups[slug] = Backup(metadata, copies)

    async def remove(self, slug: str, locations: Iterable[Location]) -> None:
        for location in locations:
            if location in self.down:
                raise BackupMountDownError(f"{location} is down")
            del self.backups[slug].copies[location]

    async def forget(self, name: str, slugs: list[str], *, prune: bool) -> None:
        assert prune
        if f"repository:{name}" in self.down:
            raise Unavailable(f"{name} does not answer")
        self.forgotten.append((name, slugs))

    def kept(self, location: Location) -> list[int]:
        return [int(slug) for slug, backup in self.backups.items() if location in backup.copies]


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def maker(keeper: Keeper) -> ScheduledBackups:
    return ScheduledBackups(cast("BackupManager", keeper), cast("RepositoryManager", keeper))


def nightly(rule: Retention) -> Schedule:
    timing = Timing("0 3 * * *", None, Metadata("x", "", "2026-01-01", BackupType.FULL).moment)
    return Schedule("1" * 16, "nightly", timing, retention=rule)


MINE = {BY_SCHEDULE: "1" * 16}


async def test_only_its_own_go_and_each_place_counts_alone(keeper: Keeper, maker: ScheduledBackups) -> None:
    keeper.add(1, MINE, None, "nas")
    keeper.add(2, {}, None, "nas")
    keeper.add(3, {BY_SCHEDULE: "2" * 16}, None)
    keeper.add(4, MINE, "nas")
    keeper.add(5, MINE, None)
    keeper.add(6, {BEFORE_UPDATE: "local_lamp"}, None)
    await maker.thin_out(nightly(Retention(last=1)), UTC)
    assert keeper.kept(None) == [2, 3, 5, 6]
    assert keeper.kept("nas") == [2, 4]


async def test_a_place_that_is_down_keeps_its_own_and_holds_up_no_other(
    keeper: Keeper, maker: ScheduledBackups
) -> None:
    for day in (1, 2, 3):
        keeper.add(day, MINE, "nas", None, "repository:far", "usb")
    keeper.down = {"nas"}
    with pytest.raises(BackupError, match="nas is down"):
        await maker.thin_out(nightly(Retention(last=1)), UTC)
    assert keeper.kept("nas") == [1, 2, 3]
    assert keeper.kept(None) == keeper.kept("usb") == [3]
    assert keeper.forgotten == [("far", ["00000001", "00000002"])], "room is made once for all of them"
    keeper.down = {"nas", "repository:far"}
    with pytest.raises(BackupError, match=r"nas is down.*far does not answer"):
        await maker.thin_out(nightly(Retention(last=1)), UTC)


async def test_the_last_copy_of_what_can_not_be_saved_any_more_stays(keeper: Keeper, maker: ScheduledBackups) -> None:
    keeper.add(1, MINE, None, addons="local_lamp local_box local_gone")
    keeper.add(2, MINE, None, addons="local_lamp local_box")
    keeper.add(3, MINE, None, addons="local_lamp")
    keeper.add(4, MINE, None, addons="local_lamp")
    await maker.thin_out(nightly(Retention(last=1)), UTC)
    assert keeper.kept(None) == [2, 4], "but not that of an add-on that nobody has any more"
    keeper.add(5, MINE, None, addons="local_lamp local_box")
    await maker.thin_out(nightly(Retention(last=1)), UTC)
    assert keeper.kept(None) == [5]
