"""Builds what looks after the installed add-ons."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import attrs

from supervisor.drivers.mountinfo import takes_part_in_propagation
from supervisor.drivers.registry_api import RegistryApi
from supervisor.managers.addons import OPTIONAL_HOST_PATHS, AddonManager, LogKeeper, Surroundings
from supervisor.managers.addons.boot import AddonBooter
from supervisor.managers.addons.health import ApplicationWatchdog
from supervisor.managers.addons.hotplug import DeviceHotplug
from supervisor.managers.addons.image_check import ImageCheck
from supervisor.managers.addons.images import AddonImages
from supervisor.managers.addons.installer import AddonInstaller
from supervisor.managers.addons.intents import INTENTS_SCHEMA, Intents
from supervisor.managers.addons.limit_keeper import LimitKeeper
from supervisor.managers.addons.loader import ImageLoader
from supervisor.managers.addons.memory import MemoryReports
from supervisor.managers.addons.options import AddonOptions
from supervisor.managers.addons.record import addons_schema
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.addons.remarks import ManifestRemarks
from supervisor.managers.addons.repair import AddonRepairs, MissingImages
from supervisor.managers.addons.rollback import ROLLBACKS_SCHEMA, Rollbacks
from supervisor.managers.addons.runner import AddonRunner
from supervisor.managers.addons.secrets import SecretsFile
from supervisor.managers.addons.spec import RT_BUDGET
from supervisor.managers.addons.watchdog import ContainerWatchdog
from supervisor.managers.apparmor import AppArmor
from supervisor.managers.discovery import DISCOVERY_SCHEMA, DiscoveryManager
from supervisor.managers.host import AgentDevices, AgentProfiles, AgentReturns
from supervisor.managers.image_puller import ImagePuller
from supervisor.managers.ingress import INGRESS_SCHEMA, IngressManager
from supervisor.managers.services import SERVICES_SCHEMA, ServiceManager

from .base import Base
from .parts import Parts


@attrs.frozen(eq=False)
class AddonParts:
    """The add-ons, and what lives from what they say."""

    manager: AddonManager
    images: AddonImages
    ingress: IngressManager
    services: ServiceManager
    discovery: DiscoveryManager
    health: ApplicationWatchdog
    loader: ImageLoader
    image_check: ImageCheck
    remarks: ManifestRemarks
    profiles: AgentReturns


@attrs.frozen(eq=False)
class _Core:
    """What the managers of add-ons share: what is installed, what it runs on, and who starts and stops it."""

    logs: LogKeeper
    ingress: IngressManager
    registry: AddonRegistry
    options: AddonOptions
    apparmor: AppArmor
    limits: LimitKeeper
    images: AddonImages
    missing: MissingImages
    runner: AddonRunner
    intents: Intents


def _build_core(base: Base, parts: Parts) -> _Core:
    logs = LogKeeper(parts.logs.keep, parts.logs.forget)
    ingress = IngressManager(base.state_file("ingress.json", INGRESS_SCHEMA))
    # Options hold the passwords of what add-ons speak to.
    state = base.state_file("addons.json", addons_schema, secret=True)
    registry = AddonRegistry(state, base.bus, base.host, parts.store, ingress)
    options = AddonOptions(SecretsFile(base.paths.homeassistant / "secrets.yaml"), base.host)
    apparmor = AppArmor(base.paths, base.resolution, AgentProfiles(parts.system.apparmor))
    limits = LimitKeeper(base.engine, base.host)
    images = AddonImages(
        base.engine,
        base.jobs,
        parts.docker,
        base.host,
        ImagePuller(base.engine, RegistryApi(base.http), parts.docker, base.resolution),
        build_logs=base.paths.root / "logs",
    )
    missing = MissingImages(parts.store, images)
    runner = AddonRunner(
        base.engine,
        base.jobs,
        base.bus,
        base.resolution,
        options,
        logs,
        registry=registry,
        limits=limits,
        surroundings=partial(_surroundings, base, parts, apparmor),
        fetch_image=missing.fetch,
    )
    intents = Intents(base.state_file("intents.json", INTENTS_SCHEMA))
    return _Core(logs, ingress, registry, options, apparmor, limits, images, missing, runner, intents)


def _build_rollbacks(base: Base, core: _Core) -> Rollbacks:
    return Rollbacks(
        base.state_file("rollbacks.json", ROLLBACKS_SCHEMA, secret=True),
        base.paths,
        base.bus,
        base.jobs,
        base.resolution,
        core.intents,
        core.registry,
        core.runner,
        core.images,
        core.apparmor,
        window=base.settings.update_window,
    )


def _build_installer(base: Base, parts: Parts, core: _Core, rollbacks: Rollbacks) -> AddonInstaller:
    return AddonInstaller(
        base.engine,
        base.jobs,
        base.bus,
        base.host,
        parts.store,
        core.registry,
        core.images,
        core.runner,
        rollbacks,
        core.intents,
        core.logs,
        core.apparmor,
        base.paths,
        lambda: None,
    )


def _build_manager(
    base: Base, parts: Parts, core: _Core, installer: AddonInstaller, rollbacks: Rollbacks
) -> AddonManager:
    registry, runner = core.registry, core.runner
    return AddonManager(
        registry,
        runner,
        installer,
        rollbacks,
        AddonRepairs(base.engine, base.jobs, core.missing, registry, runner, base.resolution),
        core.options,
        AddonBooter(registry, runner, base.resolution),
        ContainerWatchdog(base.bus, base.jobs, registry, runner, base.resolution),
        core.limits,
        MemoryReports(base.bus, registry, base.resolution),
        core.intents,
        parts.store,
        parts.security,
        base.resolution,
        base.jobs,
        base.bus,
        core.apparmor,
        DeviceHotplug(
            base.bus,
            base.jobs,
            base.engine,
            base.host,
            registry,
            core.options,
            base.resolution,
            agent=AgentDevices(parts.system.cgroups, partial(_agent_can_allow, base, parts)),
        ),
    )


def build_addons(base: Base, parts: Parts) -> AddonParts:
    core = _build_core(base, parts)
    rollbacks = _build_rollbacks(base, core)
    installer = _build_installer(base, parts, core, rollbacks)
    registry, images, runner = core.registry, core.images, core.runner
    return AddonParts(
        _build_manager(base, parts, core, installer, rollbacks),
        images,
        core.ingress,
        ServiceManager(base.state_file("services.json", SERVICES_SCHEMA, secret=True), registry, base.jobs, base.bus),
        DiscoveryManager(
            base.state_file("discovery.json", DISCOVERY_SCHEMA, secret=True), registry, parts.store, base.jobs, base.bus
        ),
        ApplicationWatchdog(base.jobs, registry, runner, core.options, base.http),
        ImageLoader(
            base.jobs, base.host, parts.store, registry, images, installer, runner, base.resolution, base.paths.tmp
        ),
        ImageCheck(base.engine, base.jobs, base.host, registry, images, runner, base.resolution),
        ManifestRemarks(base.bus, parts.store, registry),
        AgentReturns(
            parts.system.apparmor,
            core.apparmor.load,
            partial(base.jobs.begin, name="profiles of the OS agent"),
            "it loads the AppArmor profiles",
        ),
    )


def _agent_can_allow(base: Base, parts: Parts) -> bool:
    info = base.engine.info
    return parts.system.is_haos or (info is not None and str(info.cgroup_version) == "1")


def _surroundings(base: Base, parts: Parts, apparmor: AppArmor) -> Surroundings:
    """Describe the machine for one start of an add-on."""
    in_container = base.settings.container_name is not None
    # From inside a container the host's own folders can't be seen; its operating system has them.
    missing = frozenset() if in_container else frozenset(path for path in OPTIONAL_HOST_PATHS if not path.exists())
    return Surroundings(
        base.paths,
        base.host.devices,
        base.address,
        parts.configuration.timezone or base.host.facts.timezone or "UTC",
        docker_socket=Path(base.settings.docker_url.removeprefix("unix://")),
        realtime_supported=base.settings.cpu_rt and RT_BUDGET.exists(),
        apparmor=apparmor.available,
        propagation=takes_part_in_propagation(base.paths.root),
        missing=missing,
        sound=None if in_container else parts.audio.own_server(base.paths),
    )
