"""What people decide about an add-on: `options network set boot …` of `supervisor addons`."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import click

from supervisor.cli import option_edits
from supervisor.cli.answers import mapping, mappings
from supervisor.cli.arguments import INSTALLED
from supervisor.cli.client import route
from supervisor.cli.columns import Column, show, size
from supervisor.cli.command import Command, Session, confirm, pass_session
from supervisor.cli.failures import ExitCode, Failure
from supervisor.cli.output import dump_yaml

_PORT = re.compile(r"(\d{1,5})(?:/(tcp|udp))?")
_OPTION_COLUMNS = (
    Column("OPTION", "name"),
    Column("VALUE", "value", flexible=True),
    Column("TYPE", "type"),
    Column("NEEDED", "required"),
)
_PORT_COLUMNS = (Column("CONTAINER", "container"), Column("HOST", "host"), Column("USE", "description", flexible=True))


@click.command(
    cls=Command,
    examples=(
        "supervisor addons options core_ssh",
        "supervisor addons options core_ssh --set server.tcp_forwarding=true --set 'authorized_keys=[]'",
        "supervisor addons options core_ssh -o yaml > ssh.yaml",
        "supervisor addons options core_ssh --file ssh.yaml",
    ),
)
@click.argument("slug", type=INSTALLED)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set one option; repeatable. KEY may be nested: a.b, list.0.",
)
@click.option("--unset", "removals", multiple=True, metavar="KEY", help="Take one option out; repeatable.")
@click.option(
    "--file",
    "file",
    type=click.File(encoding="utf-8"),
    help="Replace all options by this YAML or JSON file; `-` reads stdin.",
)
@click.option("--edit", is_flag=True, help="Open the options in $EDITOR.")
@click.option("--reset", is_flag=True, help="Go back to the add-on's defaults.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask before a reset.")
@pass_session
def options(
    session: Session,
    slug: str,
    assignments: tuple[str, ...],
    removals: tuple[str, ...],
    file: TextIO | None,
    *,
    edit: bool,
    reset: bool,
    yes: bool,
) -> None:
    """Show or change an add-on's options. A change counts from the add-on's next start.

    Arguments are visible to every user of the machine: give passwords with --file or --edit.
    """
    ways = [bool(assignments or removals), file is not None, edit, reset]
    if sum(ways) > 1:
        raise click.UsageError("choose one of --set/--unset, --file, --edit and --reset")
    if not any(ways):
        _show_options(session, slug)
        return
    if edit:
        _edit_options(session, slug, mapping(_info(session, slug).get("options")))
        return
    values: Mapping[str, Any] | None = None
    if reset:
        confirm(f"Set all options of {slug} back to the defaults?", yes=yes)
    elif file is not None:
        values = _read_options(file)
    else:
        current = dict(mapping(_info(session, slug).get("options")))
        values = option_edits.apply(current, assignments, removals)
    _send_options(session, slug, values)
    session.output.done(f"Saved the options of {slug}", name=slug)


def _read_options(file: TextIO) -> dict[str, Any]:
    name = getattr(file, "name", "the input")
    try:
        content = file.read()
    except (OSError, UnicodeDecodeError) as err:
        raise click.UsageError(f"can't read {name}: {err}") from err
    return option_edits.parse_document(content, name)


def _info(session: Session, slug: str) -> Mapping[str, Any]:
    return mapping(session.client.get(route("addons", slug, "info")))


def _send_options(session: Session, slug: str, values: Mapping[str, Any] | None) -> None:
    session.client.post(route("addons", slug, "options"), {"options": values})
    if values:
        _tell_unknown(session, slug, values)


def _tell_unknown(session: Session, slug: str, values: Mapping[str, Any]) -> None:
    """Say which options the daemon has left out: mostly they are misspelled."""
    known = [str(field.get("name")) for field in mappings(_info(session, slug).get("schema"))]
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            question = f"; did you mean {close[0]}?" if close else ""
            click.echo(f"Warning: {slug} has no option {name}, it is left out{question}", err=True)


def _show_options(session: Session, slug: str) -> None:
    info = _info(session, slug)
    values = mapping(info.get("options"))
    fields = {str(field.get("name")): field for field in mappings(info.get("schema"))}
    rows = []
    for name in [*fields, *(name for name in values if name not in fields)]:
        field = fields.get(name, {})
        secret = field.get("format") == "password" and values.get(name)
        kind = str(field.get("format") or field.get("type") or "")
        rows.append(
            {
                "name": name,
                "value": "********" if secret else values.get(name),
                "type": f"list of {kind}" if field.get("multiple") else kind,
                "required": True if field.get("required") else None,
            }
        )
    session.output.rows(rows, _OPTION_COLUMNS, name="name", empty=f"{slug} has no options", data=dict(values))


def _edit_options(session: Session, slug: str, current: Mapping[str, Any]) -> None:
    """Open an editor until what it holds is accepted, or the person gives up. Nothing typed is lost on the way."""
    document = before = dump_yaml(dict(current)) if current else "# no options are set\n"
    while True:
        edited = click.edit(document, extension=".yaml")
        if edited is None or edited == before:
            session.output.done(f"The options of {slug} stay as they are", name=slug)
            return
        try:
            _send_options(session, slug, option_edits.parse_document(edited, "what you typed"))
        except (Failure, click.UsageError) as failure:
            again = failure.exit_code in (ExitCode.INVALID, ExitCode.USAGE) and sys.stdin.isatty()
            failure.show()
            if not again or not click.confirm("Edit again?", default=True, err=True):
                raise click.exceptions.Exit(failure.exit_code) from failure
            document = edited
        else:
            session.output.done(f"Saved the options of {slug}", name=slug)
            return


@click.command(cls=Command)
@click.argument("slug", type=INSTALLED)
@click.option(
    "--file", "file", type=click.File(encoding="utf-8"), help="Check this YAML or JSON file instead; `-` reads stdin."
)
@pass_session
def validate(session: Session, slug: str, file: TextIO | None) -> None:
    """Check an add-on's stored options, or those in a file, without saving anything."""
    body = None if file is None else _read_options(file)
    answer = mapping(session.client.post(route("addons", slug, "options", "validate"), body))
    if answer.get("valid") is not True:
        raise Failure(str(answer.get("message") or "the options are invalid"), ExitCode.INVALID)
    session.output.done(f"The options of {slug} are valid", name=slug, data=answer)
    if answer.get("pwned") is True:
        click.echo("Warning: a password in them is known from data leaks", err=True)


