"""Mounts as transient units of systemd (host contract §42)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import attrs

from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.systemd import JobResult, StartMode, Systemd, Unit, UnitState
from supervisor.drivers.dbus.values import Variant
from supervisor.errors import Conflict, NotFound, SupervisorError
from supervisor.model.unit_name import mount_unit_name

# Each is longer than the one before: the server's, the unit's, our look at a unit that is busy, our wait for its job.
UNIT_MICROSECONDS: Final = 35_000_000
SETTLE_SECONDS: Final = 40.0
JOB_SECONDS: Final = 90.0

_SETTLED: Final = frozenset({UnitState.ACTIVE, UnitState.FAILED, UnitState.INACTIVE})


@attrs.frozen
class Plan:
    """What is asked of systemd. `where` is a folder of the host; a bind mount has no `type`."""

    where: Path
    what: str
    description: str
    options: tuple[str, ...] = ()
    type: str | None = None

    @property
    def unit(self) -> str:
        return mount_unit_name(self.where)

    def properties(self) -> dict[str, Variant]:
        return {
            **({"Options": Variant("s", ",".join(self.options))} if self.options else {}),
            **({"Type": Variant("s", self.type)} if self.type else {}),
            "Description": Variant("s", self.description),
            "What": Variant("s", self.what),
            "TimeoutUSec": Variant("t", UNIT_MICROSECONDS),
            # A file that an add-on has open must not keep a server that is back from being given to it.
            **({} if self.type else {"LazyUnmount": Variant("b", value=True)}),
        }


@attrs.frozen
class MountUnits:
    """Starts and stops such units, and waits for the end of that."""

    _bus: SystemBus
    _systemd: Systemd

    async def state(self, unit: str) -> UnitState | str | None:
        """Return the state of a unit, None when systemd knows none of that name.

        Raises:
            Unavailable, Timeout: systemd can't be asked.
        """
        known = await self._known(unit)
        return None if known is None else known.active_state

    async def holds(self, plan: Plan) -> bool:
        """Tell whether something is mounted there by a plan of this description.

        Raises:
            Unavailable, Timeout: systemd can't be asked.
        """
        known = await self._known(plan.unit)
        return known is not None and (known.active_state, known.description) == (UnitState.ACTIVE, plan.description)

    async def describes(self, plan: Plan) -> bool:
        """Tell whether systemd has a unit of this description, mounted or not.

        Raises:
            Unavailable, Timeout: systemd can't be asked.
        """
        known = await self._known(plan.unit)
        return known is not None and known.description == plan.description

    async def _known(self, unit: str) -> Unit | None:
        try:
            known = Unit(self._bus, await self._systemd.get_unit(unit))
            await known.refresh()
        except NotFound:
            return None
        return known

    async def settled(self, unit: str) -> UnitState | str | None:
        """Return its state as soon as it is not on its way from one to another, or after a while.

        Raises:
            Unavailable, Timeout: systemd can't be asked.
        """
        async with self._systemd.listen(self._systemd.job_removed) as ended:
            state = await self.state(unit)
            if state is None or state in _SETTLED:
                return state
            try:
                await ended.until(lambda one: one.unit == unit, seconds=SETTLE_SECONDS)
            except SupervisorError:
                return state
        return await self.state(unit)

    async def start(self, plan: Plan) -> bool:
        """Mount; tell whether systemd says that it did.

        Raises:
            SupervisorError: what systemd says against it.
        """
        await self.reset(plan.unit)
        try:
            result = await self._systemd.run_transient(
                plan.unit, StartMode.FAIL, plan.properties(), seconds=JOB_SECONDS
            )
        except Conflict:
            # Something of the host, such as fstab, describes this mount, too.
            return await self.restart(plan.unit)
        return result == JobResult.DONE

    async def restart(self, unit: str) -> bool:
        """Mount anew what a unit describes.

        Raises:
            NotFound: there is no such unit. SupervisorError: what systemd says against it.
        """
        return await self._done(lambda: self._systemd.restart_unit(unit, StartMode.FAIL))

    async def reload(self, unit: str) -> bool:
        """Have a mount that is there looked at again, and one that isn't mounted.

        Raises:
            NotFound: there is no such unit. SupervisorError: what systemd says against it.
        """
        return await self._done(lambda: self._systemd.reload_or_restart_unit(unit, StartMode.FAIL))

    async def stop(self, unit: str) -> bool:
        """Unmount; tell whether nothing is mounted now. No such unit is fine.

        Raises:
            SupervisorError: what systemd says against it.
        """
        state = await self.state(unit)
        if state is None:
            return True
        if state != UnitState.FAILED:
            try:
                await self._done(lambda: self._systemd.stop_unit(unit, StartMode.FAIL))
            except NotFound:
                return True
        await self.reset(unit)
        return await self.state(unit) in (None, UnitState.INACTIVE)

    async def reset(self, unit: str) -> None:
        """Have systemd forget that a unit has failed, and with that the unit.

        Raises:
            SupervisorError: what systemd says against it.
        """
        try:
            if await self.state(unit) == UnitState.FAILED:
                await self._systemd.reset_failed_unit(unit)
        except NotFound:
            return

    async def _done(self, begin: Callable[[], Awaitable[str]]) -> bool:
        result = await self._systemd.finish(begin, seconds=JOB_SECONDS)
        return result == JobResult.DONE
