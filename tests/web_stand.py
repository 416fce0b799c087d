"""A web server on loopback that answers as a test wants it, and the daemon's own client to ask it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from supervisor.drivers.http import HttpClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handle: Handler, *, context: ssl.SSLContext | None = None, **how: Any) -> AsyncIterator[str]:
    """Answer every request by `handle`; give the address. `how` is for the runner."""
    application = web.Application(client_max_size=2**26)
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, **how)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"{'http' if context is None else 'https'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking() -> AsyncIterator[HttpClient]:
    client = HttpClient(user_agent="Supervisor/test")
    await client.start()
    try:
        yield client
    finally:
        await client.stop()
