"""What starts and stops, and in which order (API contract §9)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.instance import engine_run
from supervisor.drivers.systemd import Notifier
from supervisor.errors import Conflict, SupervisorError
from supervisor.events import CoreState, CoreStateChanged, EngineAvailabilityChanged, EventBus
from supervisor.managers.addons import AddonManager
from supervisor.managers.configuration import Configuration
from supervisor.managers.host import Host
from supervisor.managers.resolution import Resolution, UnhealthyReason
from supervisor.model.manifest import AddonStartup
from supervisor.state import write_atomic
from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)

STOP_SECONDS = 10.0
EXIT_OK = 0
EXIT_CONFLICT = 1
EXIT_RESTART = 100

BOOT_STAGES = (AddonStartup.INITIALIZE, AddonStartup.SYSTEM, AddonStartup.SERVICES, AddonStartup.APPLICATION)

Step = tuple[str, Callable[[], Awaitable[object]]]


class StateKeeper:
    """The daemon's state: one object that everybody may ask, and only the lifecycle changes.

    From `show` on each change is written as a bare word to `file`, for whatever watches the daemon from outside.
    Before, the file may be another daemon's.
    """

    def __init__(self, bus: EventBus, file: Path) -> None:
        self._bus = bus
        self._file = file
        self._state = CoreState.INITIALIZE
        self._shown = False
        self._writing = asyncio.Lock()

    def __call__(self) -> CoreState:
        return self._state

    async def set(self, state: CoreState) -> None:
        """Change the state and tell everybody."""
        if state is self._state:
            return
        self._state = state
        _LOGGER.info("State: %s", state.value)
        if self._shown:
            await self._write()
        self._bus.publish(CoreStateChanged(state))

    async def show(self) -> None:
        """Begin to write the file: no other daemon runs here."""
        self._shown = True
        await self._write()

    async def _write(self) -> None:
        # One after the other, and always the state of the moment: of two changes at once the file tells the last.
        async with self._writing:
            with suppress(OSError):
                await asyncio.to_thread(write_atomic, self._file, self._state.value.encode(), 0o644)


class StopRequest:
    """How anybody asks for the end of the daemon; the first one to ask decides the exit code."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.exit_code = EXIT_OK

    def ask(self, exit_code: int = EXIT_OK) -> None:
        if not self.asked.is_set():
            self.exit_code = exit_code
            self.asked.set()


