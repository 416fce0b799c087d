"""`supervisor os`: the operating system, its updates and its boot slots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from supervisor.cli.answers import mapping
from supervisor.cli.columns import Field
from supervisor.cli.command import Command, Group, Session, confirm, pass_session
from supervisor.cli.os_boards import board, firmware, swap
from supervisor.cli.os_data_disk import data_disk
from supervisor.cli.progress import follow

BOOT_SLOTS = ("A", "B")


def _slots(data: Mapping[str, Any]) -> list[str]:
    """Name what lies in each slot, the one that runs first."""
    slots = data.get("boot_slots")
    known = {name: slot for name, slot in slots.items() if isinstance(slot, dict)} if isinstance(slots, dict) else {}
    lines = []
    for name, slot in sorted(known.items(), key=lambda item: item[0] != data.get("boot")):
        words = [slot.get("version"), slot.get("state"), slot.get("status")]
        lines.append(f"{name} ({' '.join(str(word) for word in words if word)})")
    return lines


def _newest(data: Mapping[str, Any]) -> str | None:
    latest = data.get("version_latest")
    return f"{latest} (supervisor os update installs it)" if latest and data.get("update_available") else latest


_FIELDS = (
    Field("Version", "version"),
    Field("Newest version", _newest, optional=True),
    Field("After a reboot", "version_pending", optional=True),
    Field("Board", "board"),
    Field("Boot slot", "boot", optional=True),
    Field("Boot slots", _slots, optional=True),
    Field("Data disk", "data_disk", optional=True),
)


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """Show the Home Assistant Operating System, where the machine runs it; see supervisor host for any other."""
    data = mapping(session.client.get("/os/info"))
    session.output.record(data, _FIELDS, name=data.get("version"))
    if not data.get("version") and session.output.format == "table":
        click.echo("This machine does not run the Home Assistant Operating System; see: supervisor host", err=True)


@click.command(cls=Command, examples=("supervisor os update", "supervisor os update 16.1 --detach"))
@click.argument("version", required=False)
@click.option("--detach", is_flag=True, help="Don't wait: print the job's identifier and return.")
@pass_session
def update(session: Session, version: str | None, *, detach: bool) -> None:
    """Install the newest version, or the one given; the next reboot starts it.

    What runs now stays in its boot slot: supervisor os boot-slot goes back to it.
    """
    body = {"background": True} | ({} if version is None else {"version": version})
    with session.busy("Asking for the update"):
        answer = mapping(session.client.post("/os/update", body))
    job = answer.get("job_id")
    if job and detach:
        session.output.done(f"The update runs as job {job}", name=str(job), data=answer)
        return
    if job:
        follow(session, str(job), "Updating the operating system")
    after = mapping(session.client.get("/os/info"))
    pending = after.get("version_pending")
    session.output.done(f"Installed {pending or version or ''}".rstrip(), name=pending, data=after)
    if session.stderr_terminal:
        click.echo("Start it with: supervisor host reboot", err=True)


@click.command("boot-slot", cls=Command, examples=("supervisor os boot-slot B",))
@click.argument("slot", type=click.Choice(BOOT_SLOTS, case_sensitive=False))
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def boot_slot(session: Session, slot: str, *, yes: bool) -> None:
    """Reboot the machine into the other version that is installed; supervisor os shows which that is."""
    slot = slot.upper()
    confirm(f"Reboot the machine from slot {slot}?", yes=yes)
    session.post(
        "/os/boot-slot",
        {"boot_slot": slot},
        doing="Stopping the add-ons",
        done=f"The machine reboots from slot {slot}",
        name=slot,
    )


@click.command(cls=Command)
@pass_session
def sync(session: Session) -> None:
    """Take in the settings that lie in the folder CONFIG of a USB stick or of the boot partition."""
    session.post("/os/config/sync", doing="Taking in the settings", done="The settings are taken in")


operating_system = Group(
    "os",
    default="info",
    help="Look after the Home Assistant Operating System: its updates, its data disk, its board.",
    examples=("supervisor os", "supervisor os update", "supervisor os boot-slot A"),
    commands=[info, update, boot_slot, sync, data_disk, board, swap, firmware],
)
