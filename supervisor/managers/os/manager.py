"""The Home Assistant Operating System as a whole: what is known of it, and what is done with it (host contract §28)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from supervisor.drivers.dbus.rauc import SlotStatus
from supervisor.drivers.dbus.systemd import JobResult, StartMode, Systemd
from supervisor.errors import Failed
from supervisor.jobs import JobCondition, JobManager
from supervisor.managers.host import HostControl
from supervisor.model.version import at_least

from .slots import BootSlots
from .system import OperatingSystem
from .update import OS_LOCK, OsUpdates

# The unit that takes in what a USB stick or a partition holds of settings, and since when it is called so.
_SYNC_UNIT: Final = "haos-config.service"
_SYNC_UNIT_BEFORE: Final = "hassos-config.service"
_RENAMED: Final = "18.0.rc1"


@attrs.frozen(kw_only=True)
class OsInfo:
    """None is what nobody knows, or what this host does not have."""

    version: str | None
    version_latest: str | None
    version_pending: str | None
    update_available: bool
    board: str | None
    boot: str | None
    data_disk: str | None
    boot_slots: Mapping[str, SlotStatus]


@attrs.frozen
class OsManager:
    _system: OperatingSystem
    _slots: BootSlots
    _updates: OsUpdates
    _systemd: Systemd
    _control: HostControl
    _jobs: JobManager

    def info(self) -> OsInfo:
        """Tell what is known now, without asking anybody."""
        return OsInfo(
            version=self._system.version,
            version_latest=self._updates.latest,
            version_pending=self._slots.pending,
            update_available=self._updates.available,
            board=self._system.board,
            boot=self._slots.booted,
            data_disk=self._system.data_disk,
            boot_slots=self._slots.all,
        )

    async def set_boot_slot(self, bootname: str) -> None:
        """Boot another slot, now.

        Raises:
            Blocked: the host has no slots. Busy: an update is being written.
            Invalid: there is no such slot. Unavailable, Timeout, Internal: RAUC or logind can't be asked, or refuse.
        """
        async with self._jobs.run(
            "os_manager_set_boot_slot", internal=True, conditions=(JobCondition.HAOS,), lock=OS_LOCK
        ):
            await self._slots.activate(bootname)
            await self._control.reboot()

    async def sync_configuration(self) -> None:
        """Have the system take in the settings that lie on its boot partition or a USB stick.

        Raises:
            Blocked: it is another system. NotFound, Failed: it has no such unit, or that failed.
        """
        async with self._jobs.run("os_manager_config_sync", conditions=(JobCondition.HAOS,)):
            unit = _SYNC_UNIT if at_least(self._system.version, _RENAMED) else _SYNC_UNIT_BEFORE
            result = await self._systemd.finish(lambda: self._systemd.restart_unit(unit, StartMode.REPLACE))
            if result != JobResult.DONE:
                raise Failed(f"{unit} failed ({result}): see journalctl -u {unit}")
