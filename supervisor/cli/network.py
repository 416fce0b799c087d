"""`supervisor network`: interfaces, addresses, wireless networks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from supervisor.cli.answers import mapping, mappings
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field
from supervisor.cli.command import Command, Group, Session, pass_session

_METHODS = click.Choice(["auto", "static", "disabled"])
_METRICS = click.IntRange(0, 2**32 - 1)
_BROADCASTS = click.Choice(["default", "off", "resolve", "announce"])


def _ip(row: Mapping[str, Any], version: str, key: str) -> Any:
    return mapping(row.get(version)).get(key)


def _state(row: Mapping[str, Any]) -> str:
    if row.get("connected"):
        return "connected"
    return "not connected" if row.get("enabled") else "disabled"


_COLUMNS = (
    Column("INTERFACE", lambda row: f"{row.get('interface')}{' *' if row.get('primary') else ''}"),
    Column("TYPE", "type"),
    Column("STATE", _state),
    Column("IPV4", lambda row: _ip(row, "ipv4", "address"), flexible=True),
    Column("IPV6", lambda row: _ip(row, "ipv6", "address"), flexible=True),
    Column("GATEWAY", lambda row: _ip(row, "ipv4", "gateway") or _ip(row, "ipv6", "gateway")),
)
_FIELDS = (
    Field("Interface", "interface"),
    Field("Type", "type"),
    Field("State", _state),
    Field("Leads to the internet", "primary"),
    Field("MAC", "mac"),
    *(
        Field(f"{title} {label}", partial(_ip, version=version, key=key), optional=optional)
        for title, version in (("IPv4", "ipv4"), ("IPv6", "ipv6"))
        for label, key, optional in (
            ("method", "method", False),
            ("addresses", "address", False),
            ("gateway", "gateway", False),
            ("name servers", "nameservers", False),
            ("route metric", "route_metric", True),
            ("address generation", "addr_gen_mode", True),
            ("privacy", "ip6_privacy", True),
        )
    ),
    Field("Network", lambda row: mapping(row.get("wifi")).get("ssid"), optional=True),
    Field("Protection", lambda row: mapping(row.get("wifi")).get("auth"), optional=True),
    Field("Signal", lambda row: _percent(mapping(row.get("wifi")).get("signal")), optional=True),
    Field("VLAN", lambda row: _vlan(mapping(row.get("vlan"))), optional=True),
    Field("mDNS", "mdns", optional=True),
    Field("LLMNR", "llmnr", optional=True),
)
_POINT_COLUMNS = (
    Column("NETWORK", "ssid", flexible=True),
    Column("SIGNAL", lambda row: _percent(row.get("signal")), right=True),
    Column("MHZ", "frequency", right=True),
    Column("ACCESS POINT", "mac"),
    Column("MODE", "mode"),
)


def _percent(value: object) -> str:
    return f"{value} %" if isinstance(value, int) else ""


def _vlan(vlan: Mapping[str, Any]) -> str:
    return f"{vlan.get('id')} on {vlan.get('parent')}" if vlan else ""


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """List the interfaces; the one that leads to the internet has a star."""
    data = mapping(session.client.get("/network/info"))
    empty = "NetworkManager is not on this machine (supervisor doctor tells more)."
    if data.get("available"):
        empty = "NetworkManager looks after no interface here."
    session.output.rows(mappings(data, "interfaces"), _COLUMNS, name="interface", empty=empty, data=data)
    waiting = mapping(data.get("pending"))
    if waiting:
        click.echo(
            f"A change of {waiting.get('interface')} goes back in {waiting.get('seconds')} s: "
            "supervisor network confirm keeps it",
            err=True,
        )


@click.command(cls=Command)
@click.argument("name", default="default")
@pass_session
def interface(session: Session, name: str) -> None:
    """Show an interface, without NAME the one that leads to the internet."""
    data = mapping(session.client.get(route("network", "interface", name, "info")))
    session.output.record(data, _FIELDS, name=data.get("interface"))


def _ip_options(command: Any) -> Any:
    for option in reversed(
        [
            click.option("--ipv4", type=_METHODS, help="How it gets its IPv4 address."),
            click.option("--ipv4-address", multiple=True, metavar="ADDRESS/PREFIX", help="May be given again."),
            click.option("--ipv4-gateway", metavar="ADDRESS", help="The way to other networks."),
            click.option("--ipv4-nameserver", multiple=True, metavar="ADDRESS", help="May be given again."),
            click.option("--ipv4-metric", type=_METRICS, help="The lower, the more it is preferred."),
            click.option("--ipv6", type=_METHODS, help="How it gets its IPv6 address."),
            click.option("--ipv6-address", multiple=True, metavar="ADDRESS/PREFIX", help="May be given again."),
            click.option("--ipv6-gateway", metavar="ADDRESS", help="The way to other networks."),
            click.option("--ipv6-nameserver", multiple=True, metavar="ADDRESS", help="May be given again."),
            click.option("--ipv6-metric", type=_METRICS, help="The lower, the more it is preferred."),
            click.option(
                "--ipv6-generation",
                type=click.Choice(["eui64", "stable-privacy", "default-or-eui64", "default"]),
                help="What its own part of an automatic address is made from.",
            ),
            click.option(
                "--ipv6-privacy",
                type=click.Choice(["default", "disabled", "enabled-prefer-public", "enabled"]),
                help="Temporary addresses for what leaves the machine.",
            ),
            click.option("--mdns", type=_BROADCASTS, help="Names of the local network by multicast DNS."),
            click.option("--llmnr", type=_BROADCASTS, help="Names of the local network by LLMNR."),
        ]
    ):
        command = option(command)
    return command


def _blocks(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make the body of what was typed; a block replaces all settings of its IP version."""
    body: dict[str, Any] = {key: given[key] for key in ("mdns", "llmnr") if given[key] is not None}
    for version in ("ipv4", "ipv6"):
        block = {
            "method": given[version],
            "address": [_with_prefix(address) for address in given[f"{version}_address"]],
            "gateway": given[f"{version}_gateway"],
            "nameservers": list(given[f"{version}_nameserver"]),
            "route_metric": given[f"{version}_metric"],
            "addr_gen_mode": given.get(f"{version}_generation"),
            "ip6_privacy": given.get(f"{version}_privacy"),
        }
        block = {key: value for key, value in block.items() if value not in (None, [])}
        if block:
            block.setdefault("method", "static" if {"address", "gateway"} & set(block) else "auto")
            body[version] = block
    return body


