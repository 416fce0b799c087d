"""Who was made quiet for a backup is woken: at once, or as soon as that is possible."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from addon_house import House
from supervisor.errors import Internal, Invalid, SupervisorError, Unavailable
from supervisor.managers.addons import Addon
from supervisor.managers.backups.quiet import QUIET_SCHEMA, Quiet


@attrs.define
class Hooks:
    """Wakes add-ons, unless something is the matter."""

    trouble: SupervisorError | None = None
    woken: list[str] = attrs.field(factory=list)

    async def begin(self, addon: Addon) -> bool:
        return addon.running

    async def end(self, addon: Addon) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.woken.append(addon.slug)

    bring_back = end


def full_disk() -> SupervisorError:
    error = Internal("its files can't be written")
    error.__cause__ = OSError(28, "No space left on device")
    return error


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def running(house: House) -> Addon:
    addon = await house.install()
    await house.runner.start(addon)
    return addon


def written(house: House) -> list[str]:
    return list(json.loads((house.paths.root / "quiet.json").read_text())["addons"])


@pytest.mark.parametrize("trouble", [Unavailable("no engine"), full_disk()], ids=["engine", "disk"])
async def test_what_may_pass_is_tried_again(house: House, trouble: SupervisorError) -> None:
    hooks = Hooks(trouble)
    quiet = Quiet(house.state_file("quiet.json", QUIET_SCHEMA), hooks, house.registry)
    addon = await running(house)
    assert await quiet.begin(addon)
    with pytest.raises(type(trouble)):
        await quiet.end(addon)
    await quiet.wake_left()
    assert (hooks.woken, written(house)) == ([], [addon.slug]), "a daemon that dies now does not forget it"
    hooks.trouble = None
    await quiet.wake_left()
    await quiet.wake_left()
    assert (hooks.woken, written(house)) == ([addon.slug], [])


async def test_what_does_not_pass_is_not_tried_for_ever(house: House) -> None:
    hooks = Hooks(Invalid("its options are wrong"))
    quiet = Quiet(house.state_file("quiet.json", QUIET_SCHEMA), hooks, house.registry)
    addon = await running(house)
    await quiet.begin(addon)
    with pytest.raises(Invalid):
        await quiet.end(addon)
    hooks.trouble = None
    await quiet.wake_left()
    assert (hooks.woken, written(house)) == ([], [])


async def test_a_new_daemon_wakes_whom_the_last_one_left(house: House) -> None:
    quiet = Quiet(house.state_file("quiet.json", QUIET_SCHEMA), Hooks(), house.registry)
    addon = await running(house)
    await quiet.begin(addon)
    hooks = Hooks(Unavailable("no engine"))
    later = Quiet(house.state_file("quiet.json", QUIET_SCHEMA), hooks, house.registry)
    await later.load()
    await later.wake_left()
    hooks.trouble = None
    await later.wake_left()
    assert (hooks.woken, written(house)) == ([addon.slug], [])
