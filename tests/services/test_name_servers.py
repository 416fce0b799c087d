"""Name servers that are asked, against servers of a test's own on loopback."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from functools import partial
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest
import pytest_asyncio

from supervisor.drivers import dns
from supervisor.errors import NotFound, Unavailable
from supervisor.events import EventBus
from supervisor.managers.network import health
from supervisor.managers.network.health import Ipv6NameServerCheck, NameServerCheck
from supervisor.managers.resolution import Check, Resolution

GOOD, BAD = IPv4Address("127.0.0.1"), IPv4Address("127.0.0.2")
REFUSED, A, AAAA = 5, 1, 28


@attrs.define(eq=False)
class NameServer(asyncio.DatagramProtocol):
    """Answers each question with one address of the kinds in `knows`, with a code, or not at all."""

    knows: set[int] = attrs.field(factory=lambda: {A, AAAA})
    code: int = 0
    silent: bool = False
    asked: list[int] = attrs.field(factory=list)
    transport: Any = None
    port: int = 0

    async def listen(self, address: IPv4Address, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(str(address), port))
        self.port = self.transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        # One question: labels up to an empty one, then type and class.
        end = data.index(b"\0", 12) + 5
        kind = struct.unpack("!H", data[end - 4 : end - 2])[0]
        self.asked.append(kind)
        if self.silent:
            return
        count = int(not self.code and kind in self.knows)
        header = data[:2] + struct.pack("!HHHHH", 0x8180 | self.code, 1, count, 0, 0)
        address = bytes(4 if kind == A else 16)
        record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(address)) + address
        self.transport.sendto(header + data[12:end] + record * count, addr)


@attrs.define
class Online:
    online: bool = True

    async def check(self) -> bool:
        return self.online


@attrs.define
class Stage:
    good: NameServer
    bad: NameServer
    resolution: Resolution
    connectivity: Any
    servers: list[IPv4Address]

    def check(self, kind: type[NameServerCheck]) -> NameServerCheck:
        ask: Any = partial(dns.ask, port=self.good.port)
        return kind(lambda: self.servers, self.resolution, self.connectivity, ask)

    async def look(self, check: Check) -> list[str | None]:
        for issue in self.resolution.issues:
            if await check.approve(issue) is False:
                self.resolution.withdraw(issue)
        await check.run()
        return [issue.reference for issue in self.resolution.issues]


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    good, bad = NameServer(), NameServer(code=REFUSED)
    await good.listen(GOOD)
    await bad.listen(BAD, good.port)
    yield Stage(good, bad, Resolution(EventBus()), Online(), [GOOD, BAD])
    good.transport.close()
    bad.transport.close()


async def test_a_server_is_asked_about_both_kinds_of_addresses(stage: Stage) -> None:
    await dns.ask(GOOD, "a.example.org", "A", port=stage.good.port)
    await dns.ask(GOOD, "a.example.org", "AAAA", port=stage.good.port)
    assert stage.good.asked == [A, AAAA]
    stage.good.knows = {A}
    with pytest.raises(NotFound):
        await dns.ask(GOOD, "a.example.org", "AAAA", port=stage.good.port)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.2 does not answer"):
        await dns.ask(BAD, "a.example.org", "A", port=stage.good.port)


async def test_a_server_that_says_nothing_does_not_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "SECONDS", 0.2)
    stage.good.silent = True
    with pytest.raises(Unavailable):
        await dns.ask(GOOD, "a.example.org", "A", port=stage.good.port)


@pytest.mark.parametrize("kind", [NameServerCheck, Ipv6NameServerCheck])
async def test_servers_that_do_not_answer_are_told_until_they_do_or_are_not_asked_any_more(
    stage: Stage, kind: type[NameServerCheck]
) -> None:
    check = stage.check(kind)
    assert await stage.look(check) == ["dns://127.0.0.2"]
    assert stage.resolution.issues[0].type == kind.issue
    assert await stage.look(check) == ["dns://127.0.0.2"]
    assert len(stage.good.asked) == 1, "once a day"
    stage.connectivity.online = False
    stage.bad.code = 0
    assert await stage.look(check) == ["dns://127.0.0.2"], "nobody can tell without internet"
    stage.connectivity.online = True
    assert await stage.look(check) == []
    stage.bad.code = REFUSED
    again = stage.check(kind)
    assert await stage.look(again) == ["dns://127.0.0.2"]
    stage.servers.remove(BAD)
    assert await stage.look(again) == []


async def test_a_name_without_ipv6_is_no_fault_of_its_server(stage: Stage) -> None:
    stage.servers = [GOOD]
    stage.good.knows = {A}
    assert await stage.look(stage.check(Ipv6NameServerCheck)) == []
    stage.good.knows = set()
    assert await stage.look(stage.check(NameServerCheck)) == ["dns://127.0.0.1"]


async def test_without_internet_nobody_is_asked_and_the_day_does_not_count(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(health.time, "monotonic", lambda: now)
    check = stage.check(NameServerCheck)
    stage.connectivity.online = False
    assert await stage.look(check) == []
    assert stage.good.asked == []
    stage.connectivity.online = True
    assert await stage.look(check) == ["dns://127.0.0.2"]
    now += 24 * 3600
    await stage.look(check)
    assert len(stage.good.asked) == 2
