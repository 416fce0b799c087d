"""What the daemon is told when it starts; the command line and the environment fill it in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

DEFAULT_DATA = Path("/var/lib/supervisor")
DEFAULT_SOCKET = Path("/run/supervisor/supervisor.sock")
DEFAULT_DOCKER_URL = "unix:///run/docker.sock"
DEFAULT_SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


@attrs.frozen
class Settings:
    """Fixed for the life of the process.

    `host_data` is the data folder as the Docker engine's host sees it, which differs from `data` only when the daemon
    itself runs in a container, `container_name` then. `api_address` None means the internal network's gateway (or our
    own address in it, in a container). `builtin_remotes` says whether the repositories that live on the internet are
    fetched. `cpu_rt` says that the host has set real-time CPU budget aside for containers. `update_window` is how many
    seconds an updated add-on must run well before its old version is given up.
    """

    data: Path = DEFAULT_DATA
    host_data: Path = DEFAULT_DATA
    socket: Path = DEFAULT_SOCKET
    docker_url: str = DEFAULT_DOCKER_URL
    system_bus: str = DEFAULT_SYSTEM_BUS
    container_name: str | None = None
    machine: str | None = None
    api_address: str | None = None
    api_port: int = 80
    log_level: str | None = None
    log_format: Literal["auto", "console", "journal"] = "auto"
    dev: bool = False
    cpu_rt: bool = False
    journal_gateway_url: str | None = None
    builtin_remotes: bool = True
    connectivity_url: str = "https://checkonline.home-assistant.io/online.txt"
    whoami_url: str = "https://services.home-assistant.io/whoami/v1"
    version_url: str = "https://version.home-assistant.io"
    update_window: float = 600.0
    leak_url: str = "https://api.pwnedpasswords.com/range"
