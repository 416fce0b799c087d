"""What an add-on says and uses: `logs stats stdin changelog docs` of `supervisor addons`."""

from __future__ import annotations

import sys
from typing import Any

import click

from supervisor.cli.answers import mapping
from supervisor.cli.arguments import INSTALLED, STORE_ADDON
from supervisor.cli.client import route
from supervisor.cli.columns import Field, size
from supervisor.cli.command import Command, Session, pass_session
from supervisor.cli.logs import log_options, print_log, show_logs

STATS_FIELDS = (
    Field("CPU", lambda row: f"{row.get('cpu_percent', 0)} %"),
    Field(
        "Memory",
        lambda row: (
            f"{size(row.get('memory_usage'))} of {size(row.get('memory_limit'))} ({row.get('memory_percent', 0)} %)"
        ),
    ),
    Field("Network", lambda row: f"{size(row.get('network_rx'))} in, {size(row.get('network_tx'))} out"),
    Field("Disk", lambda row: f"{size(row.get('blk_read'))} read, {size(row.get('blk_write'))} written"),
)


@click.command(
    cls=Command,
    examples=(
        "supervisor addons logs core_ssh -f",
        "supervisor addons logs core_ssh -n 500 --boot -1",
        "supervisor addons logs local_hello --build",
    ),
)
@click.argument("slug", type=INSTALLED)
@log_options
@click.option("--build", is_flag=True, help="What the last build of its image said; goes with --lines only.")
@pass_session
def logs(session: Session, /, slug: str, *, build: bool, **options: Any) -> None:
    """Print an add-on's log."""
    if not build:
        show_logs(session, route("addons", slug), **options)
        return
    if any(value for name, value in options.items() if name != "lines"):
        raise click.UsageError("--build goes with --lines only")
    lines = "" if options["lines"] is None else f"?lines={options['lines']}"
    print_log(session, f"{route('addons', slug, 'logs', 'build')}{lines}")


@click.command(cls=Command)
@click.argument("slug", type=INSTALLED)
@pass_session
def stats(session: Session, slug: str) -> None:
    """Show what a running add-on uses."""
    session.output.record(mapping(session.client.get(route("addons", slug, "stats"))), STATS_FIELDS, name=slug)


@click.command(
    cls=Command,
    examples=(
        'supervisor addons stdin local_hello \'{"say": "hi"}\'',
        "generate-commands | supervisor addons stdin local_hello",
    ),
)
@click.argument("slug", type=INSTALLED)
@click.argument("text", default="-")
@pass_session
def stdin(session: Session, slug: str, text: str) -> None:
    """Send TEXT and a line end to an add-on's standard input; `-` (or nothing) sends what comes in here."""
    if text == "-":
        if sys.stdin.isatty():
            click.echo("Type what to send, end with Ctrl-D.", err=True)
        content = sys.stdin.buffer.read()
    else:
        content = text.encode()
    # The daemon ends what it passes on with a line end of its own.
    content = content.removesuffix(b"\n")
    path = route("addons", slug, "stdin")
    headers = {"Content-Type": "application/octet-stream"}
    session.client.raise_for(session.client.request("POST", path, content, headers=headers), path)
    session.output.done(f"Sent {len(content)} bytes to {slug}", name=slug)


@click.command(cls=Command)
@click.argument("slug", type=STORE_ADDON)
@pass_session
def changelog(session: Session, slug: str) -> None:
    """Show what changed in an add-on's versions."""
    session.output.document(session.client.text(route("store", "addons", slug, "changelog")))


@click.command(cls=Command)
@click.argument("slug", type=STORE_ADDON)
@pass_session
def docs(session: Session, slug: str) -> None:
    """Show an add-on's documentation."""
    session.output.document(session.client.text(route("store", "addons", slug, "documentation")))


COMMANDS: tuple[click.Command, ...] = (stats, logs, stdin, changelog, docs)
