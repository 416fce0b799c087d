"""`supervisor docker`: the engine, and logins to image registries."""

from __future__ import annotations

import sys
from typing import Any

import click

from supervisor.cli.answers import mapping
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field
from supervisor.cli.command import Command, Group, Session, confirm, pass_session

_FIELDS = (
    Field("Version", "version"),
    Field("Storage driver", "storage"),
    Field("Logging driver", "logging"),
    Field("IPv6", lambda row: "default" if row.get("enable_ipv6") is None else row.get("enable_ipv6")),
    Field("MTU", lambda row: "default" if row.get("mtu") is None else row.get("mtu")),
    Field("Registries", lambda row: list(mapping(row.get("registries"))), optional=True),
)
_IPV6 = {"on": True, "off": False, "default": None}
_STORAGE_DRIVERS = ("overlayfs",)


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """Show the Docker engine."""
    session.output.record(mapping(session.client.get("/docker/info")), _FIELDS, name="docker")


@click.command(cls=Command)
@click.option("--ipv6", type=click.Choice(list(_IPV6)), help="Whether the internal network has IPv6.")
@click.option("--mtu", metavar="BYTES|default", help="The internal network's MTU (68 to 65535).")
@pass_session
def options(session: Session, ipv6: str | None, mtu: str | None) -> None:
    """Show or change the engine's settings; changes count after a reboot."""
    body: dict[str, Any] = {}
    if ipv6 is not None:
        body["enable_ipv6"] = _IPV6[ipv6]
    if mtu is not None:
        body["mtu"] = None if mtu == "default" else _mtu(mtu)
    if not body:
        session.output.record(mapping(session.client.get("/docker/info")), _FIELDS, name="docker")
        return
    data = session.client.post("/docker/options", body)
    session.output.done("Saved the settings of the Docker engine", data=data)


@click.command(cls=Command)
@click.argument("driver", type=click.Choice(_STORAGE_DRIVERS))
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def migrate(session: Session, driver: str, *, yes: bool) -> None:
    """Have the next boot change the storage driver to DRIVER, with all images and containers.

    The Home Assistant Operating System 17 or newer does that, and no other system.
    """
    confirm(f"Change Docker's storage driver to {driver} with the next boot? That may take long.", yes=yes)
    data = session.client.post("/docker/migrate-storage-driver", {"storage_driver": driver})
    session.output.done(f"The next boot changes the storage driver to {driver}", name=driver, data=data)


def _mtu(given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= 5 and 68 <= int(given) <= 65535):
        raise click.UsageError(f"{given!r} is not an MTU (68 to 65535)")
    return int(given)


@click.command("list", cls=Command)
@pass_session
def registries_list(session: Session) -> None:
    """List the registries with a stored login."""
    found = mapping(mapping(session.client.get("/docker/registries")).get("registries"))
    rows = [{"host": host, "username": mapping(login).get("username")} for host, login in found.items()]
    columns = (Column("REGISTRY", "host"), Column("USER", "username"))
    session.output.rows(rows, columns, name="host", empty="No login is stored.")


@click.command(
    cls=Command,
    examples=(
        "supervisor docker login ghcr.io -u me",
        "supervisor docker login ghcr.io -u me --password-stdin < token.txt",
    ),
)
@click.argument("host")
@click.option("-u", "--username", metavar="USER", help="Asked for when left out.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@pass_session
def login(session: Session, host: str, username: str | None, *, password_stdin: bool) -> None:
    """Store a login for an image registry; Docker Hub is hub.docker.com.

    The password is asked for, or read from standard input; it is never an argument.
    """
    if password_stdin:
        if username is None:
            raise click.UsageError("--password-stdin needs --username")
        password = sys.stdin.readline(65536).rstrip("\r\n")
    elif sys.stdin.isatty():
        username = username or click.prompt("User name", err=True)
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        raise click.UsageError("nobody can be asked here: use --password-stdin")
    if not password:
        raise click.UsageError("the password is empty")
    data = session.client.post("/docker/registries", {host: {"username": username, "password": password}})
    session.output.done(f"Stored the login for {host}", name=host, data=data)


@click.command(cls=Command)
@click.argument("host")
@pass_session
def logout(session: Session, host: str) -> None:
    """Forget the login for an image registry."""
    data = session.client.delete(route("docker", "registries", host))
    session.output.done(f"Forgot the login for {host}", name=host, data=data)


@click.command("list", cls=Command)
@pass_session
def mirrors_list(session: Session) -> None:
    """List the mirrors of image registries, each in the order in which they are tried."""
    found = mapping(mapping(session.client.get("/docker/mirrors")).get("mirrors"))
    rows = [{"registry": registry, "mirrors": mirrors} for registry, mirrors in found.items()]
    columns = (Column("REGISTRY", "registry"), Column("MIRRORS", lambda row: ", ".join(map(str, row["mirrors"]))))
    session.output.rows(rows, columns, name="registry", empty="No registry has a mirror.")


@click.command(
    "set",
    cls=Command,
    examples=(
        "supervisor docker mirrors set docker.io mirror.example.org",
        "supervisor docker mirrors set ghcr.io nas.local:5000/ghcr mirror.example.org",
    ),
)
@click.argument("registry")
@click.argument("mirrors", nargs=-1, required=True, metavar="MIRROR...")
@pass_session
def mirrors_set(session: Session, registry: str, mirrors: tuple[str, ...]) -> None:
    """Set the mirrors of REGISTRY, in place of those it has; Docker Hub is docker.io.

    A MIRROR is HOST[:PORT][/PATH]. Images are asked for there first, in the order given, then at the registry itself;
    they get their own names whatever place they came from. A mirror that wants a login gets its own one: see
    `supervisor docker login`. Mirrors must speak HTTPS, except on this machine itself.
    """
    data = session.client.post("/docker/mirrors", {registry: list(mirrors)})
    session.output.done(f"Images of {registry} come from {', '.join(mirrors)} first", name=registry, data=data)


@click.command("remove", cls=Command)
@click.argument("registry")
@pass_session
def mirrors_remove(session: Session, registry: str) -> None:
    """Ask REGISTRY itself again for its images."""
    data = session.client.delete(route("docker", "mirrors", registry))
    session.output.done(f"Images of {registry} come from there again", name=registry, data=data)


mirrors = Group(
    "mirrors",
    default="list",
    help="See and set where images are asked for before their registry is.",
    examples=("supervisor docker mirrors", "supervisor docker mirrors set docker.io mirror.example.org"),
    commands=[mirrors_list, mirrors_set, mirrors_remove],
)
registries = Group(
    "registries", default="list", help="List the registries with a stored login.", commands=[registries_list]
)
docker = Group(
    "docker",
    default="info",
    help="See and set up the Docker engine.",
    commands=[info, registries, login, logout, migrate, mirrors, options],
)
