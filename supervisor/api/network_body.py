"""What may be asked of an interface, as it comes in a body (API contract §2.18)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any, Final, TypeVar

import voluptuous as vol

from supervisor.model.network import (
    AddressGeneration,
    InterfaceChange,
    Ip6Privacy,
    IpChange,
    IpMethod,
    NameBroadcast,
    WifiAuth,
    WifiChange,
    WifiMode,
)
from supervisor.model.validators import Validator, lenient_bool, lenient_int, text

T = TypeVar("T")

# Less can't be read and confirmed by anybody, more is no guard.
_CONFIRM_SECONDS: Final = (10, 3600)
_MOST: Final = 64
_SSID_BYTES: Final = 32
_LARGEST_METRIC: Final = 2**32 - 1


def _word(words: type[StrEnum]) -> Validator:
    known = ", ".join(word.value for word in words)

    def check(value: Any) -> StrEnum:
        try:
            return words(value)
        except ValueError:
            raise vol.Invalid(f"expected one of {known}") from None

    return check


def _written(kind: type[T], example: str) -> Validator:
    """Accept an address as text; numbers, which these classes take as well, mean nothing here."""

    def check(value: Any) -> T:
        written = text(value)
        wrong = vol.Invalid(f"expected an address such as {example}")
        if "%" in written:
            # The interface is the one that is changed, so what is said of one would be lost.
            raise wrong
        try:
            return kind(written)  # type: ignore[call-arg]  # the classes of ipaddress
        except ValueError:
            raise wrong from None

    return check


def _ssid(value: Any) -> str:
    if not 1 <= len(text(value).encode()) <= _SSID_BYTES:
        raise vol.Invalid(f"expected the name of a network, 1 to {_SSID_BYTES} bytes")
    return str(value)


def _listed(item: Validator) -> Any:
    return vol.All([item], vol.Length(max=_MOST))


def _ip(address: Validator, single: Validator) -> dict[Any, Any]:
    return {
        vol.Optional("method"): _word(IpMethod),
        vol.Optional("address"): _listed(address),
        vol.Optional("gateway"): vol.Any(single, None),
        vol.Optional("route_metric"): vol.Any(vol.All(lenient_int, vol.Range(0, _LARGEST_METRIC)), None),
        vol.Optional("nameservers"): _listed(single),
    }


_IPV4: Final = _ip(_written(IPv4Interface, "192.0.2.10/24"), _written(IPv4Address, "192.0.2.1"))
_IPV6: Final = _ip(_written(IPv6Interface, "2001:db8::10/64"), _written(IPv6Address, "2001:db8::1")) | {
    vol.Optional("addr_gen_mode"): _word(AddressGeneration),
    vol.Optional("ip6_privacy"): _word(Ip6Privacy),
}
_WIFI: Final = {
    vol.Optional("mode"): _word(WifiMode),
    vol.Optional("auth"): _word(WifiAuth),
    vol.Optional("method"): _word(WifiAuth),  # what a client library calls `auth`
    vol.Optional("ssid"): _ssid,
    vol.Optional("psk"): text,
}
_BOTH: Final = {
    vol.Optional("enabled"): lenient_bool,
    vol.Optional("ipv4"): _IPV4,
    vol.Optional("ipv6"): _IPV6,
    vol.Optional("wifi"): _WIFI,
    vol.Optional("mdns"): _word(NameBroadcast),
    vol.Optional("llmnr"): _word(NameBroadcast),
}
UPDATE: Final = vol.Schema(
    {**_BOTH, vol.Optional("confirm"): vol.Any(vol.All(lenient_int, vol.Range(*_CONFIRM_SECONDS)), None)}
)
CREATE: Final = vol.Schema(_BOTH)


def change_of(body: Mapping[str, Any], method: IpMethod) -> InterfaceChange:
    """Make the change of a checked body; `method` is what a block of an IP version has that names none."""
    wifi: Mapping[str, Any] | None = body.get("wifi")
    return InterfaceChange(
        enabled=body.get("enabled"),
        ipv4=_ip_change(body.get("ipv4"), method),
        ipv6=_ip_change(body.get("ipv6"), method),
        wifi=None if wifi is None else _wifi_change(wifi),
        mdns=body.get("mdns"),
        llmnr=body.get("llmnr"),
    )


def _wifi_change(block: Mapping[str, Any]) -> WifiChange:
    given = dict(block)
    method = given.pop("method", None)
    if method is not None:
        given.setdefault("auth", method)
    return WifiChange(**{"ssid": "", **given})


def _ip_change(block: Mapping[str, Any] | None, method: IpMethod) -> IpChange | None:
    if block is None:
        return None
    return IpChange(
        method=block.get("method", method),
        address=tuple(dict.fromkeys(block.get("address", ()))),
        gateway=block.get("gateway"),
        route_metric=block.get("route_metric"),
        nameservers=tuple(dict.fromkeys(block.get("nameservers", ()))),
        address_generation=block.get("addr_gen_mode"),
        privacy=block.get("ip6_privacy"),
    )
