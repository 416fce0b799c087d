"""Starts add-ons when the machine boots, stops them when it goes down (add-on contract §3.10)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from supervisor.errors import Busy, SupervisorError
from supervisor.events import AddonState
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType
from supervisor.model.manifest import AddonBoot, AddonStartup

from .addon import Addon
from .registry import AddonRegistry
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)


class AddonBooter:
    def __init__(self, registry: AddonRegistry, runner: AddonRunner, resolution: Resolution) -> None:
        self._registry = registry
        self._runner = runner
        self._resolution = resolution

    async def boot(self, stage: AddonStartup, *, at_least_seconds: float) -> None:
        """Start the add-ons of one boot stage, one after the other, and wait until each start is decided.

        The stage lasts `at_least_seconds` when it starts anything.
        """
        addons = [
            addon
            for addon in self._registry.installed.values()
            if addon.manifest.startup == stage and addon.boot == AddonBoot.AUTO
        ]
        if addons:
            _LOGGER.info("Starting %d add-ons of stage %s", len(addons), stage.value)
            await self._start(addons, at_least_seconds)

    async def resume(self, *, cut_off_only: bool = False) -> None:
        """Start what should run and does not, in the order of the stages: the engine went down under it.

        `cut_off_only` starts only what has no container at all, which is how a daemon that died in the middle of a
        start or restart leaves an add-on; one that ended by itself still has its container.
        """
        for stage in AddonStartup:
            addons = [
                addon
                for addon in self._registry.installed.values()
                if addon.manifest.startup == stage
                and stage != AddonStartup.ONCE
                and addon.record.should_run
                and not addon.running
                and not self._runner.busy(addon)
                and not (cut_off_only and addon.container_id is not None)
            ]
            if addons:
                _LOGGER.info("Starting %d add-ons of stage %s that ran before", len(addons), stage.value)
                await self._start(addons, 0)

    async def _start(self, addons: Iterable[Addon], at_least_seconds: float) -> None:
        started = []
        for addon in addons:
            try:
                await self._runner.start(addon)
                started.append(addon)
            except Busy:
                _LOGGER.debug("%s: somebody else is at it, such as the watchdog", addon.slug)
                started.append(addon)
            except SupervisorError as err:
                _LOGGER.error("%s: did not start at boot: %s", addon.slug, err, extra={"ADDON": addon.slug})
                self._failed(addon)
        waits = [self._runner.settled(addon) for addon in started]
        await asyncio.gather(asyncio.sleep(at_least_seconds), *waits)
        for addon in started:
            if addon.state in (AddonState.ERROR, AddonState.UNKNOWN):
                self._failed(addon)

    async def shutdown(self, stage: AddonStartup) -> None:
        """Stop the running add-ons of one stage before the machine goes down; they start again at the next boot."""
        for addon in self._registry.installed.values():
            if addon.manifest.startup == stage and addon.running:
                try:
                    await self._runner.pause(addon)
                except SupervisorError as err:
                    _LOGGER.error("%s: did not stop: %s", addon.slug, err, extra={"ADDON": addon.slug})

    def _failed(self, addon: Addon) -> None:
        self._resolution.raise_issue(
            IssueType.BOOT_FAIL,
            ContextType.ADDON,
            reference=addon.slug,
            suggestions=(SuggestionType.EXECUTE_START, SuggestionType.DISABLE_BOOT),
        )
