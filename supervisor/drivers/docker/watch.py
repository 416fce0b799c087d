"""Keeps the engine in sight: connects, listens to its events, notices when it is gone or hung, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from supervisor.drivers.docker.containers import Containers
from supervisor.drivers.docker.link import Link, Session
from supervisor.drivers.docker.model import ContainerInfo
from supervisor.drivers.docker.ours import is_ours
from supervisor.drivers.docker.translate import FOREIGN, translate
from supervisor.drivers.docker.wire import OpenSockets
from supervisor.errors import NotFound, SupervisorError, Unavailable
from supervisor.events import (
    ContainerOutOfMemory,
    ContainerState,
    ContainerStateChanged,
    EngineAvailabilityChanged,
    EventBus,
)
from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)

FIRST_DELAY = 0.2
LONGEST_DELAY = 2.0
PING_INTERVAL = 30.0
REPLAY_SECONDS = 10.0
_ACTIONS = ("start", "die", "health_status", "oom", "destroy")
_VERDICTS = {"healthy": ContainerState.HEALTHY, "unhealthy": ContainerState.UNHEALTHY}


class EventStream:
    """The engine's events of one connection, read by a thread of its own.

    `on_event` is called on the loop for each event, `on_end` once when the stream ended, whatever the reason.
    """

    def __init__(
        self,
        session: Session,
        since: float | None,
        on_event: Callable[[dict[str, Any]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._session = session
        self._since = since
        self._on_event = on_event
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._sockets = OpenSockets()
        self._opened = asyncio.Event()
        self._thread = threading.Thread(target=self._read, name="docker-events", daemon=True)

    async def open(self) -> None:
        """Return when the engine has begun to tell, or the attempt failed (then `on_end` was called)."""
        self._thread.start()
        await self._opened.wait()

    async def close(self) -> None:
        self._sockets.shutdown()
        await asyncio.to_thread(self._thread.join)

    def _read(self) -> None:
        try:
            params = {"filters": _filters()}
            if self._since is not None:
                params["since"] = f"{self._since:.9f}"
            with self._session.quick.open(self._sockets, "GET", "/events", params=params) as stream:
                self._tell(self._opened.set)
                for event in stream.messages():
                    self._tell(self._on_event, event)
        except FOREIGN as err:
            if not self._sockets.closed:
                _LOGGER.debug("The engine's event stream broke: %s", translate(err, "Events"))
        finally:
            self._tell(self._opened.set)
            self._tell(self._on_end)

    def _tell(self, function: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(function, *args)


class Watch:
    """Owns the task that keeps the connection; `on_destroy` hears the id of each container that was removed."""

    def __init__(self, link: Link, containers: Containers, bus: EventBus) -> None:
        self._link = link
        self._containers = containers
        self._bus = bus
        self._task: asyncio.Task[None] | None = None
        self._available = False
        self._suspect = asyncio.Event()
        self._ended = asyncio.Event()
        self._last_event: float | None = None
        # When a container was last looked at: what the stream replays from before that is old news.
        self._seen: dict[str, float] = {}
        # What the stream told of each container since the connection, with the time: newer than an older look at it.
        self._told: dict[str, float] = {}
        self._replay_ends = 0.0
        link.on_suspect = self._suspect.set

    @property
    def available(self) -> bool:
        return self._available

    async def start(self) -> None:
        """Try to connect once, then keep at it in the background."""
        try:
            stream = await self._connect()
        except SupervisorError as err:
            self._lost(str(err), first=True)
            stream = None
        self._task = asyncio.create_task(self._keep(stream), name="docker-watch")

    async def stop(self) -> None:
        task, self._task = self._task, None
        await end([task])
        self._available = False

    async def _keep(self, stream: EventStream | None) -> None:
        """Hold the connection for ever; each return of the engine republishes what it runs."""
        delay = FIRST_DELAY
        while True:
            if stream is not None:
                delay = FIRST_DELAY
                try:
                    await self._until_broken()
                finally:
                    await asyncio.shield(stream.close())
                stream = None
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
            try:
                stream = await self._connect()
                await self._republish()
            except SupervisorError as err:
                if stream is not None:
                    await stream.close()
                stream = None
                self._lost(str(err))
            except asyncio.CancelledError:
                if stream is not None:
                    await asyncio.shield(stream.close())
                raise

    async def _connect(self) -> EventStream:
        session = await self._link.connect()
        self._ended.clear()
        self._suspect.clear()
        stream = EventStream(session, self._last_event, self._on_event, self._ended.set)
        try:
            await stream.open()
        except BaseException:
            await asyncio.shield(stream.close())
            session.retire()
            raise
        if self._ended.is_set():
            await stream.close()
            session.retire()
            raise Unavailable("The Docker engine does not tell its events")
        self._link.use(session)
        # Told also when its absence was not noticed. One that is restarted ends its events, and answers the ping that
        # follows, which waited at its socket, when it is back.
        self._available = True
        _LOGGER.info("Docker engine %s is there", session.info.version)
        self._bus.publish(EngineAvailabilityChanged(available=True))
        return stream

    async def _until_broken(self) -> None:
        """Return when the event stream ended or the engine does not answer pings."""
        while True:
            waits = [asyncio.create_task(event.wait()) for event in (self._ended, self._suspect)]
            try:
                await asyncio.wait(waits, timeout=PING_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            self._suspect.clear()
            if not await self._link.alive():
                self._lost("it does not answer")
                return
            if self._ended.is_set():
                return

    def _lost(self, reason: str, *, first: bool = False) -> None:
        self._link.lose(reason)
        if self._available or first:
            self._available = False
            _LOGGER.error("The Docker engine is away: %s", reason)
            self._bus.publish(EngineAvailabilityChanged(available=False))

    async def _republish(self) -> None:
        """Tell the present state of every container of ours: what happened meanwhile may not be told again."""
        self._seen.clear()
        self._told.clear()
        # Only the replay right after the connection is compared with the snapshot: the host's clock may be set.
        self._replay_ends = asyncio.get_running_loop().time() + REPLAY_SECONDS
        for summary in await self._containers.list_managed():
            looked = time.time()
            try:
                info = await self._containers.inspect(summary.name)
            except Unavailable:
                raise
            except SupervisorError as err:
                if not isinstance(err, NotFound):
                    _LOGGER.warning("%s: its state can't be told: %s", summary.name, err)
                continue
            self._seen[info.id] = looked
            if self._told.get(info.id, 0.0) > looked:
                continue
            if info.oom_killed:
                self._bus.publish(ContainerOutOfMemory(info.name, info.id, looked))
            self._bus.publish(_present(info, looked))

    def _on_event(self, event: Mapping[str, Any]) -> None:
        """Publish what one event means; a malformed one is skipped."""
        actor = event.get("Actor")
        moment = _time_of(event)
        if not isinstance(actor, dict) or moment is None:
            return
        self._last_event = max(self._last_event or 0.0, moment)
        identity, attributes = actor.get("ID"), actor.get("Attributes")
        if not isinstance(identity, str) or not isinstance(attributes, dict):
            return
        name = str(attributes.get("name") or "")
        action = str(event.get("Action") or event.get("status") or "")
        if not is_ours(name, attributes):
            return
        if action == "destroy":
            self._containers.forget(identity)
            self._told.pop(identity, None)
        elif not self._is_old(identity, moment):
            self._told[identity] = moment
            if action == "oom":
                self._bus.publish(ContainerOutOfMemory(name, identity, moment))
            self._publish(name, identity, action, attributes, moment)

    def _is_old(self, identity: str, moment: float) -> bool:
        if asyncio.get_running_loop().time() > self._replay_ends:
            return False
        return moment < self._seen.get(identity, 0.0)

    def _publish(self, name: str, identity: str, action: str, attributes: Mapping[str, Any], moment: float) -> None:
        verb, _, verdict = action.partition(": ")
        if verb == "start":
            change = ContainerStateChanged(name, identity, ContainerState.RUNNING, moment)
        elif verb == "die":
            code = _exit_code(attributes.get("exitCode"))
            state = ContainerState.FAILED if code else ContainerState.STOPPED
            change = ContainerStateChanged(name, identity, state, moment, code)
        elif verb == "health_status" and verdict in _VERDICTS:
            change = ContainerStateChanged(name, identity, _VERDICTS[verdict], moment)
        else:
            return
        self._bus.publish(change)


def _filters() -> str:
    words = ", ".join(f'"{action}"' for action in _ACTIONS)
    return f'{{"type": ["container"], "event": [{words}]}}'


def _present(info: ContainerInfo, looked: float) -> ContainerStateChanged:
    moment = info.started_at if info.running else info.finished_at
    stopped = info.state in {ContainerState.STOPPED, ContainerState.FAILED}
    return ContainerStateChanged(
        info.name,
        info.id,
        info.state,
        looked if moment is None else moment.timestamp(),
        info.exit_code if stopped else None,
    )


def _time_of(event: Mapping[str, Any]) -> float | None:
    nano, seconds = event.get("timeNano"), event.get("time")
    if isinstance(nano, int):
        return nano / 1e9
    return float(seconds) if isinstance(seconds, int | float) else None


def _exit_code(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0
