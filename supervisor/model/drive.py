"""Drives, block devices, and what is on them (API contract §3.11, §3.16)."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen
class FilesystemOnDrive:
    """`name` is its label, `system` whether the machine itself needs it. Sizes are in bytes."""

    device: str
    id: str
    size: int
    name: str
    system: bool
    mount_points: tuple[str, ...] = ()


@attrs.frozen
class Drive:
    """A disk, a card, a stick. What nobody tells is empty."""

    vendor: str
    model: str
    revision: str
    serial: str
    id: str
    size: int
    time_detected: datetime
    connection_bus: str
    seat: str
    removable: bool
    ejectable: bool
    filesystems: tuple[FilesystemOnDrive, ...] = ()


@attrs.frozen
class Partition:
    """What a partition table says of a partition; `name` is empty in tables that know no names."""

    name: str
    uuid: str


@attrs.frozen(kw_only=True)
class BlockDevice:
    """A disk as a whole, or a partition of one.

    `key` and `drive` name it and the drive it is on where it was read; `links` are other paths that lead to it,
    `number` is its device number, `label` that of the file system on it. It is `in_use` when something is mounted from
    it, swapped to it, or made of it, and `hidden` when the machine's rules say that it is nobody's business.
    """

    key: str
    device: str
    links: tuple[str, ...] = ()
    number: int = 0
    size: int = 0
    read_only: bool = False
    hidden: bool = False
    label: str = ""
    drive: str | None = None
    in_use: bool = False
    mount_points: tuple[str, ...] = ()
    has_table: bool = False
    partition: Partition | None = None
