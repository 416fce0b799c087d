"""`supervisor top`: what every running add-on and the daemon use, kept current in place."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import attrs
import click

from supervisor.cli.answers import mapping, mappings
from supervisor.cli.client import Client, route
from supervisor.cli.columns import Column, size
from supervisor.cli.command import Command, Session, pass_session
from supervisor.cli.failures import Failure

_AT_ONCE: Final = 8
_ORDERS: Final = {
    "cpu": ("cpu_percent",),
    "memory": ("memory_usage",),
    "network": ("network_rx", "network_tx"),
    "disk": ("blk_read", "blk_write"),
}
_KEYS: Final = {"c": "cpu", "m": "memory", "n": "network", "d": "disk", "a": "name"}
_KEYS_HELP: Final = "sort: c cpu, m memory, n network, d disk, a name; q ends"
_COLUMNS: Final = (
    Column("ADD-ON", "slug"),
    Column("CPU", lambda row: f"{row.get('cpu_percent', 0):.1f}%", right=True),
    Column("MEMORY", lambda row: size(row.get("memory_usage")), right=True),
    Column("OF", lambda row: size(row.get("memory_limit")), right=True),
    Column("MEM%", lambda row: f"{row.get('memory_percent', 0):.1f}%", right=True),
    Column("NET IN", lambda row: size(row.get("network_rx")), right=True),
    Column("NET OUT", lambda row: size(row.get("network_tx")), right=True),
    Column("READ", lambda row: size(row.get("blk_read")), right=True),
    Column("WRITTEN", lambda row: size(row.get("blk_write")), right=True),
)


@attrs.frozen
class _Part:
    slug: str
    name: str
    path: str


def gather(client: Client) -> list[dict[str, Any]]:
    """Ask for the use of the daemon and of every add-on that runs; one that ends meanwhile is left out.

    Raises:
        Failure: the daemon does not answer.
    """
    addons = mappings(client.get("/addons"), "addons")
    parts = [_Part("supervisor", "Supervisor", "/supervisor/stats")]
    parts += [
        _Part(str(addon.get("slug")), str(addon.get("name")), route("addons", str(addon.get("slug")), "stats"))
        for addon in addons
        if addon.get("state") == "started"
    ]

    def ask(part: _Part) -> dict[str, Any] | None:
        try:
            return {"slug": part.slug, "name": part.name, **mapping(client.get(part.path))}
        except Failure:
            return None

    with ThreadPoolExecutor(min(_AT_ONCE, len(parts))) as pool:
        return [row for row in pool.map(ask, parts) if row is not None]


def ordered(rows: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    """Return the rows with the greediest first, or by name."""
    if order == "name":
        return sorted(rows, key=lambda row: str(row["slug"]))
    keys = _ORDERS[order]
    return sorted(rows, key=lambda row: (-sum(_number(row, key) for key in keys), str(row["slug"])))


def _number(row: Mapping[str, Any], key: str) -> float:
    value = row.get(key)
    return value if isinstance(value, int | float) else 0


@click.command(
    cls=Command,
    examples=("supervisor top --sort memory", "supervisor top --once -o json | jq '.[0].slug'"),
)
@click.option("--sort", "order", type=click.Choice([*_ORDERS, "name"]), default="cpu", help="What comes first.")
@click.option("--interval", type=click.FloatRange(0.2, 3600), default=2.0, metavar="SECONDS", help="Between two looks.")
@click.option("--once", is_flag=True, help="Print one look and end; so it is also without a terminal.")
@pass_session
def top(session: Session, order: str, interval: float, *, once: bool) -> None:
    """Show what every running add-on and the daemon use, until Ctrl-C or q."""
    output = session.output
    if once or not output.terminal or output.format != "table":
        rows = ordered(gather(session.client), order)
        output.rows(rows, _COLUMNS, name="slug", empty="Nothing runs.")
        return
    _live(session, order, interval)


def _live(session: Session, order: str, interval: float) -> None:
    from supervisor.cli import rich_output  # noqa: PLC0415 - rich costs 80 ms that pipes need not pay

    rows = gather(session.client)
    with _keys() as keys, rich_output.LiveTable(_COLUMNS, colours=session.output.colours) as table:
        while True:
            table.show([[column.of(row) for column in _COLUMNS] for row in ordered(rows, order)], _KEYS_HELP)
            key = _wait(keys, interval)
            if key == "q":
                return
            if key in _KEYS:
                order = _KEYS[key]
            elif not key:
                rows = gather(session.client)


@contextmanager
def _keys() -> Iterator[int | None]:
    """Have single keys come through at once; None where there is no keyboard."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _wait(keys: int | None, interval: float) -> str:
    """Wait for a key or the end of the interval, which is an empty key."""
    if keys is None:
        time.sleep(interval)
        return ""
    ready, _, _ = select.select([keys], [], [], interval)
    return os.read(keys, 1).decode("ascii", "replace").lower() if ready else ""
