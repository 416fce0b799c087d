"""The network as NetworkManager has it now, read as one picture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from ipaddress import ip_interface
from typing import Any, Final

import attrs

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.network_manager import (
    NO_OBJECT,
    AccessPointObject,
    ActiveConnection,
    ActiveState,
    Device,
    DeviceType,
    DnsManager,
    Ip4Config,
    Ip6Config,
    NetworkManager,
    Profile,
    ProfileStore,
    StateFlag,
    StoredProfile,
    WirelessDevice,
)
from supervisor.drivers.dbus.network_profile import (
    Target,
    address_of,
    broadcast_of,
    generation_of,
    matches,
    method_of,
    metric_of,
    privacy_of,
    ssid_text,
    uuid_of,
    vlan_of,
    wifi_of,
)
from supervisor.errors import NotFound, Unavailable, Unsupported
from supervisor.model.network import (
    AccessPoint,
    Interface,
    InterfaceType,
    IpAddress,
    IpConfig,
    IpInterface,
    WifiMode,
)

_LOGGER = logging.getLogger(__name__)

_TYPES: Final = {
    DeviceType.ETHERNET: InterfaceType.ETHERNET,
    DeviceType.WIFI: InterfaceType.WIRELESS,
    DeviceType.VLAN: InterfaceType.VLAN,
}
_MODES: Final = {1: WifiMode.ADHOC, 2: WifiMode.INFRASTRUCTURE, 3: WifiMode.AP, 4: WifiMode.MESH}


@attrs.frozen
class Stored:
    """A profile and where it is kept."""

    path: str
    profile: Profile


@attrs.frozen
class Card:
    """An interface with what NetworkManager knows it by.

    `stored` is the profile that is active on it, or else made for it; `own` tells whether it is for it alone.
    """

    interface: Interface
    target: Target
    device: str
    active: str | None
    stored: Stored | None
    own: bool

    @property
    def name(self) -> str:
        return self.interface.name


@attrs.frozen
class _Seen:
    """A device of ours, and what is active on it."""

    path: str
    device: Device
    type: InterfaceType
    active: ActiveConnection | None
    stored: Stored | None

    @property
    def name(self) -> str:
        return self.device.name or ""


class Reading:
    """Reads the picture, device by device. Those of other types are looked at once: containers bring many."""

    def __init__(self, bus: SystemBus, manager: NetworkManager) -> None:
        self._bus = bus
        self._manager = manager
        self._strangers: set[str] = set()

    def forget(self) -> None:
        """NetworkManager is another now, and names everything anew."""
        self._strangers.clear()

    def is_stranger(self, path: str) -> bool:
        """Whether this is a device that is none of ours."""
        return path in self._strangers

    async def news(self, known: Iterable[str]) -> bool:
        """Tell whether the list of devices has another one of ours than `known`, or lacks one."""
        ours = await self._devices()
        return {path for path, _ in ours} != set(known)

    async def cards(self) -> list[Card]:
        """Read the interfaces, in the order of their names.

        Raises:
            Unavailable, Timeout: NetworkManager is away, or busy.
        """
        found = await asyncio.gather(*(self._see(path, device) for path, device in await self._devices()))
        seen = sorted((one for one in found if one is not None), key=lambda one: one.name)
        names = {uuid_of(one.stored.profile): one.name for one in seen if one.stored}
        others = await self.profiles() if any(one.stored is None for one in seen) else []
        return list(await asyncio.gather(*(self._card(one, names, others) for one in seen)))

    async def profiles(self) -> list[Stored]:
        """Read all profiles that are stored."""
        store = ProfileStore(self._bus)
        await store.refresh()
        found = await asyncio.gather(*(self._stored(path) for path in store.profiles or ()))
        return [one for one in found if one is not None]

    async def local_nameservers(self) -> list[IpAddress]:
        """Return the servers that the local networks offer, best first."""
        dns = DnsManager(self._bus)
        try:
            await dns.refresh()
        except (NotFound, Unsupported):
            return []
        return nameservers_of(dns.configuration or ())

    async def scan(self, device: str) -> None:
        """Have a wireless device look around; what it finds comes in the next seconds."""
        try:
            await WirelessDevice(self._bus, device).request_scan()
        except Unavailable as err:
            # It has just looked, or is about to.
            _LOGGER.debug("%s", err)

    async def access_points(self, device: str) -> list[AccessPoint]:
        """Read the access points that were found, strongest first."""
        points = await WirelessDevice(self._bus, device).access_points()
        found = await asyncio.gather(*(self._access_point(path) for path in points))
        return sorted((one for one in found if one is not None), key=lambda one: (-one.signal, one.ssid, one.mac))

    async def _devices(self) -> list[tuple[str, Device]]:
        paths = [path for path in self._manager.devices or () if path not in self._strangers]
        devices = await asyncio.gather(*(self._device(path) for path in paths))
        self._strangers.intersection_update(self._manager.devices or ())
        return [(path, device) for path, device in zip(paths, devices, strict=True) if device is not None]

    async def _device(self, path: str) -> Device | None:
        device = Device(self._bus, path)
        try:
            await device.refresh()
        except NotFound:
            return None
        if device.type not in set(DeviceType):
            self._strangers.add(path)
            return None
        return device if device.managed and device.name else None

    async def _see(self, path: str, device: Device) -> _Seen | None:
        active, stored = None, None
        if (device.active_connection or NO_OBJECT) != NO_OBJECT:
            active = ActiveConnection(self._bus, device.active_connection or "")
            try:
                await active.refresh()
                stored = await self._stored(active.profile or NO_OBJECT)
            except NotFound:
                active = None
        return _Seen(path, device, _TYPES[DeviceType(device.type or 0)], active, stored)

    async def _stored(self, path: str) -> Stored | None:
        if path == NO_OBJECT:
            return None
        try:
            return Stored(path, await StoredProfile(self._bus, path).read())
        except NotFound:
            return None

    async def _card(self, seen: _Seen, names: Mapping[str, str], others: list[Stored]) -> Card:
        device, stored = seen.device, seen.stored
        target = _target(seen)
        if stored is None:
            stored = next((one for one in others if matches(one.profile, target)), None)
        profile: Profile = stored.profile if stored else {}
        state = seen.active.state if seen.active else None
        ip4, ip6 = await self._ip_configs(seen.active)
        flags = (seen.active.state_flags or 0) if seen.active else 0
        signal = await self._signal(seen)
        interface = Interface(
            name=seen.name,
            type=seen.type,
            mac=device.mac or "",
            enabled=stored is not None,
            connected=state in (ActiveState.ACTIVATING, ActiveState.ACTIVATED),
            primary=seen.active is not None and seen.active.path == self._manager.primary_connection,
            ipv4=_ipv4(profile, ip4, ready=bool(flags & StateFlag.IP4_READY)),
            ipv6=_ipv6(profile, ip6, ready=bool(flags & StateFlag.IP6_READY)),
            wifi=wifi_of(profile, signal) if seen.type is InterfaceType.WIRELESS else None,
            vlan=vlan_of(profile, names) if seen.type is InterfaceType.VLAN else None,
            mdns=broadcast_of(profile, "mdns") if stored else None,
            llmnr=broadcast_of(profile, "llmnr") if stored else None,
        )
        own = stored is not None and matches(stored.profile, target)
        return Card(interface, target, seen.path, seen.active.path if seen.active else None, stored, own)

    async def _ip_configs(self, active: ActiveConnection | None) -> tuple[Ip4Config | None, Ip6Config | None]:
        if active is None:
            return None, None
        ip4, ip6 = Ip4Config(self._bus, active.ip4_config or ""), Ip6Config(self._bus, active.ip6_config or "")
        for one in (ip4, ip6):
            if one.path not in ("", NO_OBJECT):
                try:
                    await one.refresh()
                except NotFound:
                    continue
        return ip4, ip6

    async def _signal(self, seen: _Seen) -> int | None:
        if seen.type is not InterfaceType.WIRELESS or seen.active is None:
            return None
        wireless = WirelessDevice(self._bus, seen.path)
        try:
            await wireless.refresh()
        except NotFound:
            return None
        found = await self._access_point(wireless.active_access_point or NO_OBJECT)
        return None if found is None else found.signal

    async def _access_point(self, path: str) -> AccessPoint | None:
        if path == NO_OBJECT:
            return None
        point = AccessPointObject(self._bus, path)
        try:
            await point.refresh()
        except NotFound:
            return None
        mode = _MODES.get(point.mode or 0, WifiMode.INFRASTRUCTURE)
        return AccessPoint(mode, ssid_text(point.ssid), point.mac or "", point.frequency or 0, point.strength or 0)


def _target(seen: _Seen) -> Target:
    if seen.type is not InterfaceType.VLAN:
        return Target(seen.name, seen.type, seen.device.udev_path or "")
    parent, _, number = seen.name.rpartition(".")
    if seen.stored is not None:
        vlan = vlan_of(seen.stored.profile, {})
        if vlan is not None:
            return Target(seen.name, seen.type, "", vlan.id, vlan.parent)
    vlan_id = int(number) if parent and number.isascii() and number.isdigit() and len(number) <= 4 else None
    return Target(seen.name, seen.type, "", vlan_id, parent or None)


def _ipv4(profile: Profile, live: Ip4Config | None, *, ready: bool) -> IpConfig:
    servers = [record.get("address") for record in (live.nameservers or () if live else ())]
    return IpConfig(
        method=method_of(profile, "ipv4"),
        address=_addresses(live.addresses if live else None),
        nameservers=_servers(servers),
        gateway=address_of(live.gateway) if live else None,
        route_metric=metric_of(profile, "ipv4"),
        ready=ready,
    )


def _ipv6(profile: Profile, live: Ip6Config | None, *, ready: bool) -> IpConfig:
    return IpConfig(
        method=method_of(profile, "ipv6"),
        address=_addresses(live.addresses if live else None),
        nameservers=_servers(live.nameservers or () if live else ()),
        gateway=address_of(live.gateway) if live else None,
        route_metric=metric_of(profile, "ipv6"),
        ready=ready,
        address_generation=generation_of(profile),
        privacy=privacy_of(profile),
    )


def _addresses(records: Iterable[Mapping[str, Any]] | None) -> tuple[IpInterface, ...]:
    found = []
    for record in records or ():
        try:
            found.append(ip_interface(f"{record['address']}/{record['prefix']}"))
        except (KeyError, ValueError):
            continue
    return tuple(found)


def _servers(values: Iterable[Any]) -> tuple[IpAddress, ...]:
    return tuple(server for server in map(address_of, values) if server is not None)


def nameservers_of(configuration: Iterable[Mapping[str, Any]]) -> list[IpAddress]:
    """Return the servers of NetworkManager's DNS configuration that are no VPN's: by priority, then by address."""
    ranked: dict[IpAddress, int] = {}
    for entry in configuration:
        priority, servers = entry.get("priority"), entry.get("nameservers")
        if entry.get("vpn") is True or not isinstance(priority, int) or not isinstance(servers, list):
            continue
        for server in _servers(servers):
            ranked[server] = min(priority, ranked.get(server, priority))
    return sorted(ranked, key=lambda server: (ranked[server], server.version, int(server)))
