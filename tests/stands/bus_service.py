"""A D-Bus service for tests: objects with properties and methods from tables, on a real bus."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import attrs
from dbus_next import Message, MessageFlag, MessageType, Variant
from dbus_next.aio import MessageBus

PROPERTIES = "org.freedesktop.DBus.Properties"


class Refusal(Exception):
    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name


@attrs.define(eq=False, slots=False)
class Served:
    """One interface of one object.

    `properties` are signature and value by name; `methods` are signatures in and out, and what to do, which gets the
    arguments and returns the results as a list (or one coroutine that does).
    """

    properties: dict[str, tuple[str, Any]] = attrs.field(factory=dict)
    methods: dict[str, tuple[str, str, Callable[..., Any]]] = attrs.field(factory=dict)
    read_only: frozenset[str] = frozenset()
    on_write: Callable[[str, Any], None] = lambda _name, _value: None

    def all(self) -> dict[str, Variant]:
        return {name: Variant(signature, value) for name, (signature, value) in self.properties.items()}


@attrs.define(eq=False)
class BusService:
    """`calls` are the members that were called, in order; a property read is one call of GetAll."""

    address: str
    name: str
    objects: dict[str, dict[str, Served]] = attrs.field(factory=dict)
    calls: list[str] = attrs.field(factory=list)
    silent: bool = False
    _bus: Any = None
    _emitting: set[asyncio.Task[None]] = attrs.field(factory=set)

    @property
    def running(self) -> bool:
        return self._bus is not None

    async def start(self) -> None:
        self._bus = await MessageBus(bus_address=self.address).connect()
        self._bus.add_message_handler(self._handle)
        await self._bus.request_name(self.name)

    async def stop(self) -> None:
        await asyncio.gather(*self._emitting)
        bus, self._bus = self._bus, None
        if bus is not None and bus.connected:
            # With this answered, nobody calls any more, and all answers to those who did are sent.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2):
                    await bus.release_name(self.name)
            bus.disconnect()
        if bus is not None:
            await end_of(bus)

    async def run(self) -> None:
        """Serve until the bus goes away."""
        await self.start()
        await self.end()

    async def end(self) -> None:
        """Wait until the bus goes away."""
        await end_of(self._bus)

    def served(self, path: str, interface: str) -> Served:
        return self.objects.setdefault(path, {}).setdefault(interface, Served())

    async def change(self, path: str, interface: str, **values: Any) -> None:
        """Change properties and announce their new values."""
        served = self.objects[path][interface]
        changed = {}
        for name, value in values.items():
            signature = served.properties[name][0]
            served.properties[name] = (signature, value)
            changed[name] = Variant(signature, value)
        await self.emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, changed, []])

    async def invalidate(self, path: str, interface: str, **values: Any) -> None:
        """Change properties and announce only that they changed."""
        served = self.objects[path][interface]
        for name, value in values.items():
            served.properties[name] = (served.properties[name][0], value)
        await self.emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, {}, list(values)])

    async def emit(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        message = Message.new_signal(path, interface, member, signature, body)
        # Nobody told the library yet that a signal has no reply.
        message.flags = MessageFlag.NO_REPLY_EXPECTED
        await self._bus.send(message)

    def later(self, *signal: Any) -> None:
        """Emit a signal right after the answer that is being made."""
        task = asyncio.get_running_loop().create_task(self.emit(*signal))
        self._emitting.add(task)
        task.add_done_callback(self._emitting.discard)

    def _handle(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL or message.destination is None:
            return None
        self.calls.append(message.member)
        if self.silent:
            return True
        try:
            return self._answer(message)
        except Refusal as err:
            return Message.new_error(message, err.name, str(err))

    def _answer(self, message: Message) -> Message | bool | None:
        interfaces = self.objects.get(message.path)
        if interfaces is None:
            raise Refusal("org.freedesktop.DBus.Error.UnknownObject", f"no {message.path}")
        if message.interface == PROPERTIES:
            return self._properties(message, interfaces)
        served = interfaces.get(message.interface)
        if served is None:
            raise Refusal("org.freedesktop.DBus.Error.UnknownInterface", f"no {message.interface}")
        method = served.methods.get(message.member)
        if method is None or method[0] != message.signature:
            raise Refusal("org.freedesktop.DBus.Error.UnknownMethod", f"no {message.member}({message.signature})")
        result = method[2](*message.body)
        assert not inspect.iscoroutine(result), "answers of stands are ready at once"
        return Message.new_method_return(message, method[1], list(result or []))

    def _properties(self, message: Message, interfaces: dict[str, Served]) -> Message:
        served = interfaces.get(message.body[0])
        if served is None:
            raise Refusal("org.freedesktop.DBus.Error.UnknownInterface", f"no {message.body[0]}")
        if message.member == "GetAll":
            return Message.new_method_return(message, "a{sv}", [served.all()])
        name = message.body[1]
        if name not in served.properties:
            raise Refusal("org.freedesktop.DBus.Error.UnknownProperty", f"no {name}")
        if message.member == "Get":
            return Message.new_method_return(message, "v", [served.all()[name]])
        if name in served.read_only:
            raise Refusal("org.freedesktop.DBus.Error.PropertyReadOnly", f"{name} can't be written")
        signature, value = served.properties[name][0], message.body[2].value
        if message.body[2].signature != signature:
            raise Refusal("org.freedesktop.DBus.Error.InvalidArgs", f"{name} is of type {signature}")
        served.on_write(name, value)
        served.properties[name] = (signature, value)
        return Message.new_method_return(message)


async def end_of(bus: Any) -> None:
    """Wait for the end of a connection and close what the library leaves open."""
    with contextlib.suppress(Exception):
        await bus.wait_for_disconnect()
    bus._stream.close()
    bus._sock.close()
