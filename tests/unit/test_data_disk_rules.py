"""Which disks data can lie on, and what is written about swap."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.managers.os import Disk, swap_size, swappiness
from supervisor.managers.os.disk import candidates, primary_block, used_disk
from supervisor.model.drive import BlockDevice, Drive

STICK = Drive("Acme", "Stick", "1", "S1", "Acme-Stick-S1", 1000, datetime.now(UTC), "usb", "seat0", True, True)
DISK = BlockDevice(key="sda", device="/dev/sda", links=("/dev/disk/by-id/x",), size=1000, drive="stick")


def part(number: int, *, in_use: bool = False) -> BlockDevice:
    return BlockDevice(key=f"sda{number}", device=f"/dev/sda{number}", size=10, drive="stick", in_use=in_use)


@pytest.mark.parametrize(
    ("blocks", "found"),
    [
        ([], None),
        ([DISK], "sda"),
        ([DISK, part(1)], None),
        ([part(1), attrs.evolve(DISK, has_table=True), part(2)], "sda"),
        # A card with boot areas of its own, each with a table.
        ([attrs.evolve(DISK, has_table=True), attrs.evolve(part(1), has_table=True)], None),
    ],
)
def test_a_drive_is_its_only_block_device_or_the_only_one_with_a_table(
    blocks: list[BlockDevice], found: str | None
) -> None:
    primary = primary_block(blocks)
    assert (primary and primary.key) == found


def test_drives_and_their_block_devices_belong_together() -> None:
    other = BlockDevice(key="sdb", device="/dev/sdb", drive="other")
    loose = BlockDevice(key="loop0", device="/dev/loop0")
    (found,) = candidates({"stick": STICK}, [DISK, other, loose])
    assert (found.disk.id, found.block, found.blocks, found.in_use) == ("Acme-Stick-S1", DISK, (DISK,), False)
    table = attrs.evolve(DISK, has_table=True)
    (found,) = candidates({"stick": STICK}, [table, part(1), part(2, in_use=True)])
    assert found.in_use
    assert candidates({"stick": STICK}, [attrs.evolve(DISK, hidden=True)]) == []
    (found,) = candidates({"stick": attrs.evolve(STICK, id="")}, [DISK])
    assert found.disk.id == "/dev/sda"


@pytest.mark.parametrize("name", ["Acme-Stick-S1", "/dev/sda", "/dev/disk/by-id/x"])
def test_a_disk_is_called_by_its_id_and_by_its_paths(name: str) -> None:
    (found,) = candidates({"stick": STICK}, [DISK])
    assert found.is_called(name)
    assert not found.is_called(name[:-1])


@pytest.mark.parametrize(
    ("change", "writable"), [({}, True), ({"read_only": True}, False), ({"size": 0}, False)], ids=str
)
def test_a_drive_without_a_medium_or_with_a_lock_is_not_written_to(change: dict[str, object], writable: bool) -> None:
    (found,) = candidates({"stick": STICK}, [attrs.evolve(DISK, **change)])
    assert found.writable == writable


@pytest.mark.parametrize(
    ("vendor", "model", "serial", "name"),
    [
        ("Acme", "Stick", "S1", "Acme Stick (S1)"),
        ("", "Stick", "", "Stick"),
        ("Acme", "", "S1", "Acme (S1)"),
        ("", "", "", "id"),
    ],
)
def test_a_disk_is_named_after_what_is_known(vendor: str, model: str, serial: str, name: str) -> None:
    assert Disk(vendor=vendor, model=model, serial=serial, id="id", device="/dev/x").name == name


def test_the_disk_with_the_data_is_the_drive_or_the_device_alone() -> None:
    drives = {"stick": STICK}
    assert used_disk("/dev/sda1", part(1), drives).id == "Acme-Stick-S1"
    assert used_disk("/dev/sda1", part(1), {}) == Disk(id="/dev/sda1", device="/dev/sda1", size=10)
    assert used_disk("/dev/sda1", None, drives) == Disk(id="/dev/sda1", device="/dev/sda1")


@given(
    st.from_regex(r"[0-9]{1,18}", fullmatch=True),
    st.sampled_from(["", "B", "K", "M", "G", "KB", "MiB", "gib", "k", "kb", "b"]),
)
def test_sizes_of_swap_are_digits_with_a_unit(digits: str, unit: str) -> None:
    assert swap_size(digits + unit) == digits + unit


@pytest.mark.parametrize(
    "value",
    [
        "",
        "G",
        "1.5G",
        "-1G",
        "1 G",
        "1GB1",
        "1T",
        "1iB",
        "1G\n",
        "\N{ARABIC-INDIC DIGIT ONE}G",
        5,
        None,
        True,
        "9" * 19,
    ],
)
def test_other_sizes_of_swap_are_refused(value: object) -> None:
    with pytest.raises(vol.Invalid, match="512M"):
        swap_size(value)


@given(st.integers() | st.booleans() | st.text())
def test_swappiness_is_a_number_to_200(value: object) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 200:
        assert swappiness(value) == value
    else:
        with pytest.raises(vol.Invalid):
            swappiness(value)
