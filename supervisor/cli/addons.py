"""`supervisor addons`: what is installed, and its life: install, start, stop, update, remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from supervisor.cli import addon_reading, addon_settings
from supervisor.cli.addon_check import check
from supervisor.cli.addon_images import build_log_on_failure, load
from supervisor.cli.answers import mapping, mappings
from supervisor.cli.arguments import INSTALLED, STORE_ADDON
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field
from supervisor.cli.command import Command, Group, Session, confirm, pass_session
from supervisor.cli.failures import ExitCode, Failure
from supervisor.cli.progress import follow
from supervisor.const import UNKNOWN_ADDRESS


def newer(row: Mapping[str, Any]) -> object:
    """Return the version that an update would bring, or nothing."""
    return row.get("version_latest") if row.get("update_available") else None


def _address(address: object) -> object:
    return None if address == str(UNKNOWN_ADDRESS) else address


def _page(row: Mapping[str, Any]) -> object:
    """Return the address of its page; browsers fill the host in, people know where they look from."""
    page = row.get("webui")
    return page.replace("[HOST]", "<this machine>") if isinstance(page, str) else None


def _state(row: Mapping[str, Any]) -> object:
    state = row.get("state")
    return f"{state} (crash loop)" if row.get("crash_loop") is True else state


_COLUMNS = (
    Column("SLUG", "slug"),
    Column("NAME", "name", flexible=True),
    Column("VERSION", "version"),
    Column("STATE", _state),
    Column("UPDATE", newer),
)
_FIELDS = (
    Field("Name", "name"),
    Field("Slug", "slug"),
    Field("Description", "description"),
    Field("State", _state),
    Field("Version", "version"),
    Field("Update", newer, optional=True),
    Field("Repository", "repository"),
    Field("Boot", "boot"),
    Field("Last exit code", "last_exit_code", optional=True),
    Field("Last error", "last_error", optional=True),
    Field("Limits", lambda row: addon_settings.limits_text(row.get("limits")), optional=True),
    Field("Can return to", "rollback_version", optional=True),
    Field("Watchdog", "watchdog"),
    Field("Auto update", "auto_update"),
    Field("Protected", "protected"),
    Field(
        "Security rating",
        lambda row: f"{row['rating']} of 8" if isinstance(row.get("rating"), int) else None,
        optional=True,
    ),
    Field("Host name", "hostname", optional=True),
    Field("IP address", lambda row: _address(row.get("ip_address")), optional=True),
    Field("Ports", lambda row: addon_settings.ports_text(row.get("network")), optional=True),
    Field("Web page", _page, optional=True),
    Field("Ingress", "ingress_url", optional=True),
    Field("Stage", lambda row: None if row.get("stage") == "stable" else row.get("stage"), optional=True),
    Field("Detached", lambda row: True if row.get("detached") else None, optional=True),
    Field("More", "url", optional=True),
)


@click.command("list", cls=Command)
@pass_session
def list_(session: Session) -> None:
    """List the installed add-ons."""
    rows = mappings(session.client.get("/addons"), "addons")
    rows.sort(key=lambda row: str(row.get("name", "")).casefold())
    session.output.rows(
        rows, _COLUMNS, name="slug", empty="No add-on is installed. See what there is: supervisor store"
    )


@click.command(cls=Command)
@click.argument("slug", type=INSTALLED)
@pass_session
def info(session: Session, slug: str) -> None:
    """Show one add-on."""
    data = mapping(session.client.get(route("addons", slug, "info")))
    session.output.record(data, _FIELDS, name=data.get("slug"))


@click.command(
    cls=Command,
    examples=(
        "supervisor addons install core_ssh",
        "supervisor addons install local_hello --detach",
    ),
)
@click.argument("slugs", type=STORE_ADDON, nargs=-1, required=True, metavar="SLUG...")
@click.option("--detach", is_flag=True, help="Don't wait: print the job's identifier and return.")
@pass_session
def install(session: Session, slugs: tuple[str, ...], *, detach: bool) -> None:
    """Install add-ons from the store."""
    for slug in slugs:
        with build_log_on_failure(session, slug):
            _in_background(session, slug, "install", {}, detach=detach)


@click.command(cls=Command)
@click.argument("slugs", type=INSTALLED, nargs=-1, required=True, metavar="SLUG...")
@click.option("--backup", is_flag=True, help="Make a backup of the add-on before.")
@click.option("--detach", is_flag=True, help="Don't wait: print the job's identifier and return.")
@pass_session
def update(session: Session, slugs: tuple[str, ...], *, backup: bool, detach: bool) -> None:
    """Update add-ons to the version in the store."""
    for slug in slugs:
        with build_log_on_failure(session, slug):
            _in_background(session, slug, "update", {"backup": True} if backup else {}, detach=detach)


def _in_background(session: Session, slug: str, verb: str, options: dict[str, Any], *, detach: bool) -> None:
    """Install or update, showing the job's progress, and check at the end what came of it.

    The job is forgotten as soon as it is done, so that what the store says then decides whether it worked.
    """
    path = route("store", "addons", slug)
    before = mapping(session.client.get(path))
    with session.busy(f"Asking for the {verb} of {slug}"):
        answer = mapping(session.client.post(f"{path}/{verb}", {**options, "background": True}))
    job = answer.get("job_id")
    if job and detach:
        session.output.done(f"The {verb} of {slug} runs as job {job}", name=str(job), data=answer)
        return
    if job:
        gerund = "Installing" if verb == "install" else "Updating"
        follow(session, str(job), f"{gerund} {before.get('name') or slug}")
    after = mapping(session.client.get(path))
    wanted = before.get("version_latest")
    reached = after.get("installed") is True and (
        verb == "install" or after.get("version") == wanted or not after.get("update_available")
    )
    if not reached:
        raise Failure(f"the {verb} of {slug} ended without success", hint="read why with: supervisor supervisor logs")
    version = after.get("version") or ""
    done = f"Installed {slug} {version}" if verb == "install" else f"Updated {slug} to {version}"
    session.output.done(done, name=slug, data=after)
    if verb == "install" and session.stderr_terminal:
        click.echo(f"Start it with: supervisor addons start {slug}", err=True)


@click.command(cls=Command, examples=("supervisor addons uninstall core_ssh", "supervisor addons remove core_ssh -y"))
@click.argument("slugs", type=INSTALLED, nargs=-1, required=True, metavar="SLUG...")
@click.option("--remove-config", is_flag=True, help="Remove the add-on's folder below addon_configs as well.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def uninstall(session: Session, slugs: tuple[str, ...], *, remove_config: bool, yes: bool) -> None:
    """Remove add-ons and their data (also: remove)."""
    slugs = tuple(dict.fromkeys(slugs))
    extra = " and its configuration folder" if remove_config else ""
    confirm(" ".join(f"Remove {slug} with its data{extra}?" for slug in slugs), yes=yes)

    def remove(slug: str) -> None:
        session.post(
            route("addons", slug, "uninstall"),
            {"remove_config": remove_config},
            doing=f"Removing {slug}",
            done=f"Removed {slug}",
            name=slug,
        )

    _each(slugs, remove)


@click.command(cls=Command)
@click.argument("slug", type=INSTALLED)
@click.option("--force", is_flag=True, help="Also when its image is published: fetch that image again.")
@pass_session
def rebuild(session: Session, slug: str, *, force: bool) -> None:
    """Build an add-on's image again and restart it."""
    with build_log_on_failure(session, slug), session.busy(f"Rebuilding {slug}"):
        data = session.client.post(route("addons", slug, "rebuild"), {"force": True} if force else {})
    session.output.done(f"Rebuilt {slug}", name=slug, data=data)


