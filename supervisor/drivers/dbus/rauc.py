"""RAUC, which writes updates of the operating system into its slots (host contract §20)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import attrs

from supervisor.drivers.dbus.declaration import (
    INT32,
    NOTHING,
    STRING,
    Property,
    Service,
    Signal,
    array,
    choice,
    method,
    several,
    struct,
)
from supervisor.drivers.dbus.interface import Interface

RAUC: Final = Service("de.pengutronix.rauc", "RAUC", on_demand=True)

# Boot loaders keep what they know in flash that may be slow, and are asked slot by slot.
_BOOT_LOADER_SECONDS: Final = 60.0
# The slot that the machine runs from, where a slot's name is asked for.
BOOTED: Final = "booted"


class Operation(StrEnum):
    IDLE = "idle"
    INSTALLING = "installing"


class Mark(StrEnum):
    """What is made of a slot: it may be booted, must not be, is the one to boot next."""

    GOOD = "good"
    BAD = "bad"
    ACTIVE = "active"


@attrs.frozen
class Progress:
    """How far an installation is, in percent, and what it is at."""

    percent: int
    message: str


@attrs.frozen(kw_only=True)
class SlotStatus:
    """One slot. `bootname` is what the boot loader calls it, None for slots that go with another one.

    `state` is `booted`, `active` or `inactive`; `boot_status` is what the boot loader thinks of it, None where it says
    nothing that we know; `bundle_version` what RAUC wrote into it, None before the first update.
    """

    name: str
    state: str
    bootname: str | None
    boot_status: Mark | None
    bundle_version: str | None

    @classmethod
    def of(cls, name: str, known: Mapping[str, Any]) -> SlotStatus:
        return cls(
            name=name,
            state=_text(known, "state") or "",
            bootname=_text(known, "bootname"),
            boot_status=_boot_status(_text(known, "boot-status")),
            bundle_version=_text(known, "bundle.version"),
        )


def _text(known: Mapping[str, Any], key: str) -> str | None:
    value = known.get(key)
    return value if isinstance(value, str) and value else None


def _boot_status(word: str | None) -> Mark | None:
    return next((mark for mark in Mark if mark == word), None)


class Rauc(Interface):
    """`boot_slot` is the boot loader's name of the slot that the machine runs from.

    No signal announces what becomes of slots, but that an `operation` ends.
    """

    service = RAUC
    interface = "de.pengutronix.rauc.Installer"
    default_path = "/"

    operation = Property("Operation", choice(Operation, STRING))
    last_error = Property("LastError", STRING)
    progress = Property("Progress", struct("isi", lambda percent, message, _depth: Progress(percent, message)))
    boot_slot = Property("BootSlot", STRING)

    install = method("Install", STRING, returns=NOTHING)
    mark = method("Mark", STRING, STRING, returns=several(STRING, STRING), seconds=_BOOT_LOADER_SECONDS)
    get_slot_status = method(
        "GetSlotStatus", returns=array(struct("sa{sv}", SlotStatus.of)), seconds=_BOOT_LOADER_SECONDS
    )
    get_primary = method("GetPrimary", returns=STRING, seconds=_BOOT_LOADER_SECONDS)

    completed: Signal[int] = Signal("Completed", INT32.decode)
