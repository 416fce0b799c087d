"""Add-ons and Core hold still while they are saved (backup contract §9, §10, §16).

What was made quiet is written down first, so that after a crash it is woken again.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Protocol

import voluptuous as vol

from supervisor.errors import SupervisorError
from supervisor.managers.addons import Addon
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.state import StateFile

_LOGGER = logging.getLogger(__name__)


class AddonHooks(Protocol):
    """How an add-on is made quiet and woken."""

    async def begin(self, addon: Addon) -> bool:
        """Make a running add-on quiet; tell whether `end` has to follow.

        Raises:
            SupervisorError: it refused; `end` is not wanted then.
        """
        ...

    async def end(self, addon: Addon) -> object:
        """Wake it again."""
        ...


class CoreHooks(Protocol):
    """How Home Assistant Core is made quiet and woken."""

    async def begin(self) -> bool:
        """Let Core pause what writes; tell whether `end` has to follow.

        Raises:
            HomeAssistantBackupError: it can't be told.
        """
        ...

    async def end(self) -> None:
        """Let Core go on; what it answers is only logged."""
        ...


class NoCore:
    """There is no Core to be told."""

    async def begin(self) -> bool:
        return False

    async def end(self) -> None:
        return


QUIET_SCHEMA = vol.Schema({vol.Optional("addons", default=list): [str]}, extra=vol.REMOVE_EXTRA)


class Quiet:
    """Knows who is quiet now. `wake_left` wakes whom a daemon that died left quiet."""

    def __init__(self, state: StateFile, hooks: AddonHooks, registry: AddonRegistry) -> None:
        self._state = state
        self._hooks = hooks
        self._registry = registry
        self._quiet: list[str] = []
        self._left: list[str] = []

    async def load(self) -> None:
        stored: dict[str, Any] = await self._state.load()
        self._left = list(stored["addons"])

    async def begin(self, addon: Addon) -> bool:
        """Make an add-on quiet; True when it has to be woken again."""
        if addon.slug in self._quiet or not addon.running:
            return False
        self._quiet.append(addon.slug)
        try:
            await self._save()
            begun = await self._hooks.begin(addon)
        except BaseException:
            await self._forget(addon.slug)
            raise
        if not begun:
            await self._forget(addon.slug)
        return begun

    async def end(self, addon: Addon) -> None:
        try:
            await self._hooks.end(addon)
        finally:
            await self._forget(addon.slug)

    async def wake_left(self) -> None:
        """Wake what the last run of the daemon left quiet; needs the engine."""
        left, self._left = self._left, []
        for slug in left:
            addon = self._registry.installed.get(slug)
            if addon is None or slug in self._quiet:
                continue
            _LOGGER.warning("%s: is woken from a backup that was cut off", slug, extra={"ADDON": slug})
            try:
                await self._hooks.end(addon)
            except SupervisorError as err:
                _LOGGER.error("%s: does not go on after its backup: %s", slug, err, extra={"ADDON": slug})
        if left:
            await self._save()

    async def _forget(self, slug: str) -> None:
        with suppress(ValueError):
            self._quiet.remove(slug)
        await self._save()

    async def _save(self) -> None:
        await self._state.save({"addons": [*self._quiet, *self._left]})
