from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dbus_next import Variant
from hypothesis import given
from hypothesis import strategies as st

from stands.bus_daemon import BusDaemon
from stands.udisks import UDisks
from supervisor.drivers.block import ask_for_events, read_drives
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.declaration import declared
from supervisor.drivers.dbus.udisks import BlockObject, DiskTree, DriveObject, FilesystemObject, PartitionObject
from supervisor.drivers.disk import device_number
from supervisor.drivers.sysfs import DeviceTable
from supervisor.errors import Unsupported
from supervisor.events import EventBus
from supervisor.managers.hardware import Hardware
from supervisor.managers.host import Disks, Host
from supervisor.model.drive import BlockDevice, Drive, FilesystemOnDrive, Partition
from supervisor.paths import DataPaths

ROOT = "/org/freedesktop/UDisks2"
BTIME = 1_769_860_800


def block(root: Path, sysfs: str, number: str, name: str, **files: str) -> None:
    """Write a block device into a machine's files."""
    folder = root / "sys" / sysfs
    folder.mkdir(parents=True, exist_ok=True)
    major, minor = number.split(":")
    (folder / "uevent").write_text(f"MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\n")
    (root / "sys/class/block").mkdir(parents=True, exist_ok=True)
    (folder / "subsystem").symlink_to(root / "sys/class/block")
    for path, text in files.items():
        file = folder / path.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    (root / "sys/dev/block").mkdir(parents=True, exist_ok=True)
    (root / f"sys/dev/block/{number}").symlink_to(folder)


