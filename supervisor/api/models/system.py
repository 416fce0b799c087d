"""The daemon, its jobs and its troubles on the wire (API contract §3.2, §3.9, §3.10, §3.13, §3.17)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
import msgspec


@attrs.frozen(kw_only=True)
class RootInfo:
    supervisor: str
    homeassistant: str | None
    hassos: str | None
    docker: str
    hostname: str | None
    operating_system: str | None
    features: list[str]
    machine: str | None
    machine_id: str | None
    arch: str
    state: str
    supported_arch: list[str]
    supported: bool
    channel: str
    logging: str
    timezone: str


@attrs.frozen(kw_only=True)
class UpdateItem:
    """`name` and `icon` are there for add-ons only."""

    update_type: str
    panel_path: str
    version_latest: str
    name: str | msgspec.UnsetType = msgspec.UNSET
    icon: str | msgspec.UnsetType | None = msgspec.UNSET


@attrs.frozen(kw_only=True)
class AvailableUpdates:
    available_updates: list[UpdateItem]


@attrs.frozen(kw_only=True)
class InstalledAddon:
    name: str
    slug: str
    version: str
    version_latest: str
    update_available: bool
    state: str
    repository: str
    icon: bool
    url: str | None
    description: str


@attrs.frozen(kw_only=True)
class NamedRepository:
    name: str
    slug: str


@attrs.frozen(kw_only=True)
class SupervisorInfo:
    version: str
    version_latest: str | None
    update_available: bool
    channel: str
    arch: str | None
    supported: bool
    healthy: bool
    ip_address: str
    timezone: str | None
    logging: str
    debug: bool
    debug_block: bool
    diagnostics: bool | None
    auto_update: bool
    detect_blocking_io: bool
    country: str | None
    feature_flags: dict[str, bool]
    wait_boot: int
    addons: list[InstalledAddon]
    addons_repositories: list[NamedRepository]


@attrs.frozen(kw_only=True)
class RegistryLogin:
    username: str


@attrs.frozen(kw_only=True)
class Registries:
    registries: dict[str, RegistryLogin]


@attrs.frozen(kw_only=True)
class Mirrors:
    mirrors: dict[str, list[str]]


@attrs.frozen(kw_only=True)
class DockerInfo:
    version: str
    storage: str
    logging: str
    enable_ipv6: bool | None
    mtu: int | None
    registries: dict[str, RegistryLogin]


@attrs.frozen(kw_only=True)
class JobError:
    type: str
    message: str
    stage: str | None
    error_key: str | None
    extra_fields: dict[str, Any] | None


@attrs.frozen(kw_only=True)
class Job:
    name: str | None
    reference: str | None
    uuid: str
    progress: float
    stage: str | None
    done: bool | None
    errors: list[JobError]
    created: datetime
    extra: dict[str, Any] | None
    child_jobs: list[Job]


@attrs.frozen(kw_only=True)
class JobsInfo:
    ignore_conditions: list[str]
    jobs: list[Job]


@attrs.frozen(kw_only=True)
class JobHistory:
    jobs: list[Job]


@attrs.frozen(kw_only=True)
class StartedJob:
    job_id: str


@attrs.frozen(kw_only=True)
class Issue:
    uuid: str
    type: str
    context: str
    reference: str | None
    reference_extra: dict[str, Any] | None
    reason: str | None


@attrs.frozen(kw_only=True)
class Suggestion:
    uuid: str
    type: str
    context: str
    reference: str | None
    reference_extra: dict[str, Any] | None
    auto: bool


@attrs.frozen(kw_only=True)
class Check:
    slug: str
    enabled: bool


@attrs.frozen(kw_only=True)
class ResolutionInfo:
    unsupported: list[str]
    unhealthy: list[str]
    issues: list[Issue]
    suggestions: list[Suggestion]
    checks: list[Check]


@attrs.frozen(kw_only=True)
class Suggestions:
    suggestions: list[Suggestion]


@attrs.frozen(kw_only=True)
class Boots:
    """Boot ids by offset: "0" the present boot, "-1" the one before."""

    boots: dict[str, str]


@attrs.frozen(kw_only=True)
class Identifiers:
    identifiers: list[str]
