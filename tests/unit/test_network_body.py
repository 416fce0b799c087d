"""Bodies that ask for changes of the network."""

from __future__ import annotations

from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.network_body import CREATE, UPDATE, change_of
from supervisor.model.network import InterfaceChange, IpMethod, WifiAuth

words = st.sampled_from(["auto", "static", "off", "default", "attic", "192.0.2.1", "192.0.2.1/24", "fd99::1/64", ""])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["method", "address", "gateway", "ssid", "auth", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(["enabled", "ipv4", "ipv6", "wifi", "mdns", "llmnr", "confirm", "x"])


@given(st.dictionaries(keys, anything, max_size=4))
def test_every_body_is_a_change_or_refused(body: Any) -> None:
    try:
        checked = UPDATE(body)
    except vol.Invalid:
        return
    assert isinstance(change_of(checked, IpMethod.STATIC), InterfaceChange)


def test_a_block_without_a_method_is_static_for_an_update_and_automatic_for_a_vlan() -> None:
    body = {"ipv4": {"address": ["192.0.2.10/24", "192.0.2.10/24"]}}
    updated = change_of(UPDATE(body), IpMethod.STATIC).ipv4
    created = change_of(CREATE({"ipv4": {}}), IpMethod.AUTO).ipv4
    assert updated is not None
    assert created is not None
    assert (updated.method, [str(address) for address in updated.address]) == (IpMethod.STATIC, ["192.0.2.10/24"])
    assert (created.method, created.gateway) == (IpMethod.AUTO, None)


def test_wireless_networks_are_open_unless_told_otherwise() -> None:
    named = change_of(UPDATE({"wifi": {"ssid": "attic", "method": "wpa-psk", "psk": "horse"}}), IpMethod.STATIC).wifi
    assert named is not None
    assert (named.auth, named.psk) == (WifiAuth.WPA_PSK, "horse")
    wifi = change_of(UPDATE({"wifi": {"ssid": "attic"}}), IpMethod.STATIC).wifi
    assert wifi is not None
    assert (wifi.auth, wifi.psk) == (WifiAuth.OPEN, None)


@pytest.mark.parametrize(
    "body",
    [
        {"ipv4": {"address": [3232235777]}},
        {"ipv4": {"gateway": "fd99::1"}},
        {"ipv6": {"address": ["192.0.2.1/24"]}},
        {"ipv4": {"route_metric": -1}},
        {"ipv4": {"addr_gen_mode": "eui64"}},
        {"ipv4": {"address": ["192.0.2.1/24"] * 65}},
        {"ipv6": {"address": ["fe80::1%eth0/64"]}},
        {"ipv6": {"method": "auto", "nameservers": ["fe80::1%eth0"]}},
        {"wifi": {"ssid": "x" * 33}},
        {"wifi": {"psk": 12345678}},
        {"mdns": "yes"},
        {"confirm": 9},
        {"confirm": 3601},
        {"unknown": 1},
    ],
)
def test_what_is_out_of_range_is_refused(body: Any) -> None:
    with pytest.raises(vol.Invalid):
        UPDATE(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"ipv4": {"route_metric": 2**32}}, "at most 4294967295"),
        ({"ipv4": {"gateway": "attic"}}, "such as 192.0.2.1 "),
        ({"confirm": 5}, "at least 10"),
        ({"confirm": "soon"}, "expected int"),
    ],
)
def test_what_may_be_null_is_refused_with_what_it_should_be(body: Any, expected: str) -> None:
    with pytest.raises(vol.Invalid, match=expected):
        UPDATE(body)
