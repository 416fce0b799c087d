"""Talks to the daemon: HTTP over its Unix socket, or over TCP with a token (inside an add-on).

Plain `http.client`: the command does one thing after the other, and starts in a fraction of the time that an
asynchronous client would need to be imported.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import attrs
import click

from supervisor.cli.failures import ExitCode, Failure, failure_from_reply

DEFAULT_SOCKET = "/run/supervisor/supervisor.sock"
DEFAULT_URL = "http://supervisor"
READ_TIMEOUT = 30.0
CONNECT_TIMEOUT = 10.0
BLOCK_BYTES = 256 * 1024
_PATH = re.compile(r"/[!-~]*")
_TOKEN = re.compile(r"[!-~]+")


class Source(Protocol):
    """Where the bytes of a large body come from."""

    def read(self, amount: int = -1, /) -> bytes: ...


@attrs.frozen
class Target:
    """Where the daemon listens: a socket's path, or a URL with the token that it wants."""

    socket: str | None = None
    url: str | None = None
    token: str | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        return self.socket or self.url or ""


@attrs.frozen
class Reply:
    status: int
    content_type: str
    body: bytes

    @property
    def is_json(self) -> bool:
        return self.content_type.split(";")[0].strip().lower() == "application/json"

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the parsed body.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.body)


@attrs.frozen
class _Request:
    method: str
    path: str
    body: bytes | Source | None
    headers: Mapping[str, str]
    timeout: float | None


