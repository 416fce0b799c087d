"""Plain data the engine's driver hands out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from ipaddress import AddressValueError, IPv4Address
from typing import Any

import attrs

from supervisor.events import ContainerState


@attrs.frozen
class EngineInfo:
    """`version` is the engine's, `cgroup_version` is "1" or "2", `root_dir` the engine's data folder on the host."""

    version: str
    api_version: str
    storage_driver: str
    logging_driver: str
    cgroup_version: str
    root_dir: str


@attrs.frozen
class Mount:
    type: str
    source: str
    target: str
    read_only: bool
    propagation: str


@attrs.frozen
class Resources:
    """What a container may take: bytes of memory, 1e-9 CPUs, processes, bytes of /dev/shm; 0 is as much as there is."""

    memory: int = 0
    nano_cpus: int = 0
    pids: int = 0
    shm: int = 0


@attrs.frozen
class ContainerInfo:
    """What the engine knows about one container.

    Attributes:
        image: the reference it was created from; `image_id` is what that meant then.
        status: the engine's word: created, running, paused, restarting, removing, exited, dead.
        exit_code: of the last run; 0 while it runs or never ran.
        health: starting, healthy, unhealthy; None without a health check.
        has_healthcheck: whether somebody starting it should wait for `health` to settle.
        ip_address: on the internal network; known only while it runs.
        pid: of its first process as the engine's host counts; 0 when it does not run.
        device_rules: the cgroup rules it was made with.
        raw: the engine's inspect answer.
    """

    id: str
    name: str
    image: str
    image_id: str
    status: str
    running: bool
    exit_code: int
    health: str | None
    has_healthcheck: bool
    started_at: datetime | None
    finished_at: datetime | None
    ip_address: IPv4Address | None
    labels: Mapping[str, str]
    env: Mapping[str, str | None]
    log_driver: str
    log_path: str
    mounts: tuple[Mount, ...]
    network_mode: str
    restart_policy: str
    oom_killed: bool
    tty: bool
    pid: int
    resources: Resources
    device_rules: tuple[str, ...]
    raw: Mapping[str, Any] = attrs.field(repr=False, eq=False)

    @property
    def state(self) -> ContainerState:
        """The state as events tell it (add-on contract §4.7); a health check that has not settled counts as running."""
        return container_state(running=self.status == "running", health=self.health, exit_code=self.exit_code)


@attrs.frozen
class ContainerSummary:
    """A container as the engine's list shows it; see `ContainerInfo` for the meaning."""

    id: str
    name: str
    image: str
    image_id: str
    status: str
    exit_code: int
    health: str | None
    ip_address: IPv4Address | None
    labels: Mapping[str, str]

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def state(self) -> ContainerState:
        return container_state(running=self.running, health=self.health, exit_code=self.exit_code)


@attrs.frozen
class ImageInfo:
    """`env` is the image's default environment, `size` its bytes on this disk."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    os: str
    architecture: str
    variant: str
    env: Mapping[str, str | None]
    size: int
    has_healthcheck: bool

    @property
    def platform(self) -> str:
        """`os/architecture[/variant]`."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@attrs.frozen
class ExecResult:
    """`output` is standard output and error as they came."""

    exit_code: int
    output: bytes


@attrs.frozen
class Stats:
    """Use of the machine by one container (API contract §3.1): bytes, and per cent where 100 is the whole machine."""

    cpu_percent: float = 0.0
    memory_usage: int = 0
    memory_limit: int = 0
    memory_percent: float = 0.0
    network_rx: int = 0
    network_tx: int = 0
    blk_read: int = 0
    blk_write: int = 0


def container_state(*, running: bool, health: str | None, exit_code: int) -> ContainerState:
    if not running:
        return ContainerState.FAILED if exit_code > 0 else ContainerState.STOPPED
    if health == "healthy":
        return ContainerState.HEALTHY
    if health == "unhealthy":
        return ContainerState.UNHEALTHY
    return ContainerState.RUNNING


