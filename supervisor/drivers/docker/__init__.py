"""The Docker engine: the only place that knows the Docker SDK.

`Engine` holds the connection; `Engine.containers`, `Engine.images` and `Engine.network` do the work. Every call raises
the errors of `supervisor.errors` only.
"""

from supervisor.drivers.docker.containers import Containers
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.images import Images
from supervisor.drivers.docker.logs import LogLine
from supervisor.drivers.docker.model import (
    ContainerInfo,
    ContainerSummary,
    EngineInfo,
    ExecResult,
    ImageInfo,
    Mount,
    Stats,
)
from supervisor.drivers.docker.network import InternalNetwork, NetworkSettings
from supervisor.drivers.docker.pull import PullProgress
from supervisor.drivers.docker.registry import RegistryCredentials, credentials_for, platform_of, registry_of
from supervisor.drivers.docker.spec import Bind, CidFile, ContainerSpec, Ulimit, engine_config

__all__ = [
    "Bind",
    "CidFile",
    "ContainerInfo",
    "ContainerSpec",
    "ContainerSummary",
    "Containers",
    "Engine",
    "EngineInfo",
    "ExecResult",
    "ImageInfo",
    "Images",
    "InternalNetwork",
    "LogLine",
    "Mount",
    "NetworkSettings",
    "PullProgress",
    "RegistryCredentials",
    "Stats",
    "Ulimit",
    "credentials_for",
    "engine_config",
    "platform_of",
    "registry_of",
]
