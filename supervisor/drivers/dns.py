"""Asking one name server, past all that the machine would ask otherwise."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

import aiodns
from aiodns.error import ARES_ENODATA, DNSError

from supervisor.errors import NotFound, Unavailable

PORT: Final = 53
SECONDS: Final = 5.0
TRIES: Final = 2

RecordType = Literal["A", "AAAA"]


async def ask(server: IPv4Address | IPv6Address, name: str, kind: RecordType, *, port: int = PORT) -> None:
    """Have a server answer a question; what it answers is nobody's business.

    Raises:
        NotFound: it knows the name, and no record of that kind.
        Unavailable: it does not answer in time, knows no such name, or refuses.
    """
    resolver = aiodns.DNSResolver([str(server)], timeout=SECONDS, tries=TRIES, udp_port=port, tcp_port=port)
    try:
        await resolver.query_dns(name, kind)
    except DNSError as err:
        code, reason = err.args[0], err.args[-1]
        if code == ARES_ENODATA:
            raise NotFound(f"The name server {server} has no {kind} record of {name}") from err
        raise Unavailable(f"The name server {server} does not answer about {name} ({kind}): {reason}") from err
    finally:
        await resolver.close()
