"""`supervisor os datadisk`: the disk that all data is on."""

from __future__ import annotations

from typing import Final

import click

from supervisor.cli.answers import mapping, mappings
from supervisor.cli.columns import Column, size
from supervisor.cli.command import Command, Group, Session, confirm, pass_session

_COLUMNS = (
    Column("DISK", "id", flexible=True),
    Column("NAME", "name", flexible=True),
    Column("SIZE", lambda row: size(row.get("size")), right=True),
    Column("DEVICE", "dev_path"),
)
_NEEDS_HAOS: Final = (
    "The data can be moved only by the Home Assistant Operating System, which this machine does not run."
)


@click.command("list", cls=Command)
@pass_session
def list_(session: Session) -> None:
    """List the disks that the data could be moved to: those of which nothing is in use."""
    data = mapping(session.client.get("/os/datadisk/list"))
    disks = mappings(data, "disks")
    ours = mapping(session.client.get("/info")).get("hassos") is not None
    session.output.rows(disks, _COLUMNS, name="id", empty="No disk is free." if ours else _NEEDS_HAOS, data=data)
    if disks and not ours:
        click.echo(_NEEDS_HAOS, err=True)


@click.command(
    cls=Command,
    examples=("supervisor os datadisk move Samsung-SSD-870-S5Y1", "supervisor os datadisk move /dev/sdb"),
)
@click.argument("disk")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def move(session: Session, disk: str, *, yes: bool) -> None:
    """Move all data to DISK, an id or a path from the list, and reboot. What is on that disk is lost."""
    confirm(f"Reboot, and move all data to {disk}? What is on that disk is lost.", yes=yes)
    session.post(
        "/os/datadisk/move",
        {"device": disk},
        doing=f"Preparing {disk}",
        done=f"The machine reboots, and moves the data to {disk}",
        name=disk,
    )


@click.command(cls=Command)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def wipe(session: Session, *, yes: bool) -> None:
    """Remove all data and settings, add-ons and backups among them, and reboot as a new system."""
    confirm("Reboot, and remove all data, settings, add-ons and backups on this machine?", yes=yes)
    session.post("/os/datadisk/wipe", doing="Stopping the add-ons", done="The machine reboots, and wipes its data")


data_disk = Group(
    "datadisk",
    default="list",
    help="Move the data to another disk, or wipe it (Home Assistant Operating System).",
    commands=[list_, move, wipe],
)
