"""The data disk of the Home Assistant Operating System: moved to another disk, wiped (host contract §29)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from supervisor.const import MIB
from supervisor.drivers.block import is_claimed
from supervisor.drivers.dbus.os_agent import Agent, AgentSystem, DataDisk
from supervisor.drivers.dbus.udisks import DiskTree
from supervisor.errors import Invalid, SupervisorError, Timeout, Unavailable
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.managers.host import HostControl
from supervisor.managers.resolution import Resolution
from supervisor.model.amounts import size_text
from supervisor.model.drive import BlockDevice
from supervisor.model.version import at_least

from .disk import EXTERNAL_NAME, OLD_EXTERNAL_NAME, Candidate, Disk, candidates, used_disk

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

# From these versions on the agent reads the device anew on demand, and leaves the preparation of the new disk to us.
RELOADS: Final = "1.2.0"
MARKS_MOVES: Final = "1.5.0"

_CONDITIONS: Final = (JobCondition.HAOS, JobCondition.OS_AGENT, JobCondition.HEALTHY)
_LOCK: Final = "data_disk"
# A partition table and what is left free for alignment.
_OVERHEAD: Final = 2 * MIB
_SEE_JOURNAL: Final = "the journal of the host tells why (journalctl -u haos-agent)"


class DataDiskManager:
    """What is known is answered from memory. What is asked of the system happens at the next boot, which is at once."""

    def __init__(
        self,
        agent: Agent,
        data_disk: DataDisk,
        system: AgentSystem,
        disks: DiskTree,
        control: HostControl,
        jobs: JobManager,
        resolution: Resolution,
    ) -> None:
        self._agent = agent
        self._data_disk = data_disk
        self._system = system
        self._disks = disks
        self._control = control
        self._jobs = jobs
        self._resolution = resolution

    # What is known.

    @property
    def current_block(self) -> BlockDevice | None:
        """The block device that the data is on; None where nobody tells."""
        device = self._data_disk.current_device
        return self._disks.block(device) if device else None

    @property
    def current(self) -> Disk | None:
        """The disk that the data is on; None where nobody tells."""
        device = self._data_disk.current_device
        if not device:
            return None
        return used_disk(device, self._disks.block(device), self._disks.drives())

    @property
    def available(self) -> list[Disk]:
        """The disks that data could be moved to: nothing of them is in use."""
        return [found.disk for found in self._candidates() if found.writable and not found.in_use]

    def _candidates(self) -> list[Candidate]:
        return candidates(self._disks.drives(), self._disks.blocks())

    # What is done.

    async def reload(self) -> None:
        """Have the agent look where the data is, when it can.

        Raises:
            Unavailable, Timeout, Internal: it is away, silent, or it failed.
        """
        if self._agent.version is None:
            await self._agent.refresh()
        if at_least(self._agent.version, RELOADS) and not await self._data_disk.reload_device():
            _LOGGER.warning("The OS agent could not read the data disk anew; %s", _SEE_JOURNAL)

    async def move(self, name: str) -> None:
        """Have the data moved to a disk, given by its id or path, by a reboot. What was on that disk is lost.

        Raises:
            Blocked, Busy: see the conditions of the job; it is being moved already.
            Invalid: the disk is unknown, in use, too small, or the one with the data, or another one is in the way.
            Unsupported: nobody can reboot this machine.
            Unavailable: it failed on the way, and the data stays where it is, unless the text says that it waits
                for a boot.
        """
        async with self._jobs.run("data_disk_migrate", reference=name, conditions=_CONDITIONS, lock=_LOCK) as job:
            await self._control.require_reboot()
            await self._disks.refresh()
            current = self._known_current()
            target = self._target(name, current)
            self._refuse_namesakes(current, target)
            # UDisks2 does not know of all that may use a disk, and would wipe it all the same.
            if await asyncio.to_thread(is_claimed, target.block.device):
                raise Invalid(f"The disk {target.disk.name} is in use: something on this machine holds it for itself")
            _LOGGER.warning("The data moves from %s to %s (%s)", current.device, target.block.device, target.disk.name)
            if at_least(self._agent.version, MARKS_MOVES):
                await self._prepare(job, current, target)
            else:
                await self._hand_over(current, target)
            await self._reboot(job, f"The data moves to {target.disk.name} with the next boot")

    async def wipe(self) -> None:
        """Have all data and settings removed, by a reboot: the system begins as if it were new.

        Raises:
            Blocked, Busy, Unsupported: as `move`. Unavailable: it failed; the text says whether it waits for a boot.
        """
        async with self._jobs.run("data_disk_wipe", conditions=_CONDITIONS, lock=_LOCK) as job:
            await self._control.require_reboot()
            try:
                arranged = await _asked_twice(self._system.schedule_wipe_device)
            except Unavailable as err:
                then = "should the agent have arranged it all the same, or do so yet, the next boot wipes all data"
                raise Unavailable(f"{err}; {then}") from err
            if not arranged:
                raise Unavailable(f"The OS agent did not arrange for the data to be wiped; {_SEE_JOURNAL}")
            _LOGGER.warning("All data is wiped with the next boot")
            await self._reboot(job, "All data is wiped with the next boot")

    # Refusing what would do harm, before anything was changed.

    def _known_current(self) -> BlockDevice:
        device = self._data_disk.current_device
        if not device:
            raise Unavailable("The OS agent does not tell which disk the data is on, so it can't be moved")
        block = self._disks.block(device)
        if block is None or not block.size:
            raise Unavailable(f"UDisks2 does not know {device}, the device with the data, so it can't be moved")
        return block

    def _target(self, name: str, current: BlockDevice) -> Candidate:
        found = [candidate for candidate in self._candidates() if candidate.is_called(name)]
        if not found:
            raise Invalid(f"There is no disk {name!r} that data could be moved to")
        if len(found) > 1:
            paths = ", ".join(candidate.block.device for candidate in found)
            raise Invalid(f"More than one disk is called {name!r}: say which of {paths}")
        [target] = found
        if any(block.key == current.key for block in target.blocks):
            raise Invalid(f"The data is on {target.disk.name} already")
        if target.in_use:
            mounts = sorted(point for block in target.blocks for point in block.mount_points)
            how = f"mounted at {', '.join(mounts)}" if mounts else "part of something else, such as swap or an array"
            raise Invalid(f"The disk {target.disk.name} is in use: it is {how}")
        if not target.writable:
            raise Invalid(f"The disk {target.disk.name} can't be written to")
        if target.block.size - _OVERHEAD < current.size:
            raise Invalid(
                f"The disk {target.disk.name} is too small: it has {size_text(target.block.size)}, "
                f"and the present place of the data {size_text(current.size)}"
            )
        return target

    def _refuse_namesakes(self, current: BlockDevice, target: Candidate) -> None:
        own = {current.key, *(block.key for block in target.blocks)}
        others = [
            block.device
            for block in self._disks.blocks()
            if _is_external(block) and not block.hidden and block.key not in own
        ]
        if others:
            raise Invalid(
                f"Partition {', '.join(others)} is called {EXTERNAL_NAME}, too: the system could not tell which one to "
                "move to. Remove or rename it and try again"
            )

    # Moving.

    async def _hand_over(self, current: BlockDevice, target: Candidate) -> None:
        """Have an agent of old do everything; it partitions and formats by itself."""
        try:
            done = await self._data_disk.change_device(target.block.device)
        except Unavailable as err:
            raise Unavailable(
                f"Nobody can tell whether the next boot moves the data from {current.device}: {err}"
            ) from err
        except SupervisorError as err:
            raise _halted(current, f"the OS agent: {err}") from err
        if not done:
            raise _halted(current, f"the OS agent did not accept {target.block.device}; {_SEE_JOURNAL}")

    async def _prepare(self, job: Job, current: BlockDevice, target: Candidate) -> None:
        """Make the new disk ready, and tell the system to move to it. What fails on the way is undone.

        Whenever this ends, also with the machine, no more than one partition has the name that the system moves to, and
        nothing is marked for a move but a disk that is ready. When nobody can tell whether the move was marked, no
        partition has that name: a boot finds nothing to move to.
        """
        job.stage("partition")
        try:
            await self._disks.make_table(target.block.key)
        except SupervisorError as err:
            lost = f"{target.block.device} got no partition table, and may have lost what it had"
            raise _halted(current, f"{lost}: {err}") from err
        marking = False
        try:
            if _is_external(current):
                await self._disks.set_partition_name(current.key, OLD_EXTERNAL_NAME)
            made = await self._disks.fill_with_partition(target.block.key, EXTERNAL_NAME)
            _refuse_smaller(made, current)
            job.stage("mark")
            marking = True
            await _asked_twice(self._data_disk.mark_data_move)
        except BaseException as err:
            # A refusal is an answer; without any the agent may have done it, or do it yet.
            unknown = marking and (isinstance(err, Unavailable) or not isinstance(err, SupervisorError))
            undoing = asyncio.create_task(self._undo(current, target, may_be_marked=unknown))
            left = await asyncio.shield(undoing)
            if not isinstance(err, SupervisorError):
                raise
            raise _halted(current, f"{err}{left}. What was on {target.block.device} is gone") from err

    async def _undo(self, current: BlockDevice, target: Candidate, *, may_be_marked: bool) -> str:
        """Return what could not be put back, as the end of a sentence."""
        left = []
        try:
            await self._disks.refresh()
            for block in self._disks.blocks():
                if block.drive == target.block.drive and _is_external(block):
                    await self._disks.delete_partition(block.key)
        except SupervisorError as err:
            left.append(f"the new partition could not be removed ({err})")
        if may_be_marked:
            then = "moves the data all the same" if left else "finds no partition to move to"
            left.append(f"should the agent have noted the move, or do so yet, a boot {then}")
        elif _is_external(current):
            try:
                await self._disks.set_partition_name(current.key, EXTERNAL_NAME)
            except SupervisorError as err:
                left.append(f"{current.device} is still called {OLD_EXTERNAL_NAME} ({err})")
        return "".join(f"; {what}" for what in left)

    async def _reboot(self, job: Job, what: str) -> None:
        job.stage("reboot")
        try:
            await self._control.reboot()
        except SupervisorError as err:
            self._resolution.ask_for_reboot()
            raise Unavailable(f"{what}, but the machine could not be rebooted: {err}") from err


async def _asked_twice(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask once more where no answer came: what the agent notes for the next boot may be asked for twice."""
    try:
        return await ask()
    except Timeout as err:
        _LOGGER.warning("%s; it is asked once more", err)
        return await ask()


def _is_external(block: BlockDevice) -> bool:
    return block.partition is not None and block.partition.name == EXTERNAL_NAME


def _refuse_smaller(made: BlockDevice, current: BlockDevice) -> None:
    if made.size < current.size:
        raise Invalid(f"{made.device} has {made.size} bytes only, the present place of the data {current.size}")


def _halted(current: BlockDevice, reason: str) -> Unavailable:
    return Unavailable(f"The data stays on {current.device}, moving it failed: {reason}")
