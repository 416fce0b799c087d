"""The operating system on the wire (API contract §3.16)."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class BootSlot:
    state: str | None
    status: str | None
    version: str | None


@attrs.frozen(kw_only=True)
class OsInfo:
    """None is what this host does not know; `boot_slots` are those of systems that have some."""

    version: str | None
    version_latest: str | None
    version_pending: str | None
    update_available: bool
    board: str | None
    boot: str | None
    data_disk: str | None
    boot_slots: dict[str, BootSlot]