def container_info(raw: Mapping[str, Any], *, network_name: str) -> ContainerInfo:
    """Read the engine's inspect answer; what is missing there gets its neutral value."""
    state = raw.get("State") or {}
    config = raw.get("Config") or {}
    host = raw.get("HostConfig") or {}
    status = str(state.get("Status") or "unknown")
    health = (state.get("Health") or {}).get("Status")
    return ContainerInfo(
        id=str(raw.get("Id") or ""),
        name=str(raw.get("Name") or "").removeprefix("/"),
        image=str(config.get("Image") or ""),
        image_id=str(raw.get("Image") or ""),
        status=status,
        running=bool(state.get("Running")),
        exit_code=int(state.get("ExitCode") or 0),
        health=None if health in {None, "", "none"} else str(health),
        has_healthcheck=_has_healthcheck(config),
        started_at=parse_time(state.get("StartedAt")),
        finished_at=parse_time(state.get("FinishedAt")),
        ip_address=_address((raw.get("NetworkSettings") or {}).get("Networks"), network_name),
        labels=dict(config.get("Labels") or {}),
        env=_environment(config.get("Env")),
        log_driver=str((host.get("LogConfig") or {}).get("Type") or ""),
        log_path=str(raw.get("LogPath") or ""),
        mounts=tuple(_mount(mount) for mount in raw.get("Mounts") or ()),
        network_mode=str(host.get("NetworkMode") or ""),
        restart_policy=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
        oom_killed=bool(state.get("OOMKilled")),
        tty=bool(config.get("Tty")),
        pid=int(state.get("Pid") or 0),
        resources=_resources(host),
        device_rules=tuple(map(str, host.get("DeviceCgroupRules") or ())),
        raw=raw,
    )


_SHM_SIZE = re.compile(r"(?:^|,)size=(\d+)(?:,|$)")


def _resources(host: Mapping[str, Any]) -> Resources:
    options = str((host.get("Tmpfs") or {}).get("/dev/shm") or "")  # noqa: S108 - a path inside the container
    shm = _SHM_SIZE.search(options)
    return Resources(
        memory=int(host.get("Memory") or 0),
        nano_cpus=int(host.get("NanoCpus") or 0),
        # Some engines say -1 for "no limit".
        pids=max(0, int(host.get("PidsLimit") or 0)),
        shm=int(shm[1]) if shm else 0,
    )


_EXITED = re.compile(r"^Exited \((\d+)\)")
_HEALTH = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)")


def container_summary(raw: Mapping[str, Any], *, network_name: str) -> ContainerSummary:
    """Read one entry of the engine's list; health and exit code are only in its text for people."""
    text = str(raw.get("Status") or "")
    exited = _EXITED.match(text)
    health = _HEALTH.search(text)
    names = [str(name).removeprefix("/") for name in raw.get("Names") or ()]
    return ContainerSummary(
        id=str(raw.get("Id") or ""),
        # A name with another slash is a link of some other container to this one.
        name=next((name for name in names if "/" not in name), ""),
        image=str(raw.get("Image") or ""),
        image_id=str(raw.get("ImageID") or ""),
        status=str(raw.get("State") or "unknown"),
        exit_code=int(exited[1]) if exited else 0,
        health=health[1] if health else None,
        ip_address=_address((raw.get("NetworkSettings") or {}).get("Networks"), network_name),
        labels=dict(raw.get("Labels") or {}),
    )


def image_info(raw: Mapping[str, Any]) -> ImageInfo:
    config = raw.get("Config") or {}
    return ImageInfo(
        id=str(raw.get("Id") or ""),
        tags=tuple(raw.get("RepoTags") or ()),
        labels=dict(config.get("Labels") or {}),
        os=str(raw.get("Os") or ""),
        architecture=str(raw.get("Architecture") or ""),
        variant=str(raw.get("Variant") or ""),
        env=_environment(config.get("Env")),
        size=int(raw.get("Size") or 0),
        has_healthcheck=_has_healthcheck(config),
    )


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:\d\d)")


def parse_time(text: object) -> datetime | None:
    """Read the engine's RFC 3339 time (nanoseconds are cut to microseconds); its zero time and nonsense are None."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[1].startswith("0001-"):
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        return datetime.fromisoformat(f"{match[1]}.{(match[2] or '0'):0<6}{zone}")
    except ValueError:
        return None


def _has_healthcheck(config: Mapping[str, Any]) -> bool:
    test = (config.get("Healthcheck") or {}).get("Test") or []
    return bool(test) and test[0] != "NONE"


def _environment(entries: object) -> dict[str, str | None]:
    result: dict[str, str | None] = {}
    for entry in entries if isinstance(entries, list) else []:
        key, separator, value = str(entry).partition("=")
        result[key] = value if separator else None
    return result


def _address(networks: object, name: str) -> IPv4Address | None:
    if not isinstance(networks, dict):
        return None
    try:
        return IPv4Address((networks.get(name) or {}).get("IPAddress") or "")
    except AddressValueError:
        return None


def _mount(raw: Mapping[str, Any]) -> Mount:
    return Mount(
        type=str(raw.get("Type") or ""),
        source=str(raw.get("Source") or ""),
        target=str(raw.get("Destination") or ""),
        read_only=not raw.get("RW", True),
        propagation=str(raw.get("Propagation") or ""),
    )
