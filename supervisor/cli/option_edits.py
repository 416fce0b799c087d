"""Changes a tree of add-on options as `--set key.sub=value` and `--unset key` ask for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import click

from supervisor.cli.output import load_yaml


def apply(options: dict[str, Any], assignments: Sequence[str], removals: Sequence[str]) -> dict[str, Any]:
    """Return a changed copy of `options`. Dots lead into mappings, numbers into lists; values are YAML.

    Raises:
        click.UsageError: an assignment that can't be read, or leads through something that has no inside.
    """
    changed = copy.deepcopy(options)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set wants KEY=VALUE, not {assignment!r}")
        _place(changed, key, parse_value(value))
    for key in removals:
        _remove(changed, key)
    return changed


def parse_value(value: str) -> Any:
    """Read a value as YAML: `true`, `42`, `[a, b]`; what YAML can't read is the text itself."""
    try:
        return load_yaml(value) if value else ""
    except ValueError:
        return value


def parse_document(document: str, source: str) -> dict[str, Any]:
    """Read a whole options file (YAML or JSON).

    Raises:
        click.UsageError: it is not a mapping.
    """
    try:
        data = load_yaml(document)
    except ValueError as err:
        raise click.UsageError(f"{source} is neither YAML nor JSON: {err}") from err
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise click.UsageError(f"{source} must hold a mapping of options")
    return data


def _place(root: dict[str, Any], key: str, value: Any) -> None:
    parts = key.split(".")
    inside: Any = root
    for depth, part in enumerate(parts[:-1]):
        if isinstance(inside, dict):
            inside = inside.setdefault(part, {})
        else:
            inside = inside[_index(inside, part, ".".join(parts[:depth]), grow=False)]
    last = parts[-1]
    if isinstance(inside, dict):
        inside[last] = value
        return
    index = _index(inside, last, ".".join(parts[:-1]), grow=True)
    inside[index : index + 1] = [value]


def _remove(root: dict[str, Any], key: str) -> None:
    *parents, last = key.split(".")
    inside: Any = root
    for depth, part in enumerate(parents):
        if isinstance(inside, dict):
            if part not in inside:
                raise click.UsageError(f"there is no option {key}")
            inside = inside[part]
        else:
            inside = inside[_index(inside, part, ".".join(parents[:depth]), grow=False)]
    if isinstance(inside, dict):
        if last not in inside:
            raise click.UsageError(f"there is no option {key}")
        del inside[last]
    else:
        del inside[_index(inside, last, ".".join(parents), grow=False)]


def _index(inside: Any, part: str, where: str, *, grow: bool) -> int:
    """Return `part` as a position in the list `inside`; with `grow`, one behind its end is a position too."""
    if not isinstance(inside, list):
        raise click.UsageError(f"option {where} is neither a mapping nor a list: nothing is inside it")
    limit = len(inside) + (1 if grow else 0)
    if not (part.isascii() and part.isdigit()) or len(part) > 9 or int(part) >= limit:
        raise click.UsageError(f"option {where} is a list of {len(inside)}: {part} is not a position in it")
    return int(part)
