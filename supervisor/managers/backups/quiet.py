"""Add-ons and Core hold still while they are saved (backup contract §9, §10, §16).

What was made quiet is written down first, so that after a crash it is woken again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Protocol

import voluptuous as vol

from supervisor.errors import Busy, SupervisorError, Unavailable
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

    async def bring_back(self, addon: Addon) -> object:
        """Wake it when it is not known how far it came: start it if it should run, else do what `end` does."""
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
    """Knows who is quiet now.

    `wake_left` brings back whom a daemon that died left quiet, and who could not go on after a backup or a restore
    because there was no engine or no room on the disk.
    """

    def __init__(self, state: StateFile, hooks: AddonHooks, registry: AddonRegistry) -> None:
        self._state = state
        self._hooks = hooks
        self._registry = registry
        self._quiet: list[str] = []
        self._left: list[str] = []
        self._waking = asyncio.Lock()

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
        """Wake it again.

        Raises:
            SupervisorError: it does not go on now; `wake_left` tries again where that may help.
        """
        try:
            await self._hooks.end(addon)
        except SupervisorError as err:
            self.leave(addon, err)
            raise
        finally:
            await self._forget(addon.slug)

    def leave(self, addon: Addon, reason: SupervisorError) -> None:
        """Let `wake_left` bring back one that should run, if what keeps it from that may pass by itself."""
        if _passes(reason) and addon.slug not in self._left:
            self._left.append(addon.slug)

    async def wake_left(self) -> None:
        """Bring back who was left quiet; whoever must wait for longer is tried again the next time."""
        async with self._waking:
            for slug in tuple(self._left):
                if slug not in self._quiet and await self._goes_on(slug):
                    self._left.remove(slug)
                    await self._forget(slug)

    async def _goes_on(self, slug: str) -> bool:
        """Tell whether nothing more can be done for it."""
        addon = self._registry.installed.get(slug)
        if addon is None:
            return True
        try:
            await self._hooks.bring_back(addon)
        except SupervisorError as err:
            if _passes(err):
                _LOGGER.debug("%s: still can't go on: %s", slug, err)
                return False
            _LOGGER.error("%s: does not go on after its backup: %s", slug, err, extra={"ADDON": slug})
        else:
            _LOGGER.warning("%s: was left quiet and goes on", slug, extra={"ADDON": slug})
        return True

    async def _forget(self, slug: str) -> None:
        with suppress(ValueError):
            self._quiet.remove(slug)
        try:
            await self._save()
        except SupervisorError as err:
            # Who is awake and counts as quiet is woken once more at the next start.
            _LOGGER.warning("Who is quiet can't be written down: %s", err)

    async def _save(self) -> None:
        await self._state.save({"addons": [*self._quiet, *self._left]})


def _passes(err: SupervisorError) -> bool:
    """Tell whether it may be better in a while: the engine was away or busy with it, or the disk was full."""
    return isinstance(err, Unavailable | Busy) or isinstance(err.__cause__, OSError)
