"""How many backups are kept, as options of commands and as a line for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from supervisor.cli.answers import mapping

_PERIODS: Final = {
    "last": "newest",
    "daily": "days",
    "weekly": "weeks",
    "monthly": "months",
    "yearly": "years",
}
_KINDS: Final = {period: "newest" if period == "last" else period for period in _PERIODS}
F = TypeVar("F", bound=Callable[..., Any])


def retention_options(command: F) -> F:
    """Add `--keep-last`, `--keep-daily` and so on."""
    for period, words in reversed(_PERIODS.items()):
        what = "Keep this many of the newest." if period == "last" else f"Keep one of each of so many {words}."
        option = click.option(f"--keep-{period}", type=click.IntRange(0, 10_000), metavar="NUMBER", help=what)
        command = option(command)
    return command


def given_retention(values: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the rule that the options make up, None when none was given."""
    chosen = {period: values[f"keep_{period}"] for period in _PERIODS if values.get(f"keep_{period}") is not None}
    return chosen or None


def shown_retention(row: Mapping[str, Any]) -> str:
    """Return the rule as one line."""
    rule = mapping(row.get("retention"))
    counted = [f"{rule[period]} {_KINDS[period]}" for period in _PERIODS if rule.get(period)]
    return ", ".join(counted) or "everything"
