"""`logs` of anything that has them: the options, and printing the stream as it comes."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click

from supervisor.cli import text
from supervisor.cli.answers import mapping
from supervisor.cli.arguments import INSTALLED
from supervisor.cli.client import route
from supervisor.cli.columns import Column
from supervisor.cli.command import Command, Session, pass_session
from supervisor.errors import Invalid
from supervisor.model.moment import parse_moment

_Function = TypeVar("_Function", bound=Callable[..., Any])
_LONGEST_LINE = 256 * 1024
# Anything else would be a boot that nothing was written in.
_BOOT = re.compile(r"-?[0-9]{1,9}|[0-9a-fA-F]{32}")


def log_options(function: _Function) -> _Function:
    """Add the options of a `logs` command; their values arrive as keyword arguments for `show_logs`."""
    for option in reversed(
        (
            click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until Ctrl-C."),
            click.option("-n", "--lines", type=click.IntRange(min=1), help="How many lines to begin with [100]."),
            click.option("--boot", metavar="ID", help="Of this boot: 0 the present one, -1 the one before, or its id."),
            click.option("--latest", is_flag=True, help="Everything since the last start."),
            click.option("--verbose", is_flag=True, help="With time, host and process."),
            click.option("-p", "--level", metavar="LEVEL", help="This level and graver ones (err), or err..notice."),
            click.option("-S", "--since", metavar="TIME", help="From this time on: 2026-01-31T12:00, -1h30m, now."),
            click.option("-U", "--until", metavar="TIME", help="Up to this time."),
            click.option("-g", "--grep", metavar="PATTERN", help="What holds this regular expression."),
        )
    ):
        function = option(function)
    return function


def show_logs(
    session: Session,
    base: str,
    *,
    follow: bool,
    lines: int | None,
    boot: str | None,
    latest: bool,
    verbose: bool,
    identifier: str | None = None,
    **narrowing: str | None,
) -> None:
    """Print the log of `base`; `narrowing` are the options that go to the daemon under their own names."""
    if latest and (follow or boot):
        raise click.UsageError("--latest goes with neither --follow nor --boot")
    _check_window(narrowing.get("since"), narrowing.get("until"))
    path = f"{base}/logs"
    if latest:
        path += "/latest"
    if boot is not None:
        if not _BOOT.fullmatch(boot):
            raise click.UsageError("--boot wants a number or a boot id, see: supervisor logs --boots")
        path += f"/boots/{boot}"
    if identifier is not None:
        path += f"/identifiers/{_segment(identifier)}"
    if follow:
        path += "/follow"
    colours = session.output.colours
    query = {name: value for name, value in narrowing.items() if value is not None}
    if lines is not None:
        query["lines"] = str(lines)
    if verbose:
        query["verbose"] = ""
    if not colours:
        query["no_colors"] = ""
    print_log(session, f"{path}?{urlencode(query)}" if query else path)


def print_log(session: Session, path: str) -> None:
    """Print a log as it comes."""
    with session.client.stream(path) as pieces:
        _print(_split(pieces), colours=session.output.colours)


def _check_window(since: str | None, until: str | None) -> None:
    if since is None or until is None:
        return
    now = time.time_ns() // 1000
    try:
        begin, end = parse_moment(since, now=now), parse_moment(until, now=now)
    except Invalid as err:
        raise click.UsageError(str(err)) from err
    if begin > end:
        raise click.UsageError("--since is later than --until: nothing can be between them")


def _segment(value: str) -> str:
    if value in ("", ".", ".."):
        raise click.UsageError("--identifier wants a name")
    return quote(value, safe="")


def _print(batches: Iterator[list[bytes]], *, colours: bool) -> None:
    coloured = False
    try:
        for batch in batches:
            safe = [text.log_line(line.decode("utf-8", "replace"), colours=colours) for line in batch]
            coloured = coloured or any("\x1b" in line for line in safe)
            sys.stdout.write("".join(f"{line}\n" for line in safe))
            sys.stdout.flush()
    finally:
        if coloured:
            sys.stdout.write(text.SGR_RESET)
            sys.stdout.flush()


def _split(pieces: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Give the lines that each piece of a stream ends; one that never ends is cut where it gets too long to hold."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines.append(rest)
            rest = b""
        yield lines
    if rest:
        yield [rest]


_PARTS = ("supervisor", "core", "host", "audio", "dns", "multicast")
_NO_LATEST = "the log of the machine has no latest run; try --boot 0"
_BOOT_COLUMNS = (Column("BOOT", "offset", right=True), Column("ID", "id"))
_IDENTIFIER_COLUMNS = (Column("IDENTIFIER", "name"),)


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    addons = [item.value for item in INSTALLED.shell_complete(context, parameter, incomplete)]
    return [*(name for name in _PARTS if name.startswith(incomplete)), *addons]


@click.command(
    "logs",
    cls=Command,
    examples=(
        "supervisor logs host -f -p warning",
        "supervisor logs core_ssh --since -1h --grep 'refused|denied'",
        "supervisor logs host -t NetworkManager --boot -1",
    ),
)
@click.argument("what", type=INSTALLED, default="supervisor", shell_complete=_complete)
@log_options
@click.option("-t", "--identifier", metavar="NAME", help="Of the machine, what this program wrote.")
@click.option("--boots", is_flag=True, help="List the boots that the machine's log goes back to.")
@click.option("--identifiers", is_flag=True, help="List the programs that have written to the machine's log.")
@pass_session
def logs(
    session: Session, /, what: str, *, boots: bool, identifiers: bool, identifier: str | None, **options: Any
) -> None:
    """Print the log of WHAT: the slug of an add-on, or supervisor (the default), core, host, audio, dns, multicast."""
    if boots:
        found = mapping(mapping(session.client.get("/host/logs/boots")).get("boots"))
        rows = [{"offset": offset, "id": boot} for offset, boot in found.items()]
        session.output.rows(rows, _BOOT_COLUMNS, name="id", empty="No boots are on record.", data=found)
        return
    if identifiers:
        names = mapping(session.client.get("/host/logs/identifiers")).get("identifiers") or []
        named = [{"name": name} for name in names]
        session.output.rows(named, _IDENTIFIER_COLUMNS, name="name", empty="Nobody has a log.", data=names)
        return
    if identifier is not None:
        what = "host"
    if what == "host" and options["latest"]:
        raise click.UsageError(_NO_LATEST)
    base = f"/{what}" if what in _PARTS else route("addons", what)
    show_logs(session, base, identifier=identifier, **options)


@click.command("logs", cls=Command, examples=("supervisor host logs -f -p warning", "supervisor host logs -t kernel"))
@log_options
@click.option("-t", "--identifier", metavar="NAME", help="What this program wrote.")
@pass_session
def machine_logs(session: Session, /, **options: Any) -> None:
    """Print the log of the machine."""
    if options["latest"]:
        raise click.UsageError(_NO_LATEST)
    show_logs(session, "/host", **options)
