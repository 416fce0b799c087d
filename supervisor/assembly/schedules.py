"""Builds what makes backups by itself."""

from __future__ import annotations

from functools import partial

import attrs

from supervisor.lifecycle import StateKeeper
from supervisor.managers.addons import Addon
from supervisor.managers.backups.manager import BackupManager
from supervisor.managers.backups.schedule_backups import ScheduledBackups
from supervisor.managers.backups.schedule_record import SCHEDULES_SCHEMA
from supervisor.managers.backups.schedules import ScheduleManager

from .base import Base
from .parts import Parts
from .repositories import RepositoryParts, time_zone


@attrs.frozen(eq=False)
class ScheduleParts:
    """The schedules, and who makes backups for them and before updates."""

    manager: ScheduleManager
    maker: ScheduledBackups

    async def save_addon(self, addon: Addon) -> None:
        """Save an add-on before it is updated."""
        await self.maker.before_update(addon, self.manager.update_retention)


def build_schedules(
    base: Base, parts: Parts, backups: BackupManager, repositories: RepositoryParts, state: StateKeeper
) -> ScheduleParts:
    maker = ScheduledBackups(backups, repositories.manager)
    manager = ScheduleManager(
        base.state_file("backup_schedules.json", SCHEDULES_SCHEMA),
        maker,
        base.jobs,
        base.resolution,
        base.bus,
        daemon_state=state,
        zone=partial(time_zone, base, parts),
    )
    return ScheduleParts(manager, maker)
