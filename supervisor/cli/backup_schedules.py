"""`supervisor backups schedule`: backups that are made by themselves, and how long they are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from supervisor.cli.answers import mapping, mappings, match_uuid
from supervisor.cli.arguments import LOCAL, LOCATION, SCHEDULE
from supervisor.cli.backup_password import PASSWORD_VARIABLE, password_of_environment
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field, moment
from supervisor.cli.command import Command, Group, Session, confirm, pass_session
from supervisor.cli.failures import ExitCode, Failure
from supervisor.cli.progress import follow
from supervisor.cli.retention_options import given_retention, retention_options, shown_retention

F = TypeVar("F", bound=Callable[..., Any])
_LOOK: Final = "see them with: supervisor backups schedule"
_FOLDERS: Final = ("homeassistant", "share", "addons/local", "ssl", "media")


def _contents(row: Mapping[str, Any]) -> str:
    found = mapping(row.get("contents"))
    if found.get("full"):
        return "everything"
    addons = found.get("addons")
    parts = ["Home Assistant"] if found.get("homeassistant") else []
    parts += ["all add-ons"] if addons == "ALL" else [str(one) for one in addons or ()]
    parts += [str(one) for one in found.get("folders") or ()]
    return ", ".join(parts) or "nothing"


def _locations(row: Mapping[str, Any]) -> list[str]:
    found = row.get("locations")
    return ["local" if one is None else str(one) for one in found] if isinstance(found, list) and found else ["default"]


def _last(row: Mapping[str, Any]) -> str:
    if not row.get("last_due"):
        return "never"
    ended = _when(row, "last_ended")
    if row.get("last_error") and row.get("last_slug"):
        return f"{row.get('last_slug')} {ended}, incomplete: {row.get('last_error')}"
    if row.get("last_error"):
        return f"failed {ended}: {row.get('last_error')}"
    return f"{row.get('last_slug')} {ended}" if row.get("last_ended") else "running"


def _when(row: Mapping[str, Any], key: str) -> str:
    return moment(row.get(key), row.get("time_zone"))


def _rule(row: Mapping[str, Any]) -> str:
    return f"{row.get('cron')} ({row.get('time_zone')})"


def _next(row: Mapping[str, Any]) -> str:
    return _when(row, "next_due")


_COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name", flexible=True),
    Column("ON", "enabled"),
    Column("WHEN", _rule),
    Column("NEXT", _next),
    Column("LAST", _last, wraps=True),
)
_FIELDS = (
    Field("Name", "name"),
    Field("Identifier", "id"),
    Field("On", "enabled"),
    Field("When", _rule),
    Field("Next", _next),
    Field("What", _contents),
    Field("Where to", _locations),
    Field("Password", "password"),
    Field("Kept", shown_retention),
    Field("Last", _last),
)
_PLAN_FIELDS = (
    Field("On", "enabled"),
    Field("When", _rule),
    Field("Share", lambda row: f"{row.get('share')} %"),
    Field("Next", _next),
    Field("Last", lambda row: _when(row, "last_ended")),
    Field("Found", lambda row: row.get("last_error") or ("all good" if row.get("last_ended") else None)),
)


def wish_options(command: F) -> F:
    """Add the options that say what a schedule does."""
    options = (
        click.option("--time-zone", metavar="ZONE", help="Such as Europe/Berlin; else the Supervisor's own."),
        click.option("--full", is_flag=True, help="Save everything."),
        click.option("--addon", "addons", multiple=True, metavar="SLUG", help="An add-on; ALL for all of them."),
        click.option("--folder", "folders", multiple=True, type=click.Choice(_FOLDERS), help="A folder."),
        click.option(
            "--location",
            "locations",
            multiple=True,
            type=LOCATION,
            metavar="LOCATION",
            help="A mount, local, or repository:NAME; may be repeated.",
        ),
        click.option(
            "--password-file",
            type=click.File("r"),
            help=f"A file that holds a password for the archives. `add` also takes it from {PASSWORD_VARIABLE}.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return retention_options(command)


def _wish(given: Mapping[str, Any]) -> dict[str, Any]:
    wish: dict[str, Any] = {}
    if given["time_zone"]:
        wish["time_zone"] = given["time_zone"]
    if given["full"]:
        wish["contents"] = {"full": True}
    elif given["addons"] or given["folders"]:
        addons: Any = "ALL" if "ALL" in given["addons"] else list(given["addons"])
        folders = [folder for folder in given["folders"] if folder != "homeassistant"]
        homeassistant = "homeassistant" in given["folders"]
        wish["contents"] = {"addons": addons, "folders": folders, "homeassistant": homeassistant}
    if given["locations"]:
        wish["locations"] = [None if one == LOCAL else one for one in given["locations"]]
    if given["password_file"] is not None:
        wish["password"] = str(given["password_file"].readline(65536)).rstrip("\r\n")
    if (rule := given_retention(given)) is not None:
        wish["retention"] = rule
    return wish


def _all(session: Session) -> list[Mapping[str, Any]]:
    return mappings(session.client.get("/backups/schedules"), "schedules")


def _id(session: Session, given: str) -> str:
    """Return the identifier that is meant: by its beginning, or by the schedule's name."""
    rows = _all(session)
    named = [str(row.get("id")) for row in rows if row.get("name") == given]
    if len(named) > 1:
        raise Failure(f"{len(named)} schedules are called {given}: name an identifier", ExitCode.USAGE, hint=_LOOK)
    return named[0] if named else match_uuid(given, [str(row.get("id")) for row in rows], "backup schedule")


