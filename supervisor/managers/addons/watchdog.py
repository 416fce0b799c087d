"""Brings back add-ons that end or get sick although they should run (add-on contract §3.8)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

import attrs

from supervisor.errors import ADDON_PORT_CONFLICT, SupervisorError
from supervisor.events import AddonRemoved, AddonState, ContainerState, ContainerStateChanged, EventBus
from supervisor.jobs import JobManager
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType
from supervisor.model.manifest import AddonStartup
from supervisor.tasks import end

from .addon import Addon
from .registry import AddonRegistry
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)

ATTEMPTS = 5
FIRST_DELAY_SECONDS = 10.0
MAX_DOUBLINGS = 3
RATE_LIMIT = 10
RATE_PERIOD_SECONDS = 1800.0
# An add-on that ran for so long has got over its trouble.
STABLE_SECONDS = 300.0
TROUBLE = (ContainerState.FAILED, ContainerState.STOPPED, ContainerState.UNHEALTHY)
_LIVELY = (ContainerState.RUNNING, ContainerState.HEALTHY)


@attrs.define(eq=False)
class _Troubled:
    """An add-on that was rescued lately.

    `recent` are the times of the rescues, `row` how many came since it last ran stably; `calm` ends the row.
    """

    recent: deque[float] = attrs.field(factory=lambda: deque(maxlen=RATE_LIMIT))
    row: int = 0
    calm: asyncio.TimerHandle | None = None

    def within_rate(self) -> bool:
        now = time.monotonic()
        if len(self.recent) == RATE_LIMIT and now - self.recent[0] < RATE_PERIOD_SECONDS:
            return False
        self.recent.append(now)
        return True

    def end_calm(self) -> None:
        if self.calm is not None:
            self.calm.cancel()
            self.calm = None


class ContainerWatchdog:
    """For add-ons whose user switched it on. Gives up after five attempts in a row, or ten rescues in half an hour.

    One that keeps falling over although each rescue worked is brought back with growing pauses. Whoever does so five
    times, or is given up, is an issue until it ran for `stable_after` seconds.
    """

    def __init__(
        self,
        bus: EventBus,
        jobs: JobManager,
        registry: AddonRegistry,
        runner: AddonRunner,
        resolution: Resolution,
        *,
        first_delay: float = FIRST_DELAY_SECONDS,
        stable_after: float = STABLE_SECONDS,
    ) -> None:
        self._bus = bus
        self._jobs = jobs
        self._registry = registry
        self._runner = runner
        self._resolution = resolution
        self._first_delay = first_delay
        self._stable_after = stable_after
        self._rescues: dict[str, asyncio.Task[None]] = {}
        self._troubled: dict[str, _Troubled] = {}
        self._unsubscribe = [
            bus.subscribe(ContainerStateChanged, self._container_changed),
            bus.subscribe(AddonRemoved, self._removed),
        ]

    async def stop(self) -> None:
        """End every rescue; containers stay as they are."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        for troubled in self._troubled.values():
            troubled.end_calm()
        await end(self._rescues.values())

    def review(self) -> None:
        """Rescue what got into trouble while no daemon watched; the machine has run on since."""
        for addon in self._registry.installed.values():
            state = _trouble_of(addon)
            if state is not None and addon.container_id is not None and addon.record.should_run:
                addon.seen_running = True
                if self._watched(addon) and addon.slug not in self._rescues:
                    event = ContainerStateChanged(
                        addon.container_name, addon.container_id, state, time.time(), addon.last_exit_code
                    )
                    self._begin_rescue(addon, event)

    def _container_changed(self, event: ContainerStateChanged) -> None:
        addon = self._registry.by_container(event.name)
        if addon is None:
            return
        troubled = self._troubled.get(addon.slug)
        if troubled is not None and event.state in (*_LIVELY, *TROUBLE):
            troubled.end_calm()
            if event.state in _LIVELY:
                loop = asyncio.get_running_loop()
                troubled.calm = loop.call_later(self._stable_after, self._stable, addon.slug)
        if event.state in TROUBLE and self._watched(addon) and addon.slug not in self._rescues:
            self._begin_rescue(addon, event)

    def _begin_rescue(self, addon: Addon, event: ContainerStateChanged) -> None:
        troubled = self._troubled.setdefault(addon.slug, _Troubled())
        if not troubled.within_rate():
            _LOGGER.critical("%s: rescued %d times in half an hour; the watchdog lets it be", addon.slug, RATE_LIMIT)
            self._report(addon, event)
            return
        pause = self._pause(troubled.row) if troubled.row else 0.0
        if troubled.row >= ATTEMPTS:
            self._report(addon, event)
        troubled.row += 1
        task = self._jobs.begin(self._guarded(addon, event, pause), name=f"rescue of {addon.slug}")
        self._rescues[addon.slug] = task
        task.add_done_callback(lambda _: self._end_rescue(addon.slug, task))

    def _end_rescue(self, slug: str, task: asyncio.Task[None]) -> None:
        if self._rescues.get(slug) is task:
            del self._rescues[slug]

    def _pause(self, failures: int) -> float:
        return self._first_delay * 2.0 ** min(failures - 1, MAX_DOUBLINGS)

    def _removed(self, event: AddonRemoved) -> None:
        if (troubled := self._troubled.pop(event.slug, None)) is not None:
            troubled.end_calm()
        self._resolution.dismiss_issue_of(IssueType.ADDON_CRASH_LOOP, ContextType.ADDON, event.slug)
        if (task := self._rescues.get(event.slug)) is not None:
            task.cancel()

    def _stable(self, slug: str) -> None:
        troubled = self._troubled[slug]
        troubled.calm, troubled.row = None, 0
        if (addon := self._registry.installed.get(slug)) is not None:
            addon.crash_loop = False
        self._resolution.dismiss_issue_of(IssueType.ADDON_CRASH_LOOP, ContextType.ADDON, slug)

    def _report(self, addon: Addon, event: ContainerStateChanged) -> None:
        sick = event.state == ContainerState.UNHEALTHY
        addon.crash_loop = True
        self._resolution.raise_issue(
            IssueType.ADDON_CRASH_LOOP,
            ContextType.ADDON,
            reference=addon.slug,
            extra={"exit_code": event.exit_code},
            suggestions=(SuggestionType.EXECUTE_RESTART if sick else SuggestionType.EXECUTE_START,),
        )

    def _watched(self, addon: Addon) -> bool:
        # A version on probation that fails is left, not rescued.
        on_probation = addon.slug in self._registry.kept_images
        wanted = addon.record.watchdog and addon.manifest.startup != AddonStartup.ONCE
        return wanted and addon.seen_running and not addon.stop_requested and not on_probation

    async def _guarded(self, addon: Addon, event: ContainerStateChanged, pause: float) -> None:
        task = self._rescues[addon.slug]
        try:
            await asyncio.sleep(pause)
            await self._rescue(addon, event)
        except Exception:
            _LOGGER.exception("%s: the watchdog failed", addon.slug, extra={"ADDON": addon.slug})
        finally:
            # Not left to the end of the task: news of the next fall may come before that is told.
            self._end_rescue(addon.slug, task)

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
                self._report(addon, event)
                return
            await asyncio.sleep(self._pause(attempt))

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


def _trouble_of(addon: Addon) -> ContainerState | None:
    if addon.unhealthy:
        return ContainerState.UNHEALTHY
    return {AddonState.ERROR: ContainerState.FAILED, AddonState.STOPPED: ContainerState.STOPPED}.get(addon.state)
