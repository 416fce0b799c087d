"""One connection to the bus, from the handshake to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from supervisor.drivers.dbus.library import Library
from supervisor.drivers.dbus.translate import refusal
from supervisor.drivers.dbus.values import received, sendable
from supervisor.errors import Internal, SupervisorError, Timeout, Unavailable

CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 1.0
LOST = "the connection to the system bus was lost"


@attrs.frozen
class Call:
    """A method to call.

    `start` says whether the bus may start the service for it, `seconds` how long to wait, `typed` whether the answer
    keeps the types of its variants.
    """

    what: str
    destination: str
    path: str
    interface: str
    member: str
    signature: str = ""
    arguments: Sequence[Any] = ()
    start: bool = False
    seconds: float = 10.0
    typed: bool = False


@attrs.frozen
class Signalled:
    """A signal that came; `sender` is the connection that sent it, as the bus saw it."""

    sender: str
    path: str
    interface: str
    member: str
    arguments: tuple[Any, ...]


@attrs.define(eq=False)
class Connection:
    _library: Library
    _bus: Any

    @classmethod
    async def open(cls, library: Library, address: str, on_signal: Callable[[Signalled], None]) -> Connection:
        """Connect and say hello.

        Raises:
            Unavailable: nobody answers there, or it refuses us. Timeout: it takes too long.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                bus = await library.open(address)
        except TimeoutError:
            raise Timeout("The system bus did not answer in time") from None
        except SupervisorError:
            raise
        except (FileNotFoundError, ConnectionRefusedError):
            raise Unavailable("The system bus is not running") from None
        except Exception as err:
            # The libraries raise their own errors here, operating system errors, and a bare Exception.
            raise Unavailable(f"The system bus can't be reached: {err}") from err
        connection = cls(library, bus)
        bus.add_message_handler(connection._hear(on_signal))
        return connection

    def _hear(self, on_signal: Callable[[Signalled], None]) -> Callable[[Any], None]:
        signal_type = self._library.package.MessageType.SIGNAL
        loop = asyncio.get_running_loop()

        def heard(message: Any) -> None:
            if message.message_type is not signal_type or not message.sender:
                return
            arguments = tuple(received(self._library, item) for item in message.body)
            signal = Signalled(message.sender, message.path, message.interface or "", message.member or "", arguments)
            # Who waits for an answer that came before it is woken by the loop, too: so they keep their order.
            loop.call_soon(on_signal, signal)

        return heard

    async def until_lost(self) -> None:
        """Wait for the end of the connection, whoever brings it about."""
        with contextlib.suppress(Exception):
            await self._bus.wait_for_disconnect()

    async def close(self) -> None:
        """End the connection, if it has not ended yet; on return the socket is closed."""
        if self._bus.connected:
            self._bus.disconnect()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.until_lost()

    async def call(self, call: Call) -> list[Any]:
        """Call a method and return the values of its answer, without variants unless it asks for them.

        Raises:
            Unavailable: the connection ended; Timeout: no answer within the time of the call.
            Any translation of the service's refusal.
        """
        message = self._message(call)
        package = self._library.package
        try:
            async with asyncio.timeout(call.seconds):
                answer = await self._sent(call.what, message)
        except TimeoutError:
            raise Timeout(f"{call.what}: {call.destination} did not answer within {call.seconds:g} s") from None
        if answer is None:
            raise Unavailable(f"{call.what}: {LOST}")
        if answer.message_type is package.MessageType.ERROR:
            text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else ""
            raise refusal(call.what, answer.error_name or "", text)
        return [received(self._library, item, typed=call.typed) for item in answer.body]

    async def _sent(self, what: str, message: Any) -> Any:
        if not self._bus.connected:
            raise Unavailable(f"{what}: {LOST}")
        try:
            return await self._bus.call(message)
        except (OSError, EOFError) as err:
            raise Unavailable(f"{what}: {LOST}") from err
        except SupervisorError:
            raise
        except Exception as err:
            # Arguments that do not fit their signature, or an end that the library has no word for.
            if not self._bus.connected:
                raise Unavailable(f"{what}: {LOST}") from err
            raise Internal(f"{what}: the call can't be sent: {err}") from err

    def _message(self, call: Call) -> Any:
        package = self._library.package
        flags = package.MessageFlag.NONE if call.start else package.MessageFlag.NO_AUTOSTART
        arguments = [sendable(self._library, item) for item in call.arguments]
        try:
            return package.Message(
                destination=call.destination,
                path=call.path,
                interface=call.interface,
                member=call.member,
                flags=flags,
                signature=call.signature,
                body=arguments,
            )
        except Exception as err:
            raise Internal(f"{call.what}: the call can't be made: {err}") from err
