"""The password of a backup, and the place that it lies in, as the commands take them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from supervisor.cli.answers import mapping
from supervisor.cli.arguments import LOCAL
from supervisor.cli.client import route
from supervisor.cli.command import Session
from supervisor.cli.failures import ExitCode, Failure

PASSWORD_VARIABLE: Final = "SUPERVISOR_BACKUP_PASSWORD"  # noqa: S105 - the name of a variable

password_file = click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False),
    help=f"Read the password from the first line of a file (or set {PASSWORD_VARIABLE}).",
)


def password_of_environment() -> str | None:
    return os.environ.get(PASSWORD_VARIABLE) or None


def given_password(file: str | None) -> str | None:
    """Return the password that the file or the environment gives. It is never an argument: all users see those."""
    if file is not None:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0]
    return password_of_environment()


def password_for(session: Session, slug: str, file: str | None, location: str | None) -> str | None:
    """Return the password of a backup, asking for it where it needs one and none was given."""
    data = mapping(session.client.get(route("backups", slug, "info")))
    places = mapping(data.get("location_attributes"))
    place = mapping(places.get(location or data.get("location") or LOCAL))
    if not place.get("protected"):
        return None
    given = given_password(file)
    if given is None and session.stderr_terminal:
        given = str(click.prompt(f"Password of backup {slug}", hide_input=True, err=True))
    if not given:
        raise Failure(f"backup {slug} is encrypted", ExitCode.USAGE, hint="give its password with --password-file")
    return given


def api_location(name: str) -> str | None:
    return None if name == LOCAL else name
