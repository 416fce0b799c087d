"""What is being done to which add-on, written down before it begins, so that a crash in the middle can be mended."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs
import voluptuous as vol

from supervisor.state import StateFile


class Action(StrEnum):
    INSTALL = "install"
    UPDATE = "update"
    UNINSTALL = "uninstall"
    ROLLBACK = "rollback"


@attrs.frozen
class Intent:
    """What the work may leave over, or must bring back, when it is cut off.

    `images` may be left over. `was_running` tells whether the add-on ran before an update. `keep_data` spares a data
    folder that was there before an installation.
    """

    slug: str
    action: Action
    images: tuple[str, ...] = ()
    was_running: bool = False
    remove_config: bool = False
    keep_data: bool = False


INTENTS_SCHEMA = vol.Schema(
    {
        vol.Optional("intents", default=dict): {
            str: vol.Schema(
                {
                    vol.Required("action"): vol.In([action.value for action in Action]),
                    vol.Optional("images", default=list): [str],
                    vol.Optional("was_running", default=False): bool,
                    vol.Optional("remove_config", default=False): bool,
                    vol.Optional("keep_data", default=False): bool,
                },
                extra=vol.REMOVE_EXTRA,
            )
        }
    },
    extra=vol.REMOVE_EXTRA,
)


class Intents:
    """At most one for each add-on: the add-on's lock is held from `begin` to `end`."""

    def __init__(self, state: StateFile) -> None:
        self._state = state
        self._intents: dict[str, Intent] = {}

    async def load(self) -> None:
        stored: dict[str, dict[str, Any]] = (await self._state.load())["intents"]
        self._intents = {
            slug: Intent(
                slug,
                Action(entry["action"]),
                tuple(entry["images"]),
                was_running=entry["was_running"],
                remove_config=entry["remove_config"],
                keep_data=entry["keep_data"],
            )
            for slug, entry in stored.items()
        }

    @property
    def open(self) -> tuple[Intent, ...]:
        return tuple(self._intents.values())

    async def begin(self, intent: Intent) -> None:
        """Write the intent down; when this returns it survives a crash."""
        self._intents[intent.slug] = intent
        await self._save()

    async def end(self, slug: str) -> None:
        """The work is done or undone."""
        if self._intents.pop(slug, None) is not None:
            await self._save()

    async def _save(self) -> None:
        entries = {
            slug: {
                "action": intent.action.value,
                "images": list(intent.images),
                "was_running": intent.was_running,
                "remove_config": intent.remove_config,
                "keep_data": intent.keep_data,
            }
            for slug, intent in self._intents.items()
        }
        await self._state.save({"intents": entries})