def route(*parts: str) -> str:
    """Join parts to a path; what a part holds can't make another segment or a query of it."""
    if "" in parts:
        raise click.UsageError("a name can't be empty")
    return "".join("/" + quote(part, safe=":") for part in parts)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("supervisor", timeout=timeout, blocksize=BLOCK_BYTES)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """One request at a time, a connection for each. Every failure is a `Failure` with a message for people."""

    def __init__(self, target: Target, *, timeout: float = READ_TIMEOUT) -> None:
        self.target = target
        self._timeout = timeout

    def get(self, path: str) -> Any:
        return self._data("GET", path, None, timeout=self._timeout)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for something to be done; waits as long as that takes."""
        return self._data("POST", path, body, timeout=None)

    def upload(
        self, path: str, source: Source, length: int | None, *, media_type: str = "application/octet-stream"
    ) -> Any:
        """Send a large body as it is read, `length` bytes or (None) as many as there are, and wait for the answer."""
        headers = {"Content-Type": media_type}
        if length is not None:
            headers["Content-Length"] = str(length)
        return self._envelope(self.request("POST", path, source, headers=headers), path)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._data("PUT", path, body, timeout=None)

    def delete(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._data("DELETE", path, body, timeout=None)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Source | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Send one request and read the whole answer, whatever its status."""
        with self._open(_Request(method, path, body, headers or {}, timeout)) as response:
            content = self._guard(response.read)
            return Reply(response.status, response.getheader("Content-Type", ""), content)

    def text(self, path: str) -> str:
        """Return a text document such as a changelog."""
        reply = self.request("GET", path, headers={"Accept": "text/plain, */*"}, timeout=self._timeout)
        self.raise_for(reply, path)
        return reply.text

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any] | None = None) -> Iterator[Iterator[bytes]]:
        """Give the pieces of an answer as they come, for as long as the daemon sends any; with a body, ask by POST."""
        method, encoded = ("GET", None) if body is None else ("POST", encode(body))
        accept = "text/plain" if body is None else "*/*"
        with self._open(_Request(method, path, encoded, {"Accept": accept}, None)) as response:
            if response.status >= 400:
                content = self._guard(response.read)
                self.raise_for(Reply(response.status, response.getheader("Content-Type", ""), content), path)
            yield self._pieces(response)

    def raise_for(self, reply: Reply, path: str) -> None:
        """Raise the failure that an answer stands for, if it stands for one."""
        if reply.status < 300:
            return
        body: object = None
        if reply.is_json:
            try:
                body = reply.json()
            except ValueError:
                body = None
        plain = reply.text if reply.content_type.startswith(("text/plain", "application/octet-stream")) else ""
        raise failure_from_reply(reply.status, path, body, plain, over_socket=self.target.socket is not None)

    def _data(self, method: str, path: str, body: Mapping[str, Any] | None, *, timeout: float | None) -> Any:
        encoded = None if body is None else encode(body)
        return self._envelope(self.request(method, path, encoded, timeout=timeout), path)

    def _envelope(self, reply: Reply, path: str) -> Any:
        self.raise_for(reply, path)
        try:
            envelope = reply.json()
        except ValueError:
            envelope = None
        if not isinstance(envelope, dict) or "result" not in envelope:
            raise Failure(f"what answers at {self.target} is not a Supervisor")
        if envelope["result"] != "ok":
            raise Failure(str(envelope.get("message") or "the daemon reported an unknown error"))
        return envelope.get("data")

    @contextmanager
    def _open(self, request: _Request) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        try:
            response = self._guard(self._exchange, connection, request)
            try:
                yield response
            finally:
                response.close()
        finally:
            connection.close()

    def _exchange(self, connection: http.client.HTTPConnection, request: _Request) -> http.client.HTTPResponse:
        if not _PATH.fullmatch(request.path):
            raise Failure(f"{request.path!r} is not a path that can be asked for", ExitCode.USAGE)
        sent = {"Connection": "close", "Accept": "application/json, */*", **request.headers}
        if request.body is not None:
            sent.setdefault("Content-Type", "application/json")
        if self.target.token and self.target.socket is None:
            if not _TOKEN.fullmatch(self.target.token):
                raise Failure("the token holds characters that no token has", ExitCode.USAGE)
            sent["Authorization"] = f"Bearer {self.target.token}"
        connection.connect()
        if connection.sock.family != socket.AF_UNIX:
            # Waiting without a limit must still notice that the other side is gone.
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.sock.settimeout(request.timeout)
        try:
            connection.request(request.method, self._prefix() + request.path, request.body, sent)
        except (BrokenPipeError, ConnectionResetError):
            if request.body is None:
                raise
            # The daemon wanted no more of the body; its answer tells why.
        return connection.getresponse()

    def _connection(self) -> http.client.HTTPConnection:
        connect_timeout = min(CONNECT_TIMEOUT, self._timeout)
        if self.target.socket is not None:
            return _UnixConnection(self.target.socket, connect_timeout)
        try:
            parts = urlsplit(self.target.url or DEFAULT_URL)
            host, port = parts.hostname, parts.port
        except ValueError as err:
            raise Failure(f"not a URL: {self.target.url}", ExitCode.USAGE) from err
        if parts.scheme not in ("http", "https") or not host:
            raise Failure(f"not an http or https URL: {self.target.url}", ExitCode.USAGE)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(host, port, timeout=connect_timeout, blocksize=BLOCK_BYTES)

    def _prefix(self) -> str:
        return "" if self.target.socket is not None else urlsplit(self.target.url or DEFAULT_URL).path.rstrip("/")

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        while piece := self._guard(response.read1, 65536):
            yield piece

    def _guard(self, call: Any, *arguments: Any) -> Any:
        """Call something that talks to the daemon and turn what may go wrong into a `Failure`."""
        try:
            return call(*arguments)
        except TimeoutError as err:
            raise Failure(f"the daemon at {self.target} did not answer in time", ExitCode.UNREACHABLE) from err
        except (FileNotFoundError, ConnectionRefusedError) as err:
            # A daemon that was killed left its socket behind.
            raise Failure(
                f"no daemon is listening at {self.target}",
                ExitCode.UNREACHABLE,
                hint="start it with: systemctl start supervisor (in a clone: script/run), or use --socket",
            ) from err
        except PermissionError as err:
            raise Failure(
                f"you may not use {self.target}",
                ExitCode.NOT_ALLOWED,
                hint="be root or a member of the group supervisor",
            ) from err
        except (OSError, http.client.HTTPException) as err:
            reason = err.strerror if isinstance(err, OSError) and err.strerror else "it closed the connection"
            raise Failure(
                f"can't reach the daemon at {self.target}: {reason}",
                ExitCode.UNREACHABLE,
                hint="see how it is doing with: systemctl status supervisor",
            ) from err


def encode(body: object) -> bytes:
    """Return a body as JSON.

    Raises:
        Failure: it holds something that JSON can't express (NaN, a mapping inside itself).
    """
    try:
        return json.dumps(body, allow_nan=False, default=str).encode()
    except (TypeError, ValueError, RecursionError) as err:
        raise Failure(f"this can't be sent as JSON: {err}", ExitCode.USAGE) from err
