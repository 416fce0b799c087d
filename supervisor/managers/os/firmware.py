"""The firmware of Raspberry Pi boards (host contract §22, §28)."""

from __future__ import annotations

from typing import Final

import attrs

from supervisor.drivers.dbus.os_agent import Agent, Boards, PiFirmware
from supervisor.errors import Invalid, NotFound, Unavailable
from supervisor.jobs import JobCondition, JobManager
from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.model.version import at_least

SINCE: Final = "1.9.0"
BOARDS: Final = frozenset({"RaspberryPi4", "RaspberryPi5", "Yellow"})
_LOCK: Final = "firmware"


@attrs.frozen(kw_only=True)
class FirmwareState:
    """`pending`: it is put in place by the next boot. Versions are as the firmware counts: moments of its making."""

    current: str | None
    latest: str | None
    available: bool
    blocked: bool
    pending: bool
    blocked_reason: str | None


@attrs.frozen(eq=False)
class Firmware:
    _agent: Agent
    _boards: Boards
    _firmware: PiFirmware
    _jobs: JobManager
    _resolution: Resolution

    @property
    def supported(self) -> bool:
        """Whether this board has such firmware, and the agent knows about it."""
        return self._boards.board in BOARDS and at_least(self._agent.version, SINCE)

    async def follow(self) -> None:
        """Follow the firmware of a board that has some."""
        await (self._firmware.start() if self._boards.board in BOARDS else self._firmware.close())

    async def stop(self) -> None:
        await self._firmware.close()

    def state(self) -> FirmwareState:
        """Tell what is known; that an update is blocked becomes an issue, and ends being one.

        Raises:
            NotFound: this board has no such firmware, or nobody here knows about it.
            Unavailable: the agent does not tell.
        """
        firmware = self._known()
        subject = (IssueType.RPI_FIRMWARE_UPDATE_BLOCKED, ContextType.SYSTEM)
        blocked = firmware.update_blocked is True
        if blocked:
            self._resolution.raise_issue(*subject)
        else:
            self._resolution.dismiss_issue_of(*subject)
        return FirmwareState(
            current=firmware.current_version or None,
            latest=firmware.latest_version or None,
            available=firmware.update_available is True,
            blocked=blocked,
            pending=firmware.update_pending is True,
            blocked_reason=firmware.blocked_reason or None,
        )

    async def update(self) -> None:
        """Have the newest firmware put in place by the next boot.

        Raises:
            NotFound: see `state`. Blocked: it is another system. Busy: it is being updated already.
            Invalid: it is blocked; the text says why.
            Unavailable, Timeout, Internal: the agent is away, silent, or it failed.
        """
        firmware = self._known()
        async with self._jobs.run(
            "os_manager_update_raspberrypi_firmware", conditions=(JobCondition.HAOS,), lock=_LOCK
        ) as job:
            if firmware.update_blocked:
                reason = firmware.blocked_reason or "the OS agent does not say why"
                raise Invalid(f"The firmware of this board can't be updated: {reason}")
            job.validated()
            await firmware.update()
            self._resolution.ask_for_reboot()
            await firmware.refresh()

    def _known(self) -> PiFirmware:
        if not self.supported:
            raise NotFound(
                f"Firmware is updated on Raspberry Pi 4, 5 and Yellow boards alone, with OS agent {SINCE} or newer"
            )
        if not self._firmware.available:
            raise Unavailable("The OS agent does not tell about the firmware now; try again later")
        return self._firmware
