"""`supervisor network`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cli_daemon import FakeDaemon
from cli_fixtures import Result, command, daemon

__all__ = ["command", "daemon"]
Run = Callable[..., Result]

ETH0 = {
    "interface": "eth0",
    "type": "ethernet",
    "enabled": True,
    "connected": True,
    "primary": True,
    "mac": "02:00:00:00:00:01",
    "ipv4": {"method": "static", "address": ["192.0.2.10/24"], "gateway": "192.0.2.1", "nameservers": ["192.0.2.1"]},
    "ipv6": {"method": "auto", "address": [], "gateway": None, "nameservers": []},
    "wifi": None,
    "vlan": {"id": 7, "parent": "eth1"},
}


def test_the_interfaces_are_listed_with_what_waits_to_be_confirmed(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/network/info"] = {
        "interfaces": [ETH0],
        "available": True,
        "pending": {"interface": "eth0", "seconds": 33},
    }
    result = command("network")
    assert result.out.splitlines()[1].split() == [
        "eth0",
        "*",
        "ethernet",
        "connected",
        "192.0.2.10/24",
        "-",
        "192.0.2.1",
    ]
    assert "eth0 goes back in 33 s" in result.err
    daemon.answers["GET", "/network/info"] = {"interfaces": [], "available": False}
    assert "NetworkManager is not on this machine" in command("network").err


def test_one_interface_is_shown_the_first_by_default(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/network/interface/default/info"] = ETH0
    out = command("network", "interface").out
    assert "7 on eth1" in out
    assert "IPv4 method" in out


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["update", "eth0", "--ipv4", "auto"], "interface/eth0/update", {"ipv4": {"method": "auto"}}),
        (
            ["update", "eth0", "--ipv4-address", "192.0.2.10/24", "--ipv4-gateway", "192.0.2.1", "--confirm", "60"],
            "interface/eth0/update",
            {
                "ipv4": {"method": "static", "address": ["192.0.2.10/24"], "gateway": "192.0.2.1"},
                "confirm": 60,
            },
        ),
        (
            ["update", "eth0", "--ipv6-privacy", "enabled", "--mdns", "off", "--ipv6-nameserver", "2001:db8::1"],
            "interface/eth0/update",
            {
                "ipv6": {"method": "auto", "ip6_privacy": "enabled", "nameservers": ["2001:db8::1"]},
                "mdns": "off",
            },
        ),
        (
            ["update", "eth0", "--ipv4-gateway", "192.0.2.1"],
            "interface/eth0/update",
            {"ipv4": {"method": "static", "gateway": "192.0.2.1"}},
        ),
        (["update", "eth0", "--disable"], "interface/eth0/update", {"enabled": False}),
        (["update", "wlan0", "--ssid", "attic"], "interface/wlan0/update", {"wifi": {"ssid": "attic", "auth": "open"}}),
        (["vlan", "eth0", "30", "--ipv4", "disabled"], "interface/eth0/vlan/30", {"ipv4": {"method": "disabled"}}),
        (["reload"], "reload", None),
        (["confirm"], "confirm", None),
        (["rollback"], "rollback", None),
    ],
)
def test_the_network_is_set(command: Run, daemon: FakeDaemon, arguments: list[str], path: str, body: Any) -> None:
    assert command("network", *arguments).code == 0
    assert (daemon.seen[-1].method, daemon.seen[-1].path) == ("POST", f"/network/{path}")
    assert json.loads(daemon.seen[-1].body or "null") == body


def test_the_password_of_a_network_comes_from_the_standard_input(command: Run, daemon: FakeDaemon) -> None:
    arguments = ("network", "update", "wlan0", "--ssid", "attic", "--auth", "wpa-psk")
    result = command(*arguments, stdin=b"correct horse\n")
    assert json.loads(daemon.seen[-1].body)["wifi"] == {"ssid": "attic", "auth": "wpa-psk", "psk": "correct horse"}
    assert "correct horse" not in result.out + result.err
    command(*arguments, "--keep-password")
    assert json.loads(daemon.seen[-1].body)["wifi"] == {"ssid": "attic", "auth": "wpa-psk"}


@pytest.mark.parametrize("arguments", [["update", "eth0"], ["update", "eth0", "--auth", "wep"], ["vlan", "eth0", "-3"]])
def test_what_says_nothing_is_not_sent(command: Run, daemon: FakeDaemon, arguments: list[str]) -> None:
    assert command("network", *arguments).code == 2
    assert not daemon.seen


def test_wireless_networks_are_listed(command: Run, daemon: FakeDaemon) -> None:
    point = {"ssid": "attic", "signal": 70, "frequency": 2412, "mac": "02:00", "mode": "infrastructure"}
    daemon.answers["GET", "/network/interface/wlan0/accesspoints"] = {"accesspoints": [point]}
    assert "70 %" in command("network", "scan", "wlan0").out


@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
def test_an_address_without_its_network_is_asked_for_again(command: Run, daemon: FakeDaemon, address: str) -> None:
    version = "ipv6" if ":" in address else "ipv4"
    result = command("network", "update", "eth0", f"--{version}-address", address)
    assert (result.code, daemon.requests()) == (2, [])
    assert f"{address} lacks its prefix" in result.err


def test_names_that_no_path_can_hold_are_wrong_usage(command: Run, daemon: FakeDaemon) -> None:
    broken = command("network", "interface", "\udcff")
    empty = command("network", "interface", "")
    assert (broken.code, empty.code, daemon.requests("GET")) == (2, 2, [])
    assert "is not written in UTF-8" in broken.err
    assert "a name can't be empty" in empty.err
