"""Services and what add-ons announce, on the wire (API contract §2.9, §2.21, §3.17)."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Service:
    """`providers` are the installed add-ons that say they provide it, `available` tells whether one does."""

    slug: str
    available: bool
    providers: list[str]


@attrs.frozen(kw_only=True)
class ServiceList:
    services: list[Service]


@attrs.frozen(kw_only=True)
class Discovery:
    """`addon` is the slug of the owner."""

    addon: str
    service: str
    uuid: str
    config: dict[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class DiscoveryList:
    """`services` tells which add-ons, installed or in the store, may announce a service."""

    discovery: list[Discovery]
    services: dict[str, list[str]]


@attrs.frozen(kw_only=True)
class DiscoverySent:
    uuid: str
