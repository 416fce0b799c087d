"""A stand-in for the daemon: a real HTTP server on a real Unix socket that answers in the API's envelope."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HELLO = {
    "name": "Hello",
    "slug": "local_hello",
    "description": "Says hello on a web page",
    "state": "started",
    "version": "1.0.0",
    "version_latest": "1.1.0",
    "update_available": True,
    "repository": "local",
    "stage": "stable",
    "url": None,
}
SSH = {
    "name": "Terminal & SSH",
    "slug": "core_ssh",
    "description": "Log in over SSH",
    "state": "stopped",
    "version": "9.2",
    "version_latest": "9.2",
    "update_available": False,
    "repository": "core",
    "stage": "stable",
    "url": "https://example.org/ssh",
}
HELLO_INFO = {
    **HELLO,
    "boot": "auto",
    "watchdog": True,
    "auto_update": False,
    "protected": True,
    "rating": 6,
    "hostname": "local-hello",
    "ip_address": "172.30.33.2",
    "network": {"80/tcp": 8080, "443/tcp": None},
    "network_description": {"80/tcp": "Web page", "443/tcp": "Web page (TLS)"},
    "webui": "http://[HOST]:8080/",
    "ingress_url": None,
    "detached": False,
    "options": {"greeting": "hi", "secret": "hunter2", "web": {"title": "Home", "tags": ["a", "b"]}},
    "schema": [
        {"name": "greeting", "type": "string", "required": True},
        {"name": "secret", "type": "string", "format": "password", "optional": True},
        {"name": "web", "type": "schema", "multiple": False, "optional": True, "schema": []},
        {"name": "names", "type": "string", "multiple": True, "optional": True},
    ],
}
INFO = {
    "supervisor": "2026.11.0",
    "homeassistant": None,
    "hassos": None,
    "docker": "20.10.24",
    "hostname": "house",
    "operating_system": "Debian GNU/Linux 12 (bookworm)",
    "features": ["reboot", "journal"],
    "machine": "qemux86-64",
    "machine_id": "0" * 32,
    "arch": "amd64",
    "supported_arch": ["amd64", "i386"],
    "supported": True,
    "channel": "stable",
    "logging": "info",
    "state": "running",
    "timezone": "Europe/Berlin",
}
STATS = {
    "cpu_percent": 1.25,
    "memory_usage": 52428800,
    "memory_limit": 4294967296,
    "memory_percent": 1.22,
    "network_rx": 2048,
    "network_tx": 512,
    "blk_read": 0,
    "blk_write": 1048576,
}


def job(uuid: str = "a" * 32, **changes: Any) -> dict[str, Any]:
    return {
        "name": "app_manager_install",
        "reference": "core_ssh",
        "uuid": uuid,
        "progress": 0,
        "stage": None,
        "done": False,
        "errors": [],
        "created": "2026-11-21T10:00:00+00:00",
        "extra": None,
        "child_jobs": [],
        **changes,
    }


@attrs.frozen
class Error:
    """An error envelope."""

    status: int
    message: str = "it failed"
    key: str | None = None
    fields: dict[str, Any] | None = None


@attrs.frozen
class Text:
    body: str
    status: int = 200


@attrs.frozen
class Seen:
    method: str
    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _store(row: dict[str, Any], *, installed: bool) -> dict[str, Any]:
    version = row["version"] if installed else None
    return {**row, "installed": installed, "available": True, "version": version, "arch": ["amd64"], "rating": 6}


@attrs.define
class FakeDaemon:
    """`answers` maps (method, path) to data, `Error`, `Text`, a handler, or a list of these: one after the other."""

    answers: dict[tuple[str, str], Any] = attrs.field(factory=dict)
    seen: list[Seen] = attrs.field(factory=list)
    socket: Path = Path()
    port: int = 0
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None

    def __attrs_post_init__(self) -> None:
        both = [_store(HELLO, installed=True), _store(SSH, installed=False)]
        self.answers.update(
            {
                ("GET", "/info"): INFO,
                ("GET", "/addons"): {"addons": [SSH, HELLO]},
                ("GET", "/addons/local_hello/info"): HELLO_INFO,
                ("GET", "/addons/local_hello/stats"): STATS,
                ("GET", "/store/addons"): {"addons": both},
                ("GET", "/store/addons/local_hello"): both[0],
                ("GET", "/store/addons/core_ssh"): both[1],
                ("GET", "/store/repositories"): [
                    {"slug": "core", "name": "Official", "source": "core", "url": "core", "maintainer": "Someone"}
                ],
                ("GET", "/jobs/info"): {"ignore_conditions": [], "jobs": []},
            }
        )

    def start(self, folder: Path) -> None:
        self.socket = folder / "s.sock"
        ready = threading.Event()

        async def serve() -> None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.2)
            await runner.setup()
            await web.UnixSite(runner, str(self.socket)).start()
            tcp = web.TCPSite(runner, "127.0.0.1", 0)
            await tcp.start()
            self.port = runner.addresses[1][1]
            self._stop = asyncio.Event()
            ready.set()
            await self._stop.wait()
            await runner.cleanup()
            for _ in range(5):  # transports close their sockets in a later turn of the loop
                await asyncio.sleep(0)

        def run() -> None:
            self._loop.run_until_complete(serve())
            self._loop.close()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert ready.wait(60)

    _stop: asyncio.Event = attrs.field(factory=asyncio.Event)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        assert self._thread is not None
        self._thread.join(60)
        assert not self._thread.is_alive()

    def requests(self, method: str = "POST") -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(Seen(request.method, request.path_qs, body, dict(request.headers)))
        answer = self.answers.get((request.method, request.path))
        if answer is None:
            if request.method == "GET":
                return web.Response(status=404, text="404: Not Found")
            answer = {}
        if isinstance(answer, list) and answer and isinstance(answer[0], (Step, Error)):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Step):
            answer = answer.answer
        return await _respond(answer, request)


@attrs.frozen
class Step:
    """One of several answers, given in turn; the last one stays."""

    answer: Any


async def _respond(answer: Any, request: web.Request) -> web.StreamResponse:
    if callable(answer):
        response: web.StreamResponse = await answer(request)
        return response
    if isinstance(answer, Text):
        return web.Response(status=answer.status, text=answer.body)
    if isinstance(answer, Error):
        body: dict[str, Any] = {"result": "error", "message": answer.message}
        if answer.key:
            body |= {"error_key": answer.key, "extra_fields": answer.fields}
        return web.json_response(body, status=answer.status)
    return web.json_response({"result": "ok", "data": answer or {}})
