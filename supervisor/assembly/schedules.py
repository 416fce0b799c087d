"""Builds what makes backups by itself, and what updates add-ons by itself: the one saves what the other changes."""

from __future__ import annotations

from functools import partial

import attrs

from supervisor.lifecycle import StateKeeper
from supervisor.managers.addons import Addon
from supervisor.managers.addons.auto_update import AutoUpdates
from supervisor.managers.backups.manager import BackupManager
from supervisor.managers.backups.schedule_backups import ScheduledBackups
from supervisor.managers.backups.schedule_record import SCHEDULES_SCHEMA
from supervisor.managers.backups.schedules import ScheduleManager

from .addons import AddonParts
from .base import Base
from .parts import Parts
from .repositories import RepositoryParts, time_zone


@attrs.frozen(eq=False)
class ScheduleParts:
    """The schedules, who makes backups for them and before updates, and the updates that nobody asks for."""

    manager: ScheduleManager
    maker: ScheduledBackups
    auto_updates: AutoUpdates

    async def save_addon(self, addon: Addon) -> None:
        """Save an add-on before it is updated."""
        await _save(self.maker, self.manager, addon)


def build_schedules(
    base: Base,
    parts: Parts,
    addons: AddonParts,
    backups: BackupManager,
    repositories: RepositoryParts,
    state: StateKeeper,
) -> ScheduleParts:
    maker = ScheduledBackups(backups, repositories.manager)
    manager = ScheduleManager(
        base.state_file("backup_schedules.json", SCHEDULES_SCHEMA, secret=True),
        maker,
        base.jobs,
        base.resolution,
        base.bus,
        daemon_state=state,
        zone=partial(time_zone, base, parts),
    )
    installer, registry, options = addons.manager.installer, addons.manager.registry, addons.manager.options

    async def update(slug: str) -> None:
        save = partial(_save, maker, manager) if manager.before_updates.automatic else None
        await installer.update(slug, save=save)

    return ScheduleParts(
        manager, maker, AutoUpdates(base.jobs, registry, parts.store, options, base.resolution, update)
    )


async def _save(maker: ScheduledBackups, manager: ScheduleManager, addon: Addon) -> None:
    await maker.before_update(addon, manager.before_updates.retention)
