"""What nearly everything is built on."""

from __future__ import annotations

from ipaddress import IPv4Address

import attrs

from supervisor import __version__
from supervisor.const import GATEWAY_ADDRESS, SUPERVISOR_ADDRESS
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.http import HttpClient
from supervisor.drivers.stalls import StallWatch
from supervisor.events import EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.devices import DeviceWatch
from supervisor.managers.host import Host
from supervisor.managers.resolution import Resolution
from supervisor.paths import DataPaths
from supervisor.settings import Settings
from supervisor.state import Schema, StateFile


@attrs.define(eq=False)
class Base:
    """What nearly everything is built on."""

    settings: Settings
    paths: DataPaths
    bus: EventBus
    engine: Engine
    system_bus: SystemBus
    http: HttpClient
    resolution: Resolution
    jobs: JobManager
    host: Host
    devices: DeviceWatch
    address: IPv4Address
    stalls: StallWatch

    @classmethod
    def of(cls, settings: Settings) -> Base:
        bus, paths = EventBus(), DataPaths(settings.data, settings.host_data)
        in_container = settings.container_name is not None
        own_address = SUPERVISOR_ADDRESS if in_container else GATEWAY_ADDRESS
        resolution, host = Resolution(bus), Host(data=paths.root, machine=settings.machine)
        return cls(
            settings,
            paths,
            bus,
            Engine(settings.docker_url, bus, cid_files=paths.cid_files),
            SystemBus(bus, settings.system_bus),
            HttpClient(user_agent=f"Supervisor/{__version__}"),
            resolution,
            JobManager(bus, StateFile(paths.root / "jobs.json", JOBS_SCHEMA, bus)),
            host,
            DeviceWatch(bus, host, resolution),
            IPv4Address(settings.api_address) if settings.api_address else own_address,
            StallWatch(),
        )

    def state_file(self, name: str, schema: Schema, *, secret: bool = False) -> StateFile:
        return StateFile(self.paths.root / name, schema, self.bus, secret=secret)
