"""Profiles of NetworkManager: what is written is read again, and what nobody asked for stays."""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.dbus.network_profile import (
    Target,
    broadcast_of,
    changed,
    fresh,
    generation_of,
    matches,
    method_of,
    metric_of,
    privacy_of,
    vlan_of,
    wifi_of,
)
from supervisor.drivers.dbus.network_reading import nameservers_of
from supervisor.drivers.dbus.values import Variant, plain
from supervisor.errors import Invalid
from supervisor.model.network import (
    AddressGeneration,
    InterfaceChange,
    InterfaceType,
    Ip6Privacy,
    IpChange,
    IpMethod,
    NameBroadcast,
    Vlan,
    WifiAuth,
    WifiChange,
)

NEW, OLD = (1, 42, 4), (1, 30, 0)
UUID = "11111111-2222-4333-8444-555555555555"
ETH = Target("eth0", InterfaceType.ETHERNET)
WIFI = Target("wlan0", InterfaceType.WIRELESS, udev_path="pci-0000:01:00.0")
VLAN = Target("eth0.30", InterfaceType.VLAN, vlan_id=30, parent="eth0")

addresses4 = st.tuples(st.ip_addresses(v=4), st.integers(1, 32)).map(IPv4Interface)
addresses6 = st.tuples(st.ip_addresses(v=6), st.integers(1, 128)).map(IPv6Interface)


def ip_changes(version: int) -> st.SearchStrategy[IpChange]:
    return st.builds(
        IpChange,
        method=st.sampled_from(IpMethod),
        address=st.lists(addresses4 if version == 4 else addresses6, max_size=3).map(tuple),
        gateway=st.none() | st.ip_addresses(v=version),
        route_metric=st.none() | st.integers(0, 2**32 - 1),
        nameservers=st.lists(st.ip_addresses(v=version), max_size=3).map(tuple),
        address_generation=st.none() | st.sampled_from(AddressGeneration),
        privacy=st.none() | st.sampled_from(Ip6Privacy),
    )


wifi_changes = st.builds(
    WifiChange,
    ssid=st.text(min_size=1, max_size=8),
    auth=st.sampled_from(WifiAuth),
    psk=st.none() | st.text(max_size=8),
)
changes = st.builds(
    InterfaceChange,
    ipv4=st.none() | ip_changes(4),
    ipv6=st.none() | ip_changes(6),
    wifi=st.none() | wifi_changes,
    mdns=st.none() | st.sampled_from(NameBroadcast),
    llmnr=st.none() | st.sampled_from(NameBroadcast),
)
# What others may have left in a profile.
numbers = st.integers(-3, 5).map(lambda number: Variant("i", number))
junk = st.one_of(numbers, st.text(max_size=4).map(lambda text: Variant("s", text)))
profiles = st.fixed_dictionaries(
    {},
    optional={
        "connection": st.dictionaries(st.sampled_from(["id", "uuid", "mdns", "llmnr", "interface-name", "zone"]), junk),
        "ipv4": st.dictionaries(st.sampled_from(["method", "dns", "route-metric", "may-fail", "dns-search"]), junk),
        "ipv6": st.dictionaries(st.sampled_from(["method", "addr-gen-mode", "ip6-privacy", "ip6-token"]), junk),
        "proxy": st.dictionaries(st.sampled_from(["method", "pac-url"]), junk),
        "802-11-wireless": st.dictionaries(st.sampled_from(["ssid", "mode", "security", "band"]), junk),
        "802-11-wireless-security": st.dictionaries(st.sampled_from(["key-mgmt", "psk-flags"]), junk),
    },
)
targets = st.sampled_from([ETH, WIFI, VLAN])


@given(profiles, targets, changes)
def test_what_is_written_is_read_again(profile: Any, target: Target, change: InterfaceChange) -> None:
    written = changed(profile, target, change, uuid=UUID, version=NEW)
    assert matches(written, target)
    for version, new in (("ipv4", change.ipv4), ("ipv6", change.ipv6)):
        if new is not None:
            assert method_of(written, version) is new.method
            assert metric_of(written, version) == new.route_metric
            records = plain(written[version].get("address-data", Variant("aa{sv}", [])))
            found = tuple(f"{record['address']}/{record['prefix']}" for record in records)
            expected = new.address if new.method is IpMethod.STATIC else ()
            assert found == tuple(f"{address.ip}/{address.network.prefixlen}" for address in expected)
    if change.ipv6 is not None and change.ipv6.method is IpMethod.AUTO:
        assert generation_of(written) is (change.ipv6.address_generation or AddressGeneration.DEFAULT)
        assert privacy_of(written) is (change.ipv6.privacy or Ip6Privacy.DEFAULT)
    for key, broadcast in (("mdns", change.mdns), ("llmnr", change.llmnr)):
        if broadcast is not None:
            assert broadcast_of(written, key) is broadcast
    if target is WIFI and change.wifi is not None:
        wifi = wifi_of(written, 70)
        assert wifi is not None
        assert (wifi.ssid, wifi.auth, wifi.signal) == (change.wifi.ssid, change.wifi.auth, 70)


@given(profiles, targets, changes)
def test_what_nobody_asked_for_stays(profile: Any, target: Target, change: InterfaceChange) -> None:
    written = changed(profile, target, change, uuid=UUID, version=NEW)
    touched = {"connection", "match", "802-3-ethernet", "vlan"}
    touched |= {name for name in ("ipv4", "ipv6") if getattr(change, name) is not None}
    if target is WIFI:
        touched |= {"802-11-wireless", "802-11-wireless-security"}
    for name, section in profile.items():
        if name not in touched:
            assert written[name] == section
    for name, key in (("connection", "zone"), ("ipv6", "ip6-token"), ("ipv4", "may-fail"), ("802-11-wireless", "band")):
        if key in profile.get(name, {}):
            assert written[name][key] == profile[name][key]


