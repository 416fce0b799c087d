"""The SDK's client on the engine's socket, made so that a blocked call can be ended from another thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote
from weakref import WeakSet

import requests
from docker import APIClient
from docker.errors import create_api_error_from_http_exception
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool
from docker.utils.json_stream import json_stream

_SCHEME = "http+docker://"


class OpenSockets:
    """The open sockets of one client or one stream; shutting them down wakes all threads that wait for the engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: WeakSet[socket.socket | OpenSockets] = WeakSet()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether we ended it, so that a broken read is no news."""
        return self._closed

    def add(self, member: socket.socket | OpenSockets) -> None:
        with self._lock:
            self._members.add(member)
            closed = self._closed
        if closed:
            _shutdown(member)

    def shutdown(self) -> None:
        """End what is open and whatever gets opened from now on."""
        with self._lock:
            self._closed = True
            members = list(self._members)
        for member in members:
            _shutdown(member)


def _shutdown(member: socket.socket | OpenSockets) -> None:
    if isinstance(member, OpenSockets):
        member.shutdown()
        return
    with contextlib.suppress(OSError):
        member.shutdown(socket.SHUT_RDWR)


class _Connection(UnixHTTPConnection):
    sockets: OpenSockets

    def connect(self) -> None:
        # The SDK's own way leaves the socket open when nobody answers.
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(self.timeout)
            connected.connect(self.unix_socket)
        except BaseException:
            connected.close()
            raise
        self.sock = connected
        self.sockets.add(connected)


class _Pool(UnixHTTPConnectionPool):
    sockets: OpenSockets

    def _new_conn(self) -> _Connection:  # type: ignore[override] # the parent's type is urllib3's protocol of one
        connection = _Connection(self.base_url, self.socket_path, self.timeout)  # type: ignore[arg-type] # as the SDK
        connection.sockets = self.sockets
        return connection


class _Adapter(UnixHTTPAdapter):
    def __init__(self, url: str, timeout: int, pool_size: int, sockets: OpenSockets) -> None:
        super().__init__(f"http+{url}", timeout, max_pool_size=pool_size)
        self._sockets = sockets

    def get_connection(self, url: str | bytes, proxies: object = None) -> UnixHTTPConnectionPool:  # noqa: ARG002 - the SDK's signature
        key = "engine"  # one engine, one pool: the SDK's own adapter keeps a pool for each URL asked
        with self.pools.lock:
            pool = self.pools.get(key)
            if pool is None:
                pool = _Pool(key, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                pool.sockets = self._sockets
                self.pools[key] = pool
            return pool


class EngineClient(APIClient):
    """The SDK's low-level client; `timeout` is in seconds for each answer, `sockets` end it from outside."""

    def __init__(self, url: str, version: str, *, timeout: int, pool_size: int, sockets: OpenSockets) -> None:
        super().__init__(base_url=url, version=version, timeout=timeout)
        self.trust_env = False  # no look for a .netrc file at each request
        self.engine_url = url
        self.sockets = sockets
        self.mount(_SCHEME, _Adapter(url, timeout, pool_size, sockets))

    def open(
        self,
        sockets: OpenSockets,
        method: str,
        path: str,
        *names: str,
        params: Mapping[str, object] | None = None,
        json: object = None,
        data: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Stream:
        """Ask for a running answer, on a connection of its own that `sockets` ends at any time.

        `path` has a `{}` for each of `names`. There is no time limit between the parts of the answer.

        Raises:
            APIError: the engine refused.
        """
        self.sockets.add(sockets)
        session = requests.Session()
        session.trust_env = False
        session.mount(_SCHEME, _Adapter(self.engine_url, self.timeout, 1, sockets))
        url = f"{self.base_url}/v{self.api_version}{path.format(*(quote(name, safe='/:') for name in names))}"
        try:
            response = session.request(
                method,
                url,
                params=dict(params or {}),  # type: ignore[arg-type] # any plain value is written as text
                json=json,
                data=data,  # type: ignore[arg-type] # bytes or an open file
                headers=dict(headers or {}),
                stream=True,
                timeout=(self.timeout, None),
            )
            try:
                response.raise_for_status()
            except requests.HTTPError as err:
                create_api_error_from_http_exception(err)
        except BaseException:
            session.close()
            raise
        return Stream(session, response)


class Stream:
    """A running answer, to be read by one thread."""

    def __init__(self, session: requests.Session, response: requests.Response) -> None:
        self._session = session
        self._response = response

    def fileno(self) -> int:
        return int(self._response.raw.fileno())

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes, fewer at the end."""
        data = b""
        while len(data) < size:
            part: bytes = self._response.raw.read(size - len(data))
            if not part:
                break
            data += part
        return data

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes as they come."""
        return self._response.iter_content(None)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of the stream; anything else in it is skipped."""
        for message in json_stream(self.chunks()):  # type: ignore[arg-type] # it decodes bytes itself
            if isinstance(message, dict):
                yield message

    def close(self) -> None:
        self._response.close()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