@click.command("list", cls=Command)
@pass_session
def list_(session: Session) -> None:
    """List the schedules."""
    session.output.rows(_all(session), _COLUMNS, name="id", empty="There is no backup schedule.")


@click.command(cls=Command)
@click.argument("schedule", type=SCHEDULE)
@pass_session
def info(session: Session, schedule: str) -> None:
    """Show a schedule, by its name or identifier."""
    data = mapping(session.client.get(route("backups", "schedules", _id(session, schedule))))
    session.output.record(data, _FIELDS, name=data.get("id"))


@click.command(
    cls=Command,
    examples=(
        "supervisor backups schedule add nightly '30 3 * * *' --full --keep-daily 7 --keep-weekly 4",
        "supervisor backups schedule add photos '0 * * * *' --folder media --location repository:nas --keep-last 48",
    ),
)
@click.argument("name")
@click.argument("cron")
@wish_options
@pass_session
def add(session: Session, /, name: str, cron: str, **given: Any) -> None:
    """Make backups by themselves: CRON says when, such as '30 3 * * *' for every night at half past three."""
    wish = {"contents": {"full": True}, **_wish(given), "name": name, "cron": cron}
    # Only here: a schedule that is there must not get another password by what the environment happens to hold.
    if "password" not in wish and (password := password_of_environment()) is not None:
        wish["password"] = password
    data = mapping(session.client.post("/backups/schedules", wish))
    session.output.done(f"Added {name}; it is due next {_next(data)}", name=data.get("id"), data=data)


@click.command(cls=Command, examples=("supervisor backups schedule change nightly --off",))
@click.argument("schedule", type=SCHEDULE)
@click.option("--name", help="Another name.")
@click.option("--cron", help="Another time.")
@click.option("--on/--off", "enabled", default=None, help="Whether it is done.")
@wish_options
@pass_session
def change(session: Session, /, schedule: str, **given: Any) -> None:
    """Change what is named of a schedule."""
    wish = _wish(given) | {key: given[key] for key in ("name", "cron", "enabled") if given[key] is not None}
    if not wish:
        raise click.UsageError("say what shall change")
    identifier = _id(session, schedule)
    data = mapping(session.client.post(route("backups", "schedules", identifier), wish))
    session.output.done(f"Changed {data.get('name')}", name=identifier, data=data)


@click.command(cls=Command)
@click.argument("schedule", type=SCHEDULE)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def remove(session: Session, schedule: str, *, yes: bool) -> None:
    """Remove a schedule; the backups that it made stay."""
    identifier = _id(session, schedule)
    confirm(f"Remove the schedule {schedule}?", yes=yes)
    data = session.client.delete(route("backups", "schedules", identifier))
    session.output.done(f"Removed the schedule {schedule}", name=identifier, data=data)


@click.command(cls=Command)
@click.argument("schedule", type=SCHEDULE)
@pass_session
def run(session: Session, schedule: str) -> None:
    """Make the backup of a schedule now."""
    identifier = _id(session, schedule)
    path = route("backups", "schedules", identifier)
    before = mapping(session.client.get(path)).get("last_ended")
    started = mapping(session.client.post(f"{path}/run", {"background": True})).get("job_id")
    try:
        if isinstance(started, str):
            follow(session, started, f"Backup {schedule}")
    except Failure:
        data = mapping(session.client.get(path))
        if data.get("last_ended") == before or not data.get("last_slug"):
            raise
        raise Failure(f"Made the backup {data.get('last_slug')}. {data.get('last_error')}") from None
    data = mapping(session.client.get(path))
    session.output.done(f"Made the backup {data.get('last_slug')}", name=data.get("last_slug"), data=data)


@click.command(cls=Command, examples=("supervisor backups schedule verification --on --share 10 --cron '0 5 * * SUN'",))
@click.option("--on/--off", "enabled", default=None, help="Whether it is done.")
@click.option("--cron", help="When.")
@click.option("--time-zone", metavar="ZONE", help="Such as Europe/Berlin.")
@click.option("--share", type=click.IntRange(1, 100), metavar="PERCENT", help="How much each time.")
@pass_session
def verification(session: Session, /, **given: Any) -> None:
    """Show or set that a share of the backups is checked by itself."""
    wish = {key: value for key, value in given.items() if value is not None}
    data = mapping(
        session.client.post("/backups/verification", wish) if wish else session.client.get("/backups/verification")
    )
    session.output.record(data, _PLAN_FIELDS, name="verification")


@click.command("keep-updates", cls=Command, examples=("supervisor backups schedule keep-updates --keep-last 2",))
@click.option(
    "--automatic/--no-automatic", default=None, help="Whether add-ons that are updated by themselves are saved first."
)
@retention_options
@pass_session
def keep_updates(session: Session, /, *, automatic: bool | None, **given: Any) -> None:
    """Show or set how many of the backups from before updates are kept, for each add-on."""
    rule = given_retention(given)
    wish = {"retention": rule, "automatic": automatic}
    if wish := {key: value for key, value in wish.items() if value is not None}:
        session.client.post("/backups/update_retention", wish)
    data = mapping(session.client.get("/backups/update_retention"))
    fields = (Field("Kept", shown_retention), Field("Before automatic updates", "automatic"))
    session.output.record(data, fields, name="update_retention")


schedule = Group(
    "schedule",
    default="list",
    help="Have backups made and checked by themselves.",
    commands=[list_, info, add, change, remove, run, verification, keep_updates],
)
