"""How much of the machine a user lets an add-on take: memory, CPUs, processes, /dev/shm. Ours, beyond the contract."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.drivers.capacity import MOST_PROCESSES, Capacity
from supervisor.drivers.docker.model import Resources
from supervisor.errors import ADDON_LIMIT_INVALID
from supervisor.model.amounts import size_text
from supervisor.model.sizes import SIZE_EXPECTED, size
from supervisor.model.validators import lenient_float, lenient_int

_LOGGER = logging.getLogger(__name__)

MEBIBYTE: Final = 1024 * 1024
# With less the engine can't even begin with most images; an init, a shell and a program need some processes.
LEAST: Final = {"memory": 16 * MEBIBYTE, "cpus": 0.05, "pids": 8, "shm": MEBIBYTE}
_NANO: Final = 1_000_000_000

LIMITS_SCHEMA: Final = vol.Schema(
    {
        vol.Optional("memory"): vol.Any(None, size, msg=SIZE_EXPECTED),
        vol.Optional("cpus"): vol.Any(None, lenient_float, msg="expected a number of CPUs such as 1.5"),
        vol.Optional("pids"): vol.Any(None, lenient_int, msg="expected a number of processes"),
        vol.Optional("shm"): vol.Any(None, size, msg=SIZE_EXPECTED),
    }
)


@attrs.frozen
class Limits:
    """None is as much as there is. `memory` and `shm` are bytes; memory includes what is swapped out, and shm."""

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    shm: int | None = None

    @classmethod
    def from_stored(cls, stored: object) -> Limits:
        """Read what a state file or a backup holds; a senseless limit is left out: the add-on matters more."""
        found: dict[str, Any] = {}
        for key, value in stored.items() if isinstance(stored, dict) else ():
            try:
                checked = LIMITS_SCHEMA({key: value})[key]
            except vol.Invalid as err:
                _LOGGER.warning("A stored limit is ignored: %s", err)
                continue
            if checked is not None and checked > 0:
                found[key] = checked
        return cls(**found)

    def as_stored(self) -> dict[str, int | float]:
        return {key: value for key, value in self.shown().items() if value is not None}

    def shown(self) -> dict[str, int | float | None]:
        """Return all four by name."""
        return attrs.asdict(self)

    def within(self, capacity: Capacity) -> Limits:
        """Return the same without what this machine does not have; the engine would refuse it."""
        return Limits(
            self.memory if self.memory is None or self.memory < capacity.memory else None,
            self.cpus if self.cpus is None or self.cpus < capacity.cpus else None,
            self.pids,
            self.shm,
        )

    @property
    def nano_cpus(self) -> int | None:
        return None if self.cpus is None else round(self.cpus * _NANO)

    @property
    def resources(self) -> Resources:
        return Resources(self.memory or 0, self.nano_cpus or 0, self.pids or 0, self.shm or 0)


def changed_limits(limits: Limits, changes: Mapping[str, Any] | None, capacity: Capacity, *, own_shm: bool) -> Limits:
    """Return the limits with a user's changes: None for all of them or for one takes it away, absent ones stay.

    `own_shm` tells whether the add-on has a /dev/shm of its own.

    Raises:
        Invalid: `app_limit_invalid_error`, naming the limit and what is possible.
    """
    if changes is None:
        return Limits()
    for name, value in changes.items():
        if value is not None:
            _check(name, value, capacity, own_shm=own_shm)
    rounded = {"cpus": round(changes["cpus"], 2)} if changes.get("cpus") is not None else {}
    return attrs.evolve(limits, **{**changes, **rounded})


def _check(name: str, value: float, capacity: Capacity, *, own_shm: bool) -> None:
    most = {"cpus": capacity.cpus, "pids": MOST_PROCESSES}.get(name, capacity.memory)
    if name == "shm" and not own_shm:
        raise ADDON_LIMIT_INVALID(limit=name, reason="the add-on shares the /dev/shm of the machine (host_ipc)")
    if value < LEAST[name]:
        raise ADDON_LIMIT_INVALID(limit=name, reason=f"{_text(name, LEAST[name])} is the least")
    if value > most:
        raise ADDON_LIMIT_INVALID(limit=name, reason=f"this machine has {_text(name, most)}")


def _text(name: str, value: float) -> str:
    return size_text(int(value)) if name in ("memory", "shm") else str(value)
