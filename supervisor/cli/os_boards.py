"""`supervisor os board`, `swap` and `firmware`: what the operating system runs on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from supervisor.cli.answers import mapping
from supervisor.cli.client import route
from supervisor.cli.columns import Field
from supervisor.cli.command import Command, Group, Session, confirm, pass_session
from supervisor.cli.failures import ExitCode, Failure

_WITH_LAMPS = ("green", "yellow")
_ON_OFF = {"on": True, "off": False}
_LAMPS = {
    "activity": "activity_led",
    "disk": "disk_led",
    "health": "system_health_led",
    "heartbeat": "heartbeat_led",
    "power": "power_led",
}
_BOARD_FIELDS = (
    Field("Board", "board"),
    *(Field(f"Lamp {name}", key, optional=True) for name, key in _LAMPS.items()),
)
_SWAP_FIELDS = (Field("Size", "swap_size"), Field("Swappiness", "swappiness"))
_FIRMWARE_FIELDS = (
    Field("Version", "current_version"),
    Field("Newest version", "latest_version"),
    Field("Update available", "update_available"),
    Field("Waits for a reboot", "update_pending"),
    Field("Blocked because", "blocked_reason", optional=True),
)


def _lamps(session: Session) -> tuple[str | None, dict[str, Any]]:
    """Return which board with lamps this is, and what it tells of them."""
    for board in _WITH_LAMPS:
        try:
            return board, dict(mapping(session.client.get(route("os", "boards", board))))
        except Failure as failure:
            if failure.exit_code != ExitCode.INVALID:
                raise
    return None, {}


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """Show the board, and which of its lamps are on."""
    board = mapping(session.client.get("/os/info")).get("board")
    with_lamps, lamps = _lamps(session)
    session.output.record({"board": board or with_lamps, **lamps}, _BOARD_FIELDS, name=board or with_lamps)


def _wanted(lamps: Sequence[str]) -> dict[str, bool]:
    wanted = {}
    for lamp in lamps:
        name, _, value = lamp.partition("=")
        if name not in _LAMPS or value not in _ON_OFF:
            raise click.UsageError(f"{lamp!r} is not LAMP=on or LAMP=off; lamps are {', '.join(_LAMPS)}")
        wanted[_LAMPS[name]] = _ON_OFF[value]
    return wanted


@click.command(
    "lamps", cls=Command, examples=("supervisor os board lamps power=off", "supervisor os board lamps disk=on power=on")
)
@click.argument("lamps", nargs=-1, required=True, metavar="LAMP=on|off...")
@pass_session
def set_lamps(session: Session, lamps: Sequence[str]) -> None:
    """Switch lamps on and off, for good.

    A Green has the lamps activity, health and power, a Yellow disk, heartbeat and power. Those of a Yellow follow at
    the next boot.
    """
    wanted = _wanted(lamps)
    board, _ = _lamps(session)
    if board is None:
        raise Failure("This board has no lamps that could be switched", ExitCode.INVALID)
    data = session.client.post(route("os", "boards", board), wanted)
    when = "; it follows at the next boot" if board == "yellow" else ""
    session.output.done(f"Switched {', '.join(lamps)}{when}", name=board, data=data)


@click.command(cls=Command, examples=("supervisor os swap", "supervisor os swap --size 2G --swappiness 10"))
@click.option("--size", metavar="SIZE", help="Such as 512M or 2G; 0 is none.")
@click.option("--swappiness", type=click.IntRange(0, 200), help="How eagerly the kernel swaps.")
@pass_session
def swap(session: Session, size: str | None, swappiness: int | None) -> None:
    """Show or set how much memory the system may swap to its disk; what is set acts from the next boot on."""
    body = {"swap_size": size, "swappiness": swappiness}
    chosen = {key: value for key, value in body.items() if value is not None}
    if chosen:
        data = session.client.post("/os/config/swap", chosen)
        session.output.done("Set; it acts from the next boot on", data=data)
        return
    session.output.record(mapping(session.client.get("/os/config/swap")), _SWAP_FIELDS, name="swap")


@click.command("info", cls=Command)
@pass_session
def firmware_info(session: Session) -> None:
    """Show the firmware of a Raspberry Pi 4, 5 or a Yellow."""
    data = mapping(session.client.get("/os/boards/raspberrypi/firmware"))
    session.output.record(data, _FIRMWARE_FIELDS, name=data.get("current_version"))


@click.command("update", cls=Command)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def firmware_update(session: Session, *, yes: bool) -> None:
    """Update the firmware; the next boot puts it in place, and must not lose its power."""
    confirm("Update the firmware of the board?", yes=yes)
    session.post(
        "/os/boards/raspberrypi/firmware/update",
        doing="Updating the firmware",
        done="The firmware is put in place by the next boot",
    )


board = Group("board", default="info", help="See the board, and switch its lamps.", commands=[info, set_lamps])
firmware = Group(
    "firmware",
    default="info",
    help="See and update the firmware of a Raspberry Pi.",
    commands=[firmware_info, firmware_update],
)
