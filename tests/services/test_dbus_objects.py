"""A tree of objects on a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dbus_next import Variant

from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Served
from supervisor.drivers.dbus import Interface, ObjectTree, SystemBus
from supervisor.drivers.dbus.declaration import STRING, UINT64, Property, Service
from supervisor.drivers.dbus.library import FAST, NEXT, Library
from supervisor.events import EventBus

NAME, ROOT = "org.example.Disks", "/org/example/Disks"
MANAGER = "org.freedesktop.DBus.ObjectManager"
DISKS = Service(NAME, "the disks")


class Disk(Interface):
    service = DISKS
    interface = f"{NAME}.Disk"

    size = Property("Size", UINT64)


class Label(Interface):
    service = DISKS
    interface = f"{NAME}.Label"

    text = Property("Text", STRING)


def disk(size: int) -> Served:
    return Served({"Size": ("t", size), "Unknown": ("s", "x")})


class Stand:
    def __init__(self, address: str) -> None:
        self.service = BusService(address, NAME)
        self.service.objects[ROOT] = {MANAGER: Served(methods={"GetManagedObjects": ("", "a{oa{sa{sv}}}", self.all)})}
        self.service.objects[f"{ROOT}/a"] = {
            Disk.interface: disk(1),
            Label.interface: Served({"Text": ("s", "one")}),
            f"{NAME}.Other": Served({"Size": ("t", 9)}),
        }

    def all(self) -> list[Any]:
        objects = {path: interfaces for path, interfaces in self.service.objects.items() if path != ROOT}
        return [{path: {name: one.all() for name, one in inner.items()} for path, inner in objects.items()}]

    async def add(self, name: str, size: int) -> None:
        self.service.objects[f"{ROOT}/{name}"] = {Disk.interface: disk(size)}
        added = {Disk.interface: {"Size": Variant("t", size)}}
        await self.service.emit(ROOT, MANAGER, "InterfacesAdded", "oa{sa{sv}}", [f"{ROOT}/{name}", added])

    async def remove(self, name: str, interface: str) -> None:
        del self.service.objects[f"{ROOT}/{name}"][interface]
        await self.service.emit(ROOT, MANAGER, "InterfacesRemoved", "oas", [f"{ROOT}/{name}", [interface]])


@pytest.fixture(params=[NEXT, FAST], ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    return request.param


@pytest_asyncio.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    stand = Stand(daemon.address)
    await stand.service.start()
    yield stand
    await stand.service.stop()
    await daemon.stop()


@pytest_asyncio.fixture
async def tree(stand: Stand, library: Library) -> AsyncIterator[ObjectTree]:
    bus = SystemBus(EventBus(), stand.service.address, library)
    tree = ObjectTree(bus, DISKS, ROOT, (Disk, Label))
    await bus.start()
    await tree.start()
    yield tree
    await tree.close()
    await bus.stop()


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - the check looks at whatever the test cares for
            await asyncio.sleep(0.01)


async def test_the_objects_that_are_there_are_known_by_their_interfaces(tree: ObjectTree) -> None:
    assert tree.available
    assert {path: disk.size for path, disk in tree.of(Disk).items()} == {f"{ROOT}/a": 1}
    label = tree.at(f"{ROOT}/a", Label)
    assert label is not None
    assert (label.text, tree.at(f"{ROOT}/b", Disk)) == ("one", None)


async def test_objects_come_change_and_go(tree: ObjectTree, stand: Stand) -> None:
    told: list[frozenset[str]] = []
    tree.subscribe(told.append)
    await stand.add("b", 2)
    await until(lambda: len(tree.of(Disk)) == 2)
    await stand.service.change(f"{ROOT}/b", Disk.interface, Size=5)
    await until(lambda: tree.of(Disk)[f"{ROOT}/b"].size == 5)
    await stand.remove("a", Label.interface)
    await until(lambda: not tree.of(Label))
    assert f"{ROOT}/a" in tree.of(Disk)
    await stand.remove("b", Disk.interface)
    await until(lambda: list(tree.of(Disk)) == [f"{ROOT}/a"])
    assert told == [frozenset({f"{ROOT}/{name}"}) for name in ("b", "b", "a", "b")]


async def test_a_service_that_returns_is_read_anew(tree: ObjectTree, stand: Stand) -> None:
    await stand.service.stop()
    await until(lambda: not tree.available)
    assert tree.of(Disk) == {}
    del stand.service.objects[f"{ROOT}/a"]
    stand.service.objects[f"{ROOT}/c"] = {Disk.interface: disk(3)}
    await stand.service.start()
    await until(lambda: tree.available)
    assert {path: disk.size for path, disk in tree.of(Disk).items()} == {f"{ROOT}/c": 3}


async def test_what_was_missed_is_made_up_for_by_a_refresh(tree: ObjectTree, stand: Stand) -> None:
    kept = tree.of(Disk)[f"{ROOT}/a"]
    stand.service.objects[f"{ROOT}/a"] = {Disk.interface: disk(7)}
    stand.service.objects[f"{ROOT}/d"] = {Disk.interface: disk(4)}
    await tree.refresh()
    assert tree.of(Disk)[f"{ROOT}/a"] is kept
    assert ({path: disk.size for path, disk in tree.of(Disk).items()}, tree.of(Label)) == (
        {f"{ROOT}/a": 7, f"{ROOT}/d": 4},
        {},
    )
