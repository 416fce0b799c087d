"""Drives and the file systems on them (API contract §3.11)."""

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
