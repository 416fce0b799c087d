"""Large files from a server that may do anything."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

from supervisor.drivers import http as http_module
from supervisor.drivers.download import download
from supervisor.drivers.http import HttpClient
from supervisor.errors import Internal, SupervisorError, Timeout, Unavailable
from web_stand import asking, serving

pytestmark = pytest.mark.usefixtures("no_blocking_calls")

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 4096 * 3 + b"the end"


@attrs.define(eq=False)
class Server:
    """Sends `content` with a length or without, `cut` after so many bytes, or silent from there on."""

    url: str = ""
    content: bytes = CONTENT
    status: int = 200
    with_length: bool = True
    length: int | None = None
    cut: int | None = None
    silent_after: int | None = None
    silence: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=self.status)
        if self.with_length:
            answer.content_length = self.length if self.length is not None else len(self.content)
        await answer.prepare(request)
        for begin in range(0, len(self.content), 100_000):
            if self.cut is not None and begin >= self.cut:
                assert request.transport is not None
                request.transport.abort()
                return answer
            if self.silent_after is not None and begin >= self.silent_after:
                await self.silence.wait()
            await answer.write(self.content[begin : begin + 100_000])
        return answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with serving(server.handle) as url:
        server.url = f"{url}/file"
        yield server
        server.silence.set()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with asking() as client:
        yield client


@attrs.define(eq=False)
class Fetch:
    client: HttpClient
    server: Server
    target: Path
    told: list[tuple[int, int | None]] = attrs.field(factory=list)

    async def __call__(self, *, seconds: float = 120, spare: int = 0) -> None:
        await download(
            self.client,
            self.server.url,
            self.target,
            seconds=seconds,
            spare=spare,
            tell=lambda *news: self.told.append(news),
        )

    async def fails(self, kind: type[SupervisorError], says: str, **how: Any) -> None:
        with pytest.raises(kind, match=says):
            await self(**how)
        assert list(self.target.parent.iterdir()) == []


@pytest.fixture
def fetch(client: HttpClient, server: Server, tmp_path: Path) -> Fetch:
    (tmp_path / "tmp").mkdir()
    return Fetch(client, server, tmp_path / "tmp/file")


@pytest.mark.parametrize("with_length", [True, False])
async def test_a_file_is_fetched_whole_and_its_way_is_told(fetch: Fetch, with_length: bool) -> None:
    fetch.server.with_length = with_length
    await fetch()
    assert fetch.target.read_bytes() == CONTENT
    size = len(CONTENT) if with_length else None
    assert [total for _, total in fetch.told] == [size] * len(fetch.told)
    here = [here for here, _ in fetch.told]
    assert (here == sorted(here), here[-1], len(here) >= 3) == (True, len(CONTENT), True)


@pytest.mark.parametrize("with_length", [True, False])
async def test_what_breaks_off_leaves_nothing_behind(fetch: Fetch, with_length: bool) -> None:
    fetch.server.with_length, fetch.server.cut = with_length, 2 * MIB
    await fetch.fails(Unavailable, "broke off")


async def test_another_status_is_no_file(fetch: Fetch) -> None:
    fetch.server.status = 404
    await fetch.fails(Unavailable, "status 404")


async def test_a_server_that_falls_silent_or_is_too_slow_is_given_up(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch.server.silent_after = MIB
    await fetch.fails(Timeout, "in time", seconds=0.3)
    monkeypatch.setattr(http_module, "SILENCE_SECONDS", 0.2)
    await fetch.fails(Timeout, "in time")


async def test_a_file_larger_than_the_disk_is_not_even_begun(fetch: Fetch) -> None:
    fetch.server.length = 10**15
    await fetch.fails(Unavailable, "no room")
    assert fetch.told == []


async def test_a_file_without_a_size_stops_where_the_room_ends(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(fetch.target.parent)
    # Others write to this disk, and remove what they wrote.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    fetch.server.with_length = False
    await fetch.fails(Unavailable, "no room", spare=usage.free + 10**12)
    fetch.server.content = CONTENT * 60
    await fetch.fails(Unavailable, "no room", spare=usage.free - 50 * MIB)


async def test_a_disk_that_refuses_is_said_so(fetch: Fetch) -> None:
    fetch.target = fetch.target.parent / "no" / "file"
    with pytest.raises(Internal, match="can't be written"):
        await fetch()


async def test_who_gives_up_leaves_nothing_behind(fetch: Fetch) -> None:
    fetch.server.silent_after = 2 * MIB
    fetching = asyncio.ensure_future(fetch())
    while not fetch.told:  # noqa: ASYNC110 - the first news of it are what is waited for
        await asyncio.sleep(0.01)
    assert fetch.target.exists()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert list(fetch.target.parent.iterdir()) == []