@click.command(
    cls=Command,
    examples=(
        "supervisor addons network core_nginx --port 443/tcp=8443",
        "supervisor addons network core_nginx --port 80/tcp=",
    ),
)
@click.argument("slug", type=INSTALLED)
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="CONTAINER=HOST",
    help="Publish a container's port as this host port; nothing behind = unpublishes it. Repeatable.",
)
@click.option("--reset", is_flag=True, help="Go back to the add-on's own ports.")
@pass_session
def network(session: Session, slug: str, ports: tuple[str, ...], *, reset: bool) -> None:
    """Show or change the host ports of an add-on."""
    if ports and reset:
        raise click.UsageError("choose one of --port and --reset")
    path = route("addons", slug, "options")
    if reset:
        session.client.post(path, {"network": None})
    else:
        info = _info(session, slug)
        current = dict(mapping(info.get("network")))
        if not ports:
            texts = mapping(info.get("network_description"))
            rows = [{"container": key, "host": host, "description": texts.get(key)} for key, host in current.items()]
            session.output.rows(rows, _PORT_COLUMNS, name="container", empty=f"{slug} has no ports", data=current)
            return
        for given in ports:
            key, host = _parse_port(given)
            if key not in current:
                raise click.UsageError(f"{slug} has no port {key}; it has: {show(list(current))}")
            current[key] = host
        session.client.post(path, {"network": current})
    session.output.done(f"Saved the ports of {slug}; they count from its next start", name=slug)


def _parse_port(given: str) -> tuple[str, int | None]:
    container, equals, host = given.partition("=")
    match = _PORT.fullmatch(container)
    if match is None or not equals:
        raise click.UsageError(f"--port wants CONTAINER=HOST such as 80/tcp=8080, not {given!r}")
    key = f"{int(match[1])}/{match[2] or 'tcp'}"
    if host in ("", "off", "none", "null"):
        return key, None
    if not (host.isascii() and host.isdigit() and len(host) <= 5 and 1 <= int(host) <= 65535):
        raise click.UsageError(f"{host!r} is not a port number (1 to 65535)")
    return key, int(host)


_LIMIT_COLUMNS = (Column("LIMIT", "limit"), Column("VALUE", "value"), Column("COUNTS", "counts", flexible=True))
_TAKEN_AWAY = ("none", "off", "null", "")


