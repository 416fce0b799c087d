"""The network on the wire (API contract §3.15)."""

from __future__ import annotations

import attrs
import msgspec


@attrs.frozen(kw_only=True)
class IpConfig:
    """The last two are there for IPv6 alone."""

    method: str
    address: list[str]
    nameservers: list[str]
    gateway: str | None
    route_metric: int | None
    ready: bool
    addr_gen_mode: str | msgspec.UnsetType = msgspec.UNSET
    ip6_privacy: str | msgspec.UnsetType = msgspec.UNSET


@attrs.frozen(kw_only=True)
class Wifi:
    mode: str
    auth: str
    ssid: str
    signal: int | None


@attrs.frozen(kw_only=True)
class Vlan:
    id: int
    parent: str


@attrs.frozen(kw_only=True)
class Interface:
    interface: str
    type: str
    enabled: bool
    connected: bool
    primary: bool
    mac: str
    ipv4: IpConfig
    ipv6: IpConfig
    wifi: Wifi | None
    vlan: Vlan | None
    mdns: str | None
    llmnr: str | None


@attrs.frozen(kw_only=True)
class DockerNetwork:
    interface: str
    address: str
    gateway: str
    dns: str


@attrs.frozen(kw_only=True)
class Pending:
    """A change that goes back in so many seconds unless it is confirmed."""

    interface: str
    seconds: int


@attrs.frozen(kw_only=True)
class NetworkInfo:
    """`available`: NetworkManager is there; `nameservers`: what the local networks offer."""

    interfaces: list[Interface]
    docker: DockerNetwork
    host_internet: bool | None
    supervisor_internet: bool
    available: bool
    nameservers: list[str]
    pending: Pending | None


@attrs.frozen(kw_only=True)
class AccessPoint:
    mode: str
    ssid: str
    mac: str
    frequency: int
    signal: int


@attrs.frozen(kw_only=True)
class AccessPoints:
    accesspoints: list[AccessPoint]
