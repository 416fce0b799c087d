"""Whether a machine of the network can be talked to, whatever it may answer."""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress
from enum import IntEnum
from typing import Final

# What routers listen on, or refuse in a way that is an answer, too.
_PORTS: Final = (53, 80, 443, 22)
_SECONDS: Final = 5.0
_NO_WAY: Final = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EINVAL}


class Reach(IntEnum):
    """From bad to good."""

    NOBODY = 0
    """No such machine is on the network, or there is no way to it."""
    SILENT = 1
    """There is one; it lets nothing through."""
    ANSWERS = 2


async def reach(host: str) -> Reach:
    """Try to talk to a machine, given as an address (of IPv6 with its zone where it needs one)."""
    tasks = [asyncio.create_task(_try(host, port)) for port in _PORTS]
    best = Reach.NOBODY
    try:
        for next_one in asyncio.as_completed(tasks):
            best = max(best, await next_one)
            if best is Reach.ANSWERS:
                break
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return best


async def _try(host: str, port: int) -> Reach:
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Reach.SILENT
    except ConnectionError:
        return Reach.ANSWERS
    except OSError as err:
        return Reach.NOBODY if err.errno in _NO_WAY or err.errno is None or err.errno < 0 else Reach.SILENT
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Reach.ANSWERS
