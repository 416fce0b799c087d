from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from addon_house import until
from supervisor.drivers import systemd
from supervisor.drivers.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A real notification socket, as systemd listens on one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def heard(manager: socket.socket) -> list[str]:
    manager.setblocking(False)
    messages: list[str] = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


async def test_systemd_hears_ready_status_and_stopping(manager: socket.socket) -> None:
    notifier = Notifier()
    await notifier.start()
    notifier.ready()
    notifier.status("starting\nadd-ons " + "x" * 1000)
    notifier.stopping()
    await notifier.stop()
    ready, status, stopping = heard(manager)
    assert (ready, stopping) == ("READY=1", "STOPPING=1")
    assert status.startswith("STATUS=starting add-ons xxx")
    assert len(status) < 600


async def test_the_watchdog_is_fed_twice_a_period_while_healthy(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    go_on = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await go_on.wait()
        go_on.clear()

    async def rounds(count: int) -> list[str]:
        for _ in range(count):
            before = len(pauses)
            go_on.set()
            await until(lambda before=before: len(pauses) > before)
        return heard(manager)

    healthy = True
    monkeypatch.setattr(systemd, "asyncio", SimpleNamespace(sleep=sleep, create_task=asyncio.create_task))
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    notifier = Notifier(lambda: healthy)
    await notifier.start()
    await until(lambda: bool(pauses))
    assert heard(manager) == ["WATCHDOG=1"]
    assert await rounds(5) == ["WATCHDOG=1"] * 5
    healthy = False
    assert await rounds(3) == []
    assert len(caplog.records) == 1
    healthy = True
    assert await rounds(2) == ["WATCHDOG=1"] * 2
    await notifier.stop()
    go_on.set()
    await asyncio.sleep(0.01)
    assert heard(manager) == []
    assert set(pauses) == {0.05}


async def test_the_watchdog_is_fed_in_real_time(manager: socket.socket) -> None:
    notifier = Notifier(environment={"NOTIFY_SOCKET": "set", "WATCHDOG_USEC": "2000"})
    messages: list[str] = []

    def fed() -> bool:
        messages.extend(heard(manager))
        return len(messages) >= 4

    await notifier.start()
    await until(fed)
    await notifier.stop()
    assert set(messages) == {"WATCHDOG=1"}


@pytest.mark.parametrize(
    "environment", [{"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}, {}]
)
async def test_a_watchdog_that_is_not_wanted_is_not_fed(manager: socket.socket, environment: dict[str, str]) -> None:
    notifier = Notifier(environment={"NOTIFY_SOCKET": "set", **environment})
    await notifier.start()
    await asyncio.sleep(0.05)
    await notifier.stop()
    assert heard(manager) == []


async def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier(environment={"WATCHDOG_USEC": "1000"})
    await notifier.start()
    notifier.ready()
    notifier.status("fine")
    await notifier.stop()


async def test_a_manager_that_went_away_is_no_error(manager: socket.socket, tmp_path: Path) -> None:
    notifier = Notifier()
    (tmp_path / "notify").unlink()
    notifier.ready()
