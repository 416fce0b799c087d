"""More than one disk with data, a system installed twice, a disk that wears out (host contract §4, §6, §9)."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

import attrs

from supervisor.drivers.dbus.udisks import DiskTree
from supervisor.errors import SupervisorError
from supervisor.events import CoreState
from supervisor.managers.follower import BeginTask, Follower
from supervisor.managers.host import Disks, HostControl
from supervisor.managers.resolution import (
    Check,
    ContextType,
    Fixup,
    Issue,
    IssueType,
    Resolution,
    Suggestion,
    SuggestionType,
    UnhealthyReason,
)
from supervisor.model.drive import BlockDevice

from .data_disk import DataDiskManager
from .disk import DATA_LABEL, DISABLED_LABEL, OLD_LABEL
from .system import OperatingSystem

_LOGGER = logging.getLogger(__name__)

WORN_PERCENT: Final = 90.0
# udev tells of a disk in several steps.
SETTLE_SECONDS: Final = 0.1

# Every installation has these once; the second kind is how tables without names number their partitions.
_SYSTEM_PARTITIONS: Final = frozenset(
    {"hassos-boot", "hassos-kernel0", "hassos-kernel1", "hassos-system0", "hassos-system1"}
)
_SYSTEM_NUMBERS: Final = frozenset(f"48617373-{number}" for number in ("01", "05", "06", "07", "08"))


class _LabelCheck(Check):
    """Finds disks by the label of their file system; each has an issue of its own, named after its device."""

    context = ContextType.SYSTEM
    states = frozenset({CoreState.RUNNING, CoreState.SETUP})
    many_subjects = True

    def __init__(self, disks: DiskTree, resolution: Resolution) -> None:
        self._disks = disks
        self._resolution = resolution

    async def run(self) -> None:
        for block in self._disks.blocks():
            if not block.hidden and self._concerns(block):
                self._resolution.raise_issue(
                    self.issue,
                    self.context,
                    reference=block.device,
                    suggestions=(SuggestionType.RENAME_DATA_DISK, SuggestionType.ADOPT_DATA_DISK),
                )

    async def approve(self, issue: Issue) -> bool | None:
        if not self._disks.available:
            return None
        block = self._disks.block(issue.reference or "")
        return False if block is None else self._concerns(block)

    @abstractmethod
    def _concerns(self, block: BlockDevice) -> bool | None:
        """Tell whether this disk is a problem; None when nobody can tell."""


class DisabledDataDiskCheck(_LabelCheck):
    """A disk with data that was taken out of use at a boot."""

    slug = "disabled_data_disk"
    issue = IssueType.DISABLED_DATA_DISK

    def _concerns(self, block: BlockDevice) -> bool | None:
        return block.label == DISABLED_LABEL


class MultipleDataDisksCheck(_LabelCheck):
    """A disk that the system may take for the one with the data at the next boot."""

    slug = "multiple_data_disks"
    issue = IssueType.MULTIPLE_DATA_DISKS

    def __init__(
        self, disks: DiskTree, resolution: Resolution, data_disk: DataDiskManager, system: OperatingSystem
    ) -> None:
        super().__init__(disks, resolution)
        self._data_disk = data_disk
        self._system = system

    def _concerns(self, block: BlockDevice) -> bool | None:
        if block.label != DATA_LABEL:
            return False
        current = self._data_disk.current_block
        if not self._system.is_haos or current is None:
            return None
        return block.key != current.key


class DuplicateOsCheck(Check):
    """Two disks have the same system on them: which one boots is chance, and an update may hit the other one."""

    slug = "duplicate_os_installation"
    issue = IssueType.DUPLICATE_OS_INSTALLATION
    context = ContextType.SYSTEM
    states = frozenset({CoreState.SETUP})

    def __init__(self, disks: DiskTree, resolution: Resolution, system: OperatingSystem) -> None:
        self._disks = disks
        self._resolution = resolution
        self._system = system

    async def run(self) -> None:
        if self._is_double():
            self._resolution.add_unhealthy(UnhealthyReason.DUPLICATE_OS_INSTALLATION)
            self._resolution.raise_issue(self.issue, self.context)

    async def approve(self, _issue: Issue) -> bool | None:
        return self._is_double() if self._disks.available else None

    def _is_double(self) -> bool:
        if not self._system.is_haos:
            return False
        partitions = [
            block.partition for block in self._disks.blocks() if block.partition is not None and not block.hidden
        ]
        found = Counter(part.name for part in partitions if part.name in _SYSTEM_PARTITIONS)
        found += Counter(part.uuid for part in partitions if part.uuid in _SYSTEM_NUMBERS)
        return any(count > 1 for count in found.values())


class DiskLifetimeCheck(Check):
    slug = "disk_lifetime"
    issue = IssueType.DISK_LIFETIME
    context = ContextType.SYSTEM
    states = frozenset({CoreState.RUNNING, CoreState.STARTUP})

    def __init__(self, disks: Disks, data_disk: DataDiskManager, resolution: Resolution) -> None:
        self._disks = disks
        self._data_disk = data_disk
        self._resolution = resolution

    async def run(self) -> None:
        if self._is_worn():
            self._resolution.raise_issue(self.issue, self.context)

    async def approve(self, _issue: Issue) -> bool | None:
        return None if self._disks.life_time is None else self._is_worn()

    def _is_worn(self) -> bool:
        used = self._disks.life_time
        return self._data_disk.current is not None and used is not None and used >= WORN_PERCENT


@attrs.frozen(eq=False)
class DataDiskFixups:
    """A disk that has gone needs no help."""

    _disks: DiskTree
    _data_disk: DataDiskManager
    _control: HostControl
    _resolution: Resolution

    def fixups(self) -> list[Fixup]:
        system = ContextType.SYSTEM
        return [
            Fixup(system, SuggestionType.RENAME_DATA_DISK, self._rename),
            Fixup(system, SuggestionType.ADOPT_DATA_DISK, self._adopt),
        ]

    async def _rename(self, suggestion: Suggestion) -> None:
        """Give it a label that no boot takes for data."""
        block = self._of(suggestion)
        if block is not None:
            _LOGGER.info("%s is labelled %s now", block.device, OLD_LABEL)
            await self._disks.set_label(block.key, OLD_LABEL)

    async def _adopt(self, suggestion: Suggestion) -> None:
        """Make it the one with the data, by a reboot. At no time has no disk the label that a boot looks for."""
        block, current = self._of(suggestion), self._data_disk.current_block
        if block is None:
            return
        if block.label != DATA_LABEL:
            await self._disks.set_label(block.key, DATA_LABEL)
        if current is not None and current.key != block.key:
            try:
                await self._disks.set_label(current.key, OLD_LABEL)
            except SupervisorError:
                await self._disks.set_label(block.key, block.label)
                raise
        _LOGGER.warning("The data on %s is used from the next boot on", block.device)
        try:
            await self._control.reboot()
        except SupervisorError as err:
            _LOGGER.warning("The machine could not be rebooted: %s", err)
            self._resolution.ask_for_reboot()

    def _of(self, suggestion: Suggestion) -> BlockDevice | None:
        block = self._disks.block(suggestion.reference or "")
        return block if block is not None and block.label in (DATA_LABEL, DISABLED_LABEL) else None


class DataDiskWatch:
    """Has the checks look again soon after a disk with one of their labels came, changed or went."""

    _SLUGS: ClassVar = {
        DISABLED_LABEL: DisabledDataDiskCheck.slug,
        DATA_LABEL: MultipleDataDisksCheck.slug,
    }

    def __init__(
        self,
        disks: DiskTree,
        look: Callable[[str], Awaitable[None]],
        begin_task: BeginTask,
    ) -> None:
        self._disks = disks
        self._look = look
        self._labelled: frozenset[tuple[str, str]] = frozenset()
        self._due: set[str] = set()
        self._follower = Follower(
            lambda: disks.subscribe(self._changed),
            self._look_again,
            begin_task,
            "The checks of disks with data can't look",
            settle=SETTLE_SECONDS,
        )

    async def begin(self) -> None:
        self._labelled = self._found()
        await self._follower.begin()

    async def stop(self) -> None:
        await self._follower.stop()

    def _found(self) -> frozenset[tuple[str, str]]:
        return frozenset(
            (block.label, block.key)
            for block in self._disks.blocks()
            if block.label in self._SLUGS and not block.hidden
        )

    def _changed(self) -> None:
        found = self._found()
        changed, self._labelled = found ^ self._labelled, found
        if changed:
            self._due |= {self._SLUGS[label] for label, _ in changed}
            self._follower.wake()

    async def _look_again(self) -> None:
        due, self._due = self._due, set()
        for slug in sorted(due):
            try:
                await self._look(slug)
            except SupervisorError as err:
                # The other check looks all the same.
                _LOGGER.warning("The check %s could not look: %s", slug, err)
