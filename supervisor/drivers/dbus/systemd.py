"""systemd itself: units, their jobs, the state of the machine (host contract §16)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final

import attrs

from supervisor.drivers.dbus.declaration import (
    NOTHING,
    PATH,
    STRING,
    UINT64,
    Fixed,
    Kind,
    Property,
    Service,
    Signal,
    array,
    choice,
    method,
    struct,
)
from supervisor.drivers.dbus.interface import Interface
from supervisor.drivers.dbus.translate import error_name
from supervisor.drivers.dbus.values import Variant
from supervisor.errors import Conflict, NotFound, SupervisorError

SYSTEMD: Final = Service("org.freedesktop.systemd1", "systemd")

# Work of systemd that somebody waits for: a service that takes its time to stop is none of our failures.
JOB_SECONDS = 100.0
# systemd forgets a unit that has ended a moment after it said so.
_FORGETTING_SECONDS: Final = 0.2
_FORGETTING_TRIES: Final = 10


class SystemState(StrEnum):
    INITIALIZING = "initializing"
    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    MAINTENANCE = "maintenance"
    STOPPING = "stopping"


class UnitState(StrEnum):
    ACTIVE = "active"
    ACTIVATING = "activating"
    DEACTIVATING = "deactivating"
    FAILED = "failed"
    INACTIVE = "inactive"
    MAINTENANCE = "maintenance"
    RELOADING = "reloading"


class StartMode(StrEnum):
    """What becomes of work that is queued already: it gives way, or the new one is refused."""

    REPLACE = "replace"
    FAIL = "fail"


class JobResult(StrEnum):
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMEOUT = "timeout"
    DEPENDENCY = "dependency"
    SKIPPED = "skipped"


@attrs.frozen
class UnitStatus:
    """One line of the list of units, as systemd has it."""

    name: str
    description: str
    load_state: str
    active_state: str
    sub_state: str
    path: str


@attrs.frozen
class JobRemoved:
    """A job ended; `result` is a JobResult, or a word that is new to us."""

    job: str
    unit: str
    result: str


def _unit(
    name: str, description: str, load: str, active: str, sub: str, _following: str, path: str, *_job: object
) -> UnitStatus:
    return UnitStatus(name, description, load, active, sub, path)


UNITS: Final = array(struct("ssssssouso", _unit))
UNIT_PROPERTIES: Final[Kind[Mapping[str, Variant]]] = Kind(
    "a(sv)", dict, lambda properties: [[name, value] for name, value in properties.items()]
)
_NO_OTHER_UNITS: Final = Fixed("a(sa(sv))", [])


class Systemd(Interface):
    """Only a `refresh` brings `system_state` and the time stamps up to date: no signal announces them.

    The methods for units return the path of a job that has just begun; `finish` waits for its end.
    """

    service = SYSTEMD
    interface = "org.freedesktop.systemd1.Manager"
    default_path = "/org/freedesktop/systemd1"

    version = Property("Version", STRING)
    virtualization = Property("Virtualization", STRING)
    system_state = Property("SystemState", choice(SystemState, STRING))
    firmware_monotonic = Property("FirmwareTimestampMonotonic", UINT64)
    loader_monotonic = Property("LoaderTimestampMonotonic", UINT64)
    kernel_monotonic = Property("KernelTimestampMonotonic", UINT64)
    userspace_monotonic = Property("UserspaceTimestampMonotonic", UINT64)
    finish_timestamp = Property("FinishTimestamp", UINT64)

    subscribe_signals = method("Subscribe", returns=NOTHING)
    reboot = method("Reboot", returns=NOTHING)
    power_off = method("PowerOff", returns=NOTHING)
    get_unit = method("GetUnit", STRING, returns=PATH)
    load_unit = method("LoadUnit", STRING, returns=PATH)
    start_unit = method("StartUnit", STRING, STRING, returns=PATH)
    stop_unit = method("StopUnit", STRING, STRING, returns=PATH)
    restart_unit = method("RestartUnit", STRING, STRING, returns=PATH)
    reload_or_restart_unit = method("ReloadOrRestartUnit", STRING, STRING, returns=PATH)
    reset_failed_unit = method("ResetFailedUnit", STRING, returns=NOTHING)
    list_units = method("ListUnitsByPatterns", array(STRING), array(STRING), returns=UNITS)
    start_transient_unit = method(
        "StartTransientUnit", STRING, STRING, UNIT_PROPERTIES, fixed=(_NO_OTHER_UNITS,), returns=PATH
    )

    job_removed = Signal("JobRemoved", lambda _id, job, unit, result: JobRemoved(job, unit, result))

    async def arrived(self) -> None:
        """Have systemd send its signals, which it does for those only that ask."""
        try:
            await self.subscribe_signals()
        except SupervisorError as err:
            if error_name(err) != "org.freedesktop.systemd1.AlreadySubscribed":
                raise

    async def finish(self, begin: Callable[[], Awaitable[str]], *, seconds: float = JOB_SECONDS) -> str:
        """Begin a job, such as the start of a unit, and wait for its end; return its result (see JobResult).

        Raises:
            NotFound: no such unit. Unavailable, Timeout, and what systemd's refusal means.
        """
        async with self.listen(self.job_removed) as ended:
            job = await begin()
            return (await ended.until(lambda one: one.job == job, seconds=seconds)).result

    async def run_transient(
        self, unit: str, mode: StartMode, properties: Mapping[str, Variant], *, seconds: float = JOB_SECONDS
    ) -> str:
        """Start a unit that lasts as long as it runs, and wait for the end of its start; return that job's result.

        Raises:
            Conflict: a unit of this name exists, and stays. Unavailable, Timeout, and what systemd's refusal means.
        """
        for _ in range(_FORGETTING_TRIES):
            try:
                return await self.finish(lambda: self.start_transient_unit(unit, mode, properties), seconds=seconds)
            except Conflict:
                await self._forget(unit)
        return await self.finish(lambda: self.start_transient_unit(unit, mode, properties), seconds=seconds)

    async def _forget(self, unit: str) -> None:
        """Give systemd the time to forget a unit that has ended, and one that failed the word to."""
        with suppress(NotFound):
            await self.reset_failed_unit(unit)
        await asyncio.sleep(_FORGETTING_SECONDS)


class Unit(Interface):
    """One unit of systemd, at the path that `Systemd.get_unit` gives.

    `worked_at` is when it was last active, in microseconds since the boot; 0 when it never was.
    Those of `conflicts` end when it starts, and those of `dependents` when it ends.
    """

    service = SYSTEMD
    interface = "org.freedesktop.systemd1.Unit"

    id = Property("Id", STRING)
    names = Property("Names", array(STRING))
    active_state = Property("ActiveState", choice(UnitState, STRING))
    sub_state = Property("SubState", STRING)
    load_state = Property("LoadState", STRING)
    description = Property("Description", STRING)
    worked_at = Property("ActiveEnterTimestampMonotonic", UINT64)
    conflicts = Property("Conflicts", array(STRING))
    required_by = Property("RequiredBy", array(STRING))
    bound_by = Property("BoundBy", array(STRING))
    consists_of = Property("ConsistsOf", array(STRING))
    propagates_stop_to = Property("PropagatesStopTo", array(STRING))

    @property
    def dependents(self) -> list[str]:
        lists = (self.required_by, self.bound_by, self.consists_of, self.propagates_stop_to)
        return [name for names in lists for name in names or ()]
