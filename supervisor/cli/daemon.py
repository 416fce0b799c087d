"""`supervisor info`, `supervisor updates` and the group `supervisor supervisor`: the daemon itself."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.addon_reading import STATS_FIELDS
from supervisor.cli.addons import newer
from supervisor.cli.answers import mapping, mappings
from supervisor.cli.columns import Column, Field
from supervisor.cli.command import Command, Group, Session, confirm, pass_session
from supervisor.cli.logs import log_options, show_logs

_ROOT_FIELDS = (
    Field("Supervisor", "supervisor"),
    Field("State", "state"),
    Field("Home Assistant", "homeassistant"),
    Field("Docker", "docker"),
    Field("Host name", "hostname"),
    Field("System", "operating_system"),
    Field("OS", "hassos", optional=True),
    Field("Machine", "machine"),
    Field("Architecture", "arch"),
    Field("Runs add-ons for", "supported_arch"),
    Field("Supported", "supported"),
    Field("Channel", "channel"),
    Field("Log level", "logging"),
    Field("Time zone", "timezone"),
    Field("Features", "features"),
)
_UPDATE_COLUMNS = (
    Column("WHAT", lambda row: row.get("name") or row.get("update_type"), flexible=True),
    Column("KIND", "update_type"),
    Column("VERSION", "version_latest"),
)
_SUPERVISOR_FIELDS = (
    Field("Version", "version"),
    Field("Update", newer, optional=True),
    Field("Channel", "channel"),
    Field("Architecture", "arch"),
    Field("Supported", "supported"),
    Field("Healthy", "healthy"),
    Field("IP address", "ip_address"),
    Field("Log level", "logging"),
    Field("Debug", "debug"),
    Field("Diagnostics", "diagnostics"),
    Field("Auto update", "auto_update"),
    Field("Time zone", "timezone"),
    Field("Country", "country", optional=True),
    Field("Features", lambda row: [key for key, on in mapping(row.get("feature_flags")).items() if on], optional=True),
)


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """Show the versions and the state of everything."""
    data = mapping(session.client.get("/info"))
    session.output.record(data, _ROOT_FIELDS, name=data.get("hostname"))


@click.command(cls=Command)
@pass_session
def updates(session: Session) -> None:
    """List the updates that are there."""
    rows = [
        {**row, "target": str(row.get("panel_path", "")).rpartition("/")[2]}
        for row in mappings(session.client.get("/available_updates"), "available_updates")
    ]
    data = [{key: value for key, value in row.items() if key != "target"} for row in rows]
    empty = "Everything is up to date."
    if not rows and mapping(session.client.get("/network/info")).get("supervisor_internet") is False:
        empty = "No update is known; what is new can't be learnt, for the internet can't be reached."
    session.output.rows(rows, _UPDATE_COLUMNS, name="target", empty=empty, data=data)


@click.command("info", cls=Command)
@pass_session
def supervisor_info(session: Session) -> None:
    """Show the daemon's settings."""
    session.output.record(mapping(session.client.get("/supervisor/info")), _SUPERVISOR_FIELDS, name="supervisor")


@click.command(
    cls=Command,
    examples=("supervisor supervisor options --logging debug",),
)
@click.option("--channel", type=click.Choice(["stable", "beta", "dev"]), help="Which versions are offered.")
@click.option("--timezone", metavar="ZONE", help="Such as Europe/Berlin.")
@click.option("--logging", type=click.Choice(["debug", "info", "warning", "error", "critical"]), help="The log level.")
@click.option("--debug/--no-debug", default=None, help="Kept for other clients; see --logging debug.")
@click.option(
    "--diagnostics/--no-diagnostics",
    default=None,
    help="Whether the Home Assistant Operating System reports its crashes; the Supervisor itself reports nothing.",
)
@click.option("--auto-update/--no-auto-update", default=None, help="Install its own updates by itself.")
@click.option("--country", metavar="CODE", help="Two letters.")
@click.option(
    "--detect-blocking-io",
    type=click.Choice(["off", "on", "on-at-startup"]),
    help="Log what holds the daemon up, and where: until its next start, or also after that.",
)
@pass_session
def options(session: Session, /, **settings: Any) -> None:
    """Show or change the daemon's settings."""
    chosen = {key: value for key, value in settings.items() if value is not None}
    if not chosen:
        session.output.record(mapping(session.client.get("/supervisor/info")), _SUPERVISOR_FIELDS, name="supervisor")
        return
    data = session.client.post("/supervisor/options", chosen)
    session.output.done("Saved the settings of the Supervisor", data=data)


@click.command(cls=Command)
@pass_session
def stats(session: Session) -> None:
    """Show what the daemon uses."""
    session.output.record(mapping(session.client.get("/supervisor/stats")), STATS_FIELDS, name="supervisor")


@click.command(cls=Command)
@log_options
@pass_session
def logs(session: Session, /, **arguments: Any) -> None:
    """Print the daemon's log."""
    show_logs(session, "/supervisor", **arguments)


@click.command(cls=Command)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def restart(session: Session, *, yes: bool) -> None:
    """Restart the daemon; add-ons keep running."""
    confirm("Restart the Supervisor?", yes=yes)
    session.post("/supervisor/restart", doing="Restarting", done="The Supervisor is restarting")


@click.command(cls=Command)
@pass_session
def reload(session: Session) -> None:
    """Fetch version information again and look at the system afresh."""
    session.post("/supervisor/reload", doing="Reloading", done="Reloaded")


@click.command(cls=Command)
@pass_session
def repair(session: Session) -> None:
    """Mend what is missing or broken in the Docker engine."""
    session.post("/supervisor/repair", doing="Repairing", done="Repaired")


supervisor = Group(
    "supervisor",
    default="info",
    help="Look after the daemon itself.",
    commands=[supervisor_info, options, stats, logs, restart, reload, repair],
)
