"""`supervisor os`: the operating system."""

from __future__ import annotations

import click

from supervisor.cli.answers import mapping
from supervisor.cli.columns import Field
from supervisor.cli.command import Command, Group, Session, pass_session

_FIELDS = (
    Field("Version", "version"),
    Field("Newest version", "version_latest", optional=True),
    Field("After a reboot", "version_pending", optional=True),
    Field("Board", "board"),
    Field("Boot slot", "boot", optional=True),
    Field("Data disk", "data_disk", optional=True),
)


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """Show the Home Assistant Operating System, where the machine runs it; see supervisor host for any other."""
    data = mapping(session.client.get("/os/info"))
    session.output.record(data, _FIELDS, name=data.get("version"))


operating_system = Group("os", default="info", help="Look at the Home Assistant Operating System.", commands=[info])
