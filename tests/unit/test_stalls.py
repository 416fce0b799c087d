"""The watch over the event loop."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from addon_house import until
from supervisor.drivers.stalls import StallWatch


@pytest.fixture
async def watch() -> AsyncIterator[StallWatch]:
    one = StallWatch(limit=0.05)
    yield one
    await one.stop()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was said about this test holding up the loop; a busy machine may do so, too."""

    def messages() -> list[str]:
        return [record.getMessage() for record in caplog.records if "_hold_up" in record.getMessage()]

    return messages


def _hold_up(seconds: float) -> None:
    time.sleep(seconds)


async def test_what_holds_the_loop_up_is_logged_with_its_place(
    watch: StallWatch, told: Callable[[], list[str]]
) -> None:
    watch.start()
    watch.start()
    assert watch.watching
    await asyncio.sleep(0.3)
    assert told() == []
    # Long enough for its thread to get a turn on a busy machine.
    _hold_up(2)
    await until(lambda: bool(told()))
    (message,) = told()
    assert re.search(r"held up for \d+\.\d\d s", message)


async def test_a_loop_that_answers_is_not_talked_of(
    watch: StallWatch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[None] = []

    class Lively(asyncio.AbstractEventLoop):
        def call_soon_threadsafe(self, callback: Callable[[], object], *_: Any, **__: Any) -> Any:
            callback()
            answers.append(None)

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", Lively)
        watch.start()
    await until(lambda: len(answers) >= 4)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_nothing_is_logged_when_it_is_off(watch: StallWatch, told: Callable[[], list[str]]) -> None:
    _hold_up(0.2)
    watch.start()
    await watch.stop()
    assert not watch.watching
    _hold_up(0.2)
    await asyncio.sleep(0.1)
    assert told() == []