@click.command(cls=Command)
@click.argument("slug", type=INSTALLED)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def rollback(session: Session, slug: str, *, yes: bool) -> None:
    """Return to the version before the last update, with the data of then.

    Possible until the new version has run well for a while; what it wrote since is lost.
    """
    confirm(f"Return {slug} to the version and data before its update?", yes=yes)
    session.post(
        route("addons", slug, "rollback"),
        doing=f"Returning {slug} to its earlier version",
        done=f"{slug} is back at its earlier version",
        name=slug,
    )


def _each(slugs: Sequence[str], act: Callable[[str], None]) -> None:
    """Do it with one add-on after the other: all are tried, and the first failure decides how it ends."""
    failed: Failure | None = None
    for slug in slugs:
        try:
            act(slug)
        except Failure as failure:
            if len(slugs) == 1 or failure.exit_code == ExitCode.UNREACHABLE:
                raise
            failure.show()
            failed = failed or failure
    if failed is not None:
        raise click.exceptions.Exit(failed.exit_code)


def _life(verb: str, doing: str, did: str, text: str) -> click.Command:
    """Make one of start, stop, restart."""

    def run(session: Session, slugs: tuple[str, ...]) -> None:
        def act(slug: str) -> None:
            session.post(route("addons", slug, verb), doing=f"{doing} {slug}", done=f"{did} {slug}", name=slug)

        _each(slugs, act)

    callback: Callable[..., None] = pass_session(run)
    argument = click.Argument(["slugs"], type=INSTALLED, nargs=-1, required=True, metavar="SLUG...")
    return Command(verb, callback=callback, params=[argument], help=text)


addons = Group(
    "addons",
    default="list",
    aliases={"remove": "uninstall"},
    help="Install, run and look after add-ons.",
    examples=("supervisor addons", "supervisor addons install core_ssh", "supervisor addons logs core_ssh -f"),
    commands=[
        list_,
        info,
        install,
        update,
        uninstall,
        _life("start", "Starting", "Started", "Start add-ons and wait until they run."),
        _life("stop", "Stopping", "Stopped", "Stop add-ons."),
        _life("restart", "Restarting", "Restarted", "Stop and start add-ons."),
        rebuild,
        load,
        rollback,
        *addon_settings.COMMANDS,
        *addon_reading.COMMANDS,
        check,
    ],
)
