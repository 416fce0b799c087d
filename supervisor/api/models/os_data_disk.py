"""The data disk on the wire (API contract §3.16)."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class DataDisk:
    """`size` in bytes; `dev_path` is the disk as a whole. Either that or `id` names it in a request."""

    name: str
    vendor: str
    model: str
    serial: str
    size: int
    id: str
    dev_path: str


@attrs.frozen(kw_only=True)
class DataDisks:
    devices: list[str]
    disks: list[DataDisk]