@click.command(
    cls=Command,
    examples=(
        "supervisor addons limits core_nginx --memory 512M --cpus 1.5",
        "supervisor addons limits core_nginx --memory none",
    ),
)
@click.argument("slug", type=INSTALLED)
@click.option("--memory", metavar="SIZE", help="What it may use of the memory, such as 512M or 1.5G.")
@click.option("--cpus", metavar="NUMBER", help="How many of the CPUs it may keep busy, such as 1.5.")
@click.option("--pids", metavar="NUMBER", help="How many processes and threads it may have.")
@click.option("--shm", metavar="SIZE", help="The size of its /dev/shm; counts from its next start.")
@click.option("--reset", is_flag=True, help="Take all limits away.")
@pass_session
def limits(session: Session, /, slug: str, *, reset: bool, **given: str | None) -> None:
    """Show or change how much of the machine an add-on may take; `none` takes a limit away."""
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen and reset:
        raise click.UsageError("choose limits or --reset")
    if not chosen and not reset:
        _show_limits(session, slug)
        return
    values = {name: None if value in _TAKEN_AWAY else value for name, value in chosen.items()}
    session.client.post(route("addons", slug, "options"), {"limits": None if reset else values})
    waiting = _info(session, slug).get("limits_pending")
    later = f"; {show(waiting)} counts from its next start" if waiting else ""
    session.output.done(f"Saved the limits of {slug}{later}", name=slug)


def _show_limits(session: Session, slug: str) -> None:
    info = _info(session, slug)
    values, waiting = mapping(info.get("limits")), info.get("limits_pending")
    later = "from its next start"
    rows = [
        {
            "limit": name,
            "value": _limit_text(name, values.get(name)),
            "counts": later if isinstance(waiting, list) and name in waiting else _counts(info, values.get(name)),
        }
        for name in ("memory", "cpus", "pids", "shm")
    ]
    session.output.rows(rows, _LIMIT_COLUMNS, name="limit", empty=f"{slug} has no limits", data=dict(values))


def _counts(info: Mapping[str, Any], limit: object) -> str | None:
    return "now" if limit is not None and info.get("state") in ("startup", "started") else None


def _limit_text(name: str, value: object) -> str | None:
    if value is None:
        return None
    return size(value) if name in ("memory", "shm") else show(value)


def limits_text(limits: object) -> str | None:
    """Return the limits that are set as `memory 512.0 MiB, cpus 1.5`."""
    found = {key: value for key, value in mapping(limits).items() if value is not None}
    texts = (f"{key} {_limit_text(key, value)}" for key, value in found.items())
    return ", ".join(texts) or None


def ports_text(ports: object) -> str | None:
    """Return the published ports as `8080 -> 80/tcp`."""
    published = {key: host for key, host in mapping(ports).items() if host is not None}
    return ", ".join(f"{host} -> {key}" for key, host in published.items()) or None


@click.command(
    "set",
    cls=Command,
    examples=("supervisor addons set core_ssh --boot auto --watchdog --no-auto-update",),
)
@click.argument("slug", type=INSTALLED)
@click.option("--boot", type=click.Choice(["auto", "manual"]), help="Start it with the machine, or by hand only.")
@click.option("--watchdog/--no-watchdog", default=None, help="Start it again when it fails.")
@click.option("--auto-update/--no-auto-update", default=None, help="Install its updates by itself.")
@click.option("--ingress-panel/--no-ingress-panel", default=None, help="Show its page in the side bar.")
@click.option("--protected/--no-protected", default=None, help="Whether it runs with protection (admin).")
@pass_session
def set_(session: Session, /, slug: str, **settings: Any) -> None:
    """Change how an add-on is looked after."""
    chosen = {key: value for key, value in settings.items() if value is not None}
    if not chosen:
        raise click.UsageError("nothing to set: see --help")
    protected = chosen.pop("protected", None)
    if protected is not None:
        session.client.post(route("addons", slug, "security"), {"protected": protected})
    if chosen:
        session.client.post(route("addons", slug, "options"), chosen)
    session.output.done(f"Saved the settings of {slug}", name=slug)


@click.command(cls=Command)
@click.argument("slug", type=INSTALLED)
@click.argument("mode", type=click.Choice(["auto", "manual"]))
@pass_session
def boot(session: Session, slug: str, mode: str) -> None:
    """Start an add-on with the machine (auto), or by hand only (manual)."""
    session.client.post(route("addons", slug, "options"), {"boot": mode})
    session.output.done(f"{slug} boots: {mode}", name=slug)


def _switch(name: str, key: str, text: str) -> click.Command:
    def run(session: Session, slug: str, state: str) -> None:
        session.client.post(route("addons", slug, "options"), {key: state == "on"})
        session.output.done(f"{name} of {slug} is {state}", name=slug)

    callback: Callable[..., None] = pass_session(run)
    arguments: list[click.Parameter] = [
        click.Argument(["slug"], type=INSTALLED),
        click.Argument(["state"], type=click.Choice(["on", "off"])),
    ]
    return Command(name, callback=callback, params=arguments, help=text)


COMMANDS: tuple[click.Command, ...] = (
    options,
    validate,
    network,
    limits,
    set_,
    boot,
    _switch("watchdog", "watchdog", "Have an add-on started again when it fails."),
    _switch("auto-update", "auto_update", "Have an add-on's updates installed by themselves."),
)
