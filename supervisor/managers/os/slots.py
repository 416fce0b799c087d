"""The slots that versions of the operating system are installed to and booted from (host contract §28)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import attrs

from supervisor.drivers.dbus.hostname import Hostname
from supervisor.drivers.dbus.rauc import BOOTED, Mark, Operation, Rauc, SlotStatus
from supervisor.errors import Invalid, SupervisorError
from supervisor.jobs import JobManager
from supervisor.managers.resolution import Resolution
from supervisor.tasks import end

from .system import OperatingSystem

_LOGGER = logging.getLogger(__name__)

_OPERATION = Rauc.operation.name


@attrs.frozen
class Picture:
    """What was read at one time: the slots, the name of the one that is booted next, and who was booted."""

    slots: tuple[SlotStatus, ...] = ()
    primary: str | None = None
    booted: str | None = None

    @property
    def by_bootname(self) -> Mapping[str, SlotStatus]:
        """The slots that can be booted, by what the boot loader calls them."""
        return {slot.bootname: slot for slot in sorted(self.slots, key=_bootname) if slot.bootname is not None}

    def pending(self, running: str | None, before: str | None) -> str | None:
        """Return the version that the next boot brings, None when it is the running one.

        `before` is what was known of it, which stays where the slots don't tell.
        """
        chosen = next((slot for slot in self.slots if slot.name == self.primary), None)
        if chosen is None or self.booted is None:
            return before
        # What can't be booted is left by the boot loader for the slot that can.
        if chosen.bootname in (None, self.booted) or chosen.boot_status == Mark.BAD:
            return None
        version = chosen.bundle_version or before
        return version if version != running else None


def _bootname(slot: SlotStatus) -> str:
    return slot.bootname or ""


class BootSlots:
    """Keeps a picture of the slots on the Home Assistant Operating System, and marks them; elsewhere there are none."""

    def __init__(
        self,
        rauc: Rauc,
        hostname: Hostname,
        system: OperatingSystem,
        jobs: JobManager,
        resolution: Resolution,
    ) -> None:
        self._rauc = rauc
        self._hostname = hostname
        self._system = system
        self._jobs = jobs
        self._resolution = resolution
        self._picture = Picture()
        self._pending: str | None = None
        self._following = False
        self._was_there: bool | None = None
        self._unmarked = False
        self._marking = False
        self._subscriptions: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Lock()

    # What is known.

    @property
    def available(self) -> bool:
        """Whether RAUC is there; what was read of it before stays known while it is not."""
        return self._rauc.available

    @property
    def booted(self) -> str | None:
        """The boot loader's name of the slot that the machine runs from."""
        return self._picture.booted

    @property
    def all(self) -> Mapping[str, SlotStatus]:
        """The slots that can be booted, by what the boot loader calls them."""
        return self._picture.by_bootname

    @property
    def pending(self) -> str | None:
        """The version that is installed and waits for the next boot."""
        return self._pending

    # Its life.

    async def load(self) -> None:
        """Follow RAUC where the host is ours to update; on return the slots were read, if it answers."""
        self._subscriptions = [
            self._hostname.subscribe(lambda _: self._look_at_host()),
            self._rauc.subscribe(self._rauc_changed),
        ]
        if self._system.is_haos:
            await self._follow()

    async def stop(self) -> None:
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions.clear()
        await end(self._tasks)
        await self._rauc.close()

    def _look_at_host(self) -> None:
        """Begin when the host tells what it is only after the start, as when the bus comes late."""
        if self._system.is_haos and not self._following:
            self._begin(self._follow(), "follow RAUC")

    async def _follow(self) -> None:
        self._following = True
        await self._rauc.start()
        await self.look_again()
        self._was_there = self._rauc.available
        if self._unmarked:
            await self.mark_healthy()

    def _rauc_changed(self, names: frozenset[str]) -> None:
        there, was_there = self._rauc.available, self._was_there
        if was_there is None:
            return
        self._was_there = there
        idle = _OPERATION in names and self._rauc.operation == Operation.IDLE
        if not there or (was_there and not idle):
            return
        # While it installs it may refuse everything else, and what it installed may be somebody else's wish.
        if self._unmarked:
            self._begin(self.mark_healthy(), "mark the boot slot")
        else:
            self._begin(self.look_again(), "read the boot slots")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._jobs.begin(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Reading.

    async def reload(self) -> None:
        """Read the slots anew, where there are some.

        Raises:
            Unavailable, Timeout: RAUC can't be asked; what was known stays as it was.
        """
        if not self._system.is_haos:
            return
        async with self._jobs.run("os_manager_reload", internal=True):
            await self._read()

    async def _read(self) -> None:
        async with self._reading:
            slots = tuple(await self._rauc.get_slot_status())
            primary = await self._primary()
            booted = self._rauc.boot_slot or self._picture.booted
            self._picture = Picture(slots, primary, booted)
            self._expect(self._picture.pending(self._system.version, self._pending))

    async def look_again(self) -> None:
        """Read the slots after something was done to them; when that fails, what was known stays."""
        try:
            await self._read()
        except SupervisorError as err:
            _LOGGER.warning("The boot slots can't be read: %s", err)

    async def _primary(self) -> str | None:
        try:
            return await self._rauc.get_primary()
        except SupervisorError as err:
            # Not every boot loader can be asked; the slots are worth knowing all the same.
            _LOGGER.warning("RAUC does not tell which slot is booted next: %s", err)
            return None

    def _expect(self, version: str | None) -> None:
        if version == self._pending:
            return
        self._pending = version
        if version is not None:
            _LOGGER.info("Version %s of the operating system waits for a reboot", version)
            self._resolution.ask_for_reboot()

    async def installed(self, version: str) -> None:
        """Take note that an update was written, which the next boot brings."""
        await self.look_again()
        # Whatever the slots could tell: this is what was asked for, and RAUC has done it.
        self._expect(version)

    # Marking.

    async def mark_healthy(self) -> None:
        """Tell the boot loader that this version has come up, so that it goes on booting it.

        Until RAUC can be asked this waits for it in the background. A version that waits for a reboot stays the one
        that is booted next. The order of the calls matters to some boot loaders.
        """
        self._unmarked = True
        if not self._system.is_haos or self._marking:
            return
        self._marking = True
        try:
            async with self._jobs.run("os_manager_mark_healthy", internal=True):
                await self._rauc.mark(Mark.GOOD, BOOTED)
                await self._read()
                if self._picture.primary is not None and self._pending is None:
                    await self._rauc.mark(Mark.ACTIVE, BOOTED)
        except SupervisorError as err:
            _LOGGER.error("The slot that was booted can't be marked as good: %s", err)
        else:
            self._unmarked = False
            _LOGGER.info("Boot slot %s is marked as good", self.booted)
        finally:
            self._marking = False

    async def activate(self, bootname: str) -> None:
        """Have the next boot start this slot.

        Raises:
            Invalid: there is no such slot. Unavailable, Timeout, Internal: RAUC can't be asked, or refuses.
        """
        await self._read()
        slot = self.all.get(bootname)
        if slot is None:
            known = ", ".join(self.all) or "none"
            raise Invalid(f"There is no boot slot {bootname} (known: {known})")
        await self._rauc.mark(Mark.ACTIVE, slot.name)
        _LOGGER.info("The next boot starts slot %s", bootname)
        await self.look_again()
