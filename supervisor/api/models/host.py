"""The host on the wire (API contract §3.12)."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

import attrs
import msgspec


class HostState(TypedDict):
    """What stays the same until something changes."""

    agent_version: str | None
    apparmor_version: str | None
    chassis: str | None
    virtualization: str | None
    cpe: str | None
    deployment: str | None
    disk_free: float
    disk_total: float
    disk_used: float
    disk_life_time: float | None
    features: list[str]
    hostname: str | None
    llmnr_hostname: str | None
    kernel: str | None
    operating_system: str | None
    timezone: str | None
    dt_synchronized: bool | None
    use_ntp: bool | None
    startup_time: float | None
    boot_timestamp: int | None
    broadcast_llmnr: bool | None
    broadcast_mdns: bool | None


class HostInfo(HostState):
    """`dt_utc` is the time of the answer."""

    dt_utc: datetime


@attrs.frozen(kw_only=True)
class Service:
    name: str
    description: str
    state: str


@attrs.frozen(kw_only=True)
class Services:
    services: list[Service]


@attrs.frozen(kw_only=True)
class ServiceRules:
    """Patterns: a service may be touched when it fits one of `allowed` and none of `refused`."""

    allowed: list[str]
    refused: list[str]


@attrs.frozen(kw_only=True)
class DiskUsage:
    """`children` are left out where there are none, `total_bytes` below the root."""

    id: str
    label: str
    used_bytes: int
    total_bytes: int | msgspec.UnsetType = msgspec.UNSET
    children: list[DiskUsage] | msgspec.UnsetType = msgspec.UNSET


@attrs.frozen(kw_only=True)
class Finding:
    """`condition` is ok, limited or missing; `how` tells how to better it."""

    name: str
    condition: str
    text: str
    how: str


@attrs.frozen(kw_only=True)
class Examination:
    findings: list[Finding]
