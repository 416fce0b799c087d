"""The whole system holds still: while a backup is made, or for a snapshot that somebody else takes (contract §16)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs

from supervisor.errors import Invalid, SupervisorError
from supervisor.events import CoreState
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.managers.addons import Addon
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.model.manifest import AddonBackup

from .quiet import CoreHooks, Quiet

_LOGGER = logging.getLogger(__name__)

LOCK: Final = "backup_manager"
RESTART_SECONDS: Final = 120.0


@attrs.frozen
class DaemonState:
    """The daemon's state, to be asked and changed."""

    get: Callable[[], CoreState]
    set: Callable[[CoreState], Awaitable[None]]


@attrs.define
class _Frozen:
    """A freeze that somebody asked for. `woken` is set when it shall end."""

    seconds: float
    woken: asyncio.Event = attrs.field(factory=asyncio.Event)
    settled: asyncio.Event = attrs.field(factory=asyncio.Event)
    addons: list[Addon] = attrs.field(factory=list)
    core: bool = False


class Freezer:
    def __init__(
        self, state: DaemonState, jobs: JobManager, registry: AddonRegistry, quiet: Quiet, core_hooks: CoreHooks
    ) -> None:
        self._state = state
        self._jobs = jobs
        self._registry = registry
        self._quiet = quiet
        self._core_hooks = core_hooks
        self._frozen: _Frozen | None = None
        self._waiter: asyncio.Task[None] | None = None

    @property
    def is_frozen(self) -> bool:
        return self._state.get() is CoreState.FREEZE

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Keep the daemon in state freeze inside the block."""
        await self._state.set(CoreState.FREEZE)
        try:
            yield
        finally:
            await asyncio.shield(self._back())

    async def _back(self) -> None:
        # A daemon that ends meanwhile is not called back to life.
        if self.is_frozen:
            await self._state.set(CoreState.RUNNING)
            # Who could not go on with the disk full of half a backup may do so now.
            await self._quiet.wake_left()

    async def freeze(self, seconds: float) -> None:
        """Make everything quiet until `thaw`, or until the time is over.

        Raises:
            Blocked, Busy: the daemon is busy with something else.
            SupervisorError: somebody refused to be quiet; everything is woken again.
        """
        async with self._jobs.run("backup_manager_freeze_all", conditions=(JobCondition.RUNNING,), lock=LOCK) as job:
            await self._state.set(CoreState.FREEZE)
            frozen = self._frozen = _Frozen(seconds)
            # It waits from now on, so that whatever happens next there is an end.
            self._waiter = self._jobs.begin(self._thaw_in_time(frozen), name="thaw")
            try:
                job.stage("home_assistant")
                frozen.core = await self._core_hooks.begin()
                job.stage("addons")
                running = [addon for addon in self._registry.installed.values() if addon.running]
                async with asyncio.TaskGroup() as group:
                    for addon in running:
                        group.create_task(self._begin(addon, frozen))
            except BaseExceptionGroup as err:
                frozen.woken.set()
                raise err.exceptions[0] from err
            except BaseException:
                frozen.woken.set()
                raise
            finally:
                frozen.settled.set()

    async def _begin(self, addon: Addon, frozen: _Frozen) -> None:
        async with self._jobs.run("app_begin_backup", reference=addon.slug, lock=addon.lock):
            if await self._quiet.begin(addon):
                frozen.addons.append(addon)

    async def thaw(self) -> None:
        """End the freeze that was asked for, and wait until all go on.

        Raises:
            Blocked: nothing is frozen.
            Invalid: a backup or a restore keeps the system frozen.
        """
        async with self._jobs.run("backup_manager_signal_thaw", conditions=(JobCondition.FROZEN,), internal=True):
            if self._frozen is None or self._waiter is None:
                raise Invalid("Freeze was not initiated by freeze API, cannot thaw this way")
            self._frozen.woken.set()
            await asyncio.shield(self._waiter)

    async def stop(self) -> None:
        """Give up waiting; who is quiet is woken at the next start."""
        if self._waiter is not None:
            self._waiter.cancel()
            await asyncio.gather(self._waiter, return_exceptions=True)

    async def _thaw_in_time(self, frozen: _Frozen) -> None:
        try:
            async with asyncio.timeout(frozen.seconds):
                await frozen.woken.wait()
        except TimeoutError:
            _LOGGER.warning("Nobody ended the freeze in %.0f s; everything goes on by itself", frozen.seconds)
        await frozen.settled.wait()
        async with self._jobs.run("backup_manager_thaw_all") as job:
            try:
                await self._wake(frozen, job)
            finally:
                self._frozen = self._waiter = None
                await self._back()
            job.stage("await_addon_restarts")
            cold = [addon for addon in frozen.addons if addon.manifest.backup is AddonBackup.COLD]
            await asyncio.gather(*(addon.settle(RESTART_SECONDS) for addon in cold))

    async def _wake(self, frozen: _Frozen, job: Job) -> None:
        job.stage("home_assistant")
        if frozen.core:
            await self._core_hooks.end()
        job.stage("addons")
        for addon in frozen.addons:
            try:
                await self._quiet.end(addon)
            except SupervisorError as err:
                _LOGGER.error("%s: does not go on after the freeze: %s", addon.slug, err, extra={"ADDON": addon.slug})
