"""The two doors of the API: a Unix socket for this machine's administrators, TCP for what holds a token."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from supervisor.api import answer
from supervisor.api.caller import STRANGER, Caller, CallerDirectory
from supervisor.api.dispatch import Dispatcher
from supervisor.api.identity import Identify, admin_group, by_token, peer_caller
from supervisor.api.route import Route
from supervisor.api.router import Router
from supervisor.api.unix_socket import BoundSocket, bind, release
from supervisor.const import MAX_BODY_BYTES
from supervisor.events import CoreState

_LOGGER = logging.getLogger(__name__)

MAX_HEADER_BYTES: Final = 24570
STOP_SECONDS: Final = 5.0
BODY_SECONDS: Final = 120.0
# How long the rest of a body that nobody wants is read, so that its sender gets to see the answer.
LINGER_SECONDS: Final = 2.0
# A connection on which no request comes is closed after that.
IDLE_SECONDS: Final = 75.0
# At a time, from one address: each takes a file of this process, and those are for all.
MOST_CONNECTIONS: Final = 256
_BACKLOG: Final = 256


class _Connection(web.RequestHandler):
    """A connection whose broken requests are told no more than that, and don't fill the log."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        _LOGGER.debug("A broken request was refused: %s", message, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionAbortedError
        response = answer.refusal(status)
        response.force_close()
        return response


class _Listener(web.Server):
    """Makes a `_Connection` of every connection to one door."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher, request_factory=self._request)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=MAX_BODY_BYTES)

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]  # None is how aiohttp turns the access log off
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )


class _TcpListener(_Listener):
    """Closes what is too much for one address."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher)
        self._addresses: dict[web.RequestHandler, str] = {}
        self._open: Counter[str] = Counter()
        self._told: set[str] = set()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        address = str((transport.get_extra_info("peername") or ("",))[0])
        self._addresses[handler] = address
        self._open[address] += 1
        if self._open[address] > MOST_CONNECTIONS:
            if address not in self._told:
                self._told.add(address)
                _LOGGER.warning("%s has %d connections open, and gets no more", address, MOST_CONNECTIONS)
            transport.abort()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        address = self._addresses.pop(handler, None)
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
                self._told.discard(address)
        super().connection_lost(handler, exc)


class _PeerListener(_Listener):
    """Notes who is at the other end of each connection to the Unix socket, once, when it connects."""

    def __init__(self, dispatcher: Dispatcher, group: int | None) -> None:
        super().__init__(dispatcher)
        self._group = group
        self._peers: dict[web.RequestHandler, Caller] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self._peers[handler] = peer_caller(transport, self._group)
        super().connection_made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._peers.pop(handler, None)
        super().connection_lost(handler, exc)

    def peer(self, request: web.BaseRequest) -> Caller:
        return self._peers.get(request.protocol, STRANGER)


class ApiServer:
    """Serves `routes`. Nothing listens before `start`; after `stop` it may be started again."""

    def __init__(
        self,
        routes: Sequence[Route],
        callers: CallerDirectory,
        state: Callable[[], CoreState],
        *,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._router = Router(routes)
        self._callers = callers
        self._state = state
        self._body_seconds = body_seconds
        self._listeners: list[_Listener] = []
        self._unix: tuple[asyncio.AbstractServer, BoundSocket] | None = None
        self._tcp: asyncio.Server | None = None

    @property
    def tcp_address(self) -> tuple[str, int] | None:
        """The address and port that answer with a token; None while there are none."""
        if self._tcp is None or not self._tcp.sockets:
            return None
        host, port = self._tcp.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def start(self, unix_socket: Path | None, tcp: tuple[str, int] | None) -> None:
        """Open both doors. That TCP can't be had is logged and left at that, see `bind_tcp`.

        Raises:
            Conflict: another process answers on the Unix socket, or something else lies in its place.
            Unavailable: the Unix socket can't be made there.
        """
        if unix_socket is not None:
            await self._open_unix(unix_socket)
        if tcp is not None:
            await self.bind_tcp(*tcp)

    async def _open_unix(self, path: Path) -> None:
        group = await asyncio.to_thread(admin_group)
        bound = await asyncio.to_thread(bind, path, group)

        def identify(request: web.BaseRequest) -> Caller:
            return listener.peer(request)

        listener = _PeerListener(self._dispatcher(identify, guarded=True), group)
        self._listeners.append(listener)
        server = await asyncio.get_running_loop().create_unix_server(listener, sock=bound.socket, backlog=_BACKLOG)
        self._unix = server, bound

    async def bind_tcp(self, host: str, port: int) -> bool:
        """Answer on this address, instead of the one before; False (and a critical log line) when it can't be had."""
        if self._tcp is not None:
            self._tcp.close()
            self._tcp = None
        listener = _TcpListener(self._dispatcher(by_token(self._callers), guarded=False))
        try:
            self._tcp = await asyncio.get_running_loop().create_server(
                listener, host, port, backlog=_BACKLOG, reuse_address=True
            )
        except OSError as err:
            _LOGGER.critical(
                "Nothing in a container can reach the API: can't listen on %s port %s: %s", host, port, err
            )
            return False
        self._listeners.append(listener)
        return True

    def _dispatcher(self, identify: Identify, *, guarded: bool) -> Dispatcher:
        return Dispatcher(self._router, self._state, identify, guarded=guarded, body_seconds=self._body_seconds)

    async def stop(self) -> None:
        """Close both doors; requests being answered get a few seconds to finish."""
        tcp, self._tcp = self._tcp, None
        unix, self._unix = self._unix, None
        if tcp is not None:
            tcp.close()
        if unix is not None:
            unix[0].close()
            await asyncio.to_thread(release, unix[1])
        listeners, self._listeners = self._listeners, []
        # What the kernel has accepted already shall still become a request before idle connections are closed.
        await asyncio.sleep(0)
        for listener in listeners:
            listener.pre_shutdown()
        await asyncio.gather(*(listener.shutdown(STOP_SECONDS) for listener in listeners))
