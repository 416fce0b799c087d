"""The managers that need nothing but the base."""

from __future__ import annotations

import attrs

from supervisor.drivers.git import Git
from supervisor.drivers.journal import DirectJournal, JournalGateway, PreferredJournal
from supervisor.drivers.logs_setup import logs_to_journal
from supervisor.drivers.pulse import SoundServer
from supervisor.managers.audio import AudioManager, sound_sockets
from supervisor.managers.configuration import CONFIGURATION_SCHEMA, Configuration
from supervisor.managers.connectivity import Connectivity
from supervisor.managers.docker import DOCKER_SCHEMA, DockerSettings
from supervisor.managers.hardware import Hardware
from supervisor.managers.host import SystemServices
from supervisor.managers.logs import LogManager, SupervisorLog
from supervisor.managers.mirrors import MIRRORS_SCHEMA, Mirrors
from supervisor.managers.mounts import HELPERS, MOUNTS_SCHEMA, Mounting, MountManager, MountUnits
from supervisor.managers.os import OperatingSystem
from supervisor.managers.security import SECURITY_SCHEMA, Security
from supervisor.managers.store import STORE_SCHEMA, StoreManager
from supervisor.managers.updater import UPDATER_SCHEMA, Updater

from .base import Base


@attrs.define(eq=False)
class Parts:
    """The managers that are no business of any other manager's constructor order."""

    configuration: Configuration
    docker: DockerSettings
    updater: Updater
    connectivity: Connectivity
    security: Security
    store: StoreManager
    gateway: JournalGateway
    journal: DirectJournal
    logs: LogManager
    audio: AudioManager
    hardware: Hardware
    system: SystemServices
    operating_system: OperatingSystem
    mounts: MountManager

    @classmethod
    def of(cls, base: Base, own_log: SupervisorLog) -> Parts:
        settings = base.settings
        gateway, journal = JournalGateway(settings.journal_gateway_url), DirectJournal()
        system = SystemServices.on(base.system_bus)
        operating_system = OperatingSystem(system)
        updater = Updater(
            base.state_file("updater.json", UPDATER_SCHEMA),
            base.http,
            base.jobs,
            base.bus,
            version_url=settings.version_url,
            machine=lambda: base.host.machine,
            board=lambda: operating_system.board if operating_system.is_haos else None,
        )
        return cls(
            Configuration(base.state_file("config.json", CONFIGURATION_SCHEMA)),
            DockerSettings(
                base.state_file("docker.json", DOCKER_SCHEMA, secret=True),
                Mirrors(base.state_file("mirrors.json", MIRRORS_SCHEMA)),
                base.resolution,
            ),
            updater,
            Connectivity(base.http, base.bus, url=settings.connectivity_url),
            Security(base.state_file("security.json", SECURITY_SCHEMA), base.http, leak_url=settings.leak_url),
            StoreManager(
                paths=base.paths,
                state=base.state_file("store.json", STORE_SCHEMA, secret=True),
                git=Git(base.paths.root / "git"),
                jobs=base.jobs,
                resolution=base.resolution,
                bus=base.bus,
                with_builtin_remotes=settings.builtin_remotes,
                loud=lambda: updater.channel == "dev",
            ),
            gateway,
            journal,
            LogManager(
                PreferredJournal((gateway, journal)),
                base.engine,
                base.bus,
                base.paths.root / "logs",
                own=own_log,
                own_in_journal=logs_to_journal(settings.log_format),
            ),
            AudioManager(SoundServer(base.bus, sound_sockets(base.paths)), base.bus),
            Hardware(base.host, system.disks),
            system,
            operating_system,
            MountManager(
                base.state_file("mounts.json", MOUNTS_SCHEMA, secret=True),
                Mounting(
                    base.paths,
                    MountUnits(base.system_bus, system.systemd),
                    helpers=HELPERS if settings.container_name is None else (),
                ),
                base.jobs,
                base.resolution,
                base.bus,
            ),
        )
