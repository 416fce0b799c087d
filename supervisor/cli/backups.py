"""`supervisor backups`: make, look at, check, restore and remove backups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from supervisor.cli.answers import mapping, mappings
from supervisor.cli.arguments import BACKUP, INSTALLED, LOCAL, LOCATION
from supervisor.cli.backup_browse import browse, get, restore_file
from supervisor.cli.backup_files import download, upload
from supervisor.cli.backup_password import api_location, given_password, password_file, password_for
from supervisor.cli.backup_quiet import freeze, stale, thaw
from supervisor.cli.backup_repositories import repository
from supervisor.cli.backup_schedules import schedule
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field, counted, moment, size
from supervisor.cli.command import Command, Group, Session, confirm, pass_session
from supervisor.cli.failures import ExitCode, Failure
from supervisor.cli.job_view import all_errors
from supervisor.cli.progress import fetch, follow, watched

PLACES: Final = "Where to keep it: local, the name of a mount, or repository:NAME"
FOLDERS: Final = click.Choice(["share", "addons/local", "ssl", "media"])

_COLUMNS = (
    Column("SLUG", "slug"),
    Column("NAME", "name", flexible=True),
    Column("DATE", lambda row: moment(row.get("date"))),
    Column("TYPE", "type"),
    Column("SIZE", lambda row: size(row.get("size_bytes")), right=True),
    Column("ENCRYPTED", "protected"),
    Column("WHERE", lambda row: [place or "local" for place in row.get("locations") or ()], flexible=True),
)


def _addon_names(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{addon.get('slug')} {addon.get('version')}{' (without its image)' if addon.get('imageless') else ''}"
        for addon in mappings(row, "addons")
    ]


def _checked(row: Mapping[str, Any]) -> list[str]:
    found = []
    for place, check in mapping(row.get("verification")).items():
        verdict = "good" if mapping(check).get("good") else "DAMAGED: " + "; ".join(mapping(check).get("problems", ()))
        where = "" if place == LOCAL else f" in {place}"
        found.append(f"{verdict}{where}, {moment(mapping(check).get('checked'))}")
    return found


_FIELDS = (
    Field("Name", "name"),
    Field("Slug", "slug"),
    Field("Date", lambda row: moment(row.get("date"))),
    Field("Type", "type"),
    Field("Size", lambda row: size(row.get("size_bytes"))),
    Field("Encrypted", "protected"),
    Field("Compressed", "compressed"),
    Field("Where", lambda row: [place or "local" for place in row.get("locations") or ()]),
    Field("Home Assistant", "homeassistant", optional=True),
    Field("Without its database", "homeassistant_exclude_database", optional=True),
    Field("Add-ons", _addon_names),
    Field("Folders", "folders"),
    Field("Made by", "supervisor_version"),
    Field("Last check", _checked, optional=True),
)
_EXTENT_COLUMNS = (
    Column("WHAT", "name"),
    Column("FILES", "files", right=True),
    Column("SIZE", lambda row: size(row.get("size")), right=True),
)


@click.command("list", cls=Command)
@pass_session
def list_(session: Session) -> None:
    """List the backups, the youngest first."""
    rows = sorted(
        mappings(session.client.get("/backups"), "backups"), key=lambda row: str(row.get("date")), reverse=True
    )
    session.output.rows(rows, _COLUMNS, name="slug", empty="There is no backup. Make one with: supervisor backups new")


@click.command(cls=Command)
@click.argument("slug", type=BACKUP)
@pass_session
def info(session: Session, slug: str) -> None:
    """Show what is in a backup, and what its last check found."""
    data = mapping(session.client.get(route("backups", slug, "info")))
    session.output.record(data, _FIELDS, name=data.get("slug"))


@click.command(
    cls=Command,
    examples=(
        "supervisor backups new 'Before the move'",
        "supervisor backups new --addon core_ssh --folder ssl --encrypt",
        "supervisor backups new --preview",
    ),
)
@click.argument("name", default="")
@click.option("--addon", "addons", multiple=True, type=INSTALLED, help="Save only this add-on; may be repeated.")
@click.option("--folder", "folders", multiple=True, type=FOLDERS, help="Save only this folder; may be repeated.")
@click.option("--homeassistant", is_flag=True, help="Save Home Assistant's configuration; alone or with other parts.")
@click.option("--no-database", is_flag=True, help="Leave Home Assistant's database out.")
@click.option("--encrypt", is_flag=True, help="Encrypt it; asks for the password where none is given.")
@password_file
@click.option("--no-compress", is_flag=True, help="Don't compress: faster for pictures and films.")
@click.option("--location", "locations", multiple=True, type=LOCATION, help=f"{PLACES}; may be repeated.")
@click.option("--file", "file_name", help="The name of the file, ending in .tar.")
@click.option("--preview", is_flag=True, help="Only show how much would be read.")
@click.option("--detach", is_flag=True, help="Don't wait for the end: print the job's identifier and return.")
@pass_session
def new(session: Session, /, name: str, *, preview: bool, detach: bool, **options: Any) -> None:
    """Make a backup called NAME: of everything, or of the parts that are named."""
    parts = _parts(options)
    _require_installed(session, parts.get("addons", ()))
    if options["no_database"]:
        parts["homeassistant_exclude_database"] = True
    if preview:
        _show_preview(session, parts)
        return
    body = {**parts, "name": name, "compressed": not options["no_compress"], "background": True}
    if (password := _new_password(session, options)) is not None:
        body["password"] = password
    if options["locations"]:
        body["location"] = [api_location(place) for place in options["locations"]]
    if options["file_name"]:
        body["filename"] = options["file_name"]
    kind = "partial" if parts.keys() & {"addons", "folders", "homeassistant"} else "full"
    answer = mapping(session.client.post(f"/backups/new/{kind}", body))
    job = str(answer.get("job_id"))
    if detach:
        session.output.done(f"The backup is made by job {job}", name=job, data=answer)
        return
    slug = _follow_backup(session, job)
    data = mapping(session.client.get(route("backups", slug, "info")))
    session.output.done(f"Made backup {slug} ({size(data.get('size_bytes'))})", name=slug, data=data)


def _counted(verdict: Mapping[str, Any]) -> str:
    """Tell what was counted; the check of a repository counts nothing."""
    count = verdict.get("files")
    return f": {counted(count, 'file')}, {size(verdict.get('size'))}" if count else ""


def _require_installed(session: Session, slugs: Sequence[str]) -> None:
    """Refuse add-ons that are not installed: the daemon would leave them out, and make a backup that lacks them."""
    if not slugs:
        return
    installed = {addon.get("slug") for addon in mappings(session.client.get("/addons"), "addons")}
    if missing := [slug for slug in slugs if slug not in installed]:
        hint = "see what is installed with: supervisor addons"
        raise Failure(f"not installed: {', '.join(missing)}", ExitCode.NOT_FOUND, hint=hint)


def _parts(options: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if options["addons"]:
        parts["addons"] = list(dict.fromkeys(options["addons"]))
    if options["folders"]:
        parts["folders"] = list(dict.fromkeys(options["folders"]))
    if options["homeassistant"]:
        parts["homeassistant"] = True
    return parts


def _show_preview(session: Session, parts: Mapping[str, Any]) -> None:
    with session.busy("Looking", reads=True):
        data = mapping(session.client.post("/backups/preview", parts))
    rows = [*mappings(data, "items"), {"name": "all", "files": data.get("files"), "size": data.get("size")}]
    session.output.rows(rows, _EXTENT_COLUMNS, name="name", empty="There is nothing to save.", data=data)


def _new_password(session: Session, options: Mapping[str, Any]) -> str | None:
    given = given_password(options["password_file"])
    if given is None and options["encrypt"]:
        if not session.stderr_terminal:
            raise click.UsageError("nobody can be asked for a password here: use --password-file")
        given = str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return given


def _follow_backup(session: Session, job: str) -> str:
    """Wait for the end; what could not be saved is told and is no failure of the rest.

    Raises:
        Failure: there is no backup.
    """
    try:
        follow(session, job, "Backup")
    except Failure:
        ended = fetch(session.client, job)
        if ended is None or mappings(ended, "errors"):
            raise
        for error in all_errors(ended):
            click.echo(f"Not in the backup: {error.get('message')}", err=True)
    ended = fetch(session.client, job)
    slug = str((ended or {}).get("reference") or "")
    if not slug:
        raise Failure("the backup ended without success", hint="read why with: supervisor supervisor logs")
    return slug


@click.command(
    cls=Command,
    examples=("supervisor backups restore 1a2b3c4d", "supervisor backups restore 1a2b3c4d --addon core_ssh"),
)
@click.argument("slug", type=BACKUP)
@click.option("--addon", "addons", multiple=True, type=INSTALLED, help="Restore only this add-on; may be repeated.")
@click.option("--folder", "folders", multiple=True, type=FOLDERS, help="Restore only this folder; may be repeated.")
@click.option("--homeassistant", is_flag=True, help="Restore Home Assistant's configuration.")
@click.option("--location", type=LOCATION, help="The location whose copy to use.")
@password_file
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def restore(
    session: Session, /, slug: str, *, location: str | None, password_file: str | None, yes: bool, **options: Any
) -> None:
    """Bring back everything of a full backup, or the parts that are named."""
    parts = _parts(options)
    _require_held(mapping(session.client.get(route("backups", slug, "info"))), parts)
    what = "the named parts" if parts else "everything, removing add-ons that are not in it,"
    confirm(f"Replace what is here now: restore {what} from backup {slug}?", yes=yes)
    body: dict[str, Any] = {**parts, "background": True}
    if (password := password_for(session, slug, password_file, location)) is not None:
        body["password"] = password
    if location:
        body["location"] = api_location(location)
    answer = mapping(session.client.post(route("backups", slug, "restore", "partial" if parts else "full"), body))
    follow(session, str(answer.get("job_id")), f"Restoring {slug}")
    session.output.done(f"Restored backup {slug}", name=slug, data=answer)


def _require_held(backup: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Refuse parts that a backup does not hold, and everything where it holds only parts, before anything is changed.

    Raises:
        Failure: with the parts that there are.
    """
    slug = backup.get("slug")
    addons = [str(addon.get("slug")) for addon in mappings(backup, "addons")]
    folders = backup.get("folders")
    held = _as_options(addons, folders if isinstance(folders, list) else [], core=bool(backup.get("homeassistant")))
    hint = f"it holds: {' '.join(held) or 'nothing'}"
    if not parts and backup.get("type") == "partial":
        raise Failure(f"backup {slug} holds only parts: name those to restore", ExitCode.USAGE, hint=hint)
    wanted = _as_options(parts.get("addons", []), parts.get("folders", []), core=bool(parts.get("homeassistant")))
    if missing := [part for part in wanted if part not in held]:
        raise Failure(f"backup {slug} does not hold {' '.join(missing)}", ExitCode.NOT_FOUND, hint=hint)


