"""`supervisor store`: what could be installed, and the repositories that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from supervisor.cli import text
from supervisor.cli.addons import newer
from supervisor.cli.answers import mapping, mappings
from supervisor.cli.arguments import REPOSITORY, STORE_ADDON
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field
from supervisor.cli.command import Command, Group, Session, confirm, pass_session

_COLUMNS = (
    Column("SLUG", "slug"),
    Column("NAME", "name", flexible=True),
    Column("VERSION", "version_latest"),
    Column("INSTALLED", lambda row: row.get("version") if row.get("installed") else None),
    Column("DESCRIPTION", "description", flexible=True),
)
_FIELDS = (
    Field("Name", "name"),
    Field("Slug", "slug"),
    Field("Description", "description"),
    Field("Version", "version_latest"),
    Field("Installed", lambda row: row.get("version") if row.get("installed") else False),
    Field("Update", newer, optional=True),
    Field("Repository", "repository"),
    Field("Stage", "stage"),
    Field("Runs here", "available"),
    Field("Architectures", "arch"),
    Field(
        "Security rating",
        lambda row: f"{row['rating']} of 8" if isinstance(row.get("rating"), int) else None,
        optional=True,
    ),
    Field("API role", lambda row: row.get("hassio_role") if row.get("hassio_api") else None, optional=True),
    Field("Needs Core", "homeassistant", optional=True),
    Field("More", "url", optional=True),
)
_REPOSITORY_COLUMNS = (
    Column("SLUG", "slug"),
    Column("NAME", "name", flexible=True),
    Column("SOURCE", "source", flexible=True),
    Column("MAINTAINER", "maintainer", flexible=True),
)


@click.command("list", cls=Command)
@click.option("--repository", type=REPOSITORY, help="Only those of this repository.")
@pass_session
def list_(session: Session, repository: str | None) -> None:
    """List the add-ons of the store that can run here."""
    rows = [row for row in _addons(session) if row.get("available") is not False]
    if repository is not None:
        rows = [row for row in rows if row.get("repository") == repository]
    session.output.rows(rows, _COLUMNS, name="slug", empty="The store is empty. Fetch it with: supervisor store reload")


@click.command(cls=Command)
@click.argument("words", nargs=-1, required=True, metavar="TEXT...")
@pass_session
def search(session: Session, words: tuple[str, ...]) -> None:
    """Find add-ons whose slug, name or description holds every TEXT."""
    rows = [row for row in _addons(session) if _matches(row, words)]
    session.output.rows(rows, _COLUMNS, name="slug", empty="Nothing found. Fetch news with: supervisor store reload")


def _addons(session: Session) -> list[Mapping[str, Any]]:
    rows = mappings(session.client.get("/store/addons"), "addons")
    return sorted(rows, key=lambda row: str(row.get("name", "")).casefold())


def _matches(row: Mapping[str, Any], words: tuple[str, ...]) -> bool:
    hay = " ".join(str(row.get(key) or "") for key in ("slug", "name", "description")).casefold()
    return all(word.casefold() in hay for word in words)


@click.command(cls=Command)
@click.argument("slug", type=STORE_ADDON)
@pass_session
def info(session: Session, slug: str) -> None:
    """Show one add-on of the store."""
    data = mapping(session.client.get(route("store", "addons", slug)))
    session.output.record(data, _FIELDS, name=data.get("slug"))


@click.command(cls=Command)
@pass_session
def reload(session: Session) -> None:
    """Fetch all repositories again."""
    with session.busy("Fetching the repositories"):
        data = session.client.post("/store/reload")
    issues = mappings(mapping(session.client.get("/resolution/info")), "issues")
    failed = {str(row.get("reference")): None for row in issues if row.get("context") == "store"}
    for slug in failed:
        hint = "read why with: supervisor supervisor logs"
        click.echo(f"Warning: the repository {text.line(slug)} could not be fetched; {hint}", err=True)
    session.output.done("Fetched the other repositories" if failed else "Fetched the repositories", data=data)


@click.command("list", cls=Command)
@pass_session
def repositories_list(session: Session) -> None:
    """List the repositories."""
    rows = mappings(session.client.get("/store/repositories"))
    session.output.rows(rows, _REPOSITORY_COLUMNS, name="slug", empty="There is no repository.")


@click.command(
    cls=Command,
    examples=("supervisor store add https://github.com/hassio-addons/repository",),
)
@click.argument("url")
@pass_session
def add(session: Session, url: str) -> None:
    """Add a repository by its git URL, with #branch where it is not the usual one."""
    before = {row.get("slug") for row in mappings(session.client.get("/store/repositories"))}
    with session.busy("Fetching the repository"):
        data = session.client.post("/store/repositories", {"repository": url})
    new = [row for row in mappings(session.client.get("/store/repositories")) if row.get("slug") not in before]
    slug = str(new[0].get("slug")) if len(new) == 1 else None
    session.output.done(f"Added the repository {slug}" if slug else "Added the repository", name=slug, data=new or data)


@click.command(cls=Command)
@click.argument("slug", type=REPOSITORY)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@pass_session
def remove(session: Session, slug: str, *, yes: bool) -> None:
    """Remove a repository that no installed add-on comes from."""
    confirm(f"Remove the repository {slug}?", yes=yes)
    data = session.client.delete(route("store", "repositories", slug))
    session.output.done(f"Removed the repository {slug}", name=slug, data=data)


@click.command(cls=Command)
@click.argument("slug", type=REPOSITORY)
@pass_session
def repair(session: Session, slug: str) -> None:
    """Throw a repository's copy away and fetch it afresh."""
    session.post(
        route("store", "repositories", slug, "repair"),
        doing=f"Fetching {slug} afresh",
        done=f"Repaired the repository {slug}",
        name=slug,
    )


repositories = Group(
    "repositories",
    default="list",
    help="List, add, remove and repair repositories.",
    commands=[repositories_list, add, remove, repair],
)
store = Group(
    "store",
    default="list",
    help="See what can be installed, and manage repositories.",
    commands=[list_, search, info, reload, repositories, add, remove, repair],
)
