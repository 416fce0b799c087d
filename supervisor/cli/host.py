"""`supervisor host` and `supervisor doctor`: the machine itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from supervisor.cli.answers import mapping, mappings
from supervisor.cli.arguments import SERVICE
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field, size
from supervisor.cli.command import Command, Group, Session, confirm, pass_session
from supervisor.cli.logs import machine_logs

_LAST_MOMENT = 253_402_300_799_999_999
_ON_OFF = {"on": True, "off": False}


def _gib(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    return f"{value:g} GiB" if isinstance(value, int | float) else None


def _percent(row: Mapping[str, Any]) -> str | None:
    value = row.get("disk_life_time")
    return f"{value:g} % used up" if isinstance(value, int | float) else None


def _utc(when: object) -> str | None:
    return f"{when[:19].replace('T', ' ')} UTC" if isinstance(when, str) else None


def _booted(microseconds: object) -> str | None:
    if not isinstance(microseconds, int) or not 0 < microseconds < _LAST_MOMENT:
        return None
    return _utc(datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat())


_FIELDS = (
    Field("Host name", "hostname"),
    Field("System", "operating_system"),
    Field("Kernel", "kernel"),
    Field("Chassis", "chassis", optional=True),
    Field("Deployment", "deployment", optional=True),
    Field("Virtualization", "virtualization", optional=True),
    Field("CPE", "cpe", optional=True),
    Field("OS agent", "agent_version", optional=True),
    Field("AppArmor", "apparmor_version", optional=True),
    Field("Disk", lambda row: _gib(row, "disk_total")),
    Field("Used", lambda row: _gib(row, "disk_used")),
    Field("Free", lambda row: _gib(row, "disk_free")),
    Field("Life of the disk", _percent, optional=True),
    Field("Clock", lambda row: _utc(row.get("dt_utc"))),
    Field("Time zone", "timezone"),
    Field("Set by time servers", "use_ntp", optional=True),
    Field("In step with them", "dt_synchronized", optional=True),
    Field("Up since", lambda row: _booted(row.get("boot_timestamp")), optional=True),
    Field(
        "Time to boot", lambda row: f"{row['startup_time']:.1f} s" if row.get("startup_time") else None, optional=True
    ),
    Field("LLMNR", "broadcast_llmnr", optional=True),
    Field("mDNS", "broadcast_mdns", optional=True),
    Field("Features", "features"),
)
_SERVICE_COLUMNS = (
    Column("SERVICE", "name"),
    Column("STATE", "state"),
    Column("DESCRIPTION", "description", flexible=True),
)
_USAGE_COLUMNS = (
    Column("WHAT", "indented", flexible=True),
    Column("SIZE", lambda row: size(row["used_bytes"]), right=True),
)
_MARKS = {"ok": "ok", "limited": "limited", "missing": "MISSING"}
_FINDING_COLUMNS = (
    Column("WHAT", "name", wraps=True),
    Column("", lambda row: _MARKS.get(str(row.get("condition")), row.get("condition"))),
    Column("FOUND", "text", wraps=True),
    Column("WHAT TO DO", "how", wraps=True),
)


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """Show the host."""
    data = mapping(session.client.get("/host/info"))
    session.output.record(data, _FIELDS, name=data.get("hostname"))


@click.command(cls=Command, examples=("supervisor host options --hostname attic --timezone Europe/Berlin",))
@click.option("--hostname", metavar="NAME", help="What the machine is called in its network.")
@click.option("--timezone", metavar="ZONE", help="Such as Europe/Berlin.")
@click.option("--ntp", type=click.Choice(list(_ON_OFF)), help="Whether time servers set the clock.")
@pass_session
def options(session: Session, hostname: str | None, timezone: str | None, ntp: str | None) -> None:
    """Set the host's name and clock; without an option show them."""
    body = {"hostname": hostname, "timezone": timezone, "use_ntp": None if ntp is None else _ON_OFF[ntp]}
    chosen = {key: value for key, value in body.items() if value is not None}
    if not chosen:
        data = mapping(session.client.get("/host/info"))
        session.output.record(data, _FIELDS, name=data.get("hostname"))
        return
    session.output.done("Changed the host", data=session.client.post("/host/options", chosen))


@click.command(cls=Command)
@pass_session
def reload(session: Session) -> None:
    """Read everything about the host anew; services that have ended are started for that."""
    session.output.done("Read the host anew", data=session.client.post("/host/reload"))


