"""Devices and drives on the wire (API contract §3.11)."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class HardwareDevice:
    name: str
    sysfs: str
    dev_path: str
    subsystem: str
    by_id: str | None
    attributes: dict[str, str]
    children: list[str]


@attrs.frozen(kw_only=True)
class DriveFilesystem:
    device: str
    id: str
    size: int
    name: str
    system: bool
    mount_points: list[str]


@attrs.frozen(kw_only=True)
class HardwareDrive:
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
    filesystems: list[DriveFilesystem]


@attrs.frozen(kw_only=True)
class HardwareInfo:
    devices: list[HardwareDevice]
    drives: list[HardwareDrive]


@attrs.frozen(kw_only=True)
class AudioNames:
    """The description of each device, by its name."""

    input: dict[str, str]
    output: dict[str, str]


@attrs.frozen(kw_only=True)
class HardwareAudio:
    audio: AudioNames
