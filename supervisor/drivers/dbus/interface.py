"""An interface of an object on the bus: a class that declares what it has, kept current by the service's signals."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, TypeVar

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.connection import Call, Signalled
from supervisor.drivers.dbus.declaration import Method, Property, Service, Signal, declared
from supervisor.drivers.dbus.signals import Heard, Source, decoded
from supervisor.drivers.dbus.values import Variant
from supervisor.errors import NotFound, SupervisorError, Unsupported
from supervisor.events import subscribed

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

PROPERTIES: Final = "org.freedesktop.DBus.Properties"
# A service that is there and can't be read is asked again: soon, then rarely.
PAUSES: Final = (1.0, 3.0, 10.0, 30.0, 60.0)
READ_SECONDS = 10.0
START_SECONDS = 5.0

Changed = Callable[[frozenset[str]], None]


class Interface:
    """Declared by a subclass; an instance stands for one object of a service.

    Without `start` an instance calls methods and reads its properties once with `refresh`. From `start` to `close` the
    properties follow the service: None while it is away, read again when it returns. Subscribers get the D-Bus names
    of what changed. `available` is whether the service is there and its properties, if any are declared, were read;
    `known` is all that was read, another object whenever any of it changes, and never altered.
    """

    service: ClassVar[Service]
    interface: ClassVar[str]
    default_path: ClassVar[str] = ""

    _properties: ClassVar[Mapping[str, Property[Any]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._properties = declared(cls)

    def __init__(self, bus: SystemBus, path: str = "") -> None:
        self.bus = bus
        self.path = path or self.default_path
        self.available = False
        self.known: Mapping[str, Any] = {}
        self._unfit: set[str] = set()
        self._subscribers: list[Changed] = []
        self._following = False
        self._listening = False
        self._reading: asyncio.Task[None] | None = None
        self._stale = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    # What is known.

    @property
    def can_be_asked(self) -> bool:
        """Whether the service is there, or the bus starts it for the asking."""
        return self.bus.peer(self.service).present

    def cached(self, declaration: Property[Any]) -> Any:
        return self.known.get(declaration.name)

    def subscribe(self, changed: Changed) -> Callable[[], None]:
        """Call `changed` whenever properties change or the service comes or goes; the returned function ends that."""
        return subscribed(self._subscribers, changed)

    # Its life.

    async def start(self) -> None:
        """Follow the service from now on; on return its properties were read, if it is there and answers soon."""
        if self._following:
            return
        self._following = True
        if self._properties:
            # Should the bus be away, it is asked again when it returns.
            await _quietly(self.bus.hear(self._changes, self.properties_changed))
            self._listening = True
        await self.bus.follow(self.service, self)
        reading = self._reading
        if reading is not None:
            await asyncio.wait({reading}, timeout=START_SECONDS)

    async def close(self) -> None:
        """Follow it no more; what was read is forgotten."""
        if not self._following:
            return
        self._following = False
        self.bus.unfollow(self.service, self)
        if self._listening:
            self._listening = False
            self.bus.forget(self._changes, self.properties_changed)
        if self._reading is not None:
            self._reading.cancel()
        self.known = {}
        self.available = False

    async def refresh(self) -> None:
        """Read all properties now, for those that no signal announces.

        Raises:
            Unavailable, Timeout, Unsupported, NotFound: they can't be read; what was known stays as it was.
        """
        if not self._properties:
            return
        [values] = await self._call(PROPERTIES, "GetAll", "s", [self.interface], READ_SECONDS)
        self._take(values, all_of_them=True)

    def adopt(self, values: Mapping[str, Any]) -> None:
        """Take all properties from somebody who read them, as a tree of objects does."""
        self.available = True
        self._take(values, all_of_them=True)

    async def write(self, declaration: Property[T], value: T) -> None:
        """Write a property.

        Raises:
            Any translation of the service's refusal; Unavailable when it is away.
        """
        kind = declaration.kind
        arguments = [self.interface, declaration.name, Variant(kind.signature, kind.encode(value))]
        await self._call(PROPERTIES, "Set", "ssv", arguments, READ_SECONDS)

    # Calls and signals.

    async def invoke(self, declaration: Method[..., T], arguments: Sequence[Any]) -> T:
        """Call a method; declared methods do this."""
        kind = declaration.returns
        answer = await self._call(
            self.interface, declaration.name, declaration.signature, arguments, declaration.seconds, typed=kind.typed
        )
        try:
            return kind.decode(answer[0] if kind.values == 1 else answer)
        except (TypeError, ValueError, LookupError) as err:
            raise Unsupported(f"{self.service.title} answered {declaration.name} in an unknown form: {err}") from err

    async def on(self, signal: Signal[T], handler: Callable[[T], None]) -> Callable[[], None]:
        """Call `handler` for each signal from now on; the returned function ends that."""
        source = self._source(self.interface, signal.name)

        def hear(came: Signalled) -> None:
            item = decoded(signal.decode, came)
            if item is not None:
                handler(item)

        await _quietly(self.bus.hear(source, hear))
        return lambda: self.bus.forget(source, hear)

    @asynccontextmanager
    async def listen(self, signal: Signal[T]) -> AsyncIterator[Heard[T]]:
        """Collect signals from before the work inside begins, so that none is missed.

        Raises:
            Unavailable: the bus is away.
        """
        heard: Heard[T] = Heard(self.service.title)
        source = self._source(self.interface, signal.name)

        def hear(came: Signalled) -> None:
            item = decoded(signal.decode, came)
            if item is not None:
                heard.put(item)

        listener = _End(heard.end)
        try:
            await self.bus.hear(source, hear)
            await self.bus.follow(self.service, listener)
            yield heard
        finally:
            self.bus.unfollow(self.service, listener)
            self.bus.forget(source, hear)

    async def _call(
        self,
        interface: str,
        member: str,
        signature: str,
        arguments: Sequence[Any],
        seconds: float,
        *,
        typed: bool = False,
    ) -> list[Any]:
        service = self.service
        return await self.bus.call(
            Call(
                service.title,
                service.name,
                self.path,
                interface,
                member,
                signature,
                arguments,
                start=service.on_demand,
                seconds=seconds,
                typed=typed,
            )
        )

    # What the service tells.

    def appeared(self) -> None:
        """The service can be asked (again): read what it says now."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = self.bus.spawn(self._read_until_it_works(), f"read {self.interface}")

    async def arrived(self) -> None:
        """Do what has to be done each time the service is there again, before anybody hears of it."""

    def vanished(self) -> None:
        """Forget what was known, and tell who listens."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self.available or self.known:
            _LOGGER.info("%s is away", self.service.title)
            self.available = False
            self.known = {}
            self._tell(self._properties)

    async def _read_until_it_works(self) -> None:
        for number in itertools.count():
            try:
                await self.refresh()
                await self.arrived()
                break
            except SupervisorError as err:
                self._forget_values()
                if isinstance(err, (NotFound, Unsupported)):
                    _LOGGER.debug("%s has no %s: %s", self.service.title, self.interface, err)
                    if not self.service.late:
                        return
                else:
                    level = logging.DEBUG if number else logging.WARNING
                    _LOGGER.log(level, "%s can't be read: %s", self.interface, err)
                await asyncio.sleep(PAUSES[min(number, len(PAUSES) - 1)])
        if not self.available:
            self.available = True
            self._tell(self._properties)

    def _forget_values(self) -> None:
        if self.available:
            self.available = False
            self.known = {}
            self._tell(self._properties)

    def properties_changed(self, signal: Signalled) -> None:
        """Take what a signal of the service says of this interface."""
        match signal.arguments:
            case [_, dict() as changed, list() as invalidated]:
                self._take(changed, all_of_them=False)
            case _:
                _LOGGER.debug("%s announces changes of %s in an unknown form", self.service.title, self.interface)
                return
        if not self._properties.keys().isdisjoint(invalidated) and not self._stale:
            self._stale = True
            self.bus.spawn(self._read_again(), f"read {self.interface} again")

    async def _read_again(self) -> None:
        self._stale = False
        await _quietly(self.refresh())

    def _take(self, values: Mapping[str, Any], *, all_of_them: bool) -> None:
        before = self.known
        known: dict[str, Any] = {} if all_of_them else dict(before)
        for name, value in values.items():
            declaration = self._properties.get(name)
            if declaration is None:
                continue
            try:
                known[name] = declaration.kind.decode(value)
            except (TypeError, ValueError, LookupError) as err:
                known.pop(name, None)
                if name not in self._unfit:
                    self._unfit.add(name)
                    _LOGGER.warning("%s has an unknown form of %s: %s", self.service.title, name, err)
        self.known = known
        differ = {name for name in before.keys() | known.keys() if before.get(name) != known.get(name)}
        if differ and self.available:
            self._tell(differ)

    def _tell(self, names: Mapping[str, Any] | set[str]) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(frozenset(names))
            except Exception:
                _LOGGER.exception("A subscriber of %s failed", self.interface)

    @property
    def _changes(self) -> Source:
        return Source(self.service.name, self.path, PROPERTIES, "PropertiesChanged", first=self.interface)

    def _source(self, interface: str, member: str) -> Source:
        return Source(self.service.name, self.path, interface, member)


class _End:
    """Follows a service for its end alone."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def appeared(self) -> None:
        return

    def vanished(self) -> None:
        self._end()


async def _quietly(work: Awaitable[object]) -> None:
    try:
        await work
    except SupervisorError as err:
        _LOGGER.debug("%s", err)
