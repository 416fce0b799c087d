"""`logs` of anything that has them: the options, and printing the stream as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click

from supervisor.cli import text
from supervisor.cli.command import Session

_Function = TypeVar("_Function", bound=Callable[..., Any])
_LONGEST_LINE = 256 * 1024


def log_options(function: _Function) -> _Function:
    """Add the options of a `logs` command; their values arrive as keyword arguments for `show_logs`."""
    for option in reversed(
        (
            click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until Ctrl-C."),
            click.option("-n", "--lines", type=click.IntRange(min=1), help="How many lines to begin with [100]."),
            click.option("--boot", metavar="ID", help="Of this boot: 0 the present one, -1 the one before, or its id."),
            click.option("--latest", is_flag=True, help="Everything since the last start."),
            click.option("--verbose", is_flag=True, help="With time, host and process."),
        )
    ):
        function = option(function)
    return function


def show_logs(
    session: Session, base: str, *, follow: bool, lines: int | None, boot: str | None, latest: bool, verbose: bool
) -> None:
    if latest and (follow or boot):
        raise click.UsageError("--latest goes with neither --follow nor --boot")
    path = f"{base}/logs"
    if latest:
        path += "/latest"
    if boot is not None:
        if boot in ("", ".", ".."):
            raise click.UsageError("--boot wants a number or a boot id")
        path += f"/boots/{quote(boot, safe='')}"
    if follow:
        path += "/follow"
    colours = session.output.colours
    query: dict[str, str] = {}
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
