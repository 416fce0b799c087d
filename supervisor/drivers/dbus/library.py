"""The D-Bus library: the only module that imports one.

`dbus-fast` (the extra `speedups`) and its ancestor `dbus-next` (always there) have the same face. Only their lowest
part is used: a connection that sends and receives messages. What one of them lacks is mended here.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, Final

import attrs
import dbus_next
from dbus_next.aio import MessageBus

from supervisor.errors import Invalid


@attrs.frozen
class Library:
    """`package` has the classes of messages, `open` makes a connected bus of the address of a socket."""

    name: str
    package: Any
    open: Callable[[str], Awaitable[Any]]


class _NextBus(MessageBus):  # type: ignore[misc]  # the library carries no types
    """dbus-next, with three faults mended.

    It connects in its constructor, blocking; it never sees the end of the connection during the handshake, and spins;
    and it leaves the socket open after the end. It is no longer maintained, so the mending stays.
    """

    def __init__(self, ready: socket.socket) -> None:
        self._ready = ready
        super().__init__(bus_address="unix:path=/")

    def _setup_socket(self) -> None:
        self._sock = self._ready
        self._stream = self._sock.makefile("rwb")
        self._fd = self._sock.fileno()

    async def _auth_readline(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            part = await self._loop.sock_recv(self._sock, 1)
            if not part:
                raise EOFError("the bus closed the connection during the handshake")
            line += part
        return line[:-2].decode()

    def _finalize(self, err: Exception | None = None) -> None:
        super()._finalize(err)
        self._stream.close()
        self._sock.close()


async def _open_next(address: str) -> Any:
    path = socket_path(address)
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        ready.setblocking(False)  # noqa: FBT003 - the socket module has it so
        await asyncio.get_running_loop().sock_connect(ready, path)
        bus = _NextBus(ready)
    except BaseException:
        ready.close()
        raise
    try:
        return await bus.connect()
    except BaseException:
        bus._finalize()  # noqa: SLF001 - the only way to end a half-open bus of this library
        raise


def _fast() -> Library | None:
    try:
        package: ModuleType = importlib.import_module("dbus_fast")
        aio: Any = importlib.import_module("dbus_fast.aio")
    except ImportError:
        return None

    async def connected(address: str) -> Any:
        socket_path(address)
        return await aio.MessageBus(bus_address=address).connect()

    return Library("dbus-fast", package, connected)


def socket_path(address: str) -> str:
    """Return the path of the Unix socket in a D-Bus address; an abstract one begins with NUL.

    Raises:
        Invalid: no address, or not one of a Unix socket on this machine.
    """
    for alternative in address.split(";"):
        transport, _, rest = alternative.partition(":")
        options = dict(part.partition("=")[::2] for part in rest.split(","))
        if transport == "unix" and options.get("path"):
            return options["path"]
        if transport == "unix" and options.get("abstract"):
            return "\0" + options["abstract"]
    raise Invalid(f"The address of the system bus must be like unix:path=/run/dbus/system_bus_socket, not {address}")


NEXT: Final = Library("dbus-next", dbus_next, _open_next)
FAST: Final = _fast()
PREFERRED: Final = FAST or NEXT
