"""Network interfaces: what they are like, and what may be asked of them (API contract §3.15, §2.18)."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Final

import attrs

from supervisor.const import NETWORK_SUBNET
from supervisor.errors import Invalid

IpAddress = IPv4Address | IPv6Address
IpInterface = IPv4Interface | IPv6Interface

LAST_VLAN: Final = 4094


class InterfaceType(StrEnum):
    ETHERNET = "ethernet"
    WIRELESS = "wireless"
    VLAN = "vlan"


class IpMethod(StrEnum):
    AUTO = "auto"
    STATIC = "static"
    DISABLED = "disabled"


class AddressGeneration(StrEnum):
    """How an interface makes its own part of an IPv6 address."""

    EUI64 = "eui64"
    STABLE_PRIVACY = "stable-privacy"
    DEFAULT_OR_EUI64 = "default-or-eui64"
    DEFAULT = "default"


class Ip6Privacy(StrEnum):
    """Whether IPv6 addresses change from time to time."""

    DEFAULT = "default"
    DISABLED = "disabled"
    ENABLED_PREFER_PUBLIC = "enabled-prefer-public"
    ENABLED = "enabled"


class NameBroadcast(StrEnum):
    """Whether names are asked for on the local network (`resolve`), and our own is told there, too (`announce`)."""

    DEFAULT = "default"
    OFF = "off"
    RESOLVE = "resolve"
    ANNOUNCE = "announce"


class WifiMode(StrEnum):
    INFRASTRUCTURE = "infrastructure"
    MESH = "mesh"
    ADHOC = "adhoc"
    AP = "ap"


class WifiAuth(StrEnum):
    OPEN = "open"
    WEP = "wep"
    WPA_PSK = "wpa-psk"


@attrs.frozen(kw_only=True)
class IpConfig:
    """`method` and `route_metric` are of the settings, all else is as it is now; `ready` says that it works.

    The last two are known for IPv6 alone.
    """

    method: IpMethod = IpMethod.DISABLED
    address: tuple[IpInterface, ...] = ()
    nameservers: tuple[IpAddress, ...] = ()
    gateway: IpAddress | None = None
    route_metric: int | None = None
    ready: bool = False
    address_generation: AddressGeneration | None = None
    privacy: Ip6Privacy | None = None


@attrs.frozen
class Wifi:
    """`signal` is in percent, None while not connected."""

    mode: WifiMode
    auth: WifiAuth
    ssid: str
    signal: int | None


@attrs.frozen
class Vlan:
    id: int
    parent: str


@attrs.frozen(kw_only=True)
class Interface:
    """`enabled` means that there are settings for it. `primary` is the one that leads to the internet."""

    name: str
    type: InterfaceType
    mac: str
    enabled: bool
    connected: bool
    primary: bool
    ipv4: IpConfig
    ipv6: IpConfig
    wifi: Wifi | None
    vlan: Vlan | None
    mdns: NameBroadcast | None
    llmnr: NameBroadcast | None


@attrs.frozen
class AccessPoint:
    """`frequency` is in MHz, `signal` in percent."""

    mode: WifiMode
    ssid: str
    mac: str
    frequency: int
    signal: int


@attrs.frozen(kw_only=True)
class IpChange:
    """What replaces the whole setting of one IP version. The last two count for IPv6 alone."""

    method: IpMethod
    address: tuple[IpInterface, ...] = ()
    gateway: IpAddress | None = None
    route_metric: int | None = None
    nameservers: tuple[IpAddress, ...] = ()
    address_generation: AddressGeneration | None = None
    privacy: Ip6Privacy | None = None

    def check(self, which: str) -> None:
        """Make sure that it can work.

        Raises:
            Invalid: it can't, with what has to be changed.
        """
        if self.method is not IpMethod.STATIC:
            return
        if not self.address:
            raise Invalid(f"A static {which} needs an address, such as 192.0.2.10/24; or set its method to auto")
        for address in self.address:
            if address.ip.is_unspecified or address.ip.is_loopback or address.ip.is_multicast:
                raise Invalid(f"The address {address} of {which} is none that a machine can have in a network")
            if address.network.prefixlen == 0:
                raise Invalid(f"The address {address} of {which} would have the whole internet in its network")
            if address.ip in NETWORK_SUBNET:
                raise Invalid(f"The address {address} is one of {NETWORK_SUBNET}, which the add-ons have among them")
        if self.gateway is not None and any(self.gateway == address.ip for address in self.address):
            raise Invalid(f"The gateway {self.gateway} of {which} is another machine, not this one's own address")


@attrs.frozen(kw_only=True)
class WifiChange:
    ssid: str
    mode: WifiMode = WifiMode.INFRASTRUCTURE
    auth: WifiAuth = WifiAuth.OPEN
    psk: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class InterfaceChange:
    """What shall be different about an interface; None leaves it as it is."""

    enabled: bool | None = None
    ipv4: IpChange | None = None
    ipv6: IpChange | None = None
    wifi: WifiChange | None = None
    mdns: NameBroadcast | None = None
    llmnr: NameBroadcast | None = None

    def check(self) -> None:
        """Make sure that it can work.

        Raises:
            Invalid: it can't, with what has to be changed.
        """
        for which, change in (("IPv4", self.ipv4), ("IPv6", self.ipv6)):
            if change is not None:
                change.check(which)
        if self.wifi is not None and not self.wifi.ssid:
            raise Invalid("The wireless network needs its name (ssid)")
