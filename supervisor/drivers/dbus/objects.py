"""All objects of a service that manages objects, such as UDisks2, kept current as one."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.connection import Call, Signalled
from supervisor.drivers.dbus.declaration import Service
from supervisor.drivers.dbus.interface import PAUSES, PROPERTIES, READ_SECONDS, START_SECONDS, Interface
from supervisor.drivers.dbus.signals import Hear, Source
from supervisor.errors import NotFound, SupervisorError, Unsupported
from supervisor.events import subscribed

_LOGGER = logging.getLogger(__name__)

I = TypeVar("I", bound=Interface)  # noqa: E741 - an interface

MANAGER: Final = "org.freedesktop.DBus.ObjectManager"


class ObjectTree:
    """Holds an instance of each of `interfaces` for every object that has it; `path` is where the objects are managed.

    An instance lives as long as its object has the interface, and must not be started or closed. Subscribers are called
    after every change, with the paths of the objects that it is about; they look at what is.
    """

    def __init__(self, bus: SystemBus, service: Service, path: str, interfaces: tuple[type[Interface], ...]) -> None:
        self._bus = bus
        self._service = service
        self._path = path
        self._kinds = {kind.interface: kind for kind in interfaces}
        self._objects: dict[str, dict[str, Interface]] = {}
        self._subscribers: list[Callable[[frozenset[str]], None]] = []
        self._reading: asyncio.Task[None] | None = None
        self._following = False
        self.available = False

    def of(self, kind: type[I]) -> dict[str, I]:
        """Return the objects that have an interface, by their paths."""
        return {
            path: instance
            for path, instances in self._objects.items()
            if isinstance(instance := instances.get(kind.interface), kind)
        }

    def at(self, path: str, kind: type[I]) -> I | None:
        """Return one interface of one object, None when there is no such object, or it has not got it."""
        instance = self._objects.get(path, {}).get(kind.interface)
        return instance if isinstance(instance, kind) else None

    @property
    def can_be_asked(self) -> bool:
        """Whether the service is there, or the bus starts it for the asking."""
        return self._bus.peer(self._service).present

    def subscribe(self, changed: Callable[[frozenset[str]], None]) -> Callable[[], None]:
        return subscribed(self._subscribers, changed)

    async def start(self) -> None:
        """Follow the service from now on; on return its objects were read, if it is there and answers soon."""
        if self._following:
            return
        self._following = True
        for source, hear in self._sources:
            try:
                await self._bus.hear(source, hear)
            except SupervisorError as err:
                # They are asked for again when the bus returns.
                _LOGGER.debug("%s", err)
        await self._bus.follow(self._service, self)
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=START_SECONDS)

    async def close(self) -> None:
        """Follow it no more; the objects are forgotten."""
        if not self._following:
            return
        self._following = False
        self._bus.unfollow(self._service, self)
        for source, hear in self._sources:
            self._bus.forget(source, hear)
        self._stop_reading()
        self._objects.clear()
        self.available = False

    async def refresh(self) -> None:
        """Read all objects now.

        Raises:
            Unavailable, Timeout, Unsupported: they can't be read; what was known stays as it was.
        """
        title, name = self._service.title, self._service.name
        [objects] = await self._bus.call(
            Call(
                title,
                name,
                self._path,
                MANAGER,
                "GetManagedObjects",
                start=self._service.on_demand,
                seconds=READ_SECONDS,
            )
        )
        gone = self._objects.keys() - objects.keys()
        for path in gone:
            del self._objects[path]
        for path, interfaces in objects.items():
            present = self._objects.get(path, {})
            for vanished in present.keys() - interfaces.keys():
                del present[vanished]
            self._adopt(path, interfaces)
        self.available = True
        self._tell(frozenset(gone | objects.keys()))

    # What the service tells.

    def appeared(self) -> None:
        """The service can be asked (again): read what it has now."""
        self._stop_reading()
        self._reading = self._bus.spawn(self._read_until_it_works(), f"read objects of {self._service.name}")

    def vanished(self) -> None:
        """Forget the objects, and tell who listens."""
        self._stop_reading()
        gone = frozenset(self._objects)
        if self.available or gone:
            _LOGGER.info("%s is away", self._service.title)
            self.available = False
            self._objects.clear()
            self._tell(gone)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _read_until_it_works(self) -> None:
        for number in itertools.count():
            try:
                await self.refresh()
            except (NotFound, Unsupported) as err:
                _LOGGER.warning("%s does not list its objects: %s", self._service.title, err)
                return
            except SupervisorError as err:
                level = logging.DEBUG if number else logging.WARNING
                _LOGGER.log(level, "The objects of %s can't be read: %s", self._service.title, err)
                await asyncio.sleep(PAUSES[min(number, len(PAUSES) - 1)])
            else:
                return

    @property
    def _sources(self) -> tuple[tuple[Source, Hear], ...]:
        name = self._service.name
        return (
            (Source(name, self._path, MANAGER, "InterfacesAdded"), self._added),
            (Source(name, self._path, MANAGER, "InterfacesRemoved"), self._removed),
            (Source(name, self._path, PROPERTIES, "PropertiesChanged", below=True), self._changed),
        )

    def _added(self, signal: Signalled) -> None:
        path, interfaces = signal.arguments
        if self.available and self._adopt(path, interfaces):
            self._tell(frozenset({path}))

    def _removed(self, signal: Signalled) -> None:
        path, interfaces = signal.arguments
        instances = self._objects.get(path, {})
        lost = [interface for interface in interfaces if instances.pop(interface, None) is not None]
        if not instances:
            self._objects.pop(path, None)
        if lost:
            self._tell(frozenset({path}))

    def _changed(self, signal: Signalled) -> None:
        instance = self._objects.get(signal.path, {}).get(signal.arguments[0])
        if instance is not None:
            instance.properties_changed(signal)
            self._tell(frozenset({signal.path}))

    def _adopt(self, path: str, interfaces: Mapping[str, Mapping[str, Any]]) -> bool:
        known = False
        for name, values in interfaces.items():
            kind = self._kinds.get(name)
            if kind is None:
                continue
            known = True
            instances = self._objects.setdefault(path, {})
            instance = instances.get(name)
            if instance is None:
                instance = instances[name] = kind(self._bus, path)
            instance.adopt(values)
        return known

    def _tell(self, paths: frozenset[str]) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(paths)
            except Exception:
                _LOGGER.exception("A subscriber of the objects of %s failed", self._service.title)
