"""`supervisor backups freeze`, `thaw` and `stale`: what backups ask of the whole system."""

from __future__ import annotations

import click

from supervisor.cli.answers import mapping
from supervisor.cli.columns import Field
from supervisor.cli.command import Command, Session, pass_session

_DAYS = (Field("Days until stale", "days_until_stale"),)


@click.command(
    cls=Command, examples=("supervisor backups freeze --timeout 120 && lvcreate -s … ; supervisor backups thaw",)
)
@click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="When everything goes on by itself. [600]")
@pass_session
def freeze(session: Session, timeout: int | None) -> None:
    """Make everything hold still, for a snapshot of the disk that something else takes."""
    session.post(
        "/backups/freeze",
        {} if timeout is None else {"timeout": timeout},
        doing="Making everything hold still",
        done="Everything holds still; end it with: supervisor backups thaw",
    )


@click.command(cls=Command)
@pass_session
def thaw(session: Session) -> None:
    """Let everything go on after `freeze`."""
    session.post("/backups/thaw", doing="Letting everything go on", done="Everything goes on")


@click.command(cls=Command, examples=("supervisor backups stale 7",))
@click.argument("days", type=click.IntRange(1), required=False)
@pass_session
def stale(session: Session, days: int | None) -> None:
    """Show or set after how many DAYS without a full backup that is an issue."""
    if days is not None:
        session.client.post("/backups/options", {"days_until_stale": days})
    data = mapping(session.client.get("/backups/info"))
    session.output.record({"days_until_stale": data.get("days_until_stale")}, _DAYS, name=data.get("days_until_stale"))
