from __future__ import annotations

import asyncio
import contextlib

import pytest
from engine_stage import spec, until
from multidict import CIMultiDict

from supervisor.managers.logs import LogManager, LogRequest, LogTarget

pytestmark = pytest.mark.usefixtures("base_image")


def ask(headers=None, query=None, **more) -> LogRequest:
    return LogRequest.from_query(CIMultiDict(headers or {}), query or {}, **more)


async def read(logs: LogManager, target: LogTarget, request: LogRequest) -> list[str]:
    async with contextlib.aclosing(await logs.stream(target, request)) as stream:
        return [line async for line in stream.lines]


@pytest.fixture
def logs(engine, bus, tmp_path) -> LogManager:
    return LogManager(None, engine, bus, tmp_path / "logs")


async def run(engine, name: str, script: str) -> LogTarget:
    info = await engine.containers.run(spec(name, "sh", "-c", script))

    async def ended():
        return not (await engine.containers.inspect(info.name)).running

    await until(ended)
    return LogTarget((info.name,), info.name)


async def test_a_crashed_run_stays_readable_and_joins_the_next_one(engine, logs):
    target = await run(engine, "joined", "for i in $(seq 1 30); do echo one $i; done; echo broken >&2; exit 3")
    first_run = [*(f"one {number}" for number in range(1, 31)), "broken"]
    before = await read(logs, target, ask())
    assert sorted(before) == sorted(first_run)
    await logs.keep(target.container)
    await engine.containers.remove(target.container)
    assert await read(logs, target, ask()) == before
    assert await read(logs, target, ask(latest=True)) == before
    await run(engine, "joined", "echo two")
    assert await read(logs, target, ask()) == [*before, "two"]
    assert await read(logs, target, ask(query={"lines": "3"})) == [*before[-2:], "two"]
    assert await read(logs, target, ask(latest=True)) == ["two"]
    stream = await logs.stream(target, ask({"Range": "entries=:-4:5"}))
    assert [line async for line in stream.lines] == [*before[-4:], "two"]
    assert await read(logs, target, ask({"Range": f"entries={stream.first_cursor}:-5:5"})) == before[-9:-4]
    (line,) = await read(logs, target, ask(query={"verbose": ""}, latest=True))
    assert line.endswith(f" {target.container}: two")


async def test_a_log_is_followed_from_one_run_into_the_next(engine, logs):
    info = await engine.containers.run(spec("followed", "sh", "-c", "echo a; sleep 0.3; echo b"))
    target = LogTarget((info.name,), info.name)
    async with asyncio.timeout(60), contextlib.aclosing(await logs.stream(target, ask(follow=True))) as stream:
        assert [await anext(stream.lines) for _ in range(2)] == ["a", "b"]
        pending = asyncio.ensure_future(anext(stream.lines))
        await asyncio.sleep(0.3)
        await logs.keep(info.name)
        await engine.containers.stop(info.name)
        assert not pending.done()
        await engine.containers.run(spec("followed", "sh", "-c", "echo c; sleep 0.3; echo d"))
        assert await pending == "c"
        assert await anext(stream.lines) == "d"
