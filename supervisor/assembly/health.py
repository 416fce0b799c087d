"""Builds the health check: which problems are looked for, and what helps against them."""

from __future__ import annotations

from functools import partial

from supervisor.drivers.mountinfo import takes_part_in_propagation
from supervisor.events import HostInternetChanged
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
    ControlGroupsEvaluation,
    DockerConfigCheck,
    DockerFixups,
    EngineDriversEvaluation,
    EngineVersionEvaluation,
    PrivilegedEvaluation,
    RestartPolicyEvaluation,
    SoftwareEvaluation,
)
from supervisor.managers.host.health import (
    FailedUnitsCheck,
    HostFixups,
    JournalEvaluation,
    NetworkManagerEvaluation,
    OsAgentEvaluation,
    OsEvaluation,
    ResolvedEvaluation,
    SystemdEvaluation,
)
from supervisor.managers.mounts import MountFixups
from supervisor.managers.network import Network
from supervisor.managers.network.health import (
    ConnectivityCheckEvaluation,
    Ipv4Check,
    Ipv6NameServerCheck,
    NameServerCheck,
)
from supervisor.managers.os import OperatingSystem
from supervisor.managers.os.health import OsVersionEvaluation, VirtualizationEvaluation
from supervisor.managers.resolution import (
    RESOLUTION_SCHEMA,
    Check,
    Checks,
    Evaluation,
    Evaluations,
    Fixups,
    HealthCheck,
    UnsupportedReason,
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
from .host import HostParts
from .parts import Parts


def build_health(
    base: Base,
    parts: Parts,
    addons: AddonParts,
    backups: BackupManager,
    daemon: Daemon,
    host: HostParts,
    network: Network,
    system: OperatingSystem,
    state: StateKeeper,
) -> HealthCheck:
    checks = Checks(base.resolution, base.state_file("resolution.json", RESOLUTION_SCHEMA), state)
    checks.add(_checks(base, parts, addons))
    checks.add([BackupsCheck(backups, base.resolution)])
    checks.add(_host_checks(base, parts, network))
    evaluations = Evaluations(base.resolution, state)
    evaluations.add(_evaluations(base, parts, addons, daemon))
    evaluations.add(_host_evaluations(parts, host, network, system))

    def judge_connectivity(_event: HostInternetChanged) -> None:
        base.jobs.spawn(partial(evaluations.run, {UnsupportedReason.CONNECTIVITY_CHECK}))

    base.bus.subscribe(HostInternetChanged, judge_connectivity)
    fixups = Fixups(base.resolution, base.jobs)
    installed = addons.manager.registry.installed
    in_use = lambda: [addon.record.repository for addon in installed.values()]  # noqa: E731 - the collaborator of one line
    for room in (
        AddonFixups(addons.manager),
        StoreFixups(parts.store, base.resolution, in_use),
        DockerFixups(parts.docker, base.resolution, fixups),
        BackupFixups(backups),
        MountFixups(parts.mounts),
        HostFixups(parts.system.systemd, host.control, host.features),
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
    ]


def _host_checks(base: Base, parts: Parts, network: Network) -> list[Check]:
    resolution = base.resolution
    name_servers = (lambda: network.nameservers, resolution, parts.connectivity)
    return [
        FreeSpaceCheck(base.host, resolution),
        FailedUnitsCheck(base.system_bus, parts.system.systemd, resolution, lambda: parts.mounts.unit_names),
        Ipv4Check(network, resolution),
        NameServerCheck(*name_servers),
        Ipv6NameServerCheck(*name_servers),
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
        EngineVersionEvaluation(base.engine),
        EngineDriversEvaluation(base.engine),
        ControlGroupsEvaluation(base.engine),
        RestartPolicyEvaluation(base.engine, registry),
        SoftwareEvaluation(base.engine, registry, base.resolution),
    ]


def _host_evaluations(parts: Parts, host: HostParts, network: Network, system: OperatingSystem) -> list[Evaluation]:
    features = host.features
    return [
        OsEvaluation(features),
        OsAgentEvaluation(features),
        OsVersionEvaluation(system, parts.updater),
        VirtualizationEvaluation(system, features, parts.system.systemd),
        SystemdEvaluation(features),
        JournalEvaluation(features),
        ResolvedEvaluation(features),
        NetworkManagerEvaluation(features),
        ConnectivityCheckEvaluation(network),
    ]
