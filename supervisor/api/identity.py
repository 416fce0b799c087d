"""Who is it? On TCP a token tells, on the Unix socket the kernel does (API contract §4.1)."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import re
import socket
import struct
from collections.abc import Callable
from typing import Final

from aiohttp import web

from supervisor.api.caller import NOBODY, STRANGER, Caller, CallerDirectory, CallerKind

ADMIN_GROUP: Final = "supervisor"
TOKEN_HEADERS: Final = ("X-Supervisor-Token", "X-Hassio-Key")
MAX_TOKEN: Final = 512

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_SO_PEERGROUPS: Final = 59
_CREDENTIALS: Final = struct.Struct("=iII")
_GROUP: Final = struct.Struct("=I")
# As many as Python's getsockopt has room for.
_MAX_GROUPS: Final = 256

Identify = Callable[[web.BaseRequest], Caller]


def by_token(callers: CallerDirectory) -> Identify:
    """Return what finds the caller of a request that came over TCP.

    A header given twice, a token longer than any of ours or a scheme other than Bearer names a stranger.
    """

    def identify(request: web.BaseRequest) -> Caller:
        headers = request.headers
        for name in TOKEN_HEADERS:
            values = headers.getall(name, None)
            if values and any(values):
                return _known(callers, values[0]) if len(values) == 1 else STRANGER
        values = headers.getall("Authorization", None)
        if not values or not any(values):
            return NOBODY
        if len(values) != 1:
            return STRANGER
        scheme, space, token = values[0].partition(" ")
        if not space:
            return _known(callers, scheme)
        return _known(callers, token) if scheme.lower() == "bearer" else STRANGER

    return identify


def _known(callers: CallerDirectory, token: str) -> Caller:
    if len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
        return STRANGER
    return callers.by_token(token) or STRANGER


def admin_group() -> int | None:
    """Return the group whose members administer this machine's Supervisor, where it exists. Blocking."""
    try:
        return grp.getgrnam(ADMIN_GROUP).gr_gid
    except KeyError:
        return None


def peer_caller(transport: asyncio.BaseTransport, group: int | None) -> Caller:
    """Return who is at the other end of a Unix socket: root and members of `group` are administrators.

    The kernel noted the peer's identity, supplementary groups included, when it connected.
    """
    peer = transport.get_extra_info("socket")
    if peer is None:
        return STRANGER
    try:
        with socket.socket(fileno=os.dup(peer.fileno())) as copy:
            _, uid, gid = _CREDENTIALS.unpack(copy.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            groups = {gid}
            # A peer with more groups than fit is judged by its first group alone.
            with contextlib.suppress(OSError):
                packed = copy.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS * _GROUP.size)
                groups.update(item for (item,) in _GROUP.iter_unpack(packed))
    except OSError:
        return STRANGER
    if uid == 0 or (group is not None and group in groups):
        return Caller(CallerKind.ADMIN, f"administrator (uid {uid})")
    return STRANGER
