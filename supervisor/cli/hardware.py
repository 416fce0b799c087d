"""`supervisor hardware`: devices, drives, and what sounds."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.answers import mapping, mappings
from supervisor.cli.columns import Column, size
from supervisor.cli.command import Command, Group, Session, pass_session

_DEVICES = (
    Column("DEVICE", "dev_path"),
    Column("KIND", "subsystem"),
    Column("STABLE NAME", "by_id", flexible=True),
    Column("WHAT", lambda row: _what(mapping(row.get("attributes"))), flexible=True),
)
_DRIVES = (
    Column("DRIVE", lambda row: " ".join(filter(None, (row.get("vendor"), row.get("model")))) or row.get("id")),
    Column("SERIAL", "serial"),
    Column("SIZE", lambda row: size(row.get("size")), right=True),
    Column("BUS", "connection_bus"),
    Column("REMOVABLE", "removable"),
    Column("FILE SYSTEMS", lambda row: [_filesystem(one) for one in mappings(row, "filesystems")], flexible=True),
)
_SOUND = (Column("KIND", "kind"), Column("NAME", "name"), Column("DESCRIPTION", "description", flexible=True))


def _what(attributes: Any) -> str:
    words = (attributes.get("ID_VENDOR_FROM_DATABASE") or attributes.get("ID_VENDOR"), attributes.get("ID_MODEL"))
    return " ".join(str(word) for word in words if word)


def _filesystem(filesystem: Any) -> str:
    label = filesystem.get("name") or filesystem.get("device")
    points = filesystem.get("mount_points") or []
    return f"{label} on {points[0]}" if points else str(label)


@click.command(cls=Command)
@click.option("--kind", metavar="SUBSYSTEM", help="Only these, such as tty, usb, video4linux or sound.")
@click.option("--all", "everything", is_flag=True, help="Also devices without hardware behind them.")
@pass_session
def devices(session: Session, kind: str | None, *, everything: bool) -> None:
    """List the devices of this machine, or those of one kind."""
    found = mappings(session.client.get("/hardware/info"), "devices")
    rows = [
        row
        for row in found
        if (kind is None and (everything or not str(row.get("sysfs", "")).startswith("/sys/devices/virtual/")))
        or (kind is not None and row.get("subsystem") == kind)
    ]
    session.output.rows(rows, _DEVICES, name="dev_path", empty="There is no such device.")


@click.command(cls=Command)
@pass_session
def drives(session: Session) -> None:
    """List the drives and what is on them."""
    rows = mappings(session.client.get("/hardware/info"), "drives")
    session.output.rows(rows, _DRIVES, name="id", empty="There is no drive.")


@click.command(cls=Command)
@pass_session
def audio(session: Session) -> None:
    """List the devices that sound and listen."""
    data = mapping(mapping(session.client.get("/hardware/audio")).get("audio"))
    rows = [
        {"kind": kind, "name": name, "description": description}
        for kind in ("input", "output")
        for name, description in mapping(data.get(kind)).items()
    ]
    session.output.rows(rows, _SOUND, name="name", empty="There is no audio device.", data=data)


@click.command(cls=Command)
@pass_session
def trigger(session: Session) -> None:
    """Have the kernel announce all devices anew."""
    session.post("/hardware/trigger", doing="Looking for devices", done="All devices were announced anew")


hardware = Group(
    "hardware",
    default="devices",
    help="Look at what is built into this machine and plugged into it.",
    commands=[devices, drives, audio, trigger],
)
