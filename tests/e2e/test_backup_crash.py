"""A daemon that dies in a backup or a restore leaves no half of either, loses nothing, and all runs again."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from daemon import clear
from stepping_house import DEEDS, Deed, House


async def crash(house: House, deed: Deed, step: str) -> None:
    """Let the daemon die at `step`, start it again, and look at everything."""
    daemon = house.daemon
    house.write("present")
    listed = {backup["slug"] for backup in (await daemon.get("/backups"))["backups"]}
    before = len(daemon.log)
    await house.dies_at(step, deed)
    told = daemon.log[before:]
    assert ("A restore was cut off: what backup" in told) is (deed.name != "backup"), told[-2000:]
    after = await house.look()
    assert listed <= after, "a backup was lost"
    names = {path.name for path in (daemon.data / "backup").iterdir()}
    assert names == {f"{slug}.tar" for slug in after}, "a half of a backup was left"
    words = set(house.read().values())
    assert words <= ({"present"} if deed.name == "backup" else {"present", "saved"}), "something was lost"
    await house.remove_others()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(DEEDS))
async def test_a_daemon_killed_at_any_step_leaves_nothing_half_done(
    name: str, tmp_path: Path, docker_client: docker.APIClient
) -> None:
    deed, house = DEEDS[name], House(tmp_path)
    try:
        await house.open()
        house.write("present")
        house.arm("")
        assert (await deed.do(house)).status == 200
        house.disarm()
        steps = house.steps.read_text().splitlines()
        assert len(steps) > 8, steps
        for step in steps:
            try:
                await crash(house, deed, step)
            except BaseException as err:
                err.add_note(f"crashed at {step}\n{house.daemon.log[-3000:]}")
                raise
    finally:
        await house.daemon.kill()
        clear(docker_client)
