"""Images of add-ons: `load` of `supervisor addons`, and what is shown when a build fails."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

import click

from supervisor.cli import text
from supervisor.cli.answers import mapping
from supervisor.cli.arguments import STORE_ADDON
from supervisor.cli.client import route
from supervisor.cli.columns import size
from supervisor.cli.command import Command, Session, pass_session
from supervisor.cli.failures import ExitCode, Failure
from supervisor.cli.job_view import JobView
from supervisor.cli.progress import Reporter, follow, reporter

_BUILD_FAILED = "app_build_failed_unknown_error"
_TAIL_LINES = 20


@contextmanager
def build_log_on_failure(session: Session, slug: str) -> Iterator[None]:
    """Print the end of the build's log to stderr when a build fails in here."""
    try:
        yield
    except Failure as failure:
        if failure.key == _BUILD_FAILED:
            _show_tail(session, slug)
        raise


def _show_tail(session: Session, slug: str) -> None:
    try:
        log = session.client.text(f"{route('addons', slug, 'logs', 'build')}?lines={_TAIL_LINES}")
    except Failure:
        return  # the failure of the build itself is what matters
    click.echo(f"The last lines of the build's log ({slug}):", err=True)
    for line in log.splitlines():
        click.echo(f"  {text.log_line(line, colours=session.stderr_colours)}", err=True)


@click.command(
    cls=Command,
    examples=(
        "supervisor addons load lamp-1.2.tar",
        "supervisor addons load lamp.tar.gz --slug local_lamp",
        "ssh other docker save example/lamp:1.2 | supervisor addons load -",
    ),
)
@click.argument("file", type=click.Path(allow_dash=True), metavar="FILE")
@click.option("--slug", type=STORE_ADDON, help="The add-on it is for, where the image's name doesn't tell.")
@click.option("--detach", is_flag=True, help="Don't wait for the end: print the job's identifier and return.")
@pass_session
def load(session: Session, file: str, *, slug: str | None, detach: bool) -> None:
    """Install or update an add-on from FILE, an archive of its image, without a network.

    FILE is what `docker save` writes, plain or gzipped; `-` reads it from standard input. The store must have the
    add-on in the version of the image, and that image's name tells which add-on it is, or --slug does. A missing image
    of an installed add-on is given back.
    """
    query = {"background": ""} | ({} if slug is None else {"slug": slug})
    with _opened(file) as (source, length):
        answer = _send(session, f"/addons/load?{urlencode(query)}", source, length, file)
    loaded, version, job = str(answer.get("slug")), answer.get("version") or "", answer.get("job_id")
    if job and detach:
        session.output.done(f"The loading of {loaded} runs as job {job}", name=str(job), data=answer)
        return
    if job:
        follow(session, str(job), f"Loading {loaded}")
    after = mapping(session.client.get(route("store", "addons", loaded)))
    if after.get("installed") is not True or after.get("version") != version:
        raise Failure(f"loading {loaded} ended without success", hint="read why with: supervisor supervisor logs")
    session.output.done(f"Loaded {loaded} {version}", name=loaded, data=answer)


@contextmanager
def _opened(file: str) -> Iterator[tuple[IO[bytes], int | None]]:
    """Open what is to be sent, and tell its length where it has one."""
    if file == "-":
        if sys.stdin.isatty():
            raise click.UsageError("standard input is a terminal: name a file, or send an archive here")
        yield sys.stdin.buffer, None
        return
    try:
        source = Path(file).open("rb")  # noqa: SIM115 - closed below, its errors are told apart from those of sending
    except OSError as err:
        raise Failure(f"can't read {file}: {err.strerror}", ExitCode.USAGE) from err
    with source:
        facts = os.fstat(source.fileno())
        if stat.S_ISDIR(facts.st_mode):
            raise Failure(f"can't read {file}: it is a folder", ExitCode.USAGE)
        yield source, facts.st_size if stat.S_ISREG(facts.st_mode) else None


def _send(session: Session, path: str, source: IO[bytes], length: int | None, name: str) -> dict[str, object]:
    title = f"Sending {'standard input' if name == '-' else Path(name).name}"
    with reporter(session) as shown:
        counted = _Counted(source, lambda sent: _show(shown, text.line(title), sent, length))
        return dict(mapping(session.client.upload(path, counted, length)))


def _show(shown: Reporter, title: str, sent: int, length: int | None) -> None:
    percent = 100 * sent / length if length else 0.0
    amount = f"{size(sent)} of {size(length)}" if length else size(sent)
    stage = "" if length is None or sent < length else "checking"
    shown.update(JobView(uuid="upload", title=title, percent=percent, stage=stage, done=False, amount=amount))


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, source: IO[bytes], report: Callable[[int], None]) -> None:
        self._source = source
        self._report = report
        self._sent = 0

    def read(self, amount: int = -1) -> bytes:
        data = self._source.read(amount)
        self._sent += len(data)
        self._report(self._sent)
        return data
