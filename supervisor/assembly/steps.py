"""What is loaded, begun and stopped, and in which order."""

from __future__ import annotations

import logging
from functools import partial

from supervisor.api.server import ApiServer
from supervisor.const import SUPERVISOR_ADDRESS
from supervisor.errors import Conflict, SupervisorError
from supervisor.events import InternetChanged
from supervisor.lifecycle import Step
from supervisor.managers.adoption import take_over
from supervisor.managers.docker_health import ENGINE_REASONS
from supervisor.managers.resolution import AUTO_REPAIR_SECONDS, HEALTH_CHECK_SECONDS
from supervisor.managers.scheduler import Scheduler

from .house import House

_LOGGER = logging.getLogger(__name__)

STORE_RELOAD_SECONDS = 10800
UPDATER_RELOAD_SECONDS = 86400
AUTO_UPDATE_SECONDS = 57600
HEALTH_SECONDS = 120
HOST_RELOAD_SECONDS = 7600
BACKUP_RELOAD_SECONDS = 72000
CLOUD_SECONDS = 86200
WAKE_SECONDS = 60
MOUNT_RELOAD_SECONDS = 900


def setup_steps(house: House, server: ApiServer) -> list[Step]:
    base, parts, addons, host = house.base, house.parts, house.addons, house.host

    async def set_log_level() -> None:
        house.output.set_level(base.settings.log_level or parts.configuration.logging)

    async def watch_loop() -> None:
        if parts.configuration.detect_blocking_io:
            base.stalls.start()

    async def open_door() -> None:
        try:
            await server.start(base.settings.socket, None)
        except Conflict:
            raise
        except SupervisorError:
            await house.state.show()
            raise
        await house.state.show()

    async def load_store() -> None:
        await parts.store.load(parts.configuration.old_repositories)
        await parts.configuration.forget_old_repositories()

    async def load_backups() -> None:
        before = set(parts.mounts.active)
        await house.backups.load()
        parts.mounts.backups_changed = house.backups.reload
        if set(parts.mounts.active) != before:
            await house.backups.reload()

    return [
        ("folders", partial(take_over, base.paths, base.resolution)),
        ("configuration", parts.configuration.load),
        ("log level", set_log_level),
        ("watch over the event loop", watch_loop),
        ("jobs", base.jobs.load),
        ("HTTP client", base.http.start),
        ("API", open_door),
        ("journal gateway", parts.gateway.start),
        ("journal", parts.journal.start),
        ("D-Bus", base.system_bus.start),
        ("host", base.host.load),
        ("services of the host", host.manager.load),
        ("power switch", host.control.start),
        ("boot slots", house.os.slots.load),
        ("updates of the operating system", house.os.updates.load),
        ("network", house.network.load),
        ("rules for services", host.services.load),
        ("time zone", host.clock.keep_zone),
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
        ("operating system", house.os_hardware.begin),
        ("remarks", addons.remarks.begin),
        ("services", addons.services.load),
        ("discovery", addons.discovery.load),
        ("backup repositories", house.repositories.manager.load),
        ("backups", load_backups),
        ("backup schedules", house.schedules.manager.load),
        ("health check", house.health.load),
    ]


def startup_steps(house: House) -> list[Step]:
    return [("boot slot", house.os.slots.mark_healthy)]


async def engine_up(house: House, server: ApiServer) -> None:
    """Bring up the internal network and our address in it."""
    base, parts = house.base, house.parts
    await house.health.evaluations.run(ENGINE_REASONS)
    await base.engine.network.ensure(ipv6=parts.docker.enable_ipv6, mtu=parts.docker.mtu)
    own = base.settings.container_name
    if own is not None:
        await base.engine.network.attach(own, aliases=("supervisor", "hassio"), address=SUPERVISOR_ADDRESS)
    await house.host.firewall.protect(await base.engine.network.gateways())
    if server.tcp_address is None:
        await server.bind_tcp(str(base.address), base.settings.api_port)
    await house.backups.wake_left()


def begin_background(house: House, scheduler: Scheduler) -> None:
    parts, addons, backups, jobs = house.parts, house.addons, house.backups, house.base.jobs
    scheduler.every(STORE_RELOAD_SECONDS, "store reload", parts.store.reload)
    scheduler.every(UPDATER_RELOAD_SECONDS, "version file", parts.updater.fetch)
    scheduler.every(AUTO_UPDATE_SECONDS, "updates of add-ons", house.schedules.auto_updates.run)
    scheduler.every(HEALTH_SECONDS, "health of add-ons", addons.health.check)
    scheduler.every(HEALTH_CHECK_SECONDS, "health check", house.health.run)
    scheduler.every(AUTO_REPAIR_SECONDS, "repairs", house.health.fixups.run_auto)
    scheduler.every(HOST_RELOAD_SECONDS, "host", house.host.manager.reload)
    jobs.spawn(house.repositories.manager.reload)
    scheduler.every(MOUNT_RELOAD_SECONDS, "mounts", parts.mounts.reload)
    scheduler.every(BACKUP_RELOAD_SECONDS, "backups", backups.reload)
    scheduler.every(WAKE_SECONDS, "add-ons left quiet", backups.wake_left)
    scheduler.every(CLOUD_SECONDS, "backups on their way to a cloud", backups.clear_cloud)
    house.schedules.manager.begin()
    jobs.spawn(partial(parts.connectivity.check, force=True))
    house.base.bus.subscribe(InternetChanged, partial(_internet_changed, house))
    jobs.spawn(partial(_learn_versions, house))
    jobs.spawn(house.host.clock.adjust)
    jobs.spawn(addons.image_check.check_all)


def _internet_changed(house: House, event: InternetChanged) -> None:
    if event.online:
        house.base.jobs.spawn(partial(_learn_versions, house))


async def _learn_versions(house: House) -> None:
    """Look what is new; who can't now does when the internet is back, or with the next round."""
    try:
        await house.parts.updater.fetch()
    except SupervisorError as err:
        _LOGGER.warning("What is new is not known: %s", err)


def closing_steps(house: House, server: ApiServer, scheduler: Scheduler) -> list[list[Step]]:
    base, parts, addons = house.base, house.parts, house.addons
    return [
        [
            ("API", server.stop),
            ("power switch", house.host.control.stop),
            ("scheduler", scheduler.stop),
            ("add-ons", addons.manager.stop),
            ("backup schedules", house.schedules.manager.stop),
        ],
        [
            ("jobs", base.jobs.stop),
            ("OS agent's profiles", addons.profiles.stop),
            ("operating system", house.os_hardware.stop),
            ("backups", house.backups.stop),
            ("mounts", parts.mounts.stop),
            ("store", parts.store.stop),
            ("devices", base.devices.stop),
            ("sound", parts.audio.stop),
            ("boot slots", house.os.slots.stop),
            ("network", house.network.stop),
            ("host", house.host.manager.stop),
        ],
        [
            ("Docker engine", base.engine.stop),
            ("HTTP client", base.http.stop),
            ("D-Bus", base.system_bus.stop),
            ("watch over the event loop", base.stalls.stop),
            ("journal gateway", parts.gateway.close),
        ],
    ]
