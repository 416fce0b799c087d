"""The system bus: found, lost and found again, and the services on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from supervisor.drivers.dbus.connection import LOST, Call, Connection, Signalled
from supervisor.drivers.dbus.declaration import Service
from supervisor.drivers.dbus.library import PREFERRED, Library
from supervisor.drivers.dbus.peer import Follower, Peer
from supervisor.drivers.dbus.signals import BUS, BUS_PATH, Hear, Signals, Source, add_match, remove_match, together
from supervisor.errors import SupervisorError, Unavailable
from supervisor.events import EventBus, SystemBusChanged
from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
# A connection that lived this long was a good one: the next loss is a new story.
STEADY_SECONDS = 10.0
# How long the start of the daemon waits for the bus and for what the services say.
START_SECONDS = 5.0


class SystemBus:
    """Keeps a connection to the bus, and knows of each service that somebody follows whether it is there.

    Nothing here waits for the bus to come back: a call without a bus fails at once, and what follows a service is told
    when it is there again.
    """

    def __init__(self, events: EventBus, address: str, library: Library = PREFERRED) -> None:
        self._events = events
        self._address = address
        self._library = library
        self._connection: Connection | None = None
        self._peers: dict[str, Peer] = {}
        self._signals = Signals(self._owner)
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._reason = "it was not contacted yet"
        name_source = partial(Source, BUS, BUS_PATH, BUS)
        self._owner_changes = partial(name_source, "NameOwnerChanged")
        self._signals.hear(name_source("ActivatableServicesChanged"), self._startable_changed)

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def library(self) -> str:
        """The name of the library in use."""
        return self._library.name

    async def start(self) -> None:
        """Begin to look for the bus; return when it was found and its services were read, or was not found."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="system bus")
            with suppress(TimeoutError):
                async with asyncio.timeout(START_SECONDS):
                    await self._tried.wait()
                    await self.settled()

    async def stop(self) -> None:
        keeper, self._keeper = self._keeper, None
        await end([*self._tasks, keeper])
        self._lose("the daemon is stopping")

    async def settled(self) -> None:
        """Wait until what was begun in the background, such as reading the properties of a service, is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run work that belongs to this bus and ends with it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Services.

    def peer(self, service: Service) -> Peer:
        """Return the one object for a service, made when it is first asked for."""
        peer = self._peers.get(service.name)
        if peer is None:
            peer = self._peers[service.name] = Peer(service)
            self._signals.hear(self._owner_changes(first=service.name), self._owner_changed)
        return peer

    async def follow(self, service: Service, follower: Follower) -> None:
        """Tell `follower` from now on whether the service is there; the first news has been told on return."""
        known = service.name in self._peers
        peer = self.peer(service)
        peer.followers.append(follower)
        connection = self._connection
        if connection is None:
            return
        if known:
            if peer.present:
                follower.appeared()
            return
        with suppress(SupervisorError):
            await add_match(connection, self._owner_changes(first=service.name).rule)
            await self._meet(connection, (peer,))

    def unfollow(self, service: Service, follower: Follower) -> None:
        peer = self._peers.get(service.name)
        if peer is not None and follower in peer.followers:
            peer.followers.remove(follower)

    # Talking.

    async def call(self, call: Call) -> list[Any]:
        """Call a method of a service.

        Raises:
            Unavailable: the bus or the service is away. Timeout: no answer came in time.
            Any translation of the service's refusal.
        """
        connection = self._connection
        if connection is None:
            raise Unavailable(f"{call.what}: the system bus (D-Bus) is not available ({self._reason})")
        return await connection.call(call)

    async def hear(self, source: Source, hear: Hear) -> None:
        """Have signals handed to `hear`; when this returns, the next one will be.

        Raises:
            Unavailable: the bus went away meanwhile; the wish stands all the same.
        """
        new = not self._signals.wanted(source)
        self._signals.hear(source, hear)
        if new and self._connection is not None:
            await add_match(self._connection, source.rule)

    def forget(self, source: Source, hear: Hear) -> None:
        if self._signals.forget(source, hear) and self._connection is not None:
            self.spawn(remove_match(self._connection, source.rule), "decline signals")

    # The life of the connection.

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                connection = await Connection.open(self._library, self._address, self._signals.came)
            except SupervisorError as err:
                self._not_found(err)
            else:
                try:
                    await self._use(connection)
                finally:
                    await connection.close()
                    self._lose(LOST)
                _LOGGER.warning("System bus: %s", LOST)
                if loop.time() - began > STEADY_SECONDS:
                    pause = FIRST_PAUSE
            self._tried.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _not_found(self, error: SupervisorError) -> None:
        if error.message != self._reason:
            self._reason = error.message
            log = _LOGGER.warning if not self._tried.is_set() else _LOGGER.info
            log("System bus: %s (%s); what needs it waits for it", error.message, self._address)

    async def _use(self, connection: Connection) -> None:
        self._connection = connection
        try:
            await self._signals.ask_again(connection)
            await self._meet(connection, tuple(self._peers.values()))
        except SupervisorError as err:
            _LOGGER.warning("System bus: %s", err)
            return
        _LOGGER.info("System bus: connected (%s)", self._library.name)
        self._events.publish(SystemBusChanged(available=True))
        self._tried.set()
        await connection.until_lost()

    def _lose(self, reason: str) -> None:
        self._reason = reason
        was, self._connection = self._connection, None
        if was is None:
            return
        for peer in self._peers.values():
            peer.lose()
        self._events.publish(SystemBusChanged(available=False))

    async def _meet(self, connection: Connection, peers: tuple[Peer, ...]) -> None:
        startable = await self._startable(connection)
        await together(self._meet_one(connection, peer, startable=peer.service.name in startable) for peer in peers)

    async def _meet_one(self, connection: Connection, peer: Peer, *, startable: bool) -> None:
        name = peer.service.name
        question = Call(f"Looking for {name}", BUS, BUS_PATH, BUS, "GetNameOwner", "s", [name])
        try:
            [owner] = await connection.call(question)
        except SupervisorError as err:
            if not self.connected:
                raise
            _LOGGER.debug("%s is not running: %s", name, err)
            owner = None
        peer.met(owner, startable=startable)

    async def _startable(self, connection: Connection) -> frozenset[str]:
        [names] = await connection.call(Call("Asking for services", BUS, BUS_PATH, BUS, "ListActivatableNames"))
        return frozenset(names)

    # News of the bus itself.

    def _owner(self, name: str) -> str | None:
        if name == BUS:
            return BUS
        peer = self._peers.get(name)
        return None if peer is None else peer.owner

    def _owner_changed(self, signal: Signalled) -> None:
        name, _, new = signal.arguments
        peer = self._peers.get(name)
        if peer is not None:
            peer.owned_by(new or None)

    def _startable_changed(self, _: Signalled) -> None:
        async def look() -> None:
            with suppress(SupervisorError):
                if self._connection is not None:
                    names = await self._startable(self._connection)
                    for peer in self._peers.values():
                        peer.may_start(startable=peer.service.name in names)

        self.spawn(look(), "services that can be started")