def _with_prefix(address: str) -> str:
    """Without a prefix it would be the address of a machine that is alone in its network."""
    if "/" not in address:
        raise click.UsageError(f"{address} lacks its prefix: {address}/{64 if ':' in address else 24}, for example")
    return address


def _key() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password of the network", hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


@click.command(
    cls=Command,
    examples=(
        "supervisor network update eth0 --ipv4 auto",
        "supervisor network update eth0 --ipv4-address 192.0.2.10/24 --ipv4-gateway 192.0.2.1 --confirm 120",
        "supervisor network update wlan0 --ssid attic --auth wpa-psk <password.txt",
    ),
)
@click.argument("name")
@click.option("--enable/--disable", "enabled", default=None, help="Whether it has settings at all.")
@_ip_options
@click.option("--ssid", metavar="NAME", help="The wireless network; its password is asked for, or read from stdin.")
@click.option("--auth", type=click.Choice(["open", "wep", "wpa-psk"]), help="How the wireless network is protected.")
@click.option("--keep-password", is_flag=True, help="Use the password that is stored already.")
@click.option(
    "--confirm", type=click.IntRange(10, 3600), metavar="SECONDS", help="Go back unless confirmed within this time."
)
@pass_session
def update(session: Session, /, name: str, *, enabled: bool | None, **given: Any) -> None:
    """Change an interface. What cuts the machine off is taken back."""
    body = _blocks(given)
    if enabled is not None:
        body["enabled"] = enabled
    if given["ssid"] is not None:
        wifi = body["wifi"] = {"ssid": given["ssid"], "auth": given["auth"] or "open"}
        if wifi["auth"] != "open" and not given["keep_password"]:
            wifi["psk"] = _key()
    elif given["auth"] is not None:
        raise click.UsageError("--auth goes with --ssid")
    if not body:
        raise click.UsageError("nothing to change was given")
    if given["confirm"] is not None:
        body["confirm"] = given["confirm"]
    with session.busy(f"Setting up {name}"):
        data = session.client.post(route("network", "interface", name, "update"), body)
    after = f"; to keep that: supervisor network confirm (within {given['confirm']} s)" if given["confirm"] else ""
    session.output.done(f"Changed {name}{after}", name=name, data=data)


@click.command(cls=Command, examples=("supervisor network vlan eth0 30",))
@click.argument("name")
@click.argument("number", type=click.IntRange(0, 4094))
@_ip_options
@pass_session
def vlan(session: Session, /, name: str, number: int, **given: Any) -> None:
    """Make a VLAN on an Ethernet interface."""
    data = session.client.post(route("network", "interface", name, "vlan", str(number)), _blocks(given))
    session.output.done(f"Made {name}.{number}", name=f"{name}.{number}", data=data)


@click.command(cls=Command)
@click.argument("name")
@pass_session
def scan(session: Session, name: str) -> None:
    """Look for wireless networks."""
    with session.busy("Looking for wireless networks", reads=True):
        data = session.client.get(route("network", "interface", name, "accesspoints"))
    rows = mappings(data, "accesspoints")
    session.output.rows(rows, _POINT_COLUMNS, name="ssid", empty="There is no wireless network.", data=data)


@click.command(cls=Command)
@pass_session
def reload(session: Session) -> None:
    """Look at the network again, and for the internet."""
    session.output.done("Looked at the network", data=session.client.post("/network/reload"))


@click.command(cls=Command)
@pass_session
def confirm(session: Session) -> None:
    """Keep a change that would go back otherwise."""
    session.output.done("The network keeps its new settings", data=session.client.post("/network/confirm"))


@click.command(cls=Command)
@pass_session
def rollback(session: Session) -> None:
    """Take back a change that waits to be confirmed."""
    session.output.done("The network has its old settings again", data=session.client.post("/network/rollback"))


network = Group(
    "network",
    default="info",
    help="Look after the network of this machine.",
    commands=[info, interface, update, vlan, scan, reload, confirm, rollback],
)
