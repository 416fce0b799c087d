"""Who fell over is brought back, within limits (add-on contract §3.8)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from addon_house import House, port_taken, refused, until
from supervisor.events import AddonRemoved, AddonState, ContainerState
from supervisor.managers.addons import Addon, watchdog
from supervisor.managers.addons.watchdog import ATTEMPTS, RATE_LIMIT, ContainerWatchdog

pytestmark = pytest.mark.usefixtures("no_blocking_calls")

NAME = "addon_local_lamp"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    dog = ContainerWatchdog(house.bus, house.jobs, house.registry, house.runner, house.resolution, first_delay=0.001)
    yield house
    await dog.stop()


async def started(house: House, user: dict[str, Any] | None = None, **keys: Any) -> Addon:
    lamp = await house.install(user={"watchdog": True, **(user or {})}, **keys)
    await house.runner.start(lamp)
    assert lamp.state is AddonState.STARTED
    return lamp


async def nothing_happens(house: House) -> None:
    count = len(house.engine.specs)
    await asyncio.sleep(0.03)
    assert len(house.engine.specs) == count


@pytest.mark.parametrize("code", [1, 0])
async def test_an_add_on_that_ends_by_itself_is_started_again(house: House, code: int) -> None:
    lamp = await started(house)
    house.engine.end(NAME, code)
    await until(lambda: len(house.engine.specs) == 2 and lamp.state is AddonState.STARTED)
    await nothing_happens(house)


async def test_a_sick_add_on_is_restarted(house: House) -> None:
    lamp = await started(house)
    house.engine.tell(NAME, ContainerState.UNHEALTHY)
    await until(lambda: len(house.engine.specs) == 2 and not lamp.unhealthy)
    assert lamp.record.should_run


async def test_a_sick_add_on_that_gets_well_meanwhile_is_let_be(house: House) -> None:
    await started(house)
    house.engine.tell(NAME, ContainerState.UNHEALTHY)
    house.engine.tell(NAME, ContainerState.HEALTHY)
    await nothing_happens(house)


@pytest.mark.parametrize(
    ("user", "keys"), [({"watchdog": False}, {}), ({}, {"startup": "once"})], ids=["switched off", "once"]
)
async def test_who_is_not_watched_stays_down(house: House, user: dict[str, Any], keys: dict[str, Any]) -> None:
    lamp = await started(house, user, **keys)
    house.engine.end(NAME, 1)
    await nothing_happens(house)
    assert lamp.state is AddonState.ERROR


async def test_who_was_stopped_on_purpose_stays_down(house: House) -> None:
    lamp = await started(house)
    await house.runner.stop(lamp)
    await nothing_happens(house)
    assert lamp.state is AddonState.STOPPED


async def test_after_five_failures_the_watchdog_gives_up(house: House, caplog: pytest.LogCaptureFixture) -> None:
    lamp = await started(house)
    house.engine.refuse = [refused() for _ in range(ATTEMPTS + 3)]
    with caplog.at_level(logging.WARNING):
        house.engine.end(NAME, 7)
        await until(lambda: "gives up" in caplog.text)
    assert len(house.engine.refuse) == 3
    assert "exit code 7" in caplog.text
    await nothing_happens(house)
    assert lamp.state is AddonState.ERROR


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the watchdog waits; it goes on at once."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(watchdog, "asyncio", SimpleNamespace(sleep=sleep, get_running_loop=asyncio.get_running_loop))
    return waited


async def test_the_pauses_between_failures_double(
    house: House, pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    await started(house)
    house.engine.refuse = [refused() for _ in range(ATTEMPTS)]
    house.engine.end(NAME, 1)
    await until(lambda: "gives up" in caplog.text)
    assert pauses == [0, 0.001, 0.002, 0.004, 0.008]


async def test_it_tries_until_it_works(house: House) -> None:
    lamp = await started(house)
    house.engine.refuse = [refused(), refused()]
    house.engine.end(NAME, 1)
    await until(lambda: lamp.state is AddonState.STARTED and not house.engine.refuse)
    assert len(house.engine.specs) == 2


async def test_a_taken_port_ends_the_trying_at_once(house: House) -> None:
    lamp = await started(house)
    house.engine.refuse = [port_taken(8080), refused()]
    house.engine.end(NAME, 1)
    await until(lambda: len(house.engine.refuse) == 1)
    await nothing_happens(house)
    assert len(house.engine.refuse) == 1
    assert lamp.state is AddonState.ERROR


async def test_a_stop_while_it_waits_ends_the_trying(house: House) -> None:
    lamp = await started(house)
    house.engine.refuse = [refused()]
    house.engine.end(NAME, 1)
    await until(lambda: not house.engine.refuse)
    await until(lambda: not house.jobs.busy(lamp.lock))
    await house.runner.stop(lamp)
    await nothing_happens(house)
    assert lamp.state is AddonState.STOPPED


async def test_while_something_else_is_done_with_the_add_on_it_waits(house: House) -> None:
    lamp = await started(house)
    async with house.jobs.run("app_update", lock=lamp.lock):
        house.engine.end(NAME, 1)
        await nothing_happens(house)
    await until(lambda: lamp.state is AddonState.STARTED)


async def test_ten_rescues_in_half_an_hour_are_enough(house: House, caplog: pytest.LogCaptureFixture) -> None:
    lamp = await started(house)
    for count in range(RATE_LIMIT):
        house.engine.end(NAME, 1)
        await until(lambda expected=count + 2: len(house.engine.specs) == expected)
        await until(lambda: lamp.state is AddonState.STARTED and not house.jobs.busy(lamp.lock))
    house.engine.end(NAME, 1)
    await nothing_happens(house)
    assert "lets it be" in caplog.text
    assert lamp.state is AddonState.ERROR


async def test_a_removed_add_on_is_not_brought_back(house: House) -> None:
    lamp = await started(house)
    house.engine.refuse = [refused()]
    house.engine.end(NAME, 1)
    await until(lambda: not house.engine.refuse)
    await house.registry.remove(lamp.slug)
    house.bus.publish(AddonRemoved(lamp.slug))
    await nothing_happens(house)


async def test_an_unexpected_failure_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await started(house)
    house.engine.refuse = [ZeroDivisionError("strange")]
    house.engine.end(NAME, 1)
    await until(lambda: "the watchdog failed" in caplog.text)
    assert "strange" in caplog.text


async def falls(house: House, lamp: Addon, times: int) -> None:
    """Let the add-on fall over again and again, each time shortly after it was brought back."""
    for _ in range(times):
        count = len(house.engine.specs)
        house.engine.end(NAME, 3)
        await until(lambda count=count: len(house.engine.specs) > count and lamp.state is AddonState.STARTED)
        await until(lambda: not house.jobs.busy(lamp.lock))


def crash_loops(house: House) -> list[str | None]:
    return [reference for type_, reference in house.issues() if type_ == "addon_crash_loop"]


async def test_who_falls_over_again_and_again_is_brought_back_with_growing_pauses(
    house: House, pauses: list[float]
) -> None:
    lamp = await started(house)
    await falls(house, lamp, 6)
    assert pauses == [0, 0.001, 0.002, 0.004, 0.008, 0.008], "the first time at once"


async def test_the_pause_is_waited_for(tmp_path: Path) -> None:
    house = House(tmp_path)
    dog = ContainerWatchdog(house.bus, house.jobs, house.registry, house.runner, house.resolution, first_delay=0.2)
    clock = asyncio.get_running_loop().time
    try:
        lamp = await started(house)
        await falls(house, lamp, 1)
        begun = clock()
        await falls(house, lamp, 1)
        assert clock() - begun >= 0.2
    finally:
        await dog.stop()


async def test_a_crash_loop_is_an_issue_until_the_add_on_ran_stably(tmp_path: Path) -> None:
    house = House(tmp_path)
    dog = ContainerWatchdog(
        house.bus, house.jobs, house.registry, house.runner, house.resolution, first_delay=0.001, stable_after=600
    )
    try:
        lamp = await started(house)
        await falls(house, lamp, ATTEMPTS)
        assert crash_loops(house) == []
        await falls(house, lamp, 1)
        assert crash_loops(house) == ["local_lamp"]
        assert lamp.crash_loop
        issue = next(issue for issue in house.resolution.issues if issue.type == "addon_crash_loop")
        assert issue.reference_extra == {"exit_code": 3}
        assert [suggestion.type for suggestion in house.resolution.suggestions_for(issue)] == ["execute_start"]
        dog._stable_after = 0.05
        house.engine.tell(NAME, ContainerState.HEALTHY)
        assert crash_loops(house) == ["local_lamp"]
        await until(lambda: crash_loops(house) == [])
        assert not lamp.crash_loop
        await falls(house, lamp, 1)
        assert crash_loops(house) == [], "the count began anew"
    finally:
        await dog.stop()


async def test_whoever_is_given_up_is_an_issue(house: House) -> None:
    await started(house)
    house.engine.refuse = [refused() for _ in range(ATTEMPTS)]
    house.engine.end(NAME, 7)
    await until(lambda: crash_loops(house) == ["local_lamp"])
    await house.registry.remove("local_lamp")
    house.bus.publish(AddonRemoved("local_lamp"))
    assert crash_loops(house) == []