@click.command(cls=Command)
@click.option("--force", is_flag=True, help="Also while Home Assistant changes its database.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def reboot(session: Session, *, force: bool, yes: bool) -> None:
    """Stop all add-ons and reboot the machine."""
    confirm("Reboot the machine?", yes=yes)
    session.post("/host/reboot", {"force": force}, doing="Stopping the add-ons", done="The machine reboots")


@click.command(cls=Command)
@click.option("--force", is_flag=True, help="Also while Home Assistant changes its database.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def shutdown(session: Session, *, force: bool, yes: bool) -> None:
    """Stop all add-ons and switch the machine off."""
    confirm("Switch the machine off?", yes=yes)
    session.post(
        "/host/shutdown", {"force": force}, doing="Stopping the add-ons", done="The machine switches itself off"
    )


@click.command("list", cls=Command)
@pass_session
def services_list(session: Session) -> None:
    """List the host's services."""
    rows = mappings(session.client.get("/host/services"), "services")
    session.output.rows(rows, _SERVICE_COLUMNS, name="name", empty="No service is loaded.")


def _service_command(action: str, text: str, done: str) -> click.Command:
    @click.command(action, cls=Command, help=text)
    @click.argument("service", type=SERVICE)
    @pass_session
    def act(session: Session, service: str) -> None:
        session.post(
            route("host", "service", service, action),
            doing=f"{action.capitalize()} {service}",
            done=f"{service} {done}",
            name=service,
        )

    return act


@click.command(
    cls=Command,
    examples=(
        "supervisor host services rules",
        "supervisor host services rules --allow 'nginx*' --allow smbd",
        "supervisor host services rules --refuse 'ssh*' --refuse 'docker*'",
    ),
)
@click.option("--allow", multiple=True, metavar="PATTERN", help="May be touched; in place of the list there is.")
@click.option("--refuse", multiple=True, metavar="PATTERN", help="Must not be; in place of the list there is.")
@pass_session
def rules(session: Session, allow: Sequence[str], refuse: Sequence[str]) -> None:
    """Show or set which services may be started and stopped.

    A service may be touched when one of the allowed patterns fits its name and none of the refused ones. What carries
    the daemon itself is refused unless you change that.
    """
    body = {key: list(given) for key, given in (("allowed", allow), ("refused", refuse)) if given}
    if body:
        session.output.done("Saved the rules", data=session.client.post("/host/service/rules", body))
        return
    fields = (Field("Allowed", "allowed"), Field("Refused", "refused"))
    session.output.record(mapping(session.client.get("/host/service/rules")), fields, name="rules")


@click.command(cls=Command, examples=("supervisor host usage", "supervisor host usage --depth 3"))
@click.argument("disk", default="default")
@click.option("--depth", type=click.IntRange(0, 32), default=None, help="How many levels of folders to list.")
@pass_session
def usage(session: Session, disk: str, depth: int | None) -> None:
    """Show what takes the space of the data disk, or of a mount."""
    query = "" if depth is None else f"?max_depth={depth}"
    with session.busy("Measuring", reads=True):
        data = mapping(session.client.get(route("host", "disks", disk, "usage") + query))
    rows = list(_lines(data, 0))
    session.output.rows(rows, _USAGE_COLUMNS, name="id", empty="Nothing is known.", data=data)


def _lines(node: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    total = node.get("total_bytes")
    label = node.get("label") if total is None else f"{node.get('label')} (of {size(total)})"
    yield {"id": node.get("id"), "indented": f"{'· ' * depth}{label}", "used_bytes": node.get("used_bytes")}
    for child in mappings(node, "children"):
        yield from _lines(child, depth + 1)


@click.command(cls=Command)
@pass_session
def doctor(session: Session) -> None:
    """Tell what works on this host, what is missing, and how to get it."""
    rows = mappings(session.client.get("/host/doctor"), "findings")
    session.output.rows(rows, _FINDING_COLUMNS, name="name", empty="Nothing was looked at.")


services = Group(
    "services",
    default="list",
    help="See, start and stop the services of the host.",
    commands=[
        services_list,
        _service_command("start", "Start a service of the host.", "is started"),
        _service_command("stop", "Stop a service of the host.", "is stopped"),
        _service_command("restart", "Restart a service of the host.", "is restarted"),
        _service_command("reload", "Have a service read its configuration again.", "is reloaded"),
        rules,
    ],
)
host = Group(
    "host",
    default="info",
    help="See and set up the machine itself.",
    examples=("supervisor host", "supervisor host options --hostname attic", "supervisor host services restart smbd"),
    commands=[info, options, reload, reboot, shutdown, services, usage, machine_logs],
)
