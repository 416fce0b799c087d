"""Makes, thins out and checks backups for schedules, and those from before updates."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from supervisor.errors import BackupError, SupervisorError
from supervisor.managers.addons import Addon

from .backup import CLOUD, LOCAL_ATTRIBUTE, Backup, Location, RepositoryCopy
from .manager import BEFORE_UPDATE, BackupManager
from .metadata import CORE_FOLDER, FOLDERS
from .order import Order, Selection
from .repositories import RepositoryManager
from .repository_backups import is_repository
from .repository_record import PREFIX
from .retention import Retention, expired
from .schedule_record import Included, Schedule

_LOGGER = logging.getLogger(__name__)

# Who made a backup stands in what its maker may say freely.
BY_SCHEDULE: Final = "supervisor.schedule"


@attrs.frozen
class _Made:
    """`items` are the add-ons and folders in it, with `homeassistant` for Core."""

    slug: str
    date: datetime
    items: frozenset[str]

    @classmethod
    def of(cls, backup: Backup) -> _Made:
        metadata = backup.metadata
        core = () if metadata.homeassistant is None else (CORE_FOLDER,)
        items = frozenset((*(addon.slug for addon in metadata.addons), *metadata.folders, *core))
        return cls(backup.slug, metadata.moment, items)


@attrs.frozen
class ScheduledBackups:
    """What `ScheduleManager` has done, by the manager of backups."""

    _backups: BackupManager
    _repositories: RepositoryManager

    async def make(self, schedule: Schedule) -> str:
        """Make one backup for all places that are folders, and one for each repository; return the first slug.

        Raises:
            SupervisorError: one could not be made; the others were.
        """
        folders = tuple(location for location in schedule.locations if not is_repository(location))
        places: list[tuple[Location, ...] | None] = [(one,) for one in schedule.locations if is_repository(one)]
        if folders or not schedule.locations:
            places.insert(0, folders or None)
        slugs: list[str] = []
        failures: list[SupervisorError] = []
        for locations in places:
            try:
                slugs.append((await self._backups.create(self._order(schedule, locations))).slug)
            except SupervisorError as err:
                if not slugs and len(places) == 1:
                    raise
                failures.append(err)
        if failures:
            raise BackupError("; ".join(str(err) for err in failures)) from failures[0]
        return slugs[0]

    def _order(self, schedule: Schedule, locations: tuple[Location, ...] | None) -> Order:
        included = schedule.included
        selection = None
        if not included.full:
            addons = self._backups.installed if included.addons is None else included.addons
            folders = tuple(folder for folder in included.folders if folder != "homeassistant")
            core = included.homeassistant or "homeassistant" in included.folders
            selection = Selection(core, addons, folders)
        return Order(
            name=f"{schedule.name} {datetime.now(UTC):%Y-%m-%d %H:%M}",
            selection=selection,
            password=schedule.password,
            compressed=schedule.compressed,
            locations=locations,
            exclude_database=included.exclude_database,
            extra={BY_SCHEDULE: schedule.id},
        )

    async def thin_out(self, schedule: Schedule, zone: ZoneInfo) -> None:
        """Remove what the schedule made before and its retention does not keep, place by place.

        Raises:
            SupervisorError: something could not be removed.
        """
        mine = [backup for backup in self._listed() if backup.metadata.extra.get(BY_SCHEDULE) == schedule.id]
        await self._thin_out(mine, schedule.retention, zone, self._wanted(schedule.included))

    def _wanted(self, included: Included) -> frozenset[str]:
        """Return what a schedule would save now."""
        addons = self._backups.installed
        if included.full:
            return frozenset((CORE_FOLDER, *FOLDERS, *addons))
        core = (CORE_FOLDER,) if included.homeassistant else ()
        chosen = addons if included.addons is None else (slug for slug in included.addons if slug in addons)
        return frozenset((*core, *included.folders, *chosen))

    async def before_update(self, addon: Addon, rule: Retention) -> None:
        """Save an add-on that is about to be updated, and thin out what was saved before earlier updates.

        Raises:
            SupervisorError: it could not be saved: it should not be updated then.
        """
        await self._backups.create_before_update(addon)
        earlier = [known for known in self._listed() if known.metadata.extra.get(BEFORE_UPDATE) == addon.slug]
        try:
            await self._thin_out(earlier, rule, ZoneInfo("UTC"), frozenset())
        except SupervisorError as err:
            _LOGGER.warning("%s: old backups are still there: %s", addon.slug, err, extra={"ADDON": addon.slug})

    def _listed(self) -> list[Backup]:
        return list(self._backups.catalogue.backups.values())

    async def _thin_out(
        self, backups: Iterable[Backup], rule: Retention, zone: ZoneInfo, wanted: frozenset[str]
    ) -> None:
        places: dict[Location, list[_Made]] = {}
        for backup in backups:
            for location in backup.copies:
                places.setdefault(location, []).append(_Made.of(backup))
        failures: list[SupervisorError] = []
        for location, made in places.items():
            needed = _last_holders(made, wanted)
            gone = [one.slug for one in expired(made, rule, zone, datetime.now(UTC)) if one.slug not in needed]
            if gone:
                _LOGGER.info("No longer kept in %s: %s", location or LOCAL_ATTRIBUTE, ", ".join(gone))
                failures += await self._remove(location, gone)
        if failures:
            raise BackupError("; ".join(str(err) for err in failures)) from failures[0]

    async def _remove(self, location: Location, slugs: list[str]) -> list[SupervisorError]:
        """Remove backups from one place; return what failed: one that is down keeps its own, and no others."""
        failures: list[SupervisorError] = []
        if location is not None and is_repository(location):
            try:
                # All at once: making room in a repository takes long.
                await self._repositories.forget(location.removeprefix(PREFIX), slugs, prune=True)
            except SupervisorError as err:
                failures.append(err)
            return failures
        for slug in slugs:
            try:
                await self._backups.remove(slug, [location])
            except SupervisorError as err:
                failures.append(err)
        return failures

    async def verify(self, share: int, passwords: Mapping[str, str]) -> list[str]:
        """Check a share of the archives, those that were not checked for longest first, and of every repository.

        `passwords` are those of schedules; an encrypted archive that none of them made can't be checked.
        """
        wrong: list[str] = []
        copies = self._archives(passwords)
        for backup, location in copies[: math.ceil(len(copies) * share / 100)]:
            password = passwords.get(str(backup.metadata.extra.get(BY_SCHEDULE)))
            wrong += await self._checked(backup, location, password)
        for repository in self._repositories.repositories:
            try:
                found = await self._repositories.verify(repository.name, share)
            except SupervisorError as err:
                wrong.append(str(err))
            else:
                wrong += [] if found.good else [found.reason]
        return wrong

    def _archives(self, passwords: Mapping[str, str]) -> list[tuple[Backup, Location]]:
        never = datetime.fromtimestamp(0, UTC)
        found: list[tuple[datetime, str, Backup, Location]] = []
        for backup in self._listed():
            known = str(backup.metadata.extra.get(BY_SCHEDULE)) in passwords
            for location, copy in backup.copies.items():
                if location == CLOUD or isinstance(copy, RepositoryCopy) or (copy.protected and not known):
                    continue
                last = self._backups.settings.check_of(backup.slug, location)
                found.append((last.checked if last is not None else never, backup.slug, backup, location))
        return [(backup, location) for _, _, backup, location in sorted(found, key=lambda one: one[:2])]

    async def _checked(self, backup: Backup, location: Location, password: str | None) -> list[str]:
        try:
            verdict = await self._backups.verify(
                backup.slug, password=password, location=location, default_location=False
            )
        except SupervisorError as err:
            return [f"{backup.slug}: {err}"]
        return [f"{backup.slug}: {problem}" for problem in verdict.problems]


def _last_holders(made: Iterable[_Made], wanted: frozenset[str]) -> frozenset[str]:
    """Return the newest backup of each wanted thing: what could not be saved of late is in an old one alone."""
    holders: dict[str, str] = {}
    for one in sorted(made, key=lambda one: one.date):
        holders.update(dict.fromkeys(one.items & wanted, one.slug))
    return frozenset(holders.values())
