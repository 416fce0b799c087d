"""systemd-resolved (host contract §18); it is only read."""

from __future__ import annotations

import socket
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import attrs

from supervisor.drivers.dbus.declaration import BOOL, STRING, Property, Service, array, choice, struct
from supervisor.drivers.dbus.interface import Interface

RESOLVED: Final = Service("org.freedesktop.resolve1", "systemd-resolved")


class Broadcast(StrEnum):
    """Whether names of the local network are asked for (`resolve`), and our own is answered, too (`yes`)."""

    YES = "yes"
    NO = "no"
    RESOLVE = "resolve"


@attrs.frozen
class DnsServer:
    """`link` is the index of the interface it belongs to, 0 for one of the whole machine."""

    link: int
    address: IPv4Address | IPv6Address


def _server(link: int, family: int, raw: bytes) -> DnsServer:
    if family == socket.AF_INET:
        return DnsServer(link, IPv4Address(bytes(raw)))
    return DnsServer(link, IPv6Address(bytes(raw)))


def _server_if_any(link: int, family: int, raw: bytes) -> DnsServer | None:
    return _server(link, family, raw) if raw else None


class Resolved(Interface):
    service = RESOLVED
    interface = "org.freedesktop.resolve1.Manager"
    default_path = "/org/freedesktop/resolve1"

    llmnr_hostname = Property("LLMNRHostname", STRING)
    llmnr = Property("LLMNR", choice(Broadcast, STRING))
    multicast_dns = Property("MulticastDNS", choice(Broadcast, STRING))
    dns_over_tls = Property("DNSOverTLS", STRING)
    dns_stub_listener = Property("DNSStubListener", STRING)
    dnssec = Property("DNSSEC", STRING)
    dnssec_supported = Property("DNSSECSupported", BOOL)
    resolv_conf_mode = Property("ResolvConfMode", STRING)
    dns = Property("DNS", array(struct("iiay", _server)))
    fallback_dns = Property("FallbackDNS", array(struct("iiay", _server)))
    current_dns_server = Property("CurrentDNSServer", struct("iiay", _server_if_any))