def _as_options(addons: Sequence[str], folders: Sequence[str], *, core: bool) -> list[str]:
    named = [*(f"--addon {slug}" for slug in addons), *(f"--folder {folder}" for folder in folders)]
    return [*named, "--homeassistant"] if core else named


@click.command(cls=Command)
@click.argument("slug", type=BACKUP)
@click.option("--location", type=LOCATION, help="The location whose copy to check.")
@password_file
@pass_session
def verify(session: Session, slug: str, *, location: str | None, password_file: str | None) -> None:
    """Check a backup without restoring it: read it to its end, decrypt it, compare its checksums."""
    body: dict[str, Any] = {}
    if (password := password_for(session, slug, password_file, location)) is not None:
        body["password"] = password
    if location:
        body["location"] = api_location(location)
    # Waited for, not left to the background: what is kept of the outcome names nothing of an encrypted backup.
    with watched(session, "backup_manager_verify", slug, f"Checking {slug}"):
        data = mapping(session.client.post(route("backups", slug, "verify"), body))
    if not data.get("good"):
        raise Failure(f"backup {slug} is damaged:\n" + "\n".join(str(problem) for problem in data.get("problems", ())))
    session.output.done(f"Backup {slug} is good{_counted(data)}", name=slug, data=data)


@click.command(cls=Command)
@click.argument("slug", type=BACKUP)
@click.option(
    "--location", "locations", multiple=True, type=LOCATION, help="Remove only the copy there; may be repeated."
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def remove(session: Session, slug: str, *, locations: tuple[str, ...], yes: bool) -> None:
    """Remove a backup, from everywhere or from some locations."""
    confirm(f"Remove backup {slug}?", yes=yes)
    body = {"location": [api_location(place) for place in locations]} if locations else None
    data = session.client.delete(route("backups", slug), body)
    session.output.done(f"Removed backup {slug}", name=slug, data=data)


@click.command(cls=Command, examples=("supervisor backups exclude local_lamp 'data/cache' '*.log'",))
@click.argument("addon", type=INSTALLED, required=False)
@click.argument("patterns", nargs=-1)
@click.option("--reset", is_flag=True, help="Leave nothing out any more.")
@pass_session
def exclude(session: Session, addon: str | None, patterns: tuple[str, ...], *, reset: bool) -> None:
    """Choose what is left out of an add-on's backups, or show what is: for ADDON, or for all."""
    if reset and (addon is None or patterns):
        raise click.UsageError("--reset goes with an add-on and without patterns")
    if addon is not None and (patterns or reset):
        _require_installed(session, () if reset else (addon,))
        session.client.post("/backups/excludes", {addon: list(patterns)})
    known = mapping(mapping(session.client.get("/backups/excludes")).get("excludes"))
    if addon is None:
        every = [{"addon": slug, "patterns": chosen} for slug, chosen in known.items()]
        columns = (Column("ADD-ON", "addon"), Column("PATTERNS", "patterns", wraps=True))
        session.output.rows(every, columns, name="addon", empty="Nothing is left out.", data=known)
        return
    chosen = known.get(addon, [])
    rows = [{"pattern": pattern} for pattern in chosen if isinstance(pattern, str)]
    column = Column("PATTERN", "pattern")
    session.output.rows(rows, (column,), name="pattern", empty="Nothing is left out.", data=chosen)


@click.command(cls=Command)
@pass_session
def reload(session: Session) -> None:
    """Look for backups in all locations."""
    session.client.post("/backups/reload")
    session.output.done("Looked into all locations")


backups = Group(
    "backups",
    default="list",
    help="Make, look at, check, restore and remove backups, and keep them in repositories.",
    commands=[
        list_,
        info,
        new,
        restore,
        verify,
        remove,
        download,
        upload,
        exclude,
        reload,
        stale,
        freeze,
        thaw,
        repository,
        schedule,
        browse,
        get,
        restore_file,
    ],
)
