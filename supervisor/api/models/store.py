"""The store on the wire (API contract §3.5)."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Repository:
    slug: str
    name: str
    source: str
    url: str
    maintainer: str


@attrs.frozen(kw_only=True)
class StoreAddon:
    """`version` is the installed version, null when the add-on is not installed."""

    advanced: bool = False
    arch: list[str]
    available: bool
    build: bool
    description: str
    documentation: bool
    homeassistant: str | None
    icon: bool
    installed: bool
    logo: bool
    name: str
    repository: str
    slug: str
    stage: str
    update_available: bool
    url: str | None
    version: str | None
    version_latest: str


@attrs.frozen(kw_only=True)
class StoreAddonExtended(StoreAddon):
    apparmor: str
    auth_api: bool
    detached: bool
    docker_api: bool
    full_access: bool
    hassio_api: bool
    hassio_role: str
    homeassistant_api: bool
    host_network: bool
    host_pid: bool
    ingress: bool
    long_description: str | None
    rating: int
    signed: bool = False


@attrs.frozen(kw_only=True)
class StoreAddonList:
    addons: list[StoreAddon]


@attrs.frozen(kw_only=True)
class StoreInfo:
    addons: list[StoreAddon]
    repositories: list[Repository]
