"""`supervisor api`: any request, for what has no command of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from supervisor.cli import text
from supervisor.cli.client import encode
from supervisor.cli.command import Command, Session, pass_session
from supervisor.cli.output import load_yaml

_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")


@click.command(
    cls=Command,
    examples=(
        "supervisor api GET /host/info",
        'supervisor api POST /supervisor/options --data \'{"logging": "debug"}\'',
        "supervisor api GET /addons/core_ssh/icon > icon.png",
    ),
)
@click.argument("method", type=click.Choice(_METHODS, case_sensitive=False))
@click.argument("path")
@click.option("--data", metavar="JSON|@FILE|-", help="The body: JSON, @ and the name of a file, or - for stdin.")
@pass_session
def api(session: Session, method: str, path: str, data: str | None) -> None:
    """Send one request to the API and print what it answers."""
    path = path if path.startswith("/") else f"/{path}"
    reply = session.client.request(method.upper(), path, None if data is None else _body(data))
    session.client.raise_for(reply, path)
    if reply.is_json:
        try:
            answer = reply.json()
        except ValueError:
            pass
        else:
            envelope = isinstance(answer, dict) and answer.get("result") == "ok" and "data" in answer
            session.output.data(answer["data"] if envelope else answer)
            return
    if sys.stdout.isatty():
        click.echo(text.block(reply.text))
    else:
        sys.stdout.buffer.write(reply.body)


def _body(data: str) -> bytes:
    try:
        if data == "-":
            return sys.stdin.buffer.read()
        if data.startswith("@"):
            return Path(data[1:]).read_bytes()
    except OSError as err:
        raise click.UsageError(f"can't read {data[1:] or 'stdin'}: {err.strerror}") from err
    try:
        return encode(load_yaml(data))  # JSON is YAML; {a: 1} is easier to type
    except ValueError as err:
        raise click.UsageError(f"--data is not JSON: {err}") from err
