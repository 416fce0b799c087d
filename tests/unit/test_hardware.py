from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dbus_next import Variant
from hypothesis import given
from hypothesis import strategies as st

from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Served
from supervisor.drivers.block import ask_for_events, read_drives
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.udisks import ManagedDisks, drives_of
from supervisor.drivers.sysfs import DeviceTable
from supervisor.errors import Unsupported
from supervisor.events import EventBus
from supervisor.managers.hardware import Hardware
from supervisor.managers.host import Host
from supervisor.model.drive import Drive, FilesystemOnDrive

UDISKS = "org.freedesktop.UDisks2"
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


def known() -> dict[str, dict[str, dict[str, Any]]]:
    return {
        f"{ROOT}/drives/Fast": {
            f"{UDISKS}.Drive": {
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
        },
        f"{ROOT}/block_devices/sda1": {
            f"{UDISKS}.Block": {
                "Device": b"/dev/sda1\0",
                "Id": "by-uuid-u-1",
                "Size": 512_000,
                "IdLabel": "root",
                "HintSystem": True,
                "Drive": f"{ROOT}/drives/Fast",
            },
            f"{UDISKS}.Filesystem": {"Size": 0, "MountPoints": [b"/mnt\0", b"/media/x\0"]},
        },
        f"{ROOT}/block_devices/loop0": {
            f"{UDISKS}.Block": {"Device": b"/dev/loop0\0", "Drive": "/"},
            f"{UDISKS}.Filesystem": {"MountPoints": []},
        },
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


def test_udisks_tells_of_drives_and_what_is_on_them() -> None:
    assert drives_of(known()) == [EXPECTED]


values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5) | st.just([])
interfaces = st.sampled_from([f"{UDISKS}.{name}" for name in ("Drive", "Block", "Filesystem", "Other")])
names = st.sampled_from(["Vendor", "Size", "TimeDetected", "Removable", "Drive", "Device", "Id", "HintSystem"])


@given(st.dictionaries(st.text(max_size=3), st.dictionaries(interfaces, st.dictionaries(names, values))))
def test_whatever_udisks_says_is_no_failure(objects: dict[str, dict[str, dict[str, Any]]]) -> None:
    for drive in drives_of(objects):
        assert drive.size >= 0


@pytest_asyncio.fixture
async def bus_daemon(tmp_path: Path) -> AsyncIterator[BusDaemon]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    yield daemon
    await daemon.stop()


SIGNATURES = {bool: "b", int: "t", str: "s", bytes: "ay", list: "aay"}


def variants(values: dict[str, Any]) -> dict[str, Variant]:
    return {name: Variant("o" if name == "Drive" else SIGNATURES[type(value)], value) for name, value in values.items()}


async def test_drives_come_from_udisks_when_it_is_there_and_from_the_kernel_when_not(
    bus_daemon: BusDaemon, machine: Path
) -> None:
    answer = {path: {name: variants(values) for name, values in one.items()} for path, one in known().items()}
    service = BusService(bus_daemon.address, UDISKS)
    service.objects[ROOT] = {
        "org.freedesktop.DBus.ObjectManager": Served(
            methods={"GetManagedObjects": ("", "a{oa{sa{sv}}}", lambda: [answer])}
        )
    }
    host = Host(data=machine, machine=None, root=machine)
    await host.reload_devices()
    bus = SystemBus(EventBus(), bus_daemon.address)
    hardware = Hardware(host, ManagedDisks(bus), root=machine)
    await bus.start()
    try:
        names = ["Fast Disk", "Stick"]
        assert [drive.model for drive in await hardware.drives()] == names
        await service.start()
        assert await hardware.drives() == [EXPECTED]
        service.silent = True
        assert [drive.model for drive in await hardware.drives()] == names
        service.silent = False
        assert await hardware.drives() == [EXPECTED]
        await service.stop()
        assert [drive.model for drive in await hardware.drives()] == names
    finally:
        await bus.stop()
        await service.stop()
    assert [drive.model for drive in await hardware.drives()] == names
