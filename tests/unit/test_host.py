"""The machine as the kernel's files show it (host contract §31)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.mountinfo import takes_part_in_propagation
from supervisor.drivers.sysfs import TUN, DeviceTable
from supervisor.managers.host import Host


class Tree:
    """A sysfs and a /dev as the kernel and udev would make them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for kind in ("char", "block"):
            (root / "sys/dev" / kind).mkdir(parents=True)

    def add(
        self, sysfs: str, subsystem: str, number: str, name: str | None, *, kind: str = "char", uevent: str = ""
    ) -> None:
        folder = self.root / "sys/devices" / sysfs
        folder.mkdir(parents=True)
        major, minor = number.split(":")
        lines = [f"MAJOR={major}", f"MINOR={minor}", *([f"DEVNAME={name}"] if name else [])]
        (folder / "uevent").write_text(uevent or "\n".join(lines))
        (self.root / "sys/class" / subsystem).mkdir(parents=True, exist_ok=True)
        (folder / "subsystem").symlink_to(os.path.relpath(self.root / "sys/class" / subsystem, folder))
        (self.root / "sys/dev" / kind / number).symlink_to(folder)

    def link(self, link: str, name: str) -> None:
        path = self.root / "dev" / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(self.root / "dev" / name)

    def remove(self, sysfs: str, number: str, *, kind: str = "char") -> None:
        (self.root / "sys/dev" / kind / number).unlink()
        shutil.rmtree(self.root / "sys/devices" / sysfs)

    def udev(self, device: str, *lines: str) -> None:
        """Write what udev's database says of a device; of none, it is just there."""
        folder = self.root / "run/udev/data"
        folder.mkdir(parents=True, exist_ok=True)
        if device:
            (folder / device).write_text("\n".join((*lines, "")))

    def read(self) -> DeviceTable:
        return DeviceTable.read(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_device_is_found_by_its_node_its_links_and_its_place_in_sysfs(tree: Tree) -> None:
    tree.add("pci0/usb1/ttyUSB0", "tty", "188:0", "ttyUSB0")
    tree.link("serial/by-path/pci-0", "ttyUSB0")
    tree.link("serial/by-id/usb-stick", "ttyUSB0")
    table = tree.read()
    device = table.find("/dev/ttyUSB0")
    assert device is not None
    assert (device.name, device.sysfs) == ("ttyUSB0", "/sys/devices/pci0/usb1/ttyUSB0")
    assert (device.subsystem, device.major, device.minor) == ("tty", 188, 0)
    assert device.links == ("/dev/serial/by-id/usb-stick", "/dev/serial/by-path/pci-0")
    assert device.by_id == "/dev/serial/by-id/usb-stick"
    for path in (device.sysfs, *device.links):
        assert table.find(path) is device
    assert table.find("/dev/ttyUSB1") is None


def test_block_devices_have_a_rule_of_their_kind(tree: Tree) -> None:
    tree.add("pci0/sda", "block", "8:0", "sda", kind="block")
    tree.add("pci0/card0", "drm", "226:0", "dri/card0")
    table = tree.read()
    rules = {device.path: device.cgroup_rule for device in table.devices}
    assert rules["/dev/sda"] == "b 8:0 rwm"
    assert rules["/dev/dri/card0"] == "c 226:0 rwm"
    assert [device.path for device in table.by_subsystem("drm")] == ["/dev/dri/card0"]
    assert set(table.by_subsystem(None)) == set(table.devices)


def test_virtual_consoles_and_loops_are_hidden(tree: Tree) -> None:
    tree.add("virtual/tty/tty1", "tty", "4:1", "tty1")
    tree.add("virtual/vc/vcs1", "vc", "7:1", "vcs1")
    tree.add("virtual/block/loop0", "block", "7:0", "loop0", kind="block")
    tree.add("virtual/mem/null", "mem", "1:3", "null")
    assert {device.path for device in tree.read().devices} == {"/dev/null", "/dev/net/tun"}


def test_the_tun_device_is_listed_once_whether_the_kernel_knows_it_yet_or_not(tree: Tree) -> None:
    assert tree.read().devices == (TUN,)
    tree.add("virtual/misc/tun", "misc", "10:200", "net/tun")
    assert tree.read().devices == (TUN,)


@pytest.mark.parametrize("uevent", ["DEVNAME=x", "MAJOR=a\nMINOR=1\nDEVNAME=x", "nonsense", "MAJOR=1\nDEVNAME=x"])
def test_an_entry_that_makes_no_sense_does_not_take_the_others(tree: Tree, uevent: str) -> None:
    tree.add("odd", "misc", "10:1", None, uevent=uevent)
    tree.add("fine", "misc", "10:2", "fine")
    (tree.root / "sys/dev/char/10:3").symlink_to(tree.root / "nowhere")
    assert tree.read().find("/dev/fine") is not None
    assert tree.read().find("/dev/x") is None


def test_links_in_circles_or_out_of_dev_harm_nobody(tree: Tree) -> None:
    tree.add("fine", "misc", "10:2", "fine")
    tree.link("disk/by-id/circle", "disk/by-id/circle")
    tree.link("disk/by-id/good", "fine")
    (tree.root / "dev/disk/by-id/out").symlink_to("/")
    device = tree.read().find("/dev/fine")
    assert device is not None
    assert device.links == ("/dev/disk/by-id/good",)


def test_a_machine_without_sysfs_has_no_devices_but_tun(tmp_path: Path) -> None:
    assert DeviceTable.read(tmp_path).devices == (TUN,)


def test_what_udev_knows_of_a_device_is_its_attributes(tree: Tree) -> None:
    tree.add("pci0/usb1/ttyUSB0", "tty", "188:0", "ttyUSB0")
    tree.udev(
        "c188:0", "S:serial/by-id/usb-stick", "S:zigbee", "I:123", "E:ID_MODEL=Stick = 2", "E:ID_VENDOR=me", "V:1"
    )
    [device, _tun] = sorted(tree.read().devices, key=lambda device: device.path != "/dev/ttyUSB0")
    assert device.links == ("/dev/serial/by-id/usb-stick", "/dev/zigbee")
    assert dict(device.attributes) == {
        "MAJOR": "188",
        "MINOR": "0",
        "DEVNAME": "/dev/ttyUSB0",
        "DEVPATH": "/devices/pci0/usb1/ttyUSB0",
        "SUBSYSTEM": "tty",
        "ID_MODEL": "Stick = 2",
        "ID_VENDOR": "me",
        "DEVLINKS": "/dev/serial/by-id/usb-stick /dev/zigbee",
    }
    assert device.settled
    assert device.names == {"/dev/ttyUSB0", "/dev/zigbee", "/dev/serial/by-id/usb-stick", device.sysfs}


def test_a_device_is_not_settled_before_udev_has_come_to_it(tree: Tree) -> None:
    tree.add("pci0/usb1/ttyUSB0", "tty", "188:0", "ttyUSB0")
    assert tree.read().devices[0].settled, "where there is no udev nothing is waited for"
    tree.udev("")
    assert not next(device for device in tree.read().devices if device.path == "/dev/ttyUSB0").settled
    tree.udev("c188:0", "I:1")
    assert next(device for device in tree.read().devices if device.path == "/dev/ttyUSB0").settled


def test_a_disk_knows_its_partitions(tree: Tree) -> None:
    tree.add("pci0/sda", "block", "8:0", "sda", kind="block")
    tree.add("pci0/sda/sda1", "block", "8:1", "sda1", kind="block")
    tree.add("pci0/sda/sda2", "block", "8:2", "sda2", kind="block")
    tree.add("pci0/sda-not", "block", "8:16", "sdb", kind="block")
    table = tree.read()
    children = {device.path: device.children for device in table.devices}
    assert children["/dev/sda"] == ("/sys/devices/pci0/sda/sda1", "/sys/devices/pci0/sda/sda2")
    assert children["/dev/sda1"] == children["/dev/sdb"] == ()


@pytest.mark.parametrize("label", ["hassos-data", "hassos-boot"])
def test_a_disk_of_the_operating_system_is_known_by_its_label(tree: Tree, label: str) -> None:
    tree.add("pci0/sda", "block", "8:0", "sda", kind="block")
    tree.add("pci0/sda/sda1", "block", "8:1", "sda1", kind="block")
    tree.add("pci0/sda/sda2", "block", "8:2", "sda2", kind="block")
    tree.add("pci0/ttyUSB0", "tty", "188:0", "ttyUSB0")
    tree.udev("b8:2", f"E:ID_FS_LABEL={label}")
    tree.udev("c188:0", f"E:ID_FS_LABEL={label}")
    table = tree.read()
    assert {device.path for device in table.devices if table.of_the_system(device)} == {"/dev/sda", "/dev/sda2"}


@given(st.binary(max_size=200))
def test_any_bytes_in_the_database_of_udev_give_a_device(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder))
        tree.add("pci0/ttyUSB0", "tty", "188:0", "ttyUSB0")
        tree.udev("")
        (tree.root / "run/udev/data/c188:0").write_bytes(content)
        assert tree.read().find("/dev/ttyUSB0") is not None


