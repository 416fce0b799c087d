"""Reads the daemon's answers without trusting their shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.cli.failures import ExitCode, Failure


def mappings(data: object, key: str | None = None) -> list[Mapping[str, Any]]:
    """Return the list of objects in an answer; the API sends an empty object in place of an empty list."""
    found = data.get(key) if key is not None and isinstance(data, Mapping) else data
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def mapping(data: object) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {}


def short(row: Mapping[str, Any]) -> str:
    """Return the beginning of a row's UUID: what tables show, and enough for every command that takes one."""
    return str(row.get("uuid") or "")[:12]


def match_uuid(given: str, known: Sequence[str], what: str) -> str:
    """Return the full identifier that `given` is, or is the unambiguous beginning of.

    Raises:
        Failure: none begins like that, or several do.
    """
    wanted = given.replace("-", "").lower()
    found = [uuid for uuid in known if uuid.replace("-", "").lower().startswith(wanted)]
    if len(found) > 1 and wanted not in found:
        raise Failure(f"{given} is the beginning of {len(found)} identifiers: type more of it", ExitCode.USAGE)
    if not found or not wanted:
        raise Failure(f"no {what} {given}", ExitCode.NOT_FOUND)
    return wanted if wanted in found else found[0]
