"""Which disks data can lie on, and which one it lies on (host contract §29). Nothing here asks anybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from supervisor.model.drive import BlockDevice, Drive

DATA_LABEL: Final = "hassos-data"
# What a disk is called that was taken out of use with the boot menu, and one that was replaced.
DISABLED_LABEL: Final = "hassos-data-dis"
OLD_LABEL: Final = "hassos-data-old"
EXTERNAL_NAME: Final = "hassos-data-external"
OLD_EXTERNAL_NAME: Final = "hassos-data-external-old"


@attrs.frozen(kw_only=True)
class Disk:
    """A disk as people know it (API contract §3.16). `size` is in bytes, `device` the node of the disk as a whole."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    size: int = 0
    id: str
    device: str

    @property
    def name(self) -> str:
        words = [self.vendor, self.model, f"({self.serial})" if self.serial else ""]
        return " ".join(filter(None, words)) or self.id


@attrs.frozen(kw_only=True)
class Candidate:
    """A drive with the block device that stands for it. `blocks` are all of its block devices."""

    disk: Disk
    block: BlockDevice
    blocks: tuple[BlockDevice, ...]

    @property
    def in_use(self) -> bool:
        return any(block.in_use for block in self.blocks)

    @property
    def writable(self) -> bool:
        return self.block.size > 0 and not self.block.read_only

    def is_called(self, name: str) -> bool:
        """Tell whether somebody means this disk by its id or one of its paths."""
        return name in (self.disk.id, self.block.device, *self.block.links)


def primary_block(blocks: Iterable[BlockDevice]) -> BlockDevice | None:
    """Return the block device of a drive as a whole: its only one, or the only one with a partition table."""
    known = list(blocks)
    if len(known) > 1:
        known = [block for block in known if block.has_table]
    return known[0] if len(known) == 1 else None


def candidates(drives: Mapping[str, Drive], blocks: Iterable[BlockDevice]) -> list[Candidate]:
    """Return the drives that have one block device as a whole, in the order of their names."""
    of_drive: dict[str, list[BlockDevice]] = {}
    for block in blocks:
        if block.drive is not None:
            of_drive.setdefault(block.drive, []).append(block)
    found = []
    for key, drive in drives.items():
        own = tuple(of_drive.get(key, ()))
        primary = primary_block(own)
        if primary is not None and not primary.hidden:
            found.append(Candidate(disk=described(drive, primary.device), block=primary, blocks=own))
    return found


def described(drive: Drive, device: str) -> Disk:
    return Disk(
        vendor=drive.vendor,
        model=drive.model,
        serial=drive.serial,
        size=drive.size,
        id=drive.id or device,
        device=device,
    )


def used_disk(device: str, block: BlockDevice | None, drives: Mapping[str, Drive]) -> Disk:
    """Return the disk that `device` is on; of what has no drive nothing but its path and its size is known."""
    if block is None or block.drive is None or block.drive not in drives:
        return Disk(id=device, device=device, size=0 if block is None else block.size)
    return described(drives[block.drive], device)
