"""Journals for tests: entries in the export format, real journal files, a gateway at the wire and the real one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import attrs
import pytest
from aiohttp import web

REMOTE = Path("/lib/systemd/systemd-journal-remote")
GATEWAY = Path("/lib/systemd/systemd-journal-gatewayd")

needs_journal_tools = pytest.mark.skipif(
    not (REMOTE.exists() and GATEWAY.exists()), reason="Debian's systemd-journal-remote is not installed"
)

BOOTS = ("a" * 32, "b" * 32, "c" * 32)
START = 1_700_000_000_000_000

Fields = dict[str, str]


def fields(number: int, message: str | None = None, *, boot: int = 2, **more: str) -> Fields:
    """Return the journal fields of the entry `number` seconds into the story."""
    return {
        "__CURSOR": f"s=0;i={number}",
        "__REALTIME_TIMESTAMP": str(START + number * 1_000_000),
        "__MONOTONIC_TIMESTAMP": str(1000 + number),
        "_BOOT_ID": BOOTS[boot],
        "_MACHINE_ID": "d" * 32,
        "_HOSTNAME": "box",
        "SYSLOG_IDENTIFIER": "addon_x",
        "MESSAGE": f"message {number}" if message is None else message,
        **more,
    }


def export(entries: Iterable[Fields]) -> bytes:
    content = bytearray()
    for entry in entries:
        for name, value in entry.items():
            data = value.encode()
            if b"\n" in data:
                content += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
            else:
                content += name.encode() + b"=" + data + b"\n"
        content += b"\n"
    return bytes(content)


def write_journal(path: Path, entries: Iterable[Fields]) -> None:
    """Make a real journal file; our cursors are dropped, the journal makes its own."""
    subprocess.run([REMOTE, "-o", path, "-"], input=export(entries), check=True, capture_output=True, timeout=20)


class LiveJournal:
    """A real journal file that grows."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [REMOTE, "-o", path, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def write(self, *entries: Fields) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(export(entries))
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.communicate(timeout=20)


@attrs.define
class GatewayStand:
    """Answers like the gateway: what is told it to send, and keeps what it was asked.

    With `cut` its answers end as when it dies, each when that is set.
    """

    socket: Path
    entries: list[Fields] = attrs.Factory(list)
    boots: str | None = None
    identifiers: str = ""
    status: int = 200
    text: str = ""
    raw: bytes | None = None
    cut: asyncio.Event | None = None
    hold: asyncio.Event = attrs.Factory(asyncio.Event)
    asked: list[web.Request] = attrs.Factory(list)
    left: asyncio.Event = attrs.Factory(asyncio.Event)

    async def answer_entries(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.status != 200:
            return web.Response(status=self.status, text=self.text)
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.fdo.journal"})
        await response.prepare(request)
        entries = self.entries
        for name, value in request.query.items():
            if name in {"MESSAGE_ID", "CONTAINER_NAME", "CONTAINER_LOG_EPOCH", "CONTAINER_ID_FULL"}:
                entries = [entry for entry in entries if entry.get(name) == value]
        if request.headers.get("Range") == "entries=:0:1":
            entries = entries[:1]
        elif request.headers.get("Range") == "entries=:-1:2":
            entries = entries[-2:]
        with contextlib.suppress(ConnectionError):
            await response.write(export(entries) if self.raw is None else self.raw)
            if self.cut is not None:
                await self.cut.wait()
                assert request.transport is not None
                request.transport.abort()
            if "follow" in request.query:
                while request.transport is not None and not self.hold.is_set():  # noqa: ASYNC110 - no event tells it
                    await asyncio.sleep(0.01)
                self.left.set()
        return response

    async def answer_boots(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if self.boots is None:
            return web.Response(status=404, text="No such page")
        return web.Response(text=self.boots, content_type="application/json-seq")

    async def answer_fields(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        return web.Response(text=self.identifiers)


@contextlib.asynccontextmanager
async def gateway_stand(folder: Path) -> AsyncIterator[GatewayStand]:
    stand = GatewayStand(folder / "gateway.sock")
    app = web.Application()
    app.router.add_get("/entries", stand.answer_entries)
    app.router.add_get("/boots", stand.answer_boots)
    app.router.add_get("/fields/SYSLOG_IDENTIFIER", stand.answer_fields)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(stand.socket)).start()
    try:
        yield stand
    finally:
        stand.hold.set()
        await runner.cleanup()


@contextlib.contextmanager
def real_gateway(journal: Path, listen_at: Path) -> Iterator[None]:
    """Run systemd-journal-gatewayd on a Unix socket, handed over as systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(listen_at))
        listener.listen()
        handed = f"exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec {GATEWAY} -D {journal}"
        process = subprocess.Popen(
            ["bash", "-c", handed],
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)