def udev(root: Path, number: str, *links: str, **properties: str) -> None:
    folder = root / "run/udev/data"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [*(f"S:{link}" for link in links), *(f"E:{key}={value}" for key, value in properties.items())]
    (folder / f"b{number}").write_text("\n".join(lines) + "\n")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with a disk in it, a stick on it, and a loop."""
    disk, stick = "devices/pci0/ata1/block/sda", "devices/pci0/usb1/1-1/block/sdb"
    block(
        tmp_path,
        disk,
        "8:0",
        "sda",
        size="2000",
        removable="0",
        device__vendor="ATA     ",
        device__model="Fast Disk",
        device__rev="1.0",
    )
    block(tmp_path, f"{disk}/sda1", "8:1", "sda1", size="1000", partition="1")
    block(tmp_path, f"{disk}/sda2", "8:2", "sda2", size="900", partition="2")
    block(tmp_path, stick, "8:16", "sdb", size="500", removable="1", device__vendor="Acme", device__model="Stick")
    block(tmp_path, "devices/virtual/block/loop0", "7:0", "loop0", size="10")
    udev(tmp_path, "8:0", "disk/by-id/ata-Fast_Disk_S1", ID_SERIAL_SHORT="S1")
    udev(tmp_path, "8:1", ID_FS_USAGE="filesystem", ID_FS_UUID="u-1", ID_FS_LABEL="root")
    udev(tmp_path, "8:2", ID_FS_USAGE="other", ID_FS_TYPE="swap")
    udev(tmp_path, "8:16", ID_BUS="usb", ID_FS_USAGE="filesystem", ID_FS_UUID="u-2")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/stat").write_text(f"cpu 1 2\nbtime {BTIME}\n")
    (tmp_path / "proc/self/mountinfo").write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 8:1 /home /bound rw - ext4 /dev/sda1 rw\n"
        "3 1 8:16 / /media/my\\040stick rw - vfat /dev/sdb rw\n"
    )
    return tmp_path


def test_the_kernel_tells_of_drives_and_what_is_on_them(machine: Path) -> None:
    disk, stick = read_drives(DeviceTable.read(machine), machine)
    boot = datetime.fromtimestamp(BTIME, UTC)
    system = FilesystemOnDrive("/dev/sda1", "by-uuid-u-1", 512_000, "root", True, ("/",))
    assert disk == Drive(
        "ATA", "Fast Disk", "1.0", "S1", "ata-Fast_Disk_S1", 1_024_000, boot, "", "seat0", False, False, (system,)
    )
    data = FilesystemOnDrive("/dev/sdb", "by-uuid-u-2", 256_000, "", False, ("/media/my stick",))
    assert stick == Drive("Acme", "Stick", "", "", "", 256_000, boot, "usb", "seat0", True, True, (data,))


def test_a_machine_without_files_has_no_drives(tmp_path: Path) -> None:
    assert read_drives(DeviceTable.read(tmp_path), tmp_path) == []
    ask_for_events(tmp_path)


def test_devices_are_announced_anew_by_writing_to_each(machine: Path) -> None:
    ask_for_events(machine)
    entries = list((machine / "sys/dev/block").iterdir())
    assert {(entry / "uevent").read_text() for entry in entries} == {"change"}
    for entry in entries:
        (entry / "uevent").unlink()
        (entry / "uevent").mkdir()
    with pytest.raises(Unsupported, match="can't be asked"):
        ask_for_events(machine)


# Through UDisks2.


DRIVE = {
    "Vendor": "ATA",
    "Model": "Fast Disk",
    "Revision": "1.0",
    "Serial": "S1",
    "Id": "Fast-Disk-S1",
    "Size": 1_024_000,
    "TimeDetected": BTIME * 1_000_000,
    "ConnectionBus": "usb",
    "Seat": "seat0",
    "Removable": True,
    "Ejectable": False,
}
BLOCK = {
    "Device": b"/dev/sda1\0",
    "Symlinks": [b"/dev/disk/by-label/root\0"],
    "DeviceNumber": 2049,
    "Id": "by-uuid-u-1",
    "Size": 512_000,
    "ReadOnly": False,
    "IdLabel": "root",
    "HintSystem": True,
    "Drive": f"{ROOT}/drives/Fast",
    "CryptoBackingDevice": "/",
    "MDRaidMember": "/",
}
FILESYSTEM = {"Size": 0, "MountPoints": [b"/mnt\0", b"/media/x\0"]}
KNOWN = {
    "drives/Fast": {"Drive": DRIVE},
    "block_devices/sda1": {"Block": BLOCK, "Filesystem": FILESYSTEM, "Partition": {"Name": "rooms", "UUID": "p-1"}},
    "block_devices/loop0": {"Block": {"Device": b"/dev/loop0\0", "Drive": "/"}, "Filesystem": {"MountPoints": []}},
}
EXPECTED = Drive(
    "ATA",
    "Fast Disk",
    "1.0",
    "S1",
    "Fast-Disk-S1",
    1_024_000,
    datetime.fromtimestamp(BTIME, UTC),
    "usb",
    "seat0",
    True,
    False,
    (FilesystemOnDrive("/dev/sda1", "by-uuid-u-1", 512_000, "root", True, ("/mnt", "/media/x")),),
)


@pytest_asyncio.fixture
async def udisks(tmp_path: Path) -> AsyncIterator[UDisks]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    udisks = UDisks(daemon.address)
    for path, interfaces in KNOWN.items():
        await udisks.put(path, interfaces)
    yield udisks
    await udisks.service.stop()
    await daemon.stop()


@pytest_asyncio.fixture
async def disks(udisks: UDisks) -> AsyncIterator[DiskTree]:
    bus = SystemBus(EventBus(), udisks.service.address)
    disks = DiskTree(bus)
    await bus.start()
    await disks.start()
    yield disks
    await disks.close()
    await bus.stop()


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - the check looks at whatever the test cares for
            await asyncio.sleep(0.01)


async def test_drives_come_from_udisks_when_it_is_there_and_from_the_kernel_when_not(
    udisks: UDisks, disks: DiskTree, machine: Path
) -> None:
    host = Host(data=machine, machine=None, root=machine)
    await host.reload_devices()
    hardware = Hardware(host, disks, root=machine)
    names = ["Fast Disk", "Stick"]
    assert [drive.model for drive in await hardware.drives()] == names
    await udisks.service.start()
    await until(lambda: disks.available)
    assert await hardware.drives() == [EXPECTED]
    udisks.service.silent = True
    assert await hardware.drives() == [EXPECTED], "nobody is asked"
    await udisks.service.stop()
    await until(lambda: not disks.available)
    assert [drive.model for drive in await hardware.drives()] == names


async def test_what_is_plugged_in_and_pulled_out_is_known_by_the_signals(udisks: UDisks, disks: DiskTree) -> None:
    await udisks.service.start()
    await until(lambda: disks.available)
    news: list[int] = []
    disks.subscribe(lambda: news.append(len(disks.drives())))
    await udisks.put("drives/Stick", {"Drive": {"Model": "Stick"}})
    await until(lambda: len(disks.drives()) == 2)
    await udisks.take("drives/Fast")
    await until(lambda: [drive.model for drive in disks.drives().values()] == ["Stick"])
    assert news == [2, 1]


async def test_block_devices_are_found_by_every_path_that_leads_to_them(udisks: UDisks, disks: DiskTree) -> None:
    await udisks.service.start()
    await until(lambda: disks.available)
    found = disks.block("/dev/disk/by-label/root")
    assert found == BlockDevice(
        key=f"{ROOT}/block_devices/sda1",
        device="/dev/sda1",
        links=("/dev/disk/by-label/root",),
        number=2049,
        size=512_000,
        label="root",
        drive=f"{ROOT}/drives/Fast",
        in_use=True,
        mount_points=("/mnt", "/media/x"),
        partition=Partition("rooms", "p-1"),
    )
    loop = disks.block("/dev/loop0")
    assert loop is not None
    assert (loop.drive, loop.in_use, loop.partition, disks.block("/dev/sdz")) == (None, False, None, None)


@pytest.mark.parametrize(
    ("what", "more"),
    [
        ("a volume that was opened from it", {"CryptoBackingDevice": f"{ROOT}/block_devices/sdb"}),
        ("an array it is part of", {"MDRaidMember": f"{ROOT}/mdraids/1"}),
        ("swap", {}),
    ],
)
async def test_a_device_is_in_use_for_more_than_mounts(
    udisks: UDisks, disks: DiskTree, what: str, more: dict[str, str]
) -> None:
    await udisks.service.start()
    await until(lambda: disks.available)
    await udisks.put("block_devices/sdb", {"Block": {"Device": b"/dev/sdb\0"}})
    await until(lambda: disks.block("/dev/sdb"))
    assert not disks.block("/dev/sdb").in_use
    if what == "swap":
        await udisks.put("block_devices/sdb", {"Swapspace": {"Active": True}})
    elif "CryptoBackingDevice" in more:
        await udisks.put("block_devices/dm_2d0", {"Block": {"Device": b"/dev/dm-0\0", **more}})
    else:
        await udisks.put("block_devices/sdb", {"Block": {"Device": b"/dev/sdb\0", **more}})
    await until(lambda: disks.block("/dev/sdb").in_use)


async def test_an_nvme_drive_tells_how_worn_it_is(udisks: UDisks, disks: DiskTree, tmp_path: Path) -> None:
    await udisks.put("drives/Fast", {"NVMe.Controller": {}})
    await udisks.service.start()
    await until(lambda: disks.available)
    assert await disks.percent_used(2049) is None, "it has not told yet"
    for percent, expected in ((7, 7.0), (180, 100.0)):
        answer = {"percent_used": Variant("y", percent)}
        method = ("a{sv}", "a{sv}", lambda _options, answer=answer: [answer])
        udisks.method("drives/Fast", "NVMe.Controller", "SmartGetAttributes", method)
        assert await disks.percent_used(2049) == expected
    assert await disks.percent_used(1) is None
    number = device_number(tmp_path)
    await udisks.put("block_devices/sda1", {"Block": {**BLOCK, "DeviceNumber": number}})
    await until(lambda: disks.block("/dev/sda1").number == number)
    paths = DataPaths(tmp_path, tmp_path)
    known = Disks(paths, disks.percent_used)
    await known.load()
    assert known.life_time == 100.0


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A file system that has a number of its own, and the device it lies on."""
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    find = ["losetup", "--find", "--show", image]
    device = Path(subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip())
    subprocess.run(["mount", device, place], check=True)
    yield place, device
    subprocess.run(["umount", place], check=True)
    subprocess.run(["losetup", "--detach", device], check=True)


def test_the_disk_below_a_file_system_with_a_number_of_its_own_is_found(btrfs: tuple[Path, Path]) -> None:
    place, device = btrfs
    assert os.major(place.stat().st_dev) == 0
    assert device_number(place) == device.stat().st_rdev


ODD = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5) | st.just([])
KINDS = (DriveObject, BlockObject, FilesystemObject, PartitionObject)


@given(st.data())
def test_whatever_udisks_says_is_no_failure(data: st.DataObject) -> None:
    disks = DiskTree(SystemBus(EventBus(), "unix:path=/nowhere"))
    interfaces = {
        kind.interface: data.draw(st.dictionaries(st.sampled_from(list(declared(kind))), ODD))
        for kind in data.draw(st.lists(st.sampled_from(KINDS), unique=True))
    }
    disks._tree._adopt("/x", interfaces)
    for drive in disks.drives().values():
        assert drive.size >= 0
    disks.blocks()
