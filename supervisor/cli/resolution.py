"""`supervisor resolution`: what is wrong with the system, and what would mend it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from supervisor.cli.answers import mapping, mappings, match_uuid, short
from supervisor.cli.arguments import CHECK, ISSUE, SUGGESTION
from supervisor.cli.client import route
from supervisor.cli.columns import Column, show
from supervisor.cli.command import Command, Group, Session, pass_session
from supervisor.cli.issue_words import words_for

_COLUMNS = (
    Column("UUID", short),
    Column("KIND", "kind"),
    Column("WHAT", "type"),
    Column("BY ITSELF", lambda row: True if row.get("auto") else None),
    Column("ABOUT", lambda row: f"{row.get('context')} {row.get('reference') or ''}"),
    Column("MEANS", words_for, wraps=True),
)
_MORE: Final = "https://www.home-assistant.io/more-info"
_CHECK_COLUMNS = (Column("CHECK", "slug"), Column("ON", "enabled"))


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """Show open issues, suggestions, and why the system counts as unhealthy or unsupported."""
    data = mapping(session.client.get("/resolution/info"))
    output = session.output
    rows: list[Mapping[str, Any]] = [
        *({**row, "kind": "issue"} for row in mappings(data, "issues")),
        *({**row, "kind": "suggestion"} for row in mappings(data, "suggestions")),
    ]
    output.rows(rows, _COLUMNS, name="uuid", empty="No issue is open.", data=data)
    if output.format == "table":
        for key in ("unhealthy", "unsupported"):
            if reasons := data.get(key):
                click.echo(f"The system is {key}: {show(reasons)} (see {_MORE}/{key}/REASON)", err=True)


@click.command(cls=Command)
@click.argument("uuid", type=ISSUE)
@pass_session
def dismiss(session: Session, uuid: str) -> None:
    """Dismiss an issue (with its suggestions) or a suggestion; the beginning of its UUID is enough."""
    data = mapping(session.client.get("/resolution/info"))
    issues, suggestions = _uuids(data, "issues"), _uuids(data, "suggestions")
    full = match_uuid(uuid, [*issues, *suggestions], "issue or suggestion")
    kind = "issue" if full in issues else "suggestion"
    answer = session.client.delete(route("resolution", kind, full))
    session.output.done(f"Dismissed {kind} {full}", name=full, data=answer)


@click.command(cls=Command)
@click.argument("uuid", type=SUGGESTION)
@pass_session
def apply(session: Session, uuid: str) -> None:
    """Do what a suggestion suggests."""
    full = match_uuid(uuid, _uuids(mapping(session.client.get("/resolution/info")), "suggestions"), "suggestion")
    session.post(
        route("resolution", "suggestion", full),
        doing="Applying the suggestion",
        done=f"Applied suggestion {full}",
        name=full,
    )


@click.command(cls=Command)
@pass_session
def healthcheck(session: Session) -> None:
    """Look for problems now."""
    session.post(
        "/resolution/healthcheck",
        doing="Looking for problems",
        done="Looked for problems; see: supervisor resolution info",
    )


@click.command(cls=Command)
@pass_session
def checks(session: Session) -> None:
    """List what is looked for, and whether that is switched on."""
    data = mappings(mapping(session.client.get("/resolution/info")), "checks")
    session.output.rows(data, _CHECK_COLUMNS, name="slug", empty="Nothing is looked for.", data=data)


@click.command(
    cls=Command,
    examples=("supervisor resolution check free_space", "supervisor resolution check addon_pwned --disable"),
)
@click.argument("check", type=CHECK)
@click.option("--enable/--disable", "enabled", default=None, help="Switch it on or off instead of looking.")
@pass_session
def check(session: Session, check: str, enabled: bool | None) -> None:  # noqa: FBT001 - click's signature
    """Look for one kind of problem now, or switch the looking on or off."""
    if enabled is None:
        session.post(
            route("resolution", "check", check, "run"),
            doing="Looking",
            done=f"Looked for {check}; see: supervisor resolution info",
            name=check,
        )
        return
    answer = session.client.post(route("resolution", "check", check, "options"), {"enabled": enabled})
    session.output.done(f"The check {check} is {'on' if enabled else 'off'}", name=check, data=answer)


def _uuids(data: Mapping[str, Any], key: str) -> list[str]:
    return [str(row.get("uuid")) for row in mappings(data, key)]


resolution = Group(
    "resolution",
    default="info",
    help="See what is wrong with the system.",
    commands=[info, dismiss, apply, healthcheck, checks, check],
)
