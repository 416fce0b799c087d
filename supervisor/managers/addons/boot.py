"""Starts add-ons when the machine boots, stops them when it goes down (add-on contract §3.10)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from supervisor.errors import Busy, SupervisorError
from supervisor.events import AddonState
from supervisor.managers.resolution import (
    ContextType,
    IssueType,
    Resolution,
    SuggestionType,
    UnhealthyReason,
)
from supervisor.model.manifest import AddonBoot, AddonStartup

from .addon import Addon
from .registry import AddonRegistry
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)

# Programs come before what they rest on; one-shots that still run are programs, too.
_STOP_BEFORE_CORE = (AddonStartup.ONCE, AddonStartup.APPLICATION)
_STOP_AFTER_CORE = (AddonStartup.SERVICES, AddonStartup.SYSTEM, AddonStartup.INITIALIZE)


class AddonBooter:
    def __init__(self, registry: AddonRegistry, runner: AddonRunner, resolution: Resolution) -> None:
        self._registry = registry
        self._runner = runner
        self._resolution = resolution
        # Whose images are being fetched, and those of them that a stage would have started.
        self._awaited: set[str] = set()
        self._late: set[str] = set()

    async def boot(self, stage: AddonStartup, *, at_least_seconds: float) -> None:
        """Start the add-ons of one boot stage, one after the other, and wait until each start is decided.

        The stage lasts `at_least_seconds` when it starts anything.
        """
        addons = [
            addon
            for addon in self._registry.installed.values()
            if addon.manifest.startup == stage and addon.boot == AddonBoot.AUTO and self._safe(addon)
        ]
        # Those that outlived a restart of the daemon alone are as they should be.
        addons = [addon for addon in addons if not addon.running]
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

    def await_image(self, addon: Addon) -> None:
        """Don't let a stage wait for this add-on: its image is being fetched, and `catch_up` follows."""
        self._awaited.add(addon.slug)

    async def catch_up(self, addon: Addon, *, image_present: bool) -> None:
        """Start an add-on whose stage could not wait for its image; any other is left alone."""
        self._awaited.discard(addon.slug)
        if addon.slug not in self._late:
            return
        self._late.discard(addon.slug)
        if image_present:
            await self._start([addon], 0)
        else:
            self._failed(addon)

    async def shutdown(self, stop_core: Callable[[], Awaitable[object]] | None = None) -> None:
        """Stop every running add-on before the machine goes down, one after the other; they start at the next boot.

        `stop_core` stops Home Assistant when its turn has come.
        """
        await self._pause_stages(_STOP_BEFORE_CORE)
        if stop_core is not None:
            await stop_core()
        await self._pause_stages(_STOP_AFTER_CORE)

    async def _pause_stages(self, stages: Iterable[AddonStartup]) -> None:
        for stage in stages:
            for addon in list(self._registry.installed.values()):
                if addon.manifest.startup == stage and addon.running:
                    try:
                        await self._runner.pause(addon)
                    except SupervisorError as err:
                        _LOGGER.error("%s: did not stop: %s", addon.slug, err, extra={"ADDON": addon.slug})

    async def _start(self, addons: Iterable[Addon], at_least_seconds: float) -> None:
        started = []
        for addon in addons:
            if addon.slug in self._awaited:
                _LOGGER.info("%s: starts when its image is here", addon.slug)
                self._late.add(addon.slug)
                continue
            if not self._installed(addon):
                continue
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

    def _safe(self, addon: Addon) -> bool:
        """Tell whether the add-on may be booted: on the host's network only while the gateway is protected."""
        if addon.manifest.host_network and UnhealthyReason.DOCKER_GATEWAY_UNPROTECTED in self._resolution.unhealthy:
            _LOGGER.error("%s: is not started, as the network is not protected", addon.slug)
            return False
        return True

    def _installed(self, addon: Addon) -> bool:
        """Tell whether the add-on is still here: a stage takes its time, and somebody may remove what is in it."""
        return self._registry.installed.get(addon.slug) is addon

    def _failed(self, addon: Addon) -> None:
        if not self._installed(addon):
            return
        self._resolution.raise_issue(
            IssueType.BOOT_FAIL,
            ContextType.ADDON,
            reference=addon.slug,
            suggestions=(SuggestionType.EXECUTE_START, SuggestionType.DISABLE_BOOT),
        )
