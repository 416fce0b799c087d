"""Whether a machine of the network can be talked to, whatever it may answer."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress
from enum import IntEnum
from typing import Final

# What routers listen on, or refuse in a way that is an answer, too.
_PORTS: Final = (53, 80, 443, 22)
_SECONDS: Final = 5.0
_NO_WAY: Final = {
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EINVAL,
    errno.ENODEV,
}


class Reach(IntEnum):
    """From bad to good."""

    NOBODY = 0
    """No such machine is on the network, or there is no way to it."""
    SILENT = 1
    """There is one; it lets nothing through."""
    ANSWERS = 2


async def reach(host: str, interface: str) -> Reach:
    """Try to talk to a machine through an interface.

    `host` is an address, of IPv6 with its zone where it needs one.
    """
    tasks = [asyncio.create_task(_try(host, port, interface)) for port in _PORTS]
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


async def _try(host: str, port: int, interface: str) -> Reach:
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        with socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol) as probe:
            # In a container the machine's interfaces are others: whatever leads there has to do.
            with suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            async with asyncio.timeout(_SECONDS):
                await asyncio.get_running_loop().sock_connect(probe, address)
    except TimeoutError:
        return Reach.SILENT
    except ConnectionError:
        return Reach.ANSWERS
    except OSError as err:
        return Reach.NOBODY if err.errno in _NO_WAY or err.errno is None or err.errno < 0 else Reach.SILENT
    return Reach.ANSWERS
