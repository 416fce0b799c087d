"""Files of backups: `download` and `upload` of `supervisor backups`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

import click

from supervisor.cli import text
from supervisor.cli.answers import mapping
from supervisor.cli.arguments import BACKUP, LOCAL, LOCATION
from supervisor.cli.client import route
from supervisor.cli.columns import size
from supervisor.cli.command import Command, Session, pass_session
from supervisor.cli.failures import ExitCode, Failure
from supervisor.cli.job_view import JobView
from supervisor.cli.progress import reporter


@click.command(
    cls=Command,
    examples=("supervisor backups download 1a2b3c4d", "supervisor backups download 1a2b3c4d /mnt/usb/before.tar"),
)
@click.argument("slug", type=BACKUP)
@click.argument("target", required=False, type=click.Path(dir_okay=False))
@click.option("-f", "--file", type=click.Path(dir_okay=False), help="Where to write it, instead of TARGET.")
@click.option("--location", type=LOCATION, help="The location whose copy is wanted.")
@pass_session
def download(session: Session, slug: str, target: str | None, *, file: str | None, location: str | None) -> None:
    """Fetch the file of a backup to TARGET, else SLUG.tar. A file that is there already is not overwritten."""
    if file and target:
        raise click.UsageError("name one place to write it to")
    path = Path(file or target or f"{slug}.tar")
    data = mapping(session.client.get(route("backups", slug, "info")))
    attributes = mapping(mapping(data.get("location_attributes")).get(location or data.get("location") or LOCAL))
    total = attributes.get("size_bytes")
    query = f"?{urlencode({'location': location})}" if location else ""
    try:
        # Created by us or not at all: what others put there is theirs.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as err:
        raise Failure(f"can't write {path}: {err.strerror}", ExitCode.USAGE) from err
    whole = False
    try:
        with (
            open(descriptor, "wb") as out,
            session.client.stream(route("backups", slug, "download") + query) as pieces,
            Transfer(session, f"Fetching {slug}", total if isinstance(total, int) else None) as shown,
        ):
            for piece in pieces:
                out.write(piece)
                shown.add(len(piece))
        whole = total is None or shown.done == total
    except OSError as err:
        raise Failure(f"can't write {path}: {err.strerror}") from err
    finally:
        if not whole:
            path.unlink(missing_ok=True)
    if not whole:
        raise Failure(f"the download of {slug} was cut off")
    session.output.done(f"Fetched {slug} into {path}", name=str(path))


@click.command(cls=Command, examples=("supervisor backups upload 1a2b3c4d.tar",))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True))
@click.option(
    "--location", multiple=True, type=LOCATION, help="Where to keep it; may be repeated, the first gets the file."
)
@click.option("--name", help="The name of the file there, ending in .tar.")
@pass_session
def upload(session: Session, file: str, *, location: tuple[str, ...], name: str | None) -> None:
    """Hand a backup to the daemon: a file that this or another system made."""
    query = [("location", place) for place in location] + ([("filename", name)] if name else [])
    path = "/backups/new/upload" + (f"?{urlencode(query)}" if query else "")
    with Path(file).open("rb") as source:
        length = os.fstat(source.fileno()).st_size
        with Transfer(session, f"Sending {Path(file).name}", length) as shown:
            body = _Multipart(source, shown.add)
            answer = mapping(session.client.upload(path, body, length + body.around, media_type=body.media_type))
    slug = str(answer.get("slug"))
    session.output.done(f"The backup {slug} is here", name=slug, data=answer)


class Transfer:
    """Shows how far a transfer is; without a `total` only how much it was."""

    def __init__(self, session: Session, title: str, total: int | None) -> None:
        self._reporter = reporter(session)
        self._title = text.line(title)
        self._total = total
        self.done = 0

    def __enter__(self) -> Transfer:  # noqa: PYI034 - nobody derives from it
        self._reporter.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._reporter.__exit__(*error)

    def add(self, count: int) -> None:
        self.done += count
        percent = 100 * self.done / self._total if self._total else 0.0
        amount = f"{size(self.done)} of {size(self._total)}" if self._total else size(self.done)
        self._reporter.update(JobView("transfer", self._title, percent, "", done=False, amount=amount))


class _Multipart:
    """A form with one file, read as it is sent. `around` is how much longer than the file it is."""

    def __init__(self, source: IO[bytes], sent: Callable[[int], None]) -> None:
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="file"; filename="backup.tar"\r\n'
            "Content-Type: application/tar\r\n\r\n"
        )
        self.media_type = f"multipart/form-data; boundary={boundary}"
        self._head, self._tail = head.encode(), f"\r\n--{boundary}--\r\n".encode()
        self.around = len(self._head) + len(self._tail)
        self._source = source
        self._sent = sent

    def read(self, amount: int = -1, /) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        if data := self._source.read(amount):
            self._sent(len(data))
            return data
        tail, self._tail = self._tail, b""
        return tail
