"""Builds the API: every route, and who may call it."""

from __future__ import annotations

from functools import partial

from supervisor.api.callers import Callers
from supervisor.api.docs import with_documentation
from supervisor.api.routes.addons import AddonRoutes
from supervisor.api.routes.audio import AudioRoutes
from supervisor.api.routes.backup_files import BackupFileRoutes
from supervisor.api.routes.backup_repositories import BackupRepositoryRoutes
from supervisor.api.routes.backup_schedules import BackupScheduleRoutes
from supervisor.api.routes.backups import BackupRoutes
from supervisor.api.routes.discovery import DiscoveryRoutes
from supervisor.api.routes.docker import DockerRoutes
from supervisor.api.routes.hardware import HardwareRoutes
from supervisor.api.routes.host import HostRoutes
from supervisor.api.routes.images import ImageRoutes
from supervisor.api.routes.jobs import JobRoutes
from supervisor.api.routes.machine_logs import MachineLogRoutes
from supervisor.api.routes.mounts import MountRoutes
from supervisor.api.routes.network import NetworkRoutes
from supervisor.api.routes.os import OsRoutes
from supervisor.api.routes.os_boards import BoardRoutes
from supervisor.api.routes.os_data_disk import DataDiskRoutes
from supervisor.api.routes.resolution import ResolutionRoutes
from supervisor.api.routes.services import ServiceRoutes
from supervisor.api.routes.store import StoreRoutes
from supervisor.api.routes.system import SystemRoutes
from supervisor.api.server import ApiServer
from supervisor.api.views.addons import AddonViews
from supervisor.drivers.registry_api import RegistryApi
from supervisor.managers.addons.spec import DBUS, RT_BUDGET, UDEV
from supervisor.managers.audio import MACHINE_ID, AudioPlugin, PluginPlace
from supervisor.managers.image_puller import ImagePuller

from .house import House
from .repositories import time_zone


def build_server(house: House) -> ApiServer:
    base, parts, addons, host = house.base, house.parts, house.addons, house.host
    manager = addons.manager
    views = AddonViews(manager, parts.store, base.host)
    system = SystemRoutes(
        base.engine,
        base.host,
        host.features,
        host.clock,
        parts.configuration,
        parts.updater,
        house.daemon,
        base.resolution,
        parts.store,
        manager,
        base.jobs,
        parts.logs,
        house.state,
        base.address,
        house.output.set_level,
        base.stalls,
        house.health,
        house.repair,
        house.os.system,
        house.os.updates,
        house.os_hardware.diagnostics,
    )
    routes = [
        *system.routes(),
        *AddonRoutes(manager, parts.store, views, base.jobs, parts.logs).routes(),
        *StoreRoutes(parts.store, manager, views, base.jobs, house.schedules.save_addon).routes(),
        *HostRoutes(host.manager, host.control, host.services, host.disks, parts.mounts, host.doctor).routes(),
        *OsRoutes(house.os.manager, house.os.updates, base.jobs, _core_version).routes(),
        *DataDiskRoutes(house.os_hardware.data_disk, base.jobs).routes(),
        *BoardRoutes(house.os_hardware.boards, house.os_hardware.firmware, house.os_hardware.swap, base.jobs).routes(),
        *MountRoutes(parts.mounts, base.jobs).routes(),
        *BackupRoutes(house.backups, base.jobs).routes(),
        *BackupFileRoutes(house.backups, base.jobs).routes(),
        *JobRoutes(base.jobs, base.resolution).routes(),
        *DockerRoutes(base.engine, parts.docker, house.os_hardware.storage_driver).routes(),
        *ImageRoutes(addons.images, addons.loader, base.jobs).routes(),
        *ResolutionRoutes(base.resolution, house.health, base.jobs).routes(),
        *ServiceRoutes(addons.services, manager).routes(),
        *MachineLogRoutes(parts.logs).routes(),
        *BackupScheduleRoutes(house.schedules.manager, base.jobs).routes(),
        *BackupRepositoryRoutes(
            house.repositories.manager,
            house.repositories.contents,
            base.jobs,
            base.paths.backup,
            partial(time_zone, base, parts),
        ).routes(),
        *HardwareRoutes(parts.hardware, parts.audio).routes(),
        *AudioRoutes(parts.audio, _audio_plugin(house), base.jobs).routes(),
        *NetworkRoutes(house.network.network, house.network.changes, parts.connectivity).routes(),
        *DiscoveryRoutes(addons.discovery, manager).routes(),
    ]
    return ApiServer(with_documentation(routes), Callers(manager, base.bus), house.state)


def _core_version() -> str | None:
    """Nobody here looks after Home Assistant Core yet."""
    return None


def _audio_plugin(house: House) -> AudioPlugin:
    base, parts = house.base, house.parts

    def place() -> PluginPlace:
        in_container = base.settings.container_name is not None
        return PluginPlace(
            base.paths,
            parts.configuration.timezone or base.host.facts.timezone or "UTC",
            realtime=base.settings.cpu_rt and RT_BUDGET.exists(),
            missing=() if in_container else [path for path in (DBUS, UDEV, MACHINE_ID) if not path.exists()],
        )

    puller = ImagePuller(base.engine, RegistryApi(base.http), parts.docker, base.resolution)
    return AudioPlugin(base.engine, parts.updater, puller, base.jobs, arch=base.host.arch, place=place)
