"""What a container should be, and how that is said to the engine (add-on contract §4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

import attrs

from supervisor.const import LABEL_MANAGED, NETWORK_NAME

NetworkKind = Literal["hassio", "host", "none", "bridge"]

CID_TARGET = "/run/cid"


@attrs.frozen
class Bind:
    """A folder or file of the host shown in the container.

    `source` is the path as the engine's host sees it and must exist. With `non_recursive_read_only` mounts below the
    source stay writable (engines before 24 behave that way anyhow).
    """

    source: Path
    target: str
    read_only: bool = True
    propagation: str | None = None
    non_recursive_read_only: bool = False


@attrs.frozen
class Ulimit:
    name: str
    soft: int
    hard: int


@attrs.frozen
class CidFile:
    """The file that tells a container its own id: its path as we see it and as the engine's host sees it."""

    path: Path
    host_path: Path


@attrs.frozen(kw_only=True)
class ContainerSpec:
    """A container as it should be; `engine_config` says it to the engine.

    Attributes:
        image: `repository:tag`.
        environment: a value of None takes the variable's value from the engine's own environment (`KEY` alone).
        tmpfs: target -> mount options.
        ports: container port (`80`, `80/tcp`, `53/udp`) -> port of the host, on all addresses.
        network: `hassio` joins the internal network with the aliases, the host name and the fixed address, if any.
        address: fixed address on the internal network; None takes a free one.
        stdin: keep standard input open, so that `Containers.write_stdin` works.
        cpu_rt_runtime: microseconds of real-time CPU per second's period.
        labels: on top of the label every container of ours carries.
        memory: bytes, what is swapped out included; `nano_cpus`: 1e-9 CPUs; `shm_size`: bytes, of the engine's own
            `/dev/shm`, which one of `tmpfs` replaces.
    """

    name: str
    image: str
    hostname: str | None = None
    domainname: str | None = None
    environment: Mapping[str, str | None] = attrs.field(factory=dict)
    binds: tuple[Bind, ...] = ()
    tmpfs: Mapping[str, str] = attrs.field(factory=dict)
    ports: Mapping[str, int] = attrs.field(factory=dict)
    network: NetworkKind = "hassio"
    address: IPv4Address | None = None
    aliases: tuple[str, ...] = ()
    extra_hosts: Mapping[str, IPv4Address] = attrs.field(factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    init: bool = False
    stdin: bool = False
    privileged: bool = False
    capabilities: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int | None = None
    pid_mode: str | None = None
    uts_mode: str | None = None
    cpu_rt_runtime: int | None = None
    restart_policy: str | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_dir: str | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)
    cid_file: CidFile | None = None
    memory: int | None = None
    nano_cpus: int | None = None
    pids_limit: int | None = None
    shm_size: int | None = None


def engine_config(spec: ContainerSpec, *, network_name: str = NETWORK_NAME) -> dict[str, Any]:
    """Return the engine's JSON to create `spec`. `network_name` is the internal network's name in the engine."""
    config: dict[str, Any] = {
        "Image": spec.image,
        "Env": [key if value is None else f"{key}={value}" for key, value in spec.environment.items()],
        "Labels": {LABEL_MANAGED: "", **spec.labels},
        "OpenStdin": spec.stdin,
        "StdinOnce": False,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "HostConfig": _host_config(spec, network_name),
    }
    _put(
        config,
        Hostname=spec.hostname,
        Domainname=spec.domainname,
        Entrypoint=None if spec.entrypoint is None else list(spec.entrypoint),
        Cmd=None if spec.command is None else list(spec.command),
        WorkingDir=spec.working_dir,
    )
    ports = _ports(spec)
    if ports:
        config["ExposedPorts"] = {port: {} for port in ports}
    if spec.network == "hassio":
        config["NetworkingConfig"] = {"EndpointsConfig": {network_name: _endpoint(spec)}}
    return config


def _host_config(spec: ContainerSpec, network_name: str) -> dict[str, Any]:
    host: dict[str, Any] = {
        "NetworkMode": network_name if spec.network == "hassio" else spec.network,
        "RestartPolicy": {"Name": spec.restart_policy or "no"},
        "Init": spec.init,
        "Privileged": spec.privileged,
        "Mounts": [_mount(bind) for bind in _binds(spec)],
    }
    ports = _ports(spec)
    if ports:
        host["PortBindings"] = {port: [{"HostIp": "", "HostPort": str(number)}] for port, number in ports.items()}
    _put(
        host,
        Tmpfs=dict(spec.tmpfs) or None,
        ExtraHosts=[f"{name}:{address}" for name, address in spec.extra_hosts.items()] or None,
        Dns=list(spec.dns) or None,
        DnsSearch=list(spec.dns_search) or None,
        DnsOptions=list(spec.dns_options) or None,
        CapAdd=list(spec.capabilities) or None,
        SecurityOpt=list(spec.security_opt) or None,
        DeviceCgroupRules=list(spec.device_cgroup_rules) or None,
        Ulimits=[{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in spec.ulimits] or None,
        OomScoreAdj=spec.oom_score_adj,
        PidMode=spec.pid_mode,
        UTSMode=spec.uts_mode,
        CpuRealtimeRuntime=spec.cpu_rt_runtime,
        Memory=spec.memory,
        MemorySwap=spec.memory,
        NanoCpus=spec.nano_cpus,
        PidsLimit=spec.pids_limit,
        ShmSize=spec.shm_size,
    )
    return host


def _put(target: dict[str, Any], **values: object) -> None:
    """Add the values that are given; absence means the engine's (or the image's) default."""
    target.update({key: value for key, value in values.items() if value is not None})


def _ports(spec: ContainerSpec) -> dict[str, int]:
    if spec.network in {"host", "none"}:
        return {}
    return {port if "/" in port else f"{port}/tcp": number for port, number in spec.ports.items()}


def _endpoint(spec: ContainerSpec) -> dict[str, Any]:
    names = [*([spec.hostname] if spec.hostname else []), *spec.aliases]
    endpoint: dict[str, Any] = {"Aliases": list(dict.fromkeys(names))}
    if spec.address is not None:
        endpoint["IPAMConfig"] = {"IPv4Address": str(spec.address)}
    return endpoint


def _binds(spec: ContainerSpec) -> tuple[Bind, ...]:
    if spec.cid_file is None:
        return spec.binds
    return (*spec.binds, Bind(spec.cid_file.host_path, CID_TARGET))


def _mount(bind: Bind) -> dict[str, Any]:
    mount: dict[str, Any] = {
        "Type": "bind",
        "Source": str(bind.source),
        "Target": bind.target,
        "ReadOnly": bind.read_only,
    }
    options: dict[str, Any] = {}
    if bind.propagation is not None:
        options["Propagation"] = bind.propagation
    if bind.non_recursive_read_only:
        options["ReadOnlyNonRecursive"] = True
    if options:
        mount["BindOptions"] = options
    return mount
