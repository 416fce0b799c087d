"""Entries of `addons.json` that make no sense: kept in a file of their own before the next save drops them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import voluptuous as vol

from supervisor.events import EventBus, StateEntryRefused
from supervisor.state import StateFile

REFUSED_SCHEMA = vol.Schema({vol.Optional("entries", default=list): [dict]}, extra=vol.REMOVE_EXTRA)


class RefusedEntries:
    """The file only grows: whoever knows what an entry means can put it back by hand.

    `path` is the file that the entries come from.
    """

    def __init__(self, path: Path, bus: EventBus) -> None:
        self._path = path
        self._bus = bus
        self._file = StateFile(path.with_suffix(".refused.json"), REFUSED_SCHEMA, bus)

    async def keep(self, slug: str, user: object, system: object, reason: str) -> None:
        """Write an entry down, once, and tell of it.

        Raises:
            Internal: the disk refused; the entry is only where it was.
        """
        entries: list[dict[str, Any]] = (await self._file.load())["entries"]
        found = {"slug": slug, "user": user, "system": system}
        if not any({key: known.get(key) for key in found} == found for known in entries):
            entry = {**found, "reason": reason, "when": datetime.now(UTC).isoformat()}
            await self._file.save({"entries": [*entries, entry]})
        self._bus.publish(StateEntryRefused(self._path, slug, self._file.path, reason))