@given(profiles, targets, changes)
def test_writing_the_same_twice_changes_nothing_more(profile: Any, target: Target, change: InterfaceChange) -> None:
    once = changed(profile, target, change, uuid=UUID, version=NEW)
    assert changed(once, target, change, uuid=UUID, version=NEW) == once


@given(profiles)
def test_any_profile_can_be_read(profile: Any) -> None:
    method_of(profile, "ipv4")
    metric_of(profile, "ipv6")
    generation_of(profile)
    privacy_of(profile)
    broadcast_of(profile, "mdns")
    wifi_of(profile, None)
    vlan_of(profile, {})
    assert not matches({}, ETH)


def test_name_servers_are_in_network_order() -> None:
    change = InterfaceChange(
        ipv4=IpChange(method=IpMethod.AUTO, nameservers=(IPv4Address("192.0.2.1"),)),
        ipv6=IpChange(method=IpMethod.AUTO, nameservers=(IPv6Address("2001:db8::1"),)),
    )
    written = changed({}, ETH, change, uuid=UUID, version=NEW)
    [number] = written["ipv4"]["dns"].value
    assert socket.inet_ntoa(number.to_bytes(4, sys.byteorder)) == "192.0.2.1"
    assert written["ipv6"]["dns"] == Variant("aay", [IPv6Address("2001:db8::1").packed])


def test_a_new_profile_begins_with_the_way_the_interface_worked() -> None:
    present = {
        "connection": {"id": Variant("s", "default"), "uuid": Variant("s", "x"), "mdns": Variant("i", 2)},
        "ipv4": {"method": Variant("s", "manual")},
        "user": {"data": Variant("a{ss}", {})},
    }
    written = changed(fresh(present), ETH, InterfaceChange(), uuid=UUID, version=NEW)
    assert plain(written["connection"]) == {
        "id": "Supervisor eth0",
        "uuid": UUID,
        "type": "802-3-ethernet",
        "autoconnect": True,
        "interface-name": "eth0",
        "mdns": 2,
    }
    assert plain(written["ipv4"]) == {"method": "manual"}
    assert "user" not in written


def test_hardware_that_udev_can_place_is_known_by_its_place() -> None:
    written = changed({}, WIFI, InterfaceChange(), uuid=UUID, version=NEW)
    assert "interface-name" not in written["connection"]
    assert plain(written["match"]) == {"path": ["pci-0000:01:00.0"]}
    assert not matches(written, attrs.evolve(WIFI, udev_path="usb-1", name="wlan1"))


def test_an_old_network_manager_makes_stable_addresses_where_it_knows_no_better() -> None:
    change = InterfaceChange(ipv6=IpChange(method=IpMethod.AUTO, address_generation=AddressGeneration.DEFAULT_OR_EUI64))
    written = changed({}, ETH, change, uuid=UUID, version=OLD)
    assert generation_of(written) is AddressGeneration.STABLE_PRIVACY


def test_an_open_network_keeps_nothing_of_the_protected_one() -> None:
    protected = WifiChange(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    before = changed({}, WIFI, InterfaceChange(wifi=protected), uuid=UUID, version=NEW)
    assert plain(before["802-11-wireless-security"])["psk"] == "correct horse"
    after = changed(before, WIFI, InterfaceChange(wifi=WifiChange(ssid="hall")), uuid=UUID, version=NEW)
    assert "802-11-wireless-security" not in after
    assert "security" not in after["802-11-wireless"]


def test_a_password_is_not_shown() -> None:
    change = InterfaceChange(wifi=WifiChange(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse"))
    assert "correct horse" not in repr(change)


def test_protection_that_the_api_has_no_word_for_is_not_misread() -> None:
    profile = {"802-11-wireless": {}, "802-11-wireless-security": {"key-mgmt": Variant("s", "wpa-eap")}}
    assert wifi_of(profile, 50) is None


def test_the_parent_of_a_vlan_is_shown_by_its_name() -> None:
    profile = {"vlan": {"id": Variant("u", 30), "parent": Variant("s", UUID)}}
    assert vlan_of(profile, {UUID: "eth0"}) == Vlan(30, "eth0")


@pytest.mark.parametrize(
    "change",
    [
        InterfaceChange(ipv4=IpChange(method=IpMethod.STATIC)),
        InterfaceChange(
            ipv4=IpChange(
                method=IpMethod.STATIC, address=(IPv4Interface("192.0.2.1/24"),), gateway=IPv4Address("192.0.2.1")
            )
        ),
        InterfaceChange(wifi=WifiChange(ssid="")),
    ],
)
def test_what_can_not_work_is_refused(change: InterfaceChange) -> None:
    with pytest.raises(Invalid):
        change.check()


def test_local_name_servers_are_sorted_and_those_of_a_vpn_left_out() -> None:
    found = nameservers_of(
        [
            {"nameservers": ["192.0.2.9", "192.0.2.10"], "priority": 100},
            {"nameservers": ["10.8.0.1"], "priority": 50, "vpn": True},
            {"nameservers": ["192.0.2.10", "no address"], "priority": 40},
            {"nameservers": "broken", "priority": 1},
        ]
    )
    assert found == [ip_address("192.0.2.10"), ip_address("192.0.2.9")]
