"""The least that aiohttp can do: the same bytes for every request, in the same kind of process as the daemon."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiohttp import web


async def serve(body: bytes, address: str, port: int, socket: str) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": "application/json; charset=utf-8"})

    application = web.Application()
    application.router.add_get("/bare", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    await web.UnixSite(runner, socket).start()
    await asyncio.Event().wait()


def main() -> None:
    body = Path(sys.argv[1]).read_bytes()
    try:
        import uvloop  # noqa: PLC0415 - the daemon takes it when it is there
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(body, sys.argv[2], int(sys.argv[3]), sys.argv[4]))


if __name__ == "__main__":
    main()
