"""The machine's log through its gateway and from its files, while it lives; journalctl knows what must be in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from box_daemon import BoxDaemon
from daemon import within
from hostbox.box import Box

GATEWAY = ("systemd-journal-gatewayd.socket", "systemd-journal-gatewayd.service")


async def write(box: Box, identifier: str, *messages: str, level: str = "info") -> None:
    for message in messages:
        await box.ask("logger", "--tag", identifier, "--priority", f"user.{level}", message)
    await box.ask("journalctl", "--sync")


async def shown(box: Box, *arguments: str) -> list[str]:
    """Return what journalctl shows."""
    return (await box.ask("journalctl", "--quiet", "--no-pager", *arguments)).splitlines()


async def read(host: BoxDaemon, path: str) -> list[str]:
    answer = await host.ask("GET", path)
    assert answer.status == 200, answer.text
    return answer.text.splitlines()


@contextlib.asynccontextmanager
async def following(host: BoxDaemon, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """Give the lines of a log as they come."""
    connector = aiohttp.UnixConnector(str(host.socket))
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        session.get(f"http://supervisor{path}") as answer,
    ):
        assert answer.status == 200
        yield answer.content  # type: ignore[misc]


async def line(lines: asyncio.StreamReader) -> str:
    async with asyncio.timeout(30):
        return (await lines.readline()).decode().rstrip("\n")


@pytest.fixture
async def without_gateway(box: Box) -> AsyncIterator[None]:
    await box.ask("systemctl", "stop", *GATEWAY)
    yield
    await box.ask("systemctl", "start", GATEWAY[0])


async def test_the_same_question_has_the_same_answer(host: BoxDaemon, box: Box) -> None:
    await write(box, "asked", "one", "Two refused", "three")
    await write(box, "asked", "four refused", level="err")
    base = "/host/logs/identifiers/asked"
    assert await read(host, base) == await shown(box, "-t", "asked", "-o", "cat")
    assert await read(host, f"{base}?lines=2") == ["three", "four refused"]
    assert await read(host, f"{base}?grep=refused") == ["Two refused", "four refused"]
    assert await read(host, f"{base}?level=err") == ["four refused"]
    assert await read(host, f"{base}?since=-10min&lines=2") == ["three", "four refused"]
    assert await read(host, f"{base}?until=-10min") == []
    assert await read(host, "/host/logs/boots/0/identifiers/asked") == await shown(box, "-t", "asked", "-o", "cat")
    whole = await shown(box, "-o", "cat", "-t", "systemd")
    # It may say more meanwhile.
    found = await read(host, f"/host/logs/identifiers/systemd?lines={len(whole) + 100}")
    assert found[: len(whole)] == whole


async def test_boots_and_programs_are_listed(host: BoxDaemon, box: Box) -> None:
    boots = (await host.get("/host/logs/boots"))["boots"]
    listed = [entry.split() for entry in await shown(box, "--list-boots")]
    reference = {words[0]: words[1] for words in listed if words[0] != "IDX"}
    assert boots == reference
    names = (await host.get("/host/logs/identifiers"))["identifiers"]
    assert set(names) >= {"systemd", "kernel"}


async def test_a_follower_minds_no_gateway_that_ends(host: BoxDaemon, box: Box) -> None:
    await write(box, "followed", "before")
    async with following(host, "/host/logs/identifiers/followed/follow?lines=2") as lines:
        assert await line(lines) == "before"
        await write(box, "followed", "with the gateway")
        assert await line(lines) == "with the gateway"
        await box.ask("systemctl", "stop", *GATEWAY)
        try:
            began = time.monotonic()
            assert (await read(host, "/host/logs/identifiers/followed"))[-1] == "with the gateway"
            assert (await host.ask("GET", "/host/logs/identifiers")).status == 200
            assert within(2, began)
            await write(box, "followed", "without the gateway")
            assert await line(lines) == "without the gateway"
        finally:
            await box.ask("systemctl", "start", GATEWAY[0])
        await write(box, "followed", "with it again")
        assert await line(lines) == "with it again"


async def rotate(host: BoxDaemon, box: Box, name: str) -> None:
    await write(box, name, "0")
    async with following(host, f"/host/logs/identifiers/{name}/follow?lines=2") as lines:
        assert await line(lines) == "0"
        for number in range(1, 5):
            await box.ask("journalctl", "--rotate")
            await write(box, name, str(number))
            assert await line(lines) == str(number)


async def test_a_rotation_is_not_noticed(host: BoxDaemon, box: Box) -> None:
    await rotate(host, box, "rotated")


async def test_a_rotation_is_not_noticed_in_the_files(host: BoxDaemon, box: Box, without_gateway: None) -> None:
    await rotate(host, box, "rotated-files")


async def test_the_verbose_form_names_host_and_process(host: BoxDaemon, box: Box) -> None:
    await write(box, "systemd", "a line of its own")
    (found,) = [entry for entry in await read(host, "/host/logs?lines=300") if entry.endswith(": a line of its own")]
    text = await box.ask("journalctl", "-t", "systemd", "--grep", "a line of its own", "-o", "json", "--no-pager")
    entry = json.loads(text.splitlines()[-1])
    when, clock, name, source = found.split(" ")[:4]
    assert (name, source.partition("[")[0]) == (entry["_HOSTNAME"], "systemd")
    assert when.startswith("20")
    assert len(clock) == len("12:00:00.000")
