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
PAUSE = 0.4


@pytest.fixture(autouse=True)
def image(make_image: Callable[..., None]) -> None:
    make_image("while [ ! -e /data/die ]; do sleep 0.05; done; rm /data/die; exit 9", slug=SLUG)


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
        for life in range(ATTEMPTS + 1):
            assert house.issues() == []
            # One that dies while it is being brought back is still in the same trouble.
            await until(lambda number=life: len(starts) > number and not house.runner.busy(addon), 60)
            (house.paths.addons_data / SLUG / "die").touch()
            await until(lambda number=life: len(deaths) > number)
        # The report comes with the death that the fifth rescue was followed by.
        assert house.issues() == [("addon_crash_loop", SLUG)]
    finally:
        await dog.stop()
    assert {code for _, code in deaths} == {9}
    waits = [start - death for (death, _), start in zip(deaths, starts[1:], strict=False)]
    # What the engine takes for a start comes on top of each.
    least = [0, PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE]
    assert all(wait >= pause for wait, pause in zip(waits, least, strict=True)), waits
    issue = next(issue for issue in house.resolution.issues if issue.type == "addon_crash_loop")
    assert issue.reference_extra == {"exit_code": 9}
    await until(lambda: addon.state is AddonState.ERROR, 30)
