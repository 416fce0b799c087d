"""An HTTP proxy in front of a real registry that fails when it is told to, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"})


@attrs.frozen
class Asked:
    path: str
    agent: str
    authorization: str | None

    @property
    def by_us(self) -> bool:
        """Whether the daemon itself asked, not the engine."""
        return "docker/" not in self.agent


@attrs.frozen
class Refuse:
    """Answer with this status instead of the registry's answer."""

    status: int
    body: bytes = b""


class Drop:
    """Close the connection without an answer."""


class CutOff:
    """Close the connection in the middle of the body."""


Fault = Refuse | Drop | CutOff


@attrs.define(eq=False)
class RegistryProxy:
    """`faults` are used up one by one, each by the next engine's request whose path holds `where`.

    `pause` is waited before each 64 KiB of an answer, in seconds. `given_up` are the paths of answers that nobody took
    to the end.
    """

    upstream: str
    host: str = ""
    where: str = "/manifests/"
    pause: float = 0.0
    faults: list[Fault] = attrs.field(factory=list)
    always: Fault | None = None
    seen: list[Asked] = attrs.field(factory=list)
    given_up: list[str] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def fault_for(self, asked: Asked) -> Fault | None:
        with self._lock:
            self.seen.append(asked)
            if asked.by_us or self.where not in asked.path:
                return None
            return self.faults.pop(0) if self.faults else self.always

    def engine_requests(self, where: str = "/manifests/") -> int:
        return sum(1 for asked in self.seen if where in asked.path and not asked.by_us)


@contextlib.contextmanager
def serve_proxy(upstream: str) -> Iterator[RegistryProxy]:
    proxy = RegistryProxy(upstream)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy))
    server.daemon_threads = True
    proxy.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(proxy: RegistryProxy) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_HEAD(self) -> None:
            self._serve()

        def _serve(self) -> None:
            self.close_connection = True
            agent = self.headers.get("User-Agent", "")
            fault = proxy.fault_for(Asked(self.path, agent, self.headers.get("Authorization")))
            if isinstance(fault, Drop):
                return
            if isinstance(fault, Refuse):
                self.send_response(fault.status)
                self.send_header("Content-Length", str(len(fault.body)))
                self.end_headers()
                self.wfile.write(fault.body)
                return
            self._forward(cut_off=isinstance(fault, CutOff))

        def _forward(self, *, cut_off: bool) -> None:
            connection = http.client.HTTPConnection(proxy.upstream, timeout=30)
            try:
                sent = {key: value for key, value in self.headers.items() if key.lower() not in HOP_BY_HOP}
                connection.request(self.command, self.path, headers=sent)
                answer = connection.getresponse()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in HOP_BY_HOP or key.lower() == "content-length":
                        self.send_header(key, value)
                self.end_headers()
                left = int(answer.getheader("Content-Length") or 0) // 2 if cut_off else None
                while chunk := answer.read(65536 if left is None else min(left, 65536)):
                    time.sleep(proxy.pause)
                    self.wfile.write(chunk)
                    left = None if left is None else left - len(chunk)
            except OSError:
                proxy.given_up.append(self.path)
            finally:
                connection.close()

        def log_message(self, *_: Any) -> None:
            """The tests look at `seen`."""

    return Handler
