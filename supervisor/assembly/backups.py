"""Builds what looks after the backups."""

from __future__ import annotations

from functools import partial

from supervisor import __version__
from supervisor.lifecycle import StateKeeper
from supervisor.managers.addons.backup_hooks import BackupHooks
from supervisor.managers.backups.addon_restoring import AddonRestoring
from supervisor.managers.backups.catalogue import Catalogue
from supervisor.managers.backups.contents import Contents
from supervisor.managers.backups.copies import Copies
from supervisor.managers.backups.creation import Creation
from supervisor.managers.backups.files import BackupFiles
from supervisor.managers.backups.freezing import DaemonState, Freezer
from supervisor.managers.backups.indexes import Indexes
from supervisor.managers.backups.locations import Locations
from supervisor.managers.backups.manager import BackupManager
from supervisor.managers.backups.quiet import QUIET_SCHEMA, NoCore, Quiet
from supervisor.managers.backups.repository_backups import RepositoryBackups
from supervisor.managers.backups.restoring import Restoring
from supervisor.managers.backups.saving import Saving
from supervisor.managers.backups.settings import BACKUP_NOTES_SCHEMA, BACKUPS_SCHEMA, BackupSettings
from supervisor.managers.backups.transfer import Imports

from .addons import AddonParts
from .base import Base
from .parts import Parts
from .repositories import RepositoryParts


def build_backups(
    base: Base, parts: Parts, addons: AddonParts, repositories: RepositoryParts, state: StateKeeper
) -> BackupManager:
    manager, jobs, paths = addons.manager, base.jobs, base.paths
    settings = BackupSettings(
        base.state_file("backups.json", BACKUPS_SCHEMA), base.state_file("backup_notes.json", BACKUP_NOTES_SCHEMA)
    )
    locations = Locations(paths, parts.mounts)
    catalogue = Catalogue(locations, base.resolution)
    indexes = Indexes(paths.backup_indexes)
    copies = Copies(jobs, locations, catalogue, indexes)
    contents = Contents(paths, parts.docker, lambda: settings.excludes, parts.mounts)
    core = NoCore()
    quiet = Quiet(
        base.state_file("quiet.json", QUIET_SCHEMA), BackupHooks(base.engine, jobs, manager.runner), manager.registry
    )
    version = partial(str, __version__)
    creation = Creation(
        paths,
        base.host,
        base.resolution,
        manager.registry,
        parts.store,
        locations,
        catalogue,
        contents,
        Saving(jobs, paths, base.engine, contents, quiet, core),
        copies,
        indexes,
        version,
    )
    addon_restoring = AddonRestoring(
        base.engine,
        jobs,
        base.bus,
        base.host,
        base.resolution,
        parts.store,
        manager.registry,
        manager.runner,
        addons.images,
        paths,
        quiet,
        lambda: None,
    )
    kept = RepositoryBackups(
        repositories.manager, repositories.contents, catalogue, creation, paths.tmp / "repositories"
    )
    kept.watch(base.bus)
    return BackupManager(
        catalogue,
        settings,
        Freezer(DaemonState(state, state.set), jobs, manager.registry, quiet, core),
        Imports(jobs, locations, catalogue, copies),
        BackupFiles(catalogue, repositories.contents, indexes, jobs, base.host, paths),
        jobs,
        creation,
        Restoring(
            jobs, paths, base.host, parts.store, parts.docker, parts.mounts, manager, addon_restoring, quiet, version
        ),
        kept,
        quiet,
        base.resolution,
        manager.registry,
        paths,
    )
