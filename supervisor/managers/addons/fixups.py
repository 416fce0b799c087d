"""What helps an add-on in trouble (host contract §6)."""

from __future__ import annotations

import attrs

from supervisor.errors import Internal, NotFound
from supervisor.events import AddonState
from supervisor.managers.resolution import ContextType, Fixup, Suggestion, SuggestionType

from .addon import Addon
from .manager import AddonManager
from .ports import published_ports

REPAIR_ATTEMPTS = 5
STAY_SECONDS = 1.0


@attrs.frozen
class AddonFixups:
    """An add-on that is no longer installed needs no help."""

    _addons: AddonManager

    def fixups(self) -> list[Fixup]:
        addon = ContextType.ADDON
        return [
            Fixup(addon, SuggestionType.CLEAR_PORT_CONFIG, self._clear_port),
            Fixup(addon, SuggestionType.DISABLE_BOOT, self._disable_boot),
            Fixup(addon, SuggestionType.EXECUTE_REBUILD, self._rebuild),
            Fixup(addon, SuggestionType.EXECUTE_REMOVE, self._remove),
            Fixup(addon, SuggestionType.EXECUTE_REPAIR, self._repair, auto=True, attempts=REPAIR_ATTEMPTS, online=True),
            Fixup(addon, SuggestionType.EXECUTE_RESTART, self._restart),
            Fixup(addon, SuggestionType.EXECUTE_START, self._start),
            Fixup(addon, SuggestionType.EXECUTE_STOP, self._stop),
        ]

    def _of(self, suggestion: Suggestion) -> Addon | None:
        return self._addons.registry.installed.get(suggestion.reference or "")

    async def _clear_port(self, suggestion: Suggestion) -> None:
        """Publish the taken port no longer, and start the add-on without it."""
        addon = self._of(suggestion)
        if addon is None:
            return
        taken = (suggestion.reference_extra or {}).get("port")
        choices = dict(addon.record.network or {})
        for port, host in published_ports(addon.ports).items():
            if host == taken:
                choices[port] = None
        await self._addons.set_options(addon, {"network": choices})
        await self._started(addon)

    async def _disable_boot(self, suggestion: Suggestion) -> None:
        if (addon := self._of(suggestion)) is not None:
            await self._addons.set_options(addon, {"boot": "manual"})

    async def _rebuild(self, suggestion: Suggestion) -> None:
        """Make the container anew; one that does not run just goes, the next start makes another."""
        addon = self._of(suggestion)
        if addon is None:
            return
        if addon.running:
            await self._addons.runner.restart(addon)
            await self._settled(addon)
        elif addon.container_id is not None:
            await self._addons.runner.pause(addon)

    async def _remove(self, suggestion: Suggestion) -> None:
        if (addon := self._of(suggestion)) is not None:
            try:
                await self._addons.installer.uninstall(addon.slug, remove_config=False)
            except NotFound:
                return

    async def _repair(self, suggestion: Suggestion) -> None:
        if (addon := self._of(suggestion)) is not None:
            await self._addons.repairs.repair(addon)

    async def _restart(self, suggestion: Suggestion) -> None:
        if (addon := self._of(suggestion)) is not None:
            await self._addons.runner.restart(addon)
            await self._settled(addon)

    async def _start(self, suggestion: Suggestion) -> None:
        if (addon := self._of(suggestion)) is not None:
            await self._started(addon)

    async def _stop(self, suggestion: Suggestion) -> None:
        if (addon := self._of(suggestion)) is not None:
            await self._addons.runner.stop(addon)

    async def _started(self, addon: Addon) -> None:
        await self._addons.runner.start(addon)
        await self._settled(addon)

    async def _settled(self, addon: Addon) -> None:
        await self._addons.runner.settled(addon)
        # What ends as soon as it has begun is no remedy, and the engine may tell of its end only after its start.
        await addon.stays(STAY_SECONDS)
        if addon.running:
            # A busy engine tells of it much later, but answers truly.
            await self._addons.runner.attach(addon)
        if addon.state in (AddonState.ERROR, AddonState.UNKNOWN):
            raise Internal(f"Add-on {addon.slug} was started and did not stay: its log tells why")
