"""Turns values of an answer into the cells and lines that people read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from supervisor.cli import text
from supervisor.model.amounts import size_text


@attrs.frozen
class Column:
    """One column: its title, where its value comes from, and how it may shrink on a narrow terminal.

    A flexible column is cut short there; one that `wraps` takes more lines instead, for what has to be read to its end:
    lines below its row, when it is the last one and little room is left beside the others.
    """

    title: str
    value: str | Callable[[Mapping[str, Any]], object]
    flexible: bool = False
    right: bool = False
    wraps: bool = False

    def of(self, row: Mapping[str, Any]) -> str:
        value = row.get(self.value) if isinstance(self.value, str) else self.value(row)
        return show(value)


@attrs.frozen
class Field:
    """One line of a record: its label, and where its value comes from; an empty optional line is left out."""

    label: str
    value: str | Callable[[Mapping[str, Any]], object]
    optional: bool = False


def show(value: object) -> str:
    """Return a value as one safe line for people."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(show(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return text.line(json.dumps(value, ensure_ascii=False, default=str)) if value else "-"
    return text.line(str(value))


def moment(value: object, zone: object = None) -> str:
    """Return a time as people read it, to the second: in the time zone of that name, else in that of this machine."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - most commands show no time, and start sooner without it

    try:
        told = datetime.fromisoformat(str(value))
        if told.tzinfo is not None:
            told = told.astimezone(ZoneInfo(str(zone)) if zone else None)
    except (ValueError, OverflowError, OSError, KeyError):
        # It is shown as it was told, whatever it is; KeyError stands for a time zone that this machine does not know.
        return show(value)
    return told.strftime("%Y-%m-%d %H:%M:%S")


def counted(number: object, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def size(value: object) -> str:
    """Return a number of bytes as people read it."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "-"
    return size_text(value)
