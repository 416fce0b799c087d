"""Single files of backups: `browse`, `get` and `restore-file` of `supervisor backups`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import click

from supervisor.cli.answers import mappings
from supervisor.cli.arguments import BACKUP, LOCAL, LOCATION
from supervisor.cli.backup_files import Transfer
from supervisor.cli.backup_password import api_location, password_file, password_for
from supervisor.cli.client import route
from supervisor.cli.columns import Column, moment, size
from supervisor.cli.command import Command, Session, confirm, pass_session
from supervisor.cli.progress import follow_started, watched


def _size(row: Mapping[str, Any]) -> str:
    """Of folders only the items of an archive have one: what they take there."""
    return size(row.get("size_bytes")) if row.get("kind") == "file" or row.get("size_bytes") else "-"


_ENTRY_COLUMNS = (
    Column("KIND", "kind"),
    Column("SIZE", _size, right=True),
    Column("MODIFIED", lambda row: moment(row.get("modified"))),
    Column("PATH", "path", flexible=True),
)


# How locations begin that are no folders.
_REPOSITORY = "repository:"

_location = click.option("--location", type=LOCATION, help="The location whose copy to look into.")


@attrs.frozen
class _Wanted:
    """A path in a backup. `base` is the backup's route; `body` how it is asked, None where the address says all.

    `archive` tells whether the daemon has to read through an archive for it, and says how far that is.
    """

    base: str
    slug: str
    path: str
    body: dict[str, Any] | None = None
    archive: bool = False

    def address(self, what: str) -> str:
        return f"{self.base}/{what}" if self.body is not None else f"{self.base}/{what}?path={quote(self.path)}"


def _wanted(session: Session, words: Sequence[str], location: str | None, file: str | None) -> _Wanted:
    """Tell `SLUG [ITEM [PATH]]` from `REPOSITORY SLUG [PATH]`: the first word is a backup, or else a repository."""
    first, *more = words
    known = {row.get("slug"): row for row in mappings(session.client.get("/backups"), "backups")}
    if first not in known and more:
        if location is not None:
            raise click.UsageError("--location goes with the slug of a backup alone; a repository is a location")
        slug, *steps = more
        return _Wanted(route("backups", "repositories", first, "backups", slug), slug, "/".join(steps))
    path = "/".join(more)
    body: dict[str, Any] = {"path": path}
    if location:
        body["location"] = api_location(location)
    # What parts there are is no secret.
    if path and (password := password_for(session, first, file, location)) is not None:
        body["password"] = password
    place = location or known.get(first, {}).get("location") or LOCAL
    archive = bool(path) and not str(place).startswith(_REPOSITORY)
    return _Wanted(route("backups", first), first, path, body, archive)


def _entries(session: Session, wanted: _Wanted) -> Sequence[Mapping[str, Any]]:
    address, title = wanted.address("files"), f"Looking into {wanted.slug}"
    shown = session.busy(title, reads=True)
    if wanted.archive:
        shown = watched(session, "backup_manager_browse", wanted.slug, title)
    with shown:
        body = wanted.body
        return mappings(session.client.get(address) if body is None else session.client.post(address, body), "entries")


@contextmanager
def _fetching(session: Session, wanted: _Wanted) -> Iterator[Callable[[int], None]]:
    """Show how far fetching a path is; whoever fetches it tells how many bytes came."""
    title = f"Fetching {wanted.path}"
    if wanted.archive:
        # An archive is read from its beginning: that is what takes the time, wherever in it the path is.
        with watched(session, "backup_manager_read", wanted.slug, title):
            yield lambda _: None
        return
    total = _file_size(_entries(session, wanted), wanted.path) if session.stderr_terminal else None
    with Transfer(session, title, total) as shown:
        yield shown.add


def _file_size(entries: Sequence[Mapping[str, Any]], path: str) -> int | None:
    """Return the size of a file, which lists itself; None for a folder, whose archive nobody knows the size of."""
    if len(entries) != 1 or entries[0].get("kind") != "file" or entries[0].get("path") != path.strip("/"):
        return None
    found = entries[0].get("size_bytes")
    return found if isinstance(found, int) else None


@click.command(
    cls=Command,
    examples=(
        "supervisor backups browse 1a2b3c4d",
        "supervisor backups browse 1a2b3c4d share photos",
        "supervisor backups browse nas 5f2e1c07 share/photos",
    ),
)
@click.argument("slug", metavar="[REPOSITORY] SLUG", type=BACKUP)
@click.argument("words", metavar="[ITEM [PATH]]", nargs=-1)
@_location
@password_file
@pass_session
def browse(
    session: Session, slug: str, words: tuple[str, ...], *, location: str | None, password_file: str | None
) -> None:
    """List what is in a backup: its items, or a folder of one. An item is an add-on, a folder or `homeassistant`."""
    wanted = _wanted(session, (slug, *words), location, password_file)
    session.output.rows(_entries(session, wanted), _ENTRY_COLUMNS, name="path", empty="There is nothing in it.")


@click.command(
    cls=Command,
    examples=(
        "supervisor backups get 1a2b3c4d share/photos/cat.jpg cat.jpg",
        "supervisor backups get 1a2b3c4d core_mosquitto -f mosquitto.tar",
        "supervisor backups get nas 5f2e1c07 share/photos photos.tar",
    ),
)
@click.argument("slug", metavar="[REPOSITORY] SLUG", type=BACKUP)
@click.argument("words", metavar="PATH [TARGET]", nargs=-1, required=True)
@click.option("-f", "--file", type=click.Path(dir_okay=False), help="Where to write it, instead of TARGET.")
@_location
@password_file
@pass_session
def get(
    session: Session,
    slug: str,
    words: tuple[str, ...],
    *,
    file: str | None,
    location: str | None,
    password_file: str | None,
) -> None:
    """Write one file of a backup to TARGET on this machine; a folder comes as a tar archive."""
    steps = words if file else words[:-1]
    target = Path(file or words[-1])
    if not steps:
        raise click.UsageError("name what to get, and where to write it")
    if target.exists():
        raise click.UsageError(f"{target} exists already")
    wanted = _wanted(session, (slug, *steps), location, password_file)
    if not wanted.path:
        raise click.UsageError("name what to get, and where to write it")
    try:
        with (
            _fetching(session, wanted) as came,
            session.client.stream(wanted.address("content"), wanted.body) as pieces,
            target.open("xb") as out,
        ):
            for piece in pieces:
                out.write(piece)
                came(len(piece))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    session.output.done(f"Wrote {target}", name=str(target))


@click.command(
    "restore-file",
    cls=Command,
    examples=(
        "supervisor backups restore-file 1a2b3c4d share/photos",
        "supervisor backups restore-file nas 5f2e1c07 share/photos",
    ),
)
@click.argument("slug", metavar="[REPOSITORY] SLUG", type=BACKUP)
@click.argument("words", metavar="PATH", nargs=-1, required=True)
@_location
@password_file
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def restore_file(
    session: Session,
    slug: str,
    words: tuple[str, ...],
    *,
    location: str | None,
    password_file: str | None,
    yes: bool,
) -> None:
    """Put one file or folder of a backup back to where it was; what is there now is replaced."""
    wanted = _wanted(session, (slug, *words), location, password_file)
    if not wanted.path:
        raise click.UsageError("name what to restore")
    confirm(f"Replace {wanted.path} by that of the backup {wanted.slug}?", yes=yes)
    body = wanted.body or {"path": wanted.path}
    follow_started(session, f"{wanted.base}/restore/path", body, f"Restoring {wanted.path}")
    session.output.done(f"Restored {wanted.path}", name=wanted.path)
