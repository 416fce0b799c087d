"""A log as an HTTP answer (API contract §5.4)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from aiohttp import web

from supervisor.errors import SupervisorError
from supervisor.managers.logs import LogManager, LogRequest, LogStream, LogTarget

_GONE_CHECK_SECONDS: Final = 2.0
_BLOCK_BYTES: Final = 16 * 1024


async def respond(
    request: web.BaseRequest, logs: LogManager, target: LogTarget, log_request: LogRequest
) -> web.StreamResponse:
    """Stream a log to the caller until its end, or until the caller is gone.

    Headers go out with the first entry; a reader that is slow holds the source up and fills no memory here.

    Raises:
        SupervisorError: the log can't be opened; nothing was sent yet.
    """
    # The server does not tell a handler that its caller left, and a silent log writes nothing that could fail.
    streaming = asyncio.create_task(_stream(request, logs, target, log_request), name="log stream")
    try:
        while not streaming.done():
            await asyncio.wait({streaming}, timeout=_GONE_CHECK_SECONDS)
            if not streaming.done() and (request.transport is None or request.transport.is_closing()):
                return web.Response()
        return await streaming
    finally:
        if not streaming.done():
            streaming.cancel()
            await asyncio.wait({streaming})


async def _stream(
    request: web.BaseRequest, logs: LogManager, target: LogTarget, log_request: LogRequest
) -> web.StreamResponse:
    async with contextlib.aclosing(await logs.stream(target, log_request)) as stream:
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8", "X-Accel-Buffering": "no"})
        if stream.first_cursor is not None:
            response.headers["X-First-Cursor"] = stream.first_cursor
        # A caller that left has no use for an error.
        with contextlib.suppress(ConnectionResetError):
            await response.prepare(request)
            await _send(response, stream, at_once=log_request.follow)
            await response.write_eof()
        return response


async def _send(response: web.StreamResponse, stream: LogStream, *, at_once: bool) -> None:
    block = b""
    # The source was lost half-way: what is sent is sent, the answer ends here.
    with contextlib.suppress(SupervisorError):
        async for more in stream.blocks:
            block = block + more if block else more
            if at_once or len(block) >= _BLOCK_BYTES:
                await response.write(block)
                block = b""
    if block:
        await response.write(block)
