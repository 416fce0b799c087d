"""While something of the host is gone or dead the API answers within a second, says so, and heals by itself."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
from box_traces import LOSE_THE_BUS_FOR_GOOD, start_services

from box_daemon import BoxDaemon
from daemon import ROOT, until, within
from hostbox.box import Box

STORAGE = "/run/network-storage"
LOG = "/host/logs/identifiers/trouble"
# What Core, the web page and the command ask for all the time, and what asks the services that are disturbed here.
PATHS = (
    "/host/info",
    "/info",
    "/network/info",
    "/audio/info",
    "/hardware/info",
    "/mounts",
    "/os/info",
    "/host/doctor",
    "/supervisor/ping",
    f"{LOG}?lines=5",
)
SLOWEST = 1.0


@contextlib.asynccontextmanager
async def answering(host: BoxDaemon) -> AsyncIterator[None]:
    """See that everything is answered within a second for as long as the block takes."""
    over = asyncio.Event()
    slow: list[tuple[str, float, int]] = []
    asked = 0

    async def ask() -> None:
        nonlocal asked
        while not over.is_set():
            for path in PATHS:
                began = time.monotonic()
                answer = await host.ask("GET", path)
                taken = time.monotonic() - began
                asked += 1
                if not within(SLOWEST, began) or answer.status != 200:
                    slow.append((path, taken, answer.status))
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        over.set()
        await asking
    assert not slow
    assert asked >= len(PATHS)


def has(host: BoxDaemon, *features: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return set((await host.get("/host/info"))["features"]) >= set(features)

    return check


def lacks(host: BoxDaemon, feature: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return feature not in (await host.get("/host/info"))["features"]

    return check


async def log(box: Box, message: str) -> None:
    await box.ask("logger", "--tag", "trouble", message)
    await box.ask("journalctl", "--sync")


@pytest_asyncio.fixture
async def well(host: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon with all that a test may take away, before and after."""
    whole = has(host, "hostname", "timedate", "services", "network", "resolved", "journal", "disk")
    await log(box, "it begins")
    await until(whole, 60)
    yield host
    await start_services(box)
    await until(whole, 60)


async def test_the_bus_is_restarted(well: BoxDaemon, box: Box) -> None:
    try:
        async with answering(well):
            await box.ask("systemctl", "kill", "--signal=KILL", "dbus")
            await until(has(well, "hostname", "timedate", "services", "reboot", "disk"), 30)
    finally:
        # These lose the bus for good, whoever asks them; the doctor names the one that we miss.
        await box.ask("systemctl", "restart", *LOSE_THE_BUS_FOR_GOOD)
    await until(has(well, "network", "resolved"), 60)


async def test_a_service_is_stopped(well: BoxDaemon, box: Box) -> None:
    async with answering(well):
        await box.ask("systemctl", "stop", "systemd-resolved")
        await until(lacks(well, "resolved"), 30)
        assert (await well.get("/host/info"))["llmnr_hostname"] is None
        await box.ask("systemctl", "start", "systemd-resolved")
        await until(has(well, "resolved"), 30)


async def test_the_journal_s_gateway_is_gone(well: BoxDaemon, box: Box) -> None:
    gateway = ("systemd-journal-gatewayd.socket", "systemd-journal-gatewayd.service")
    async with answering(well):
        await box.ask("systemctl", "stop", *gateway)
        await log(box, "without the gateway")
        answer = await well.ask("GET", LOG)
        assert answer.text.splitlines()[-1] == "without the gateway"
        await box.ask("systemctl", "start", gateway[0])
        await log(box, "with it")
        assert (await well.ask("GET", LOG)).text.splitlines()[-1] == "with it"


async def test_the_journal_is_rotated_and_vacuumed(well: BoxDaemon, box: Box) -> None:
    async with answering(well):
        for number in range(3):
            await box.ask("journalctl", "--rotate")
            await log(box, f"rotated {number}")
            assert (await well.ask("GET", LOG)).text.splitlines()[-1] == f"rotated {number}"


async def test_network_manager_is_restarted(well: BoxDaemon, box: Box) -> None:
    async def works() -> bool:
        interfaces = (await well.get("/network/info"))["interfaces"]
        return any(one["interface"] == "eth0" and one["ipv4"]["ready"] for one in interfaces)

    async with answering(well):
        await box.ask("systemctl", "stop", "NetworkManager")
        await until(lacks(well, "network"), 30)
        info = await well.get("/network/info")
        assert (info["available"], info["interfaces"]) == (False, [])
        await box.ask("systemctl", "start", "NetworkManager")
        await until(works, 40)
        await box.ask("systemctl", "restart", "NetworkManager")
        await until(works, 40)


async def test_pulseaudio_is_restarted(well: BoxDaemon, box: Box) -> None:
    async def sound() -> dict[str, Any]:
        return dict(await well.get("/audio/info"))

    async def gone() -> bool:
        return (await sound())["available"] is False

    async def back() -> bool:
        return len((await sound())["audio"]["output"]) == 2

    async with answering(well):
        await until(back, 30)
        await box.ask("systemctl", "stop", "pulseaudio")
        await until(gone, 30)
        assert (await sound())["audio"]["output"] == []
        await box.ask("systemctl", "start", "pulseaudio")
        await until(back, 30)


async def test_the_server_of_a_mount_is_dead(well: BoxDaemon, box: Box) -> None:
    async def shell(script: str) -> str:
        return await box.ask("sh", "-euc", script)

    await shell(f"mkdir -p {STORAGE}/nas/exports/films")
    command = f"{sys.executable} -B {ROOT}/tests/stands/frozen_filesystem.py"
    await box.ask("sh", "-c", f"cat > {STORAGE}/nas/mounts", stdin=command)
    mount = {"name": "films", "type": "nfs", "usage": "media", "server": "nas", "path": "/films"}
    try:
        await well.post("/mounts", mount)
        async with answering(well):
            await shell(f"touch {STORAGE}/nas/frozen")
            looks = [
                asyncio.create_task(well.ask("POST", "/mounts/films/reload", seconds=120)),
                asyncio.create_task(well.ask("GET", "/host/disks/films/usage", seconds=120)),
            ]
            await asyncio.sleep(4)
            assert not any(look.done() for look in looks)
            await shell(f"rm {STORAGE}/nas/frozen")
            reload, usage = await asyncio.gather(*looks)
            assert (reload.status, usage.status) == (200, 200), (reload.body, usage.body)
        [shown] = (await well.get("/mounts"))["mounts"]
        assert shown["state"] == "active"
    finally:
        await shell(f"rm -f {STORAGE}/nas/frozen")
        assert (await well.ask("DELETE", "/mounts/films", seconds=120)).status == 200
        await shell(f"rm -rf {STORAGE}")
