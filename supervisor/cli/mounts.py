"""`supervisor mounts`: network storage."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from supervisor.cli.answers import mapping, mappings
from supervisor.cli.arguments import MOUNT
from supervisor.cli.client import route
from supervisor.cli.columns import Column
from supervisor.cli.command import Command, Group, Session, confirm, pass_session


def _what(mount: Mapping[str, Any]) -> str:
    if mount.get("type") == "cifs":
        return f"//{mount.get('server')}/{mount.get('share')}"
    return f"{mount.get('server')}:{mount.get('path')}"


_COLUMNS = (
    Column("NAME", "name"),
    Column("STATE", "state"),
    Column("USED FOR", lambda row: f"{row.get('usage')} (default)" if row.get("default") else row.get("usage")),
    Column("WHAT", _what, flexible=True),
    Column("READ ONLY", "read_only"),
    Column("ADD-ONS SEE", "user_path"),
)


def _parsed(what: str) -> dict[str, str]:
    """Read what mount(8) would be given."""
    if what.startswith("//"):
        server, _, share = what.removeprefix("//").partition("/")
        if server and share:
            return {"type": "cifs", "server": server, "share": share}
    server, colon, path = what.partition(":/")
    if what.startswith("["):
        server, colon, path = what.partition("]:/")
        server += "]" if colon else ""
    if server and colon and not what.startswith("/"):
        return {"type": "nfs", "server": server, "path": f"/{path}"}
    raise click.UsageError(f"{what!r} is neither //SERVER/SHARE (CIFS) nor SERVER:/PATH (NFS)")


def _password(file: Any) -> str:
    if file is not None:
        return str(file.readline(65536)).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked for the password here: use --password-file")
    return str(click.prompt("Password", hide_input=True, err=True))


@click.command("list", cls=Command)
@pass_session
def list_(session: Session) -> None:
    """List the network storage, and whether it is there."""
    data = mapping(session.client.get("/mounts"))
    default = data.get("default_backup_mount")
    rows = [{**row, "default": row.get("name") == default} for row in mappings(data, "mounts")]
    session.output.rows(rows, _COLUMNS, name="name", empty="No network storage is mounted.", data=data)


@click.command(
    cls=Command,
    examples=(
        "supervisor mounts add films nas.local:/volume1/films --usage media --read-only",
        "supervisor mounts add vault //nas.local/backups --usage backup --username me",
    ),
)
@click.argument("name", type=MOUNT)
@click.argument("what")
@click.option("--usage", type=click.Choice(["backup", "media", "share"]), required=True, help="What it is for.")
@click.option("--read-only", is_flag=True, help="Not for backups.")
@click.option("--port", type=click.IntRange(1, 65535), help="Where the server listens, if not at the usual port.")
@click.option("--username", help="For CIFS; the password is asked for.")
@click.option("--password-file", type=click.File("r"), help="Read the password from a file; - is standard input.")
@click.option("--cifs-version", type=click.Choice(["1.0", "2.0"]), help="For old servers.")
@click.option("--replace", is_flag=True, help="Put it in the place of the mount of this name.")
@pass_session
def add(session: Session, /, name: str, what: str, *, usage: str, read_only: bool, replace: bool, **given: Any) -> None:
    """Mount WHAT: //SERVER/SHARE (CIFS) or SERVER:/PATH (NFS)."""
    body: dict[str, Any] = {"name": name, "usage": usage, "read_only": read_only, **_parsed(what)}
    if body["type"] == "nfs" and (given["username"] or given["password_file"] or given["cifs_version"]):
        raise click.UsageError("NFS has no login and no --cifs-version")
    if given["username"]:
        body |= {"username": given["username"], "password": _password(given["password_file"])}
    if given["cifs_version"]:
        body["version"] = given["cifs_version"]
    if given["port"]:
        body["port"] = given["port"]
    with session.busy(f"Mounting {what}"):
        data = session.client.put(route("mounts", name), body) if replace else session.client.post("/mounts", body)
    session.output.done(f"Mounted {what} as {name}", name=name, data=data)


@click.command(cls=Command)
@click.argument("name", type=MOUNT)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def remove(session: Session, name: str, *, yes: bool) -> None:
    """Unmount and forget; what is on the server stays there."""
    confirm(f"Unmount and forget {name}?", yes=yes)
    with session.busy(f"Unmounting {name}"):
        data = session.client.delete(route("mounts", name))
    session.output.done(f"Unmounted {name}", name=name, data=data)


@click.command(cls=Command)
@click.argument("name", type=MOUNT)
@pass_session
def reload(session: Session, name: str) -> None:
    """Mount anew what is away or does not answer."""
    session.post(route("mounts", name, "reload"), doing=f"Mounting {name}", done=f"{name} is mounted", name=name)


@click.command(cls=Command)
@click.argument("name", type=MOUNT, required=False)
@click.option("--local", is_flag=True, help="Keep backups on this machine.")
@pass_session
def default(session: Session, name: str | None, *, local: bool) -> None:
    """Choose where backups go when nobody says where."""
    if (name is None) is not local:
        raise click.UsageError("give either the name of a mount or --local")
    data = session.client.post("/mounts/options", {"default_backup_mount": name})
    where = "stay on this machine" if name is None else f"go to {name}"
    session.output.done(f"Backups {where}", name=name, data=data)


mounts = Group(
    "mounts",
    default="list",
    help="Mount network storage for backups, media and shares.",
    commands=[list_, add, remove, reload, default],
)
