"""An add-on that keeps dying, on a real engine: it is brought back with growing pauses, and that is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from engine_stage import until

from addon_house import House
from supervisor.events import AddonState, ContainerState, ContainerStateChanged
from supervisor.managers.addons.watchdog import ATTEMPTS, ContainerWatchdog

SLUG = "svtest_mortal"
LIFE = 0.5
PAUSE = 0.4


@pytest.fixture(autouse=True)
def image(make_image: Callable[..., None]) -> None:
    make_image(f"sleep {LIFE}; exit 9", slug=SLUG)


async def test_an_add_on_that_keeps_dying_backs_off_and_is_reported(house: House) -> None:
    dog = ContainerWatchdog(house.bus, house.jobs, house.registry, house.runner, house.resolution, first_delay=PAUSE)
    clock = asyncio.get_running_loop().time
    deaths, starts = [], []

    def note(event: ContainerStateChanged) -> None:
        if event.state == ContainerState.FAILED:
            deaths.append((clock(), event.exit_code))
        elif event.state == ContainerState.RUNNING:
            starts.append(clock())

    house.bus.subscribe(ContainerStateChanged, note)
    try:
        addon = await house.install(SLUG, init=False, user={"watchdog": True})
        await house.runner.start(addon)
        await until(lambda: ("addon_crash_loop", SLUG) in house.issues(), 60)
    finally:
        await dog.stop()
    # The report comes with the death that the fifth rescue was followed by.
    assert len(deaths) == ATTEMPTS + 1
    assert {code for _, code in deaths} == {9}
    waits = [start - death for (death, _), start in zip(deaths, starts[1:], strict=False)]
    least = [0, PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE]
    assert all(wait >= pause for wait, pause in zip(waits, least, strict=True)), waits
    # What the engine takes for a start comes on top of each.
    assert waits[1] < waits[-1], waits
    issue = next(issue for issue in house.resolution.issues if issue.type == "addon_crash_loop")
    assert issue.reference_extra == {"exit_code": 9}
    await until(lambda: addon.state is AddonState.ERROR, 30)
