"""Devices that are plugged in while an add-on runs that wants them (add-on contract §4.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from addon_stage import SLUG, MakeImage, lamp, output
from engine_stage import until
from pluggable import Tap, pluggable

from addon_house import House
from supervisor.drivers.docker.devices import allow_device
from supervisor.errors import Internal, Unsupported
from supervisor.events import DeviceAdded
from supervisor.managers.addons import Addon
from supervisor.managers.addons.hotplug import DeviceHotplug
from supervisor.managers.addons.options import AddonOptions
from supervisor.managers.addons.secrets import SecretsFile
from supervisor.managers.devices import DeviceWatch


@pytest.fixture
def tap() -> Iterator[Tap]:
    with pluggable() as tap:
        yield tap


class Agent:
    """The host's agent, as far as it is asked here."""

    def __init__(self) -> None:
        self.available = True
        self.asked: list[tuple[str, str]] = []

    async def add_devices_allowed(self, container_id: str, rule: str) -> None:
        self.asked.append((container_id, rule))


@pytest.fixture
def agent() -> Agent:
    agent = Agent()
    agent.available = False
    return agent


@pytest.fixture
async def plugged(house: House, agent: Agent) -> AsyncIterator[House]:
    """The house with somebody who hears of devices."""
    options = AddonOptions(SecretsFile(house.paths.homeassistant / "secrets.yaml"), house.host)
    hotplug = DeviceHotplug(
        house.bus, house.jobs, house.engine, house.host, house.registry, options, house.resolution, agent=agent
    )
    watch = DeviceWatch(house.bus, house.host, house.resolution)
    await watch.start()
    yield house
    await watch.stop()
    await hotplug.stop()


async def opens(house: House, addon: Addon, tap: Tap) -> str:
    """Tell how opening the device inside ends: `denied` is the cgroup's word."""
    said = await output(house, addon, f"dd if={tap.path} count=0 2>&1 || true")
    return "denied" if "Operation not permitted" in said else "allowed" if "No such file" not in said else "absent"


@pytest.mark.parametrize("keys", ["devices", "options"])
async def test_a_device_that_it_wants_is_its_own_as_soon_as_it_is_there(
    plugged: House, make_image: MakeImage, tap: Tap, keys: str
) -> None:
    make_image()
    wants: dict[str, Any] = (
        {"devices": [tap.path]} if keys == "devices" else {"schema": {"port": "device(subsystem=macvtap)?"}}
    )
    addon = await lamp(plugged, **wants)
    await plugged.runner.start(addon)
    if keys == "options":
        # Chosen while it was plugged in; it is not there now.
        await plugged.registry.change(addon, options={"port": tap.path})
    assert await opens(plugged, addon, tap) == "absent"
    await tap.plug()
    await until(lambda: plugged.host.devices.find(tap.path))
    await until(lambda: _allowed(plugged, addon, tap))
    assert plugged.issues() == []
    await tap.pull()
    await until(lambda: plugged.host.devices.find(tap.path) is None)
    await tap.plug()
    await until(lambda: _allowed(plugged, addon, tap))


async def _allowed(house: House, addon: Addon, tap: Tap) -> bool:
    return await opens(house, addon, tap) == "allowed"


async def test_a_device_that_nobody_asked_for_stays_closed(plugged: House, make_image: MakeImage, tap: Tap) -> None:
    make_image()
    addon = await lamp(plugged, devices=["/dev/something-else"])
    await plugged.runner.start(addon)
    told: list[str] = []
    plugged.bus.subscribe(DeviceAdded, lambda event: told.append(event.path))
    await tap.plug()
    await until(lambda: tap.path in told)
    assert await opens(plugged, addon, tap) == "denied"
    assert plugged.issues() == []


async def test_a_device_that_was_there_before_the_start_is_in_the_container_s_rules(
    plugged: House, make_image: MakeImage, tap: Tap
) -> None:
    make_image()
    addon = await lamp(plugged, devices=[tap.path])
    await tap.plug()
    await until(lambda: plugged.host.devices.find(tap.path))
    plugged.around["devices"] = plugged.host.devices
    await plugged.runner.start(addon)
    assert await opens(plugged, addon, tap) == "allowed"


async def test_the_host_s_agent_is_asked_where_there_is_one(
    plugged: House, make_image: MakeImage, tap: Tap, agent: Agent
) -> None:
    agent.available = True
    make_image()
    addon = await lamp(plugged, devices=[tap.path])
    await plugged.runner.start(addon)
    await tap.plug()
    [(container, rule)] = await until(lambda: agent.asked)
    device = plugged.host.devices.find(tap.path)
    assert device is not None
    assert (container, rule) == (addon.container_id, f"c {device.major}:{device.minor} rwm")


async def test_where_nothing_can_be_done_an_issue_asks_for_a_restart(
    plugged: House, make_image: MakeImage, tap: Tap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_image()
    addon = await lamp(plugged, devices=[tap.path])
    await plugged.runner.start(addon)

    async def without_groups(info: Any, rule: str) -> None:
        allow_device(info, rule, cgroup_root=tmp_path / "none")

    monkeypatch.setattr(plugged.engine.containers, "allow_device", without_groups)
    await tap.plug()
    await until(plugged.issues)
    assert plugged.issues() == [("device_access_missing", SLUG)]
    assert plugged.suggestions() == ["execute_restart"]


async def test_rules_go_to_the_group_of_that_very_container_only(
    house: House, make_image: MakeImage, tmp_path: Path
) -> None:
    make_image()
    addon = await lamp(house)
    await house.runner.start(addon)
    info = await house.engine.containers.inspect(addon.container_name)
    with pytest.raises(Internal, match="no rule"):
        allow_device(info, "a *:* rwm\nc 1:1 rwm")
    with pytest.raises(Unsupported):
        allow_device(info, "c 1:1 rwm", cgroup_root=tmp_path)
    proc = tmp_path / "proc" / str(info.pid)
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text("5:devices:/docker/another\n0::/x\n")
    with pytest.raises(Unsupported):
        allow_device(info, "c 1:1 rwm", proc_root=tmp_path / "proc")
    (tmp_path / "devices/docker" / info.id / "devices.allow").mkdir(parents=True)
    with pytest.raises(Internal, match="does not let it use"):
        allow_device(info, "c 1:1 rwm", cgroup_root=tmp_path)
