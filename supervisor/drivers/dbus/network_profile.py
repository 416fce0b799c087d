"""Profiles of NetworkManager, read and written: pure functions (host contract §26, §27)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import attrs

from supervisor.drivers.dbus.network_manager import Profile
from supervisor.drivers.dbus.values import Variant, plain
from supervisor.model.network import (
    AddressGeneration,
    InterfaceChange,
    InterfaceType,
    Ip6Privacy,
    IpChange,
    IpMethod,
    NameBroadcast,
    Vlan,
    Wifi,
    WifiAuth,
    WifiChange,
    WifiMode,
)

Section = dict[str, Variant]
Sections = dict[str, Section]

TYPES: Final = {
    InterfaceType.ETHERNET: "802-3-ethernet",
    InterfaceType.WIRELESS: "802-11-wireless",
    InterfaceType.VLAN: "vlan",
}
_OUR_NAME: Final = "Supervisor"
_WIRELESS: Final = "802-11-wireless"
_SECURITY: Final = "802-11-wireless-security"
SECRET_SECTIONS: Final = frozenset({_SECURITY, "802-1x"})
_METHODS: Final = {"auto": IpMethod.AUTO, "manual": IpMethod.STATIC}
_BROADCASTS: Final = (NameBroadcast.OFF, NameBroadcast.RESOLVE, NameBroadcast.ANNOUNCE)
_GENERATIONS: Final = (
    AddressGeneration.EUI64,
    AddressGeneration.STABLE_PRIVACY,
    AddressGeneration.DEFAULT_OR_EUI64,
    AddressGeneration.DEFAULT,
)
_PRIVACIES: Final = (Ip6Privacy.DISABLED, Ip6Privacy.ENABLED_PREFER_PUBLIC, Ip6Privacy.ENABLED)
_MODES: Final = {"ap": WifiMode.AP, "adhoc": WifiMode.ADHOC, "mesh": WifiMode.MESH}
# What a new setting of an IP version replaces; the rest of what somebody set there stays.
_REPLACED: Final = frozenset(
    {
        "method",
        "address-data",
        "addresses",
        "gateway",
        "route-metric",
        "dns",
        "dns-data",
        "addr-gen-mode",
        "ip6-privacy",
    }
)
# Without addresses, NetworkManager takes no names either.
_NAMES: Final = frozenset({"dns-search", "dns-options", "dns-priority"})
# Before this version NetworkManager knew two ways to make addresses alone.
_ALL_GENERATIONS: Final = (1, 40)


@attrs.frozen
class Target:
    """Whose profile it is. `parent` is what NetworkManager knows the parent of a VLAN by."""

    name: str
    type: InterfaceType
    udev_path: str = ""
    vlan_id: int | None = None
    parent: str | None = None


# Reading. What is missing or makes no sense is as if it had never been set.


def _value(profile: Profile, section: str, key: str) -> Any:
    found = profile.get(section, {}).get(key)
    return None if found is None else plain(found)


def _text(profile: Profile, section: str, key: str) -> str:
    value = _value(profile, section, key)
    return value if isinstance(value, str) else ""


def _number(profile: Profile, section: str, key: str) -> int | None:
    value = _value(profile, section, key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def uuid_of(profile: Profile) -> str:
    return _text(profile, "connection", "uuid")


def method_of(profile: Profile, version: str) -> IpMethod:
    """Return the method of `ipv4` or `ipv6`."""
    return _METHODS.get(_text(profile, version, "method"), IpMethod.DISABLED)


def metric_of(profile: Profile, version: str) -> int | None:
    metric = _number(profile, version, "route-metric")
    return None if metric is None or metric < 0 else metric


def generation_of(profile: Profile) -> AddressGeneration:
    number = _number(profile, "ipv6", "addr-gen-mode")
    return _GENERATIONS[number] if number is not None and 0 <= number <= 3 else AddressGeneration.DEFAULT


def privacy_of(profile: Profile) -> Ip6Privacy:
    number = _number(profile, "ipv6", "ip6-privacy")
    return _PRIVACIES[number] if number is not None and 0 <= number <= 2 else Ip6Privacy.DEFAULT


def broadcast_of(profile: Profile, key: str) -> NameBroadcast:
    """Return what is set for `mdns` or `llmnr`."""
    number = _number(profile, "connection", key)
    return _BROADCASTS[number] if number is not None and 0 <= number <= 2 else NameBroadcast.DEFAULT


def wifi_of(profile: Profile, signal: int | None) -> Wifi | None:
    """Return the wireless settings, None where there are none, or they are more than the API has words for."""
    if _WIRELESS not in profile:
        return None
    kinds = {"": WifiAuth.OPEN, "none": WifiAuth.WEP, "wpa-psk": WifiAuth.WPA_PSK}
    auth = kinds.get(_text(profile, _SECURITY, "key-mgmt")) if _SECURITY in profile else WifiAuth.OPEN
    if auth is None:
        return None
    mode = _MODES.get(_text(profile, _WIRELESS, "mode"), WifiMode.INFRASTRUCTURE)
    return Wifi(mode, auth, ssid_text(_value(profile, _WIRELESS, "ssid")), signal)


def ssid_text(value: Any) -> str:
    """Return the name of a wireless network, which is any bytes."""
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | bytearray) else ""


def vlan_of(profile: Profile, names: Mapping[str, str]) -> Vlan | None:
    """Return the VLAN; `names` has the interfaces by the UUIDs of the profiles that are active on them."""
    number = _number(profile, "vlan", "id")
    if number is None:
        return None
    parent = _text(profile, "vlan", "parent")
    return Vlan(number, names.get(parent, parent))


def matches(profile: Profile, target: Target) -> bool:
    """Whether the profile was made for this interface alone."""
    if _text(profile, "connection", "type") != TYPES[target.type]:
        return False
    if target.type is InterfaceType.VLAN:
        return (
            target.vlan_id is not None
            and _number(profile, "vlan", "id") == target.vlan_id
            and _text(profile, "vlan", "parent") in {target.parent, target.name.rpartition(".")[0]}
        )
    if target.udev_path and _value(profile, "match", "path") == [target.udev_path]:
        return True
    return _text(profile, "connection", "interface-name") == target.name


def is_ours(profile: Profile) -> bool:
    """Whether the daemon has written it."""
    return _text(profile, "connection", "id").startswith(_OUR_NAME)


def is_used(profile: Profile) -> bool:
    """Whether NetworkManager uses it by itself, as it does where nothing else is said."""
    return _value(profile, "connection", "autoconnect") is not False


# Writing.


def changed(
    profile: Profile, target: Target, change: InterfaceChange, *, uuid: str, version: tuple[int, ...]
) -> Sections:
    """Return the profile with what is asked for changed, everything else as it was.

    `profile` may be empty, or that of another interface: what is not about hardware is taken over from it then. `uuid`
    is that of the result.
    """
    written: Sections = {name: dict(section) for name, section in profile.items()}
    written["connection"] = _connection(written.get("connection", {}), target, change, uuid)
    for name, new in (("ipv4", change.ipv4), ("ipv6", change.ipv6)):
        old = written.get(name)
        if new is not None:
            dropped = _REPLACED | (_NAMES if new.method is IpMethod.DISABLED else frozenset())
            kept = {key: value for key, value in (old or {}).items() if key not in dropped}
            written[name] = kept | (_ipv4(new) if name == "ipv4" else _ipv6(new, version))
        elif old is None:
            written[name] = {"method": Variant("s", "auto")}
    _add_hardware(written, target)
    if change.wifi is not None and target.type is InterfaceType.WIRELESS:
        _add_wifi(written, change.wifi)
    return written


def fresh(profile: Profile) -> Sections:
    """Return what of an interface's present profile a new one for it alone begins with."""
    sections = {name: dict(section) for name, section in profile.items() if name in ("ipv4", "ipv6")}
    kept = {key: value for key, value in profile.get("connection", {}).items() if key in ("mdns", "llmnr")}
    return sections | ({"connection": kept} if kept else {})


