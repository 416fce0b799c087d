"""What is told of devices that come and go (host contract §31)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from test_host import Tree

from supervisor.drivers.udev import DeviceAction, DeviceNews
from supervisor.errors import Forbidden, SupervisorError, Unsupported
from supervisor.events import DeviceAdded, DeviceRemoved, EventBus
from supervisor.managers.devices import LOOKS, DeviceWatch
from supervisor.managers.host import Host
from supervisor.managers.resolution import Resolution

STICK = ("pci0/usb1/ttyUSB0", "tty", "188:0", "ttyUSB0")
SYSFS = "/sys/devices/pci0/usb1/ttyUSB0"


class Kernel:
    """The kernel's messages, sent by the test."""

    def __init__(self, on_news: Callable[[DeviceNews], None], refusal: SupervisorError | None = None) -> None:
        self._on_news = on_news
        self._refusal = refusal

    def start(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def stop(self) -> None:
        """Nothing is open."""

    def say(self, action: str, sysfs: str = SYSFS) -> None:
        self._on_news(DeviceNews(DeviceAction(action), sysfs))


class Room:
    def __init__(self, root: Path, *, refusal: SupervisorError | None = None, patience: float = 0.3) -> None:
        self.tree = Tree(root)
        self.bus = EventBus()
        self.host = Host(data=root, machine=None, root=root)
        self.resolution = Resolution(self.bus)
        self.told: list[str] = []
        self.watch = DeviceWatch(
            self.bus, self.host, self.resolution, calm=0.01, patience=patience, monitor=self._listen(refusal)
        )
        self.bus.subscribe(DeviceAdded, lambda event: self.told.append(f"+{event.path}"))
        self.bus.subscribe(DeviceRemoved, lambda event: self.told.append(f"-{event.path}"))

    def _listen(self, refusal: SupervisorError | None) -> Callable[[Callable[[DeviceNews], None]], Kernel]:
        def listen(on_news: Callable[[DeviceNews], None]) -> Kernel:
            self.kernel = Kernel(on_news, refusal)
            return self.kernel

        return listen

    async def heard(self, *told: str) -> None:
        async with asyncio.timeout(30):
            while self.told != list(told):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert self.told == list(told)
        self.told.clear()

    async def looked(self) -> None:
        """Wait until the devices were looked at anew."""
        before = self.host.devices
        async with asyncio.timeout(30):
            while self.host.devices is before:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    await room.watch.start()
    yield room
    await room.watch.stop()


@pytest.fixture
async def patient_room(tmp_path: Path) -> AsyncIterator[Room]:
    """One that waits long for udev, and looks every two seconds meanwhile."""
    room = Room(tmp_path, patience=2 * LOOKS)
    await room.watch.start()
    yield room
    await room.watch.stop()


async def test_a_device_that_is_plugged_in_and_pulled_out_is_told_of_once_each(room: Room) -> None:
    room.tree.add(*STICK)
    for _ in range(3):
        room.kernel.say("add")
    await room.heard("+/dev/ttyUSB0")
    assert room.host.devices.find("/dev/ttyUSB0") is not None
    room.tree.remove("pci0/usb1/ttyUSB0", "188:0")
    room.kernel.say("remove")
    await room.heard("-/dev/ttyUSB0")
    assert room.host.devices.find("/dev/ttyUSB0") is None


async def test_what_was_there_before_is_no_news(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.tree.add(*STICK)
    await room.watch.start()
    room.kernel.say("change")
    await room.heard()
    await room.watch.stop()


async def test_a_device_that_was_away_for_a_moment_is_told_of_twice(room: Room) -> None:
    room.tree.add(*STICK)
    room.kernel.say("add")
    await room.heard("+/dev/ttyUSB0")
    room.kernel.say("remove")
    room.kernel.say("add")
    await room.heard("-/dev/ttyUSB0", "+/dev/ttyUSB0")


async def test_lost_messages_are_made_up_for(room: Room) -> None:
    room.tree.add(*STICK)
    room.tree.add("pci0/usb1/ttyUSB1", "tty", "188:1", "ttyUSB1")
    room.kernel.say("lost", "")
    await room.heard("+/dev/ttyUSB0", "+/dev/ttyUSB1")


async def test_a_start_that_saw_the_device_first_does_not_swallow_the_news(room: Room) -> None:
    room.tree.add(*STICK)
    await room.host.reload_devices()
    room.kernel.say("add")
    await room.heard("+/dev/ttyUSB0")


async def test_a_device_is_told_of_when_udev_has_named_it(patient_room: Room) -> None:
    room = patient_room
    room.tree.udev("")
    room.tree.add(*STICK)
    room.kernel.say("add")
    await room.looked()
    assert room.told == []
    room.tree.udev("c188:0", "S:serial/by-id/stick")
    await room.heard("+/dev/ttyUSB0")
    assert room.host.devices.find("/dev/serial/by-id/stick") is not None


async def test_a_device_that_udev_forgets_is_told_of_all_the_same(room: Room) -> None:
    room.tree.udev("")
    room.tree.add(*STICK)
    room.kernel.say("add")
    await room.heard("+/dev/ttyUSB0")


async def test_a_device_that_goes_before_it_was_told_of_is_no_news(patient_room: Room) -> None:
    room = patient_room
    room.tree.udev("")
    room.tree.add(*STICK)
    room.kernel.say("add")
    await room.looked()
    room.tree.remove("pci0/usb1/ttyUSB0", "188:0")
    room.kernel.say("remove")
    await room.heard()
    room.tree.udev("c188:1")
    room.tree.add("pci0/usb1/ttyUSB1", "tty", "188:1", "ttyUSB1")
    room.kernel.say("add", "/sys/devices/pci0/usb1/ttyUSB1")
    await room.heard("+/dev/ttyUSB1")


async def test_changed_names_are_in_the_table_and_no_news(room: Room) -> None:
    room.tree.add(*STICK)
    room.kernel.say("add")
    await room.heard("+/dev/ttyUSB0")
    room.tree.link("serial/by-id/stick", "ttyUSB0")
    room.kernel.say("change")
    await room.looked()
    await room.heard()
    assert room.host.devices.find("/dev/serial/by-id/stick") is not None


@pytest.mark.parametrize(("refusal", "unhealthy"), [(Forbidden("no"), ["privileged"]), (Unsupported("no libudev"), [])])
async def test_a_kernel_that_does_not_tell_is_no_reason_to_stop(
    tmp_path: Path, refusal: SupervisorError, unhealthy: list[str]
) -> None:
    room = Room(tmp_path, refusal=refusal)
    await room.watch.start()
    assert not room.watch.listening
    assert list(room.resolution.unhealthy) == unhealthy
    await room.watch.stop()
