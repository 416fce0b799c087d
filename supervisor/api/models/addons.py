"""Add-ons on the wire (API contract §3.1, §3.3, §3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Stats:
    """Bytes, and percent of the whole machine."""

    cpu_percent: float
    memory_usage: int
    memory_limit: int
    memory_percent: float
    network_rx: int
    network_tx: int
    blk_read: int
    blk_write: int


@attrs.frozen(kw_only=True)
class AddonListItem:
    name: str
    slug: str
    description: str
    advanced: bool = False
    stage: str
    version: str
    version_latest: str
    update_available: bool
    available: bool
    detached: bool
    homeassistant: str | None
    state: str
    crash_loop: bool
    repository: str
    build: bool
    url: str | None
    icon: bool
    logo: bool
    system_managed: bool


@attrs.frozen(kw_only=True)
class AddonList:
    addons: list[AddonListItem]


@attrs.frozen(kw_only=True)
class Limits:
    """Bytes, CPUs, processes, bytes of /dev/shm; null is as much as there is."""

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    shm: int | None = None


@attrs.frozen(kw_only=True)
class AddonInfo:
    """`version` is the installed one; a store add-on that is not installed shows the store's there.

    `limits_pending` names the limits that the running container gets with its next start only.
    """

    name: str
    slug: str
    hostname: str
    dns: list[str]
    description: str
    long_description: str | None
    advanced: bool = False
    stage: str
    repository: str
    version: str | None
    version_latest: str
    update_available: bool
    available: bool
    detached: bool
    build: bool
    protected: bool
    rating: int
    boot: str
    boot_config: str
    startup: str
    state: str
    options: Mapping[str, Any]
    schema: list[dict[str, Any]] | None
    arch: list[str]
    machine: list[str]
    homeassistant: str | None
    url: str | None
    network: Mapping[str, int | None] | None
    network_description: Mapping[str, str] | None
    host_network: bool
    host_pid: bool
    host_ipc: bool
    host_uts: bool
    host_dbus: bool
    privileged: list[str]
    full_access: bool
    apparmor: str
    devices: list[str]
    gpio: bool
    usb: bool
    uart: bool
    kernel_modules: bool
    devicetree: bool
    udev: bool
    docker_api: bool
    video: bool
    audio: bool
    audio_input: str | None
    audio_output: str | None
    stdin: bool
    icon: bool
    logo: bool
    changelog: bool
    documentation: bool
    hassio_api: bool
    hassio_role: str
    homeassistant_api: bool
    auth_api: bool
    services: list[str]
    services_role: list[str]
    discovery: list[str]
    translations: Mapping[str, Any]
    ingress: bool
    ingress_entry: str | None
    ingress_url: str | None
    ingress_port: int | None
    ingress_panel: bool | None
    signed: bool = False
    webui: str | None
    auto_update: bool
    auto_uart: bool
    ip_address: str
    watchdog: bool
    system_managed: bool
    system_managed_config_entry: str | None
    log_format: str = "plain"
    installed: bool = True
    last_exit_code: int | None = None
    last_error: str | None = None
    crash_loop: bool = False
    limits: Limits = Limits()
    limits_pending: list[str] = attrs.field(factory=list)
    rollback_version: str | None = None


@attrs.frozen(kw_only=True)
class OptionsVerdict:
    message: str
    valid: bool
    pwned: bool | None


@attrs.frozen(kw_only=True)
class LoadedAddon:
    """`job_id` is the job that goes on; None when it is done."""

    slug: str
    version: str
    job_id: str | None
