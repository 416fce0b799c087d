"""Builds the health check: which problems are looked for, and what helps against them."""

from __future__ import annotations

from functools import partial

from supervisor.drivers.mountinfo import takes_part_in_propagation
from supervisor.lifecycle import StateKeeper
from supervisor.managers.addons.checks import (
    DeprecatedArchCheck,
    DeprecatedCheck,
    DetachedMissingCheck,
    DetachedRemovedCheck,
    PortConflictCheck,
    PwnedCheck,
)
from supervisor.managers.addons.fixups import AddonFixups
from supervisor.managers.backups.health import BackupFixups, BackupsCheck
from supervisor.managers.backups.manager import BackupManager
from supervisor.managers.daemon import Daemon
from supervisor.managers.docker_health import (
    DockerConfigCheck,
    DockerFixups,
    PrivilegedEvaluation,
    RestartPolicyEvaluation,
    SoftwareEvaluation,
)
from supervisor.managers.mounts import MountFixups
from supervisor.managers.resolution import (
    RESOLUTION_SCHEMA,
    Check,
    Checks,
    Evaluation,
    Evaluations,
    Fixups,
    HealthCheck,
)
from supervisor.managers.store.fixups import StoreFixups
from supervisor.managers.system_health import (
    AppArmorEvaluation,
    ArchitectureEvaluation,
    FreeSpaceCheck,
    JobConditionsEvaluation,
    LxcEvaluation,
    SystemBusEvaluation,
    VersionEvaluation,
)

from .addons import AddonParts
from .base import Base
from .parts import Parts


def build_health(
    base: Base, parts: Parts, addons: AddonParts, backups: BackupManager, daemon: Daemon, state: StateKeeper
) -> HealthCheck:
    checks = Checks(base.resolution, base.state_file("resolution.json", RESOLUTION_SCHEMA), state)
    checks.add([*_checks(base, parts, addons), BackupsCheck(backups, base.resolution)])
    evaluations = Evaluations(base.resolution, state)
    evaluations.add(_evaluations(base, parts, addons, daemon))
    fixups = Fixups(base.resolution, base.jobs)
    installed = addons.manager.registry.installed
    in_use = lambda: [addon.record.repository for addon in installed.values()]  # noqa: E731 - the collaborator of one line
    for room in (
        AddonFixups(addons.manager),
        StoreFixups(parts.store, base.resolution, in_use),
        DockerFixups(parts.docker, base.resolution, fixups),
        BackupFixups(backups),
        MountFixups(parts.mounts),
    ):
        fixups.add(room.fixups())
    return HealthCheck(base.resolution, checks, evaluations, fixups, base.jobs, base.bus)


def _checks(base: Base, parts: Parts, addons: AddonParts) -> list[Check]:
    registry, resolution = addons.manager.registry, base.resolution
    spreads = partial(takes_part_in_propagation, base.paths.root)
    return [
        DeprecatedCheck(registry, resolution),
        DeprecatedArchCheck(registry, resolution),
        DetachedMissingCheck(registry, resolution, parts.store),
        DetachedRemovedCheck(registry, resolution, parts.store),
        PortConflictCheck(registry),
        PwnedCheck(registry, resolution, addons.manager.options, parts.security, parts.connectivity),
        DockerConfigCheck(base.engine, registry, resolution, spreads),
        FreeSpaceCheck(base.host, resolution),
    ]


def _evaluations(base: Base, parts: Parts, addons: AddonParts, daemon: Daemon) -> list[Evaluation]:
    registry = addons.manager.registry
    return [
        AppArmorEvaluation(),
        SystemBusEvaluation(),
        LxcEvaluation(),
        PrivilegedEvaluation(base.engine, base.settings.container_name),
        ArchitectureEvaluation(base.host),
        JobConditionsEvaluation(base.jobs),
        VersionEvaluation(parts.updater, daemon),
        RestartPolicyEvaluation(base.engine, registry),
        SoftwareEvaluation(base.engine, registry, base.resolution),
    ]
