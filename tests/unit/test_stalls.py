"""The watch over the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from supervisor.drivers.stalls import StallWatch


@pytest.fixture
async def watch() -> AsyncIterator[StallWatch]:
    one = StallWatch(limit=0.05)
    yield one
    await one.stop()


def _hold_up(seconds: float) -> None:
    time.sleep(seconds)


async def test_what_holds_the_loop_up_is_logged_with_its_place(
    watch: StallWatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.start()
    watch.start()
    assert watch.watching
    await asyncio.sleep(0.3)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    _hold_up(0.5)
    await asyncio.sleep(0.2)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "held up for 0." in record.getMessage()
    assert "_hold_up" in record.getMessage()


async def test_nothing_is_logged_when_it_is_off(watch: StallWatch, caplog: pytest.LogCaptureFixture) -> None:
    _hold_up(0.2)
    watch.start()
    await watch.stop()
    assert not watch.watching
    _hold_up(0.2)
    await asyncio.sleep(0.1)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
