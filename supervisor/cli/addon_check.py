"""`supervisor addons check`: judges an author's folder, without the daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli import text
from supervisor.cli.columns import counted
from supervisor.cli.command import Command, Session, pass_session
from supervisor.cli.failures import ExitCode, Failure
from supervisor.errors import Invalid

if TYPE_CHECKING:
    from supervisor.model.lint import Finding, Report

_COLOURS = {"error": "red", "advice": "yellow"}


@click.command(
    cls=Command,
    examples=(
        "supervisor addons check .",
        "supervisor addons check my-repository --format github",
    ),
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    help="How to print: for people, as JSON, or as annotations for GitHub's CI. [text]",
)
@pass_session
def check(session: Session, folder: Path, form: str | None) -> None:
    """Check an add-on, or a repository of add-ons, before others install it.

    Prints errors, which keep the store from offering something as it is written, and advice. Needs no daemon. Ends with
    0 when there is no error, with 1 when there is one, with 2 when there is nothing to check.
    """
    from supervisor.model.lint import check_folder  # noqa: PLC0415 - only this command needs schemas and parsers

    try:
        report = check_folder(folder)
    except Invalid as err:
        raise Failure(err.message, ExitCode.USAGE) from err
    chosen = form or ("json" if session.output.format == "json" else "text")
    _PRINTERS[chosen](report, folder)
    if report.errors:
        raise click.exceptions.Exit(ExitCode.GENERAL)


def _print_text(report: Report, folder: Path) -> None:
    for found in report.findings:
        label = click.style(found.severity.value, fg=_COLOURS[found.severity.value])
        place = ":".join(str(part) for part in (_shown(found, folder), found.line, found.column) if part is not None)
        click.echo(f"{text.line(place)}: {label}: {text.line(found.message)} [{found.rule}]")
    counts = (
        counted(report.addons, "add-on"),
        counted(report.errors, "error"),
        counted(report.advice, "piece"),
    )
    click.echo("{}: {}, {} of advice".format(*counts))


def _print_json(report: Report, folder: Path) -> None:
    findings = [
        {
            "severity": found.severity.value,
            "rule": found.rule,
            "message": found.message,
            "file": _shown(found, folder),
            "line": found.line,
            "column": found.column,
        }
        for found in report.findings
    ]
    data = {"addons": report.addons, "errors": report.errors, "advice": report.advice, "findings": findings}
    click.echo(text.json_safe(json.dumps(data, indent=2)))


def _print_github(report: Report, folder: Path) -> None:
    for found in report.findings:
        kind = "error" if found.severity.value == "error" else "warning"
        places = {"file": _shown(found, folder), "line": found.line, "col": found.column, "title": found.rule}
        properties = ",".join(f"{name}={_property(str(value))}" for name, value in places.items() if value is not None)
        click.echo(f"::{kind} {properties}::{_data(text.line(found.message))}")


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(text.line(value)).replace(":", "%3A").replace(",", "%2C")


def _shown(found: Finding, folder: Path) -> str:
    """Return the path from where the command was called, so that it can be opened by a click."""
    return str(folder / found.file).encode(errors="replace").decode()


_PRINTERS: dict[str, Callable[[Report, Path], None]] = {
    "text": _print_text,
    "json": _print_json,
    "github": _print_github,
}
