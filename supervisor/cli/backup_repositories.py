"""`supervisor backups repository`: deduplicated, encrypted backups, also on other machines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from supervisor.cli import text
from supervisor.cli.answers import mapping, mappings
from supervisor.cli.arguments import BACKUP, BACKUP_REPOSITORY
from supervisor.cli.backup_password import password_of_environment
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field, counted, moment, size
from supervisor.cli.command import Command, Group, Session, confirm, pass_session
from supervisor.cli.failures import Failure
from supervisor.cli.progress import follow_started
from supervisor.cli.retention_options import given_retention, retention_options, shown_retention

_COLUMNS = (
    Column("NAME", "name"),
    Column("PLACE", "place", flexible=True),
    Column("BACKUPS", "backups", right=True),
    Column("KEPT", shown_retention, flexible=True),
    Column("PROBLEM", "problem", wraps=True),
)


def _checked(row: Mapping[str, Any]) -> str:
    last = mapping(row.get("verification"))
    if not last:
        return "never"
    verdict = "good" if last.get("good") else f"bad: {last.get('reason')}"
    parts = last.get("parts")
    share = ", data not read" if not parts else f", part {last.get('part')} of {parts} read" if parts != 1 else ""
    return f"{verdict}{share}, {moment(last.get('when'))}"


_FIELDS = (
    Field("Name", "name"),
    Field("Place", "place"),
    Field("Location", "location"),
    Field("Backups", "backups"),
    Field("Looked at", lambda row: moment(row.get("looked"))),
    Field("Problem", "problem", optional=True),
    Field("Kept", shown_retention),
    Field("Checked", _checked),
    Field("Server's key", "host_key", optional=True),
)
_BACKUP_COLUMNS = (
    Column("SLUG", "slug"),
    Column("NAME", "name", flexible=True),
    Column("DATE", lambda row: moment(row.get("date"))),
    Column("SIZE", lambda row: size(row.get("size_bytes")), right=True),
    Column("PARTS", lambda row: [part.get("name") for part in mappings(row.get("parts"))], flexible=True),
)


def _base(name: str, *more: str) -> str:
    return route("backups", "repositories", name, *more)


@click.command("list", cls=Command)
@pass_session
def list_(session: Session) -> None:
    """List the repositories."""
    rows = mappings(session.client.get("/backups/repositories"), "repositories")
    session.output.rows(rows, _COLUMNS, name="name", empty="There is no backup repository.")


@click.command(cls=Command)
@click.argument("name", type=BACKUP_REPOSITORY)
@pass_session
def info(session: Session, name: str) -> None:
    """Show a repository."""
    session.output.record(mapping(session.client.get(_base(name))), _FIELDS, name=name)


@click.command(
    cls=Command,
    examples=(
        "supervisor backups repository add usb /mnt/usb/backups",
        "supervisor backups repository add nas sftp://me@nas.local/backups --keep-daily 7 --keep-weekly 4",
        "supervisor backups repository add cloud s3://s3.example.org/bucket/home --access-key KEY",
        "supervisor backups repository add old mount:nas/backups --adopt",
    ),
)
@click.argument("name")
@click.argument("place")
@click.option("--adopt", is_flag=True, help="Use the repository that is there instead of creating one.")
@click.option("--password-file", type=click.File("r"), help="Read the password from a file; - is standard input.")
@click.option("--access-key", metavar="KEY", help="For a bucket; its secret key is asked for.")
@click.option("--secret-key-file", type=click.File("r"), help="Read the bucket's secret key from a file.")
@click.option("--region", help="For a bucket.")
@click.option("--private-key-file", type=click.File("r"), help="For SFTP: an SSH key other than the Supervisor's own.")
@click.option("--host-key", metavar="KEY", help="For SFTP: the server's key, such as 'ssh-ed25519 AAAA…'.")
@retention_options
@pass_session
def add(session: Session, /, name: str, place: str, *, adopt: bool, **given: Any) -> None:
    """Create a repository at PLACE, or adopt the one that is there.

    The password encrypts everything in it: without it nobody can restore, so keep it elsewhere too. It comes from a
    file, from the environment variable SUPERVISOR_BACKUP_PASSWORD, or is asked for; it is never an argument.
    """
    body: dict[str, Any] = {"name": name, "place": place, "adopt": adopt}
    password = password_of_environment() if given["password_file"] is None else None
    body["password"] = password or _secret(given["password_file"], "Password", twice=not adopt)
    if given["access_key"]:
        body |= {"access_key": given["access_key"], "secret_key": _secret(given["secret_key_file"], "Secret key")}
    if given["private_key_file"] is not None:
        body["private_key"] = given["private_key_file"].read(65536)
    body |= {key: given[key] for key in ("region", "host_key") if given[key]}
    if (rule := given_retention(given)) is not None:
        body["retention"] = rule
    with session.busy("Opening the repository" if adopt else "Creating the repository"):
        data = mapping(session.client.post("/backups/repositories", body))
    verb = "Adopted" if adopt else "Created"
    found = f" with {counted(data.get('backups'), 'backup')}" if adopt else ""
    session.output.done(f"{verb} the repository {name}{found}", name=name, data=data)


def _secret(file: Any, what: str, *, twice: bool = False) -> str:
    if file is not None:
        secret = str(file.readline(65536)).rstrip("\r\n")
    elif sys.stdin.isatty():
        secret = str(click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))
    else:
        raise click.UsageError(
            f"nobody can be asked for the {what.lower()} here: use --{what.lower().replace(' ', '-')}-file"
        )
    if not secret:
        raise click.UsageError(f"the {what.lower()} is empty")
    return secret


@click.command(cls=Command)
@click.argument("name", type=BACKUP_REPOSITORY)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def remove(session: Session, name: str, *, yes: bool) -> None:
    """Forget a repository and its password here; what is in it stays where it is."""
    confirm(f"Forget the repository {name} and its password?", yes=yes)
    data = session.client.delete(_base(name))
    session.output.done(f"Forgot the repository {name}", name=name, data=data)


@click.command(cls=Command, examples=("supervisor backups repository keep nas --keep-daily 7 --keep-monthly 12",))
@click.argument("name", type=BACKUP_REPOSITORY)
@retention_options
@pass_session
def keep(session: Session, /, name: str, **given: Any) -> None:
    """Show or set what `prune` keeps. What is not named counts as 0; all 0 keeps everything."""
    rule = given_retention(given)
    if rule is None:
        session.output.record(mapping(session.client.get(_base(name))), _FIELDS, name=name)
        return
    session.client.post(_base(name, "options"), {"retention": rule})
    session.output.done(f"{name} keeps {shown_retention({'retention': rule})}", name=name, data={"retention": rule})


@click.command(cls=Command)
@click.argument("name", type=BACKUP_REPOSITORY)
@pass_session
def reload(session: Session, name: str) -> None:
    """Look anew what is in a repository."""
    follow_started(session, _base(name, "reload"), {}, f"Looking into {name}")
    session.output.done(f"Looked into {name}", name=name)


@click.command(cls=Command, examples=("supervisor backups repository verify nas --share 10",))
@click.argument("name", type=BACKUP_REPOSITORY)
@click.option("--share", type=click.IntRange(0, 100), default=100, show_default=True, metavar="PERCENT",
              help="How much of the data is read; the next time it is the next share.")  # fmt: skip
@pass_session
def verify(session: Session, name: str, share: int) -> None:
    """Check a repository: its structure, and that the data can be read and decrypted."""
    follow_started(session, _base(name, "verify"), {"share": share}, f"Checking {name}")
    data = mapping(mapping(session.client.get(_base(name))).get("verification"))
    if not data.get("good"):
        raise Failure(text.line(str(data.get("reason") or f"{name} is damaged")))
    session.output.done(f"{name} is good", name=name, data=data)


@click.command(cls=Command)
@click.argument("name", type=BACKUP_REPOSITORY)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def prune(session: Session, name: str, *, yes: bool) -> None:
    """Remove the backups that are not kept, and free the space."""
    rule = shown_retention(mapping(session.client.get(_base(name))))
    confirm(f"Remove from {name} all but: {rule}?", yes=yes)
    before = {row.get("slug") for row in _backups(session, name)}
    follow_started(session, _base(name, "prune"), {}, f"Pruning {name}")
    gone = sorted(str(slug) for slug in before - {row.get("slug") for row in _backups(session, name)})
    session.output.done(f"Removed {counted(len(gone), 'backup')} from {name}", name=name, data={"removed": gone})


def _backups(session: Session, name: str) -> list[Mapping[str, Any]]:
    return mappings(session.client.get(_base(name, "backups")), "backups")


@click.command(cls=Command)
@click.argument("name", type=BACKUP_REPOSITORY)
@pass_session
def backups(session: Session, name: str) -> None:
    """List the backups in a repository."""
    rows = _backups(session, name)
    empty = f"{name} holds no backup."
    if not rows and not mapping(session.client.get(_base(name))).get("looked"):
        # At its start the daemon looks into repositories beside its other work, and some are slow to answer.
        empty = f"Nobody has looked into {name} yet; do it with: supervisor backups repository reload {name}"
    session.output.rows(rows, _BACKUP_COLUMNS, name="slug", empty=empty)


@click.command(cls=Command)
@click.argument("name", type=BACKUP_REPOSITORY)
@click.argument("slug", type=BACKUP)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def forget(session: Session, name: str, slug: str, *, yes: bool) -> None:
    """Remove a backup from a repository; `prune` frees its space."""
    confirm(f"Remove the backup {slug} from {name}?", yes=yes)
    data = session.client.delete(_base(name, "backups", slug))
    session.output.done(f"Removed the backup {slug}", name=slug, data=data)


@click.command("ssh-key", cls=Command)
@pass_session
def ssh_key(session: Session) -> None:
    """Print the SSH key that the server of an SFTP repository has to allow."""
    data = mapping(session.client.get("/backups/ssh_key"))
    session.output.done(str(data.get("public_key", "")), name=data.get("public_key"), data=data)


repository = Group(
    "repository",
    default="list",
    help="Keep backups in repositories: deduplicated, encrypted, also on other machines.",
    commands=[list_, info, add, remove, keep, backups, forget, reload, verify, prune, ssh_key],
)
