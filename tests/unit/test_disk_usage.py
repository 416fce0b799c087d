"""How much is on a disk, and how worn it is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.drivers.disk import Capacity, Folder, Measuring, device_number, life_time, lowest_device
from supervisor.drivers.mountinfo import mount_points, mounted_below, mounted_device
from supervisor.errors import SupervisorError
from supervisor.managers.host import Disks
from supervisor.managers.host import disks as disks_module
from supervisor.paths import DataPaths

TREES = st.recursive(
    st.integers(0, 40_000),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4),
    max_leaves=15,
)


def make(folder: Path, tree: int | dict) -> None:
    if isinstance(tree, int):
        folder.write_bytes(b"x" * tree)
        return
    folder.mkdir()
    for name, inner in tree.items():
        make(folder / name, inner)


def blocks(path: Path) -> int:
    """What du counts, the folder itself left out."""
    return sum(entry.lstat().st_blocks * 512 for entry in path.rglob("*"))


@settings(max_examples=40)
@given(tree=st.dictionaries(st.text("abc", min_size=1, max_size=3), TREES, max_size=4), depth=st.integers(0, 5))
def test_a_tree_is_as_large_as_what_is_in_it(tmp_path_factory: pytest.TempPathFactory, tree: dict, depth: int) -> None:
    top = tmp_path_factory.mktemp("tree") / "top"
    make(top, tree)
    # Some file systems give a new file its blocks, or take some back, only a moment later.
    before = -1
    while before != (now := blocks(top)):
        before, found = now, Measuring(mounts=()).folder(top, depth)
    assert found.used == now
    check(found, depth)


def check(folder: Folder, depth: int) -> None:
    assert sum(child.used for child in folder.children) <= folder.used
    assert depth > 0 or not folder.children
    assert [child.name for child in folder.children] == sorted(child.name for child in folder.children)
    for child in folder.children:
        assert child.used > 0
        check(child, depth - 1)


def test_links_and_second_names_do_not_count_twice(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 8192)
    once = Measuring(mounts=()).folder(tmp_path, 1).used
    os.link(tmp_path / "one", tmp_path / "two")
    (tmp_path / "link").symlink_to("/usr")
    assert Measuring(mounts=()).folder(tmp_path, 1).used == once


def test_what_something_is_mounted_on_is_not_even_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dead/inside").mkdir(parents=True)
    (tmp_path / "alive").mkdir()
    seen: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (seen.append(os.fspath(path)), scan(path))[1])
    Measuring(mounts=[str(tmp_path / "dead")]).folder(tmp_path, 3)
    assert set(seen) == {str(tmp_path), str(tmp_path / "alive")}


def test_a_tree_deeper_than_the_stack_is_measured(tmp_path: Path) -> None:
    here = tmp_path
    for _ in range(1500):
        os.mkdir("d", dir_fd=(fd := os.open(here, os.O_PATH)))
        os.close(fd)
        here /= "d"
        if len(str(here)) > 3900:
            break
    try:
        assert Measuring(mounts=()).folder(tmp_path, 1).used >= 0
    finally:
        # Who removes the temporary folders later is no deeper than the stack.
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


def test_mount_points_are_read_with_their_escapes(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("1 0 8:1 / / rw - ext4 /dev/x rw\n2 1 0:3 / /mnt/a\\040b rw shared:1 - nfs nas:/a rw\n")
    assert mount_points(table) == [Path("/"), Path("/mnt/a b")]
    assert mounted_below(Path("/mnt"), table) == [Path("a b")]
    assert mounted_below(Path("/mnt/a b"), table) == []


@pytest.mark.parametrize(
    ("text", "worn"), [("0x01 0x01", 0.0), ("0x00 0x03", 20.0), ("0x01 0x0b", 100.0), ("0x00 0x00", None), ("", None)]
)
def test_the_wear_of_an_emmc_is_its_second_estimate(tmp_path: Path, text: str, worn: float | None) -> None:
    number = os.makedev(179, 1)
    disk = tmp_path / "devices/mmc0/block/mmcblk0"
    (disk / "mmcblk0p1").mkdir(parents=True)
    (disk / "mmcblk0p1/partition").write_text("1")
    (disk / "device").mkdir()
    (disk / "device/life_time").write_text(text)
    (tmp_path / "dev/block").mkdir(parents=True)
    (tmp_path / "dev/block/179:1").symlink_to(disk / "mmcblk0p1")
    assert life_time(number, tmp_path) == worn


def test_other_disks_do_not_tell_their_wear(tmp_path: Path) -> None:
    assert life_time(os.makedev(8, 1), tmp_path) is None
    (tmp_path / "dev/block/8:1").mkdir(parents=True)
    assert life_time(os.makedev(8, 1), tmp_path) is None


def test_what_lies_below_an_encrypted_volume_is_the_disk(tmp_path: Path) -> None:
    for device, below in (("253:1", "253:0"), ("253:0", "259:3"), ("9:0", "259:3"), ("9:0", "259:4")):
        part = tmp_path / f"dev/block/{device}/slaves/{below.replace(':', '-')}"
        part.mkdir(parents=True)
        (part / "dev").write_text(f"{below}\n")
    disk, array = os.makedev(259, 3), os.makedev(9, 0)
    assert lowest_device(os.makedev(253, 1), tmp_path) == disk
    assert lowest_device(disk, tmp_path) == disk
    assert lowest_device(array, tmp_path) == array, "an array is no single disk"


def test_what_is_mounted_where_a_path_lies_is_read_from_the_table(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("1 0 0:1 / / rw - overlay overlay rw\n2 1 0:2 / /mnt/a rw shared:1 - btrfs /dev/my\\040disk rw\n")
    assert mounted_device(Path("/mnt/a/b"), table) == Path("/dev/my disk")
    assert mounted_device(Path("/mnt/b"), table) is None
    assert mounted_device(Path("/mnt/b"), tmp_path / "missing") is None
    assert device_number(tmp_path / "missing") is None


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    paths = DataPaths(tmp_path, tmp_path)
    paths.create()

    async def percent_used(_number: int) -> float | None:
        return None

    return Disks(paths, percent_used)


async def test_the_free_space_is_known_after_the_load(disks: Disks, no_blocking_calls: None) -> None:
    await disks.load()
    assert 0 < disks.capacity.free <= disks.capacity.total
    await disks.stop()


async def test_those_that_ask_the_same_at_once_share_one_walk(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []
    measure = disks._measure_data
    monkeypatch.setattr(disks, "_measure_data", lambda depth: (walks.append(depth), measure(depth))[1])
    answers = await asyncio.gather(*(disks.data_usage(1) for _ in range(5)))
    assert (walks, len(set(answers))) == ([1], 1)
    await disks.data_usage(1)
    assert walks == [1, 1]


async def test_a_dead_mount_costs_the_one_that_asks_a_minute_and_nobody_else_anything(
    disks: Disks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    of = Capacity.of
    monkeypatch.setattr(Capacity, "of", staticmethod(lambda path: release.wait() if path.name == "dead" else of(path)))
    monkeypatch.setattr(disks_module, "MOUNT_SECONDS", 0.2)
    dead = asyncio.create_task(disks.mount_usage("nas", tmp_path / "dead", 0))
    assert (await disks.data_usage(1)).total
    with pytest.raises(SupervisorError) as raised:
        await dead
    assert raised.value.key == "mount_usage_timeout_error"
    release.set()


async def test_a_mount_is_measured_with_what_is_not_in_its_files(disks: Disks, tmp_path: Path) -> None:
    (tmp_path / "media/films").mkdir()
    (tmp_path / "media/films/one").write_bytes(b"x" * 10_000)
    shallow = await disks.mount_usage("nas", tmp_path / "media", 1)
    assert (shallow.id, shallow.children) == ("nas", ())
    deep = await disks.mount_usage("nas", tmp_path / "media", 2)
    assert [child.id for child in deep.children] == ["films", "other"]
    assert sum(child.used for child in deep.children) == deep.used
    with pytest.raises(SupervisorError) as raised:
        await disks.mount_usage("nas", tmp_path / "missing", 2)
    assert raised.value.key == "mount_usage_read_error"
