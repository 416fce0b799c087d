"""Devices that really come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from engine_stage import until
from pluggable import Tap, pluggable

from supervisor.events import DeviceAdded, DeviceRemoved, EventBus
from supervisor.managers.devices import DeviceWatch
from supervisor.managers.host import Host
from supervisor.managers.resolution import Resolution


@pytest.fixture
def tap() -> Iterator[Tap]:
    with pluggable() as tap:
        yield tap


@pytest.fixture
async def host(tmp_path: Path, bus: EventBus) -> AsyncIterator[Host]:
    host = Host(data=tmp_path, machine=None)
    watch = DeviceWatch(bus, host, Resolution(bus))
    await watch.start()
    assert watch.listening
    yield host
    await watch.stop()


def news(bus: EventBus, *paths: str) -> list[DeviceAdded | DeviceRemoved]:
    """Collect what is told of these: devices are the whole machine's, on which others may plug in theirs."""
    told: list[DeviceAdded | DeviceRemoved] = []

    def hear(event: DeviceAdded | DeviceRemoved) -> None:
        if event.path in paths:
            told.append(event)

    bus.subscribe(DeviceAdded, hear)
    bus.subscribe(DeviceRemoved, hear)
    return told


async def test_the_kernel_tells_of_a_device_that_comes_and_goes(host: Host, bus: EventBus, tap: Tap) -> None:
    told = news(bus, tap.path)
    await tap.plug()
    [added] = await until(lambda: told)
    assert isinstance(added, DeviceAdded)
    assert (added.path, added.subsystem) == (tap.path, "macvtap")
    device = host.devices.find(tap.path)
    assert device is not None
    assert device.sysfs == added.sysfs
    assert device.attributes["SUBSYSTEM"] == "macvtap"
    await tap.pull()
    await until(lambda: told[1:])
    assert told[1:] == [DeviceRemoved(added.path, added.sysfs, added.subsystem)]
    assert host.devices.find(tap.path) is None


async def test_a_message_without_a_change_is_no_news(host: Host, bus: EventBus, tap: Tap) -> None:
    told = news(bus, tap.path, "/dev/null")
    before = host.devices
    await asyncio.to_thread(Path("/sys/class/mem/null/uevent").write_text, "add")
    await tap.plug()
    await until(lambda: told)
    assert [event.path for event in told] == [tap.path]
    assert host.devices is not before
