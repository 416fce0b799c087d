"""The parts of the house, put together."""

from __future__ import annotations

import attrs

from supervisor.drivers.logs_setup import Logging
from supervisor.lifecycle import StateKeeper
from supervisor.managers.backups.manager import BackupManager
from supervisor.managers.daemon import Daemon
from supervisor.managers.repair import SystemRepair
from supervisor.managers.resolution import HealthCheck

from .addons import AddonParts
from .base import Base
from .host import HostParts
from .network import NetworkParts
from .operating_system import OsParts
from .os_hardware import OsHardwareParts
from .parts import Parts
from .repositories import RepositoryParts
from .schedules import ScheduleParts


@attrs.frozen(eq=False)
class House:
    """Known to this room alone: every manager was handed just what it uses."""

    base: Base
    parts: Parts
    addons: AddonParts
    repositories: RepositoryParts
    host: HostParts
    network: NetworkParts
    os: OsParts
    os_hardware: OsHardwareParts
    backups: BackupManager
    schedules: ScheduleParts
    daemon: Daemon
    health: HealthCheck
    repair: SystemRepair
    state: StateKeeper
    output: Logging