def out_of_use(profile: Profile, target: Target) -> Sections:
    """Return the profile as one of ours that NetworkManager does not use by itself."""
    sections = {name: dict(section) for name, section in profile.items()}
    connection = sections.setdefault("connection", {})
    _name(connection, target)
    connection["autoconnect"] = Variant("b", value=False)
    return sections


def with_secrets(profile: Profile, secrets: Profile) -> Sections:
    """Return the profile with the secrets of its own sections, which NetworkManager tells apart from it."""
    return {name: dict(section) | dict(secrets.get(name, {})) for name, section in profile.items()}


def _connection(old: Section, target: Target, change: InterfaceChange, uuid: str) -> Section:
    new = {key: value for key, value in old.items() if key != "interface-name"}
    _name(new, target)
    new |= {
        "uuid": Variant("s", uuid),
        "type": Variant("s", TYPES[target.type]),
        "autoconnect": Variant("b", value=True),
    }
    if not target.udev_path and target.type is not InterfaceType.VLAN:
        new["interface-name"] = Variant("s", target.name)
    for key, broadcast in (("mdns", change.mdns), ("llmnr", change.llmnr)):
        if broadcast is not None:
            number = -1 if broadcast is NameBroadcast.DEFAULT else _BROADCASTS.index(broadcast)
            new[key] = Variant("i", number)
    return new


