"""A device that a test can plug in and pull out: the node of a macvtap link, which the kernel makes and removes."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import attrs


@attrs.define
class Tap:
    """Its path is known before it is there."""

    number: int

    @property
    def path(self) -> str:
        return f"/dev/tap{self.number}"

    async def plug(self) -> None:
        await _ip(
            "link", "add", "link", _parent(self), "name", _name(self), "index", str(self.number), "type", "macvtap"
        )

    async def pull(self) -> None:
        await _ip("link", "delete", _name(self))


@contextmanager
def pluggable() -> Iterator[Tap]:
    """Give a device that is not plugged in; afterwards nothing of it is left."""
    tap = Tap(100_000 + secrets.randbelow(100_000))
    veth = ["ip", "link", "add", _parent(tap), "type", "veth", "peer", "name", f"{_parent(tap)}p"]
    subprocess.run(veth, check=True)
    try:
        yield tap
    finally:
        # The tap goes with what it stands on.
        subprocess.run(["ip", "link", "delete", _parent(tap)], check=True)


async def _ip(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *arguments, stderr=subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


def _name(tap: Tap) -> str:
    return f"svt{tap.number}"


def _parent(tap: Tap) -> str:
    return f"svp{tap.number}"
