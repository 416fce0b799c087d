from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from journal_stand import GatewayStand, fields, gateway_stand
from log_engine_stand import EngineStand

from daemon import until
from supervisor.api import logs as api_logs
from supervisor.api.answer import error
from supervisor.api.logs import respond
from supervisor.api.route import ErrorForm
from supervisor.drivers.journal import JournalGateway
from supervisor.errors import SupervisorError
from supervisor.events import EventBus
from supervisor.managers.logs import LogManager, LogRequest, LogTarget

X = LogTarget(("addon_x",), "addon_x")


class Door:
    """A server with one log, and its client."""

    def __init__(self, logs: LogManager, socket: Path) -> None:
        self.logs = logs
        self.socket = socket
        self.client = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)))
        self.finished = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            asked = LogRequest.from_query(
                request.headers, request.query, follow=request.path.endswith("/follow"), latest="latest" in request.path
            )
            return await respond(request, self.logs, X, asked)
        except SupervisorError as err:
            return error(err, ErrorForm.TEXT)
        finally:
            self.finished.set()


@contextlib.asynccontextmanager
async def open_door(logs: LogManager, folder: Path) -> AsyncIterator[Door]:
    door = Door(logs, folder / "door.sock")
    runner = web.ServerRunner(web.Server(door.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(door.socket)).start()
    try:
        yield door
    finally:
        await door.client.close()
        await runner.cleanup()


@pytest.fixture
def engine() -> EngineStand:
    return EngineStand(EventBus())


@pytest.fixture
async def door(engine: EngineStand, tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(LogManager(None, engine, engine.bus, tmp_path / "logs"), tmp_path) as door:
        yield door


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[GatewayStand]:
    async with gateway_stand(tmp_path) as stand:
        yield stand


@pytest.fixture
async def journal_door(stand: GatewayStand, engine: EngineStand, tmp_path: Path) -> AsyncIterator[Door]:
    gateway = JournalGateway(socket=stand.socket)
    await gateway.start()
    engine.start("addon_x", "one", driver="journald")
    async with open_door(LogManager(gateway, engine, engine.bus, tmp_path / "logs"), tmp_path) as door:
        yield door
    await gateway.close()


async def test_a_log_is_chunked_text_with_the_first_cursor(journal_door: Door, stand: GatewayStand) -> None:
    stand.entries = [fields(1), fields(2, "two\nlines ü")]
    async with journal_door.client.get("http://door/logs", headers={"Accept": "text/plain"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["X-First-Cursor"] == "s=0;i=1"
        assert await answer.text() == "message 1\ntwo\nlines ü\n"


async def test_an_empty_log_is_an_empty_answer(door: Door) -> None:
    async with door.client.get("http://door/logs") as answer:
        assert (answer.status, await answer.text()) == (200, "")
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert "X-First-Cursor" not in answer.headers


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/logs", {"Range": "entries=:"}, 400),
        ("/logs", {"Accept": "text/html"}, 400),
        ("/logs/latest", {}, 500),
        ("/logs?grep=(", {}, 400),
        ("/logs?level=loud", {}, 400),
        ("/logs?since=never", {}, 400),
    ],
)
async def test_errors_are_plain_text(journal_door: Door, path: str, headers: dict[str, str], status: int) -> None:
    async with journal_door.client.get(f"http://door{path}", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (status, "text/plain")
        assert "\n" not in await answer.text() != ""


async def test_a_gateway_lost_before_the_first_entry_is_an_error(journal_door: Door, stand: GatewayStand) -> None:
    stand.raw, stand.cut = b"MESSAGE=half", asyncio.Event()
    stand.cut.set()
    async with journal_door.client.get("http://door/logs") as answer:
        assert answer.status == 400


async def test_a_gateway_lost_later_ends_the_answer(journal_door: Door, stand: GatewayStand) -> None:
    stand.entries, stand.cut = [fields(1)], asyncio.Event()
    async with journal_door.client.get("http://door/logs") as answer:
        assert answer.status == 200
        stand.cut.set()
        assert await answer.text() == "message 1\n"


async def test_followed_lines_arrive_one_by_one(door: Door, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "a")
    async with door.client.get("http://door/logs/follow") as answer:
        assert await answer.content.readline() == b"a\n"
        for number in range(3):
            await engine.say("addon_x", 2 + number, str(number))
            assert await asyncio.wait_for(answer.content.readline(), 30) == f"{number}\n".encode()


async def test_headers_of_a_silent_log_come_with_its_first_line(door: Door, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    asking = asyncio.ensure_future(door.client.get("http://door/logs/follow"))
    await asyncio.sleep(0.05)
    assert not asking.done()
    await engine.say("addon_x", 1, "a")
    async with await asyncio.wait_for(asking, 30) as answer:
        assert await answer.content.readline() == b"a\n"


@pytest.mark.parametrize("spoken", [[], ["a"]])
async def test_a_caller_that_leaves_a_silent_log_is_noticed(
    door: Door, engine: EngineStand, spoken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_logs, "_GONE_CHECK_SECONDS", 0.02)
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, *spoken)
    _, writer = await asyncio.open_unix_connection(str(door.socket))
    writer.write(b"GET /logs/follow HTTP/1.1\r\nHost: door\r\n\r\n")
    await until(lambda: engine.open == 1, 30)
    writer.close()
    await writer.wait_closed()
    await asyncio.wait_for(door.finished.wait(), 30)
    assert engine.open == 0


async def test_a_reader_that_takes_nothing_holds_the_source_up(door: Door, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, *("x" * 10_000 for _ in range(2000)))
    taken = 0
    original = engine.logs

    async def counting(name: str, **options: object) -> AsyncIterator[object]:
        nonlocal taken
        async with contextlib.aclosing(original(name, **options)) as lines:  # type: ignore[arg-type, type-var]
            async for line in lines:
                taken += 1
                yield line

    engine.logs = counting  # type: ignore[method-assign, assignment]
    _, writer = await asyncio.open_unix_connection(str(door.socket), limit=1024)
    writer.write(b"GET /logs HTTP/1.1\r\nHost: door\r\nRange: entries=:0:5000\r\n\r\n")
    await until(lambda: taken > 0, 30)
    await asyncio.sleep(0.3)
    assert taken < 500
    writer.close()
    await writer.wait_closed()


async def test_an_old_client_gets_the_log_too(door: Door, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "a")
    reader, writer = await asyncio.open_unix_connection(str(door.socket))
    writer.write(b"GET /logs HTTP/1.0\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 30)
    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.endswith(b"\r\n\r\na\n")
    writer.close()
    await writer.wait_closed()
