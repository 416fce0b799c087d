"""Builds what looks after the operating system below the daemon."""

from __future__ import annotations

import attrs

from supervisor.drivers.dbus.rauc import Rauc
from supervisor.managers.host import Condition, Finding
from supervisor.managers.os import BootSlots, OperatingSystem, OsManager, OsUpdates

from .base import Base
from .host import HostParts
from .parts import Parts


@attrs.frozen(eq=False)
class OsParts:
    system: OperatingSystem
    slots: BootSlots
    updates: OsUpdates
    manager: OsManager


def build_operating_system(base: Base, parts: Parts, host: HostParts) -> OsParts:
    system, rauc = parts.operating_system, Rauc(base.system_bus)
    slots = BootSlots(rauc, parts.system.hostname, system, base.jobs, base.resolution)
    updates = OsUpdates(system, slots, rauc, parts.updater, base.http, base.jobs, base.paths)
    host.manager.also_reload(slots.reload)

    def look_at_rauc() -> Finding | None:
        return _rauc(slots) if system.is_haos else None

    host.doctor.add(look_at_rauc)
    return OsParts(
        system, slots, updates, OsManager(system, slots, updates, parts.system.systemd, host.control, base.jobs)
    )


def _rauc(slots: BootSlots) -> Finding:
    title = "Updates of the operating system"
    if not slots.available:
        return Finding(title, Condition.MISSING, "RAUC is not there", "See on the host: systemctl status rauc")
    return Finding(title, Condition.OK, f"RAUC is there, booted from slot {slots.booted or 'unknown'}")
