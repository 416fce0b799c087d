"""A small table of routes behind the real server, and a client that sends exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from supervisor.api.caller import CORE, HOST, OBSERVER, Caller, Role
from supervisor.api.route import Route
from supervisor.api.server import ApiServer
from supervisor.api.tokens import TokenIndex
from supervisor.events import CoreState


@attrs.frozen
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def token_of(name: str) -> str:
    return name.encode().hex().ljust(112, "0")


CALLERS: Mapping[str, Caller] = {
    "core": CORE,
    "host": HOST,
    "observer": OBSERVER,
    "plain": Caller.addon("plain"),
    "plain_admin": Caller.addon("plain_admin", role=Role.ADMIN),
    "default": Caller.addon("default", hassio_api=True),
    "homeassistant": Caller.addon("homeassistant", role=Role.HOMEASSISTANT, hassio_api=True),
    "backup": Caller.addon("backup", role=Role.BACKUP, hassio_api=True),
    "manager": Caller.addon("manager", role=Role.MANAGER, hassio_api=True),
    "admin": Caller.addon("admin", role=Role.ADMIN, hassio_api=True),
}


@attrs.define
class Toy:
    server: ApiServer
    socket: Path
    state: CoreState = CoreState.RUNNING

    async def connect(self, *, unix: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if unix:
            return await asyncio.open_unix_connection(self.socket)
        assert self.server.tcp_address is not None
        return await asyncio.open_connection(*self.server.tcp_address)

    async def send(self, raw: bytes, *, unix: bool = False) -> Reply:
        """Send these bytes and return the first reply."""
        reader, writer = await self.connect(unix=unix)
        try:
            writer.write(raw)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            return await read_reply(reader)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def ask(
        self,
        method: str,
        target: str,
        *,
        caller: str | None = "core",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | Any = b"",
        unix: bool = False,
    ) -> Reply:
        lines = [("Host", "supervisor"), ("Connection", "close"), *headers]
        if caller is not None and not unix:
            lines.append(("Authorization", f"Bearer {token_of(caller)}"))
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body:
            lines.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
        return await self.send(head.encode("utf-8", "surrogateescape") + body, unix=unix)


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    async with asyncio.timeout(30):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        try:
            body = await reader.readexactly(int(headers.get("content-length", "-1")))
        except ValueError:
            body = await reader.read()
        except asyncio.IncompleteReadError as err:
            body = err.partial
    if headers.get("transfer-encoding") == "chunked":
        body = unchunked(body)
    return Reply(int(first.split()[1]), headers, body)


def unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole


@contextlib.asynccontextmanager
async def serving(
    routes: Sequence[Route], folder: Path, *, body_seconds: float = 30, tokens: TokenIndex | None = None
) -> AsyncIterator[Toy]:
    if tokens is None:
        tokens = TokenIndex()
        for name, caller in CALLERS.items():
            tokens.add(token_of(name), caller)
    server = ApiServer(routes, tokens, lambda: toy.state, body_seconds=body_seconds)
    toy = Toy(server, folder / "supervisor.sock")
    await server.start(toy.socket, ("127.0.0.1", 0))
    try:
        yield toy
    finally:
        await server.stop()