async def test_this_machine_is_read_without_holding_the_loop(no_blocking_calls: None, tmp_path: Path) -> None:
    host = Host(data=tmp_path, machine=None)
    await host.load()
    assert host.facts.kernel == os.uname().release
    assert host.devices.find("/dev/null") is not None
    assert host.arch in {"amd64", "aarch64"}
    assert host.supported_arch
    assert await host.free_bytes() > 0
    assert host.facts.boot_id is not None
    assert await host.reload_devices() is host.devices


def propagates(table: Path, path: str, *lines: str) -> bool:
    content = [f"{number} 1 8:1 / {line}" for number, line in enumerate(lines)]
    table.write_bytes("\n".join(content).encode("utf-8", "surrogateescape"))
    return takes_part_in_propagation(Path(path), table)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["/ rw shared:1 - ext4 /dev/a rw"], True),
        (["/ rw master:1 - ext4 /dev/a rw"], True),
        (["/ rw - ext4 /dev/a rw"], False),
        (["/ rw shared:1 - ext4 /dev/a rw", "/srv rw - ext4 /dev/b rw"], False),
        (["/ rw - ext4 /dev/a rw", "/srv rw shared:2 - ext4 /dev/b rw"], True),
        (["/ rw shared:1 - ext4 /dev/a rw", "/srvx rw - ext4 /dev/b rw"], True),
        (["/srv rw shared:1 - ext4 /dev/a rw", "/srv rw - ext4 /dev/b rw"], False),
        (["/ rw - ext4 /dev/a rw", "/srv/a\\040b rw shared:2 - ext4 /dev/b rw"], False),
        (["nonsense", "/ rw shared:1 - ext4 /dev/a rw"], True),
        ([], False),
    ],
)
def test_the_innermost_mount_decides_about_propagation(table: Path, lines: list[str], answer: bool) -> None:
    assert propagates(table, "/srv/data-of-tests", *lines) is answer


@pytest.mark.parametrize("name", ["with space", "ümläut", "\udcff", "tab\tand\\back"])
def test_a_mount_point_of_any_name_is_recognised(table: Path, name: str) -> None:
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in name)
    lines = ("/ rw - ext4 /dev/a rw", f"/srv/{escaped} rw shared:2 - ext4 /dev/b rw")
    assert propagates(table, f"/srv/{name}/data", *lines)


def test_a_table_that_can_t_be_read_means_no(tmp_path: Path) -> None:
    assert not takes_part_in_propagation(tmp_path, tmp_path / "none")
    assert isinstance(takes_part_in_propagation(tmp_path), bool)


@given(st.binary(max_size=200))
def test_any_bytes_in_the_table_give_an_answer(content: bytes) -> None:
    table = Path(f"/dev/shm/mountinfo-{os.getpid()}")
    try:
        table.write_bytes(b"1 1 8:1 / " + content)
        assert takes_part_in_propagation(Path("/srv"), table) in {True, False}
    finally:
        table.unlink()
