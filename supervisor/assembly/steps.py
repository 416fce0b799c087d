"""What is loaded, begun and stopped, and in which order."""

from __future__ import annotations

from functools import partial

from supervisor.api.server import ApiServer
from supervisor.const import SUPERVISOR_ADDRESS
from supervisor.drivers.logs_setup import Logging
from supervisor.jobs import JobManager
from supervisor.lifecycle import Step
from supervisor.managers.adoption import take_over
from supervisor.managers.backups.manager import BackupManager
from supervisor.managers.resolution import AUTO_REPAIR_SECONDS, HEALTH_CHECK_SECONDS, HealthCheck
from supervisor.managers.scheduler import Scheduler

from .addons import AddonParts
from .base import Base
from .host import HostParts
from .network import NetworkParts
from .parts import Parts
from .repositories import RepositoryParts
from .schedules import ScheduleParts

STORE_RELOAD_SECONDS = 10800
UPDATER_RELOAD_SECONDS = 86400
AUTO_UPDATE_SECONDS = 57600
HEALTH_SECONDS = 120
HOST_RELOAD_SECONDS = 7600
BACKUP_RELOAD_SECONDS = 72000
CLOUD_SECONDS = 86200
MOUNT_RELOAD_SECONDS = 900


def setup_steps(
    base: Base,
    parts: Parts,
    addons: AddonParts,
    repositories: RepositoryParts,
    host: HostParts,
    network: NetworkParts,
    backups: BackupManager,
    schedules: ScheduleParts,
    health: HealthCheck,
    server: ApiServer,
    output: Logging,
) -> list[Step]:
    async def set_log_level() -> None:
        output.set_level(base.settings.log_level or parts.configuration.logging)

    async def load_store() -> None:
        await parts.store.load(parts.configuration.old_repositories)
        await parts.configuration.forget_old_repositories()

    async def load_backups() -> None:
        before = set(parts.mounts.active)
        await backups.load()
        parts.mounts.backups_changed = backups.reload
        if set(parts.mounts.active) != before:
            await backups.reload()

    return [
        ("folders", partial(take_over, base.paths, base.resolution)),
        ("configuration", parts.configuration.load),
        ("log level", set_log_level),
        ("jobs", base.jobs.load),
        ("HTTP client", base.http.start),
        ("API", partial(server.start, base.settings.socket, None)),
        ("journal gateway", parts.gateway.start),
        ("journal", parts.journal.start),
        ("D-Bus", base.system_bus.start),
        ("host", base.host.load),
        ("services of the host", host.manager.load),
        ("network", network.network.load),
        ("rules for services", host.services.load),
        ("time zone", host.clock.load),
        ("mounts", parts.mounts.load),
        ("devices", base.devices.start),
        ("sound", parts.audio.start),
        ("Docker settings", parts.docker.load),
        ("Docker engine", base.engine.start),
        ("security", parts.security.load),
        ("updater", parts.updater.load),
        ("store", load_store),
        ("ports of pages", addons.ingress.load),
        ("add-ons", addons.manager.load),
        ("OS agent's profiles", addons.profiles.begin),
        ("remarks", addons.remarks.begin),
        ("services", addons.services.load),
        ("discovery", addons.discovery.load),
        ("backup repositories", repositories.manager.load),
        ("backups", load_backups),
        ("backup schedules", schedules.manager.load),
        ("health check", health.load),
    ]


async def engine_up(base: Base, parts: Parts, backups: BackupManager, server: ApiServer) -> None:
    """Bring up the internal network and our address in it."""
    parts.docker.evaluate()
    await base.engine.network.ensure(ipv6=parts.docker.enable_ipv6, mtu=parts.docker.mtu)
    own = base.settings.container_name
    if own is not None:
        await base.engine.network.attach(own, aliases=("supervisor", "hassio"), address=SUPERVISOR_ADDRESS)
    if server.tcp_address is None:
        await server.bind_tcp(str(base.address), base.settings.api_port)
    await backups.engine_reached()


def begin_background(
    parts: Parts,
    addons: AddonParts,
    repositories: RepositoryParts,
    host: HostParts,
    backups: BackupManager,
    schedules: ScheduleParts,
    health: HealthCheck,
    jobs: JobManager,
    scheduler: Scheduler,
) -> None:
    scheduler.every(STORE_RELOAD_SECONDS, "store reload", parts.store.reload)
    scheduler.every(UPDATER_RELOAD_SECONDS, "version file", parts.updater.fetch)
    scheduler.every(AUTO_UPDATE_SECONDS, "updates of add-ons", addons.auto_updates.run)
    scheduler.every(HEALTH_SECONDS, "health of add-ons", addons.health.check)
    scheduler.every(HEALTH_CHECK_SECONDS, "health check", health.run)
    scheduler.every(AUTO_REPAIR_SECONDS, "repairs", health.fixups.run_auto)
    scheduler.every(HOST_RELOAD_SECONDS, "host", host.manager.reload)
    jobs.spawn(repositories.manager.reload)
    scheduler.every(MOUNT_RELOAD_SECONDS, "mounts", parts.mounts.reload)
    scheduler.every(BACKUP_RELOAD_SECONDS, "backups", backups.reload)
    scheduler.every(CLOUD_SECONDS, "backups on their way to a cloud", backups.clear_cloud)
    schedules.manager.begin()
    jobs.spawn(partial(parts.connectivity.check, force=True))
    jobs.spawn(host.clock.adjust)
    jobs.spawn(addons.image_check.check_all)


def closing_steps(
    base: Base,
    parts: Parts,
    addons: AddonParts,
    host: HostParts,
    network: NetworkParts,
    backups: BackupManager,
    schedules: ScheduleParts,
    server: ApiServer,
    scheduler: Scheduler,
) -> list[list[Step]]:
    return [
        [
            ("API", server.stop),
            ("scheduler", scheduler.stop),
            ("add-ons", addons.manager.stop),
            ("backup schedules", schedules.manager.stop),
        ],
        [
            ("jobs", base.jobs.stop),
            ("OS agent's profiles", addons.profiles.stop),
            ("backups", backups.stop),
            ("mounts", parts.mounts.stop),
            ("store", parts.store.stop),
            ("devices", base.devices.stop),
            ("sound", parts.audio.stop),
            ("network", network.network.stop),
            ("host", host.manager.stop),
        ],
        [
            ("Docker engine", base.engine.stop),
            ("HTTP client", base.http.stop),
            ("D-Bus", base.system_bus.stop),
            ("journal gateway", parts.gateway.close),
        ],
    ]
