"""Knocking at a TCP port."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def accepts_tcp(host: str, port: int, *, seconds: float) -> bool:
    """Tell whether a connection to the address comes about in time; it is closed at once."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        # TimeoutError is one.
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
