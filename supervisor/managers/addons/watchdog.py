"""Brings back add-ons that end or get sick although they should run (add-on contract §3.8)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

from supervisor.errors import ADDON_PORT_CONFLICT, SupervisorError
from supervisor.events import AddonRemoved, AddonState, ContainerState, ContainerStateChanged, EventBus
from supervisor.jobs import JobManager
from supervisor.model.manifest import AddonStartup

from .addon import Addon
from .registry import AddonRegistry
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)

ATTEMPTS = 5
FIRST_DELAY_SECONDS = 10.0
RATE_LIMIT = 10
RATE_PERIOD_SECONDS = 1800.0
TROUBLE = (ContainerState.FAILED, ContainerState.STOPPED, ContainerState.UNHEALTHY)


class ContainerWatchdog:
    """For add-ons whose user switched it on. Gives up after five attempts in a row, or ten rescues in half an hour."""

    def __init__(
        self,
        bus: EventBus,
        jobs: JobManager,
        registry: AddonRegistry,
        runner: AddonRunner,
        *,
        first_delay: float = FIRST_DELAY_SECONDS,
    ) -> None:
        self._bus = bus
        self._jobs = jobs
        self._registry = registry
        self._runner = runner
        self._first_delay = first_delay
        self._rescues: dict[str, asyncio.Task[None]] = {}
        self._recent: dict[str, deque[float]] = {}
        self._unsubscribe = [
            bus.subscribe(ContainerStateChanged, self._container_changed),
            bus.subscribe(AddonRemoved, self._removed),
        ]

    async def stop(self) -> None:
        """End every rescue; containers stay as they are."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        rescues = list(self._rescues.values())
        for task in rescues:
            task.cancel()
        await asyncio.gather(*rescues, return_exceptions=True)

    def _container_changed(self, event: ContainerStateChanged) -> None:
        if event.state not in TROUBLE:
            return
        addon = self._registry.by_container(event.name)
        if addon is None or not self._watched(addon) or addon.slug in self._rescues:
            return
        if not self._within_rate(addon.slug):
            _LOGGER.critical("%s: rescued %d times in half an hour; the watchdog lets it be", addon.slug, RATE_LIMIT)
            return
        task = self._jobs.begin(self._guarded(addon, event), name=f"rescue of {addon.slug}")
        self._rescues[addon.slug] = task
        task.add_done_callback(lambda _: self._rescues.pop(addon.slug, None))

    def _removed(self, event: AddonRemoved) -> None:
        self._recent.pop(event.slug, None)
        if (task := self._rescues.get(event.slug)) is not None:
            task.cancel()

    def _watched(self, addon: Addon) -> bool:
        # A version on probation that fails is left, not rescued.
        on_probation = addon.slug in self._registry.kept_images
        wanted = addon.record.watchdog and addon.manifest.startup != AddonStartup.ONCE
        return wanted and not addon.stop_requested and not on_probation

    def _within_rate(self, slug: str) -> bool:
        now = time.monotonic()
        recent = self._recent.setdefault(slug, deque(maxlen=RATE_LIMIT))
        if len(recent) == RATE_LIMIT and now - recent[0] < RATE_PERIOD_SECONDS:
            return False
        recent.append(now)
        return True

    async def _guarded(self, addon: Addon, event: ContainerStateChanged) -> None:
        try:
            await self._rescue(addon, event)
        except Exception:
            _LOGGER.exception("%s: the watchdog failed", addon.slug, extra={"ADDON": addon.slug})

    async def _rescue(self, addon: Addon, event: ContainerStateChanged) -> None:
        """Try until the trouble is over, with growing pauses."""
        attempt = 0
        while self._watched(addon) and self._still(addon, event.state):
            if self._jobs.busy(addon.lock):
                await asyncio.sleep(self._first_delay)
                continue
            attempt += 1
            _LOGGER.warning(
                "%s: %s (exit code %s), attempt %d of %d to bring it back",
                addon.slug,
                event.state.value,
                event.exit_code,
                attempt,
                ATTEMPTS,
                extra={"ADDON": addon.slug},
            )
            try:
                async with self._jobs.run("app_restart_after_problem", reference=addon.slug, internal=True):
                    await self._bring_back(addon, event.state)
            except SupervisorError as err:
                _LOGGER.error("%s: bringing it back failed: %s", addon.slug, err)
                if err.key == ADDON_PORT_CONFLICT.key:
                    return
            if not self._still(addon, event.state):
                return
            if attempt == ATTEMPTS:
                _LOGGER.critical("%s: not brought back in %d attempts; the watchdog gives up", addon.slug, ATTEMPTS)
                return
            await asyncio.sleep(self._first_delay * 2 ** (attempt - 1))

    async def _bring_back(self, addon: Addon, trouble: ContainerState) -> None:
        if trouble == ContainerState.FAILED:
            await self._runner.start(addon)
        else:
            await self._runner.restart(addon)
        await self._runner.settled(addon)

    def _still(self, addon: Addon, trouble: ContainerState) -> bool:
        if trouble == ContainerState.UNHEALTHY:
            return addon.unhealthy
        return addon.state in (AddonState.ERROR, AddonState.STOPPED)