@attrs.define(eq=False)
class Lifecycle:
    """Runs the daemon from its start to its end.

    `setup` are the load steps in order; one that fails makes the system unhealthy and the next one follows. `startup`
    are those that wait until all is loaded, and come before any add-on; one that fails is logged.
    `machine_booted` runs once in each run of the machine, before the stage `system`. `engine_up`
    is what needs a reachable engine (the internal network, our address in it) and runs each time one becomes reachable.
    `background` is begun when the daemon runs. `closing` are the stages of the stop; inside a stage all run at once.
    `machine_stops` answers whether the end of the daemon is part of the end of the machine's run: then the add-ons are
    stopped, too, in their order.
    """

    _state: StateKeeper
    _bus: EventBus
    _engine: Engine
    _docker_url: str
    _addons: AddonManager
    _configuration: Configuration
    _host: Host
    _resolution: Resolution
    _machine_booted: Callable[[], Awaitable[None]]
    _notifier: Notifier
    _end: StopRequest
    _setup: Sequence[Step]
    _startup: Sequence[Step]
    _engine_up: Callable[[], Awaitable[None]]
    _background: Callable[[], None]
    _closing: Sequence[Sequence[Step]]
    _machine_stops: Callable[[], Awaitable[bool]]
    _resumed: bool = False
    _booted: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    _engine_tasks: set[asyncio.Task[None]] = attrs.field(factory=set)

    def request_stop(self) -> None:
        """Ask for the end, as signals do."""
        self._end.ask()

    async def run(self) -> int:
        """Run until the end is asked for; return the process's exit code."""
        starting = asyncio.get_running_loop().create_task(self._start(), name="start")
        stopping = asyncio.get_running_loop().create_task(self._end.asked.wait(), name="stop")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await stopping
        finally:
            await end([starting, stopping, *self._engine_tasks])
            await self._close()
        return self._end.exit_code

    async def _start(self) -> None:
        await self._notifier.start()
        await self._state.set(CoreState.SETUP)
        for name, step in self._setup:
            self._notifier.status(f"Loading {name}")
            try:
                await step()
            except Conflict as err:
                # Another daemon has what this one needs: two must not look after the same machine.
                _LOGGER.critical("This daemon ends at once: %s", err)
                self._end.ask(EXIT_CONFLICT)
                await asyncio.Event().wait()
            except Exception:
                _LOGGER.exception("Loading %s failed", name)
                self._resolution.add_unhealthy(UnhealthyReason.SETUP)
        self._bus.subscribe(EngineAvailabilityChanged, self._engine_changed)
        await self._state.set(CoreState.STARTUP)
        self._notifier.ready()
        for name, step in self._startup:
            try:
                await step()
            except Exception:
                _LOGGER.exception("At the start: %s failed", name)
        if self._engine.available:
            await self._engine_reached()
        else:
            _LOGGER.error("The Docker engine does not answer; add-ons start as soon as it does")
        self._background()
        await self._state.set(CoreState.RUNNING)
        self._notifier.status("Running")

    def _engine_changed(self, event: EngineAvailabilityChanged) -> None:
        if event.available:
            task = asyncio.get_running_loop().create_task(self._engine_reached(), name="engine is back")
            self._engine_tasks.add(task)
            task.add_done_callback(self._engine_tasks.discard)

    async def _engine_reached(self) -> None:
        """Bring up what needs the engine, and the add-ons that this run of machine and engine has not seen yet."""
        async with self._booted:
            try:
                await self._engine_up()
                await self._addons.engine_reached()
                await self._boot()
            except SupervisorError as err:
                _LOGGER.error("Not everything could be brought up: %s", err)
            except Exception:
                # The root of a task when the engine comes back; at the start the daemon goes on, too.
                _LOGGER.exception("Not everything could be brought up")

    async def _boot(self) -> None:
        boot_id = self._host.facts.boot_id
        run = await asyncio.to_thread(engine_run, self._docker_url)
        known = self._configuration
        if boot_id != known.last_boot_id:
            for stage in BOOT_STAGES:
                if stage is AddonStartup.SYSTEM:
                    await self._machine_booted()
                await self._boot_stage(stage)
        else:
            if not self._resumed:
                # These come first in every run of the daemon, whatever ran before.
                await self._boot_stage(AddonStartup.INITIALIZE)
            engine_restarted = run is not None and run != known.last_engine_run
            await self._addons.booter.resume(cut_off_only=not engine_restarted)
            if not self._resumed:
                self._addons.watchdog.review()
        self._resumed = True
        # An engine that can't be told from the one before counts as the same.
        run = run or known.last_engine_run
        if (boot_id, run) != (known.last_boot_id, known.last_engine_run):
            await known.change(last_boot_id=boot_id, last_engine_run=run)

    async def _boot_stage(self, stage: AddonStartup) -> None:
        self._notifier.status(f"Starting add-ons of stage {stage.value}")
        await self._addons.booter.boot(stage, at_least_seconds=self._configuration.wait_boot)

    async def _shut_down(self) -> None:
        """Stop the add-ons before the engine is stopped under them."""
        await self._state.set(CoreState.SHUTDOWN)
        self._notifier.status("Stopping the add-ons: the machine goes down")
        try:
            await self._addons.booter.shutdown()
        except Exception:
            _LOGGER.exception("Not every add-on was stopped")

    async def _close(self) -> None:
        self._notifier.stopping()
        if self._end.exit_code == EXIT_OK and await self._machine_stops():
            await self._shut_down()
        await self._state.set(CoreState.STOPPING)
        for stage in self._closing:
            await asyncio.gather(*(_bounded(name, step) for name, step in stage))
        await self._state.set(CoreState.CLOSE)
        await self._notifier.stop()


async def _bounded(name: str, step: Callable[[], Awaitable[object]]) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await step()
    except TimeoutError:
        _LOGGER.warning("Stopping %s took too long", name)
    except Exception:
        _LOGGER.exception("Stopping %s failed", name)
