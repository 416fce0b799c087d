"""Makes the wire form of the network."""

from __future__ import annotations

import math

import msgspec

from supervisor.api.models import network as wire
from supervisor.const import DNS_ADDRESS, GATEWAY_ADDRESS, NETWORK_NAME, NETWORK_SUBNET
from supervisor.managers.network import Card, Pending
from supervisor.model.network import AccessPoint, Interface, IpAddress, IpConfig, Wifi

DOCKER = wire.DockerNetwork(
    interface=NETWORK_NAME, address=str(NETWORK_SUBNET), gateway=str(GATEWAY_ADDRESS), dns=str(DNS_ADDRESS)
)


def interfaces(of: tuple[Card, ...]) -> list[wire.Interface]:
    return [interface(card.interface) for card in of]


def nameservers(of: tuple[IpAddress, ...]) -> list[str]:
    return [str(server) for server in of]


def interface(of: Interface) -> wire.Interface:
    return wire.Interface(
        interface=of.name,
        type=of.type.value,
        enabled=of.enabled,
        connected=of.connected,
        primary=of.primary,
        mac=of.mac,
        ipv4=_ip(of.ipv4),
        ipv6=_ip(of.ipv6),
        wifi=None if of.wifi is None else _wifi(of.wifi),
        vlan=None if of.vlan is None else wire.Vlan(id=of.vlan.id, parent=of.vlan.parent),
        mdns=of.mdns and of.mdns.value,
        llmnr=of.llmnr and of.llmnr.value,
    )


def access_point(of: AccessPoint) -> wire.AccessPoint:
    return wire.AccessPoint(mode=of.mode.value, ssid=of.ssid, mac=of.mac, frequency=of.frequency, signal=of.signal)


def pending(of: Pending | None, now: float) -> wire.Pending | None:
    if of is None:
        return None
    return wire.Pending(interface=of.interface, seconds=max(0, math.ceil(of.deadline - now)))


def _wifi(of: Wifi) -> wire.Wifi:
    return wire.Wifi(mode=of.mode.value, auth=of.auth.value, ssid=of.ssid, signal=of.signal)


def _ip(of: IpConfig) -> wire.IpConfig:
    return wire.IpConfig(
        method=of.method.value,
        address=[str(address) for address in of.address],
        nameservers=[str(server) for server in of.nameservers],
        gateway=None if of.gateway is None else str(of.gateway),
        route_metric=of.route_metric,
        ready=of.ready,
        addr_gen_mode=msgspec.UNSET if of.address_generation is None else of.address_generation.value,
        ip6_privacy=msgspec.UNSET if of.privacy is None else of.privacy.value,
    )