def _name(connection: Section, target: Target) -> None:
    name = connection.get("id")
    if name is None or not str(name.value).startswith(_OUR_NAME):
        connection["id"] = Variant("s", f"{_OUR_NAME} {target.name}")


def _add_hardware(written: Sections, target: Target) -> None:
    section = written.setdefault(TYPES[target.type], {})
    if target.type is InterfaceType.VLAN:
        if target.vlan_id is not None and target.parent is not None:
            section |= {"id": Variant("u", target.vlan_id), "parent": Variant("s", target.parent)}
        return
    if "cloned-mac-address" not in section:
        section.setdefault("assigned-mac-address", Variant("s", "preserve"))
    if target.udev_path:
        written.setdefault("match", {})["path"] = Variant("as", [target.udev_path])


def _common(change: IpChange, written: dict[IpMethod, str]) -> Section:
    section = {"method": Variant("s", written[change.method])}
    if change.method is IpMethod.STATIC:
        addresses = [
            {"address": Variant("s", str(address.ip)), "prefix": Variant("u", address.network.prefixlen)}
            for address in change.address
        ]
        section["address-data"] = Variant("aa{sv}", addresses)
        if change.gateway is not None:
            section["gateway"] = Variant("s", str(change.gateway))
    if change.route_metric is not None:
        section["route-metric"] = Variant("x", change.route_metric)
    return section


def _ipv4(change: IpChange) -> Section:
    section = _common(change, {IpMethod.AUTO: "auto", IpMethod.STATIC: "manual", IpMethod.DISABLED: "disabled"})
    if change.method is not IpMethod.DISABLED and change.nameservers:
        # NetworkManager wants the bytes of the address in their order, whatever the machine's own is.
        numbers = [struct.unpack("=I", server.packed)[0] for server in change.nameservers]
        section["dns"] = Variant("au", numbers)
    return section


def _ipv6(change: IpChange, version: tuple[int, ...]) -> Section:
    # Without any IPv6 address, much on this machine and around it would not work.
    section = _common(change, {IpMethod.AUTO: "auto", IpMethod.STATIC: "manual", IpMethod.DISABLED: "link-local"})
    if change.method is IpMethod.AUTO:
        generation = change.address_generation or AddressGeneration.DEFAULT
        number = _GENERATIONS.index(generation)
        section["addr-gen-mode"] = Variant("i", number if number < 2 or version >= _ALL_GENERATIONS else 1)
        privacy = change.privacy or Ip6Privacy.DEFAULT
        section["ip6-privacy"] = Variant("i", -1 if privacy is Ip6Privacy.DEFAULT else _PRIVACIES.index(privacy))
    if change.method is not IpMethod.DISABLED and change.nameservers:
        section["dns"] = Variant("aay", [server.packed for server in change.nameservers])
    return section


def _add_wifi(written: Sections, change: WifiChange) -> None:
    section = written[_WIRELESS]
    section |= {
        "mode": Variant("s", "infrastructure"),
        "powersave": Variant("i", 0),
        "ssid": Variant("ay", change.ssid.encode()),
    }
    section.pop("security", None)
    if change.auth is WifiAuth.OPEN:
        written.pop(_SECURITY, None)
        return
    section["security"] = Variant("s", _SECURITY)
    security = {"auth-alg": Variant("s", "open")}
    if change.auth is WifiAuth.WEP:
        security |= {"key-mgmt": Variant("s", "none")}
        key = "wep-key0"
    else:
        security |= {"key-mgmt": Variant("s", "wpa-psk")}
        key = "psk"
    if change.psk is not None:
        security[key] = Variant("s", change.psk)
    written[_SECURITY] = security


# Addresses on the bus.


def address_of(value: Any) -> IPv4Address | IPv6Address | None:
    """Read an address written as text or as its bytes, None where it is none."""
    with suppress(ValueError, TypeError):
        if isinstance(value, bytes | bytearray):
            return IPv6Address(bytes(value)) if len(value) == 16 else IPv4Address(bytes(value))
        if isinstance(value, str) and value:
            return IPv6Address(value) if ":" in value else IPv4Address(value)
    return None
