"""Which ports of an add-on are published where (add-on contract §3.8)."""

from __future__ import annotations

from collections.abc import Mapping

Ports = dict[str, int | None]


def effective_ports(declared: Mapping[str, int | None] | None, chosen: Mapping[str, int | None] | None) -> Ports | None:
    """Return the declared ports with the user's choices on top; None for an add-on without ports.

    Choices for undeclared ports are ignored; `"80"` and `"80/tcp"` name the same port.
    """
    if not declared:
        return None
    wanted = {_full(port): host for port, host in (chosen or {}).items()}
    return {port: wanted.get(_full(port), host) for port, host in declared.items()}


def known_choices(declared: Mapping[str, int | None] | None, chosen: Mapping[str, int | None]) -> Ports:
    """Return the choices that speak of declared ports, under the declared names."""
    wanted = {_full(port): host for port, host in chosen.items()}
    return {port: wanted[_full(port)] for port in declared or {} if _full(port) in wanted}


def published_ports(ports: Ports | None) -> dict[str, int]:
    """Return the ports that the engine must publish, with their protocol."""
    return {_full(port): host for port, host in (ports or {}).items() if host is not None}


def first_conflict(wanted: Mapping[str, int], held: Mapping[str, Mapping[str, int]]) -> tuple[int, str] | None:
    """Return the first port of the host that `wanted` shares with one of `held` (holder -> its ports), and the holder.

    The same number of another protocol is another port.
    """
    holders = {(host, _protocol(port)): holder for holder, ports in held.items() for port, host in ports.items()}
    for port, host in wanted.items():
        if (holder := holders.get((host, _protocol(port)))) is not None:
            return host, holder
    return None


def _protocol(port: str) -> str:
    return _full(port).partition("/")[2]


def _full(port: str) -> str:
    return port if "/" in port else f"{port}/tcp"
