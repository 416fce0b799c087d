"""Brings running add-ons to the limits that their users chose."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import Resources
from supervisor.errors import SupervisorError
from supervisor.managers.host import Host

from .addon import Addon
from .limits import Limits, changed_limits

_LOGGER = logging.getLogger(__name__)


class LimitKeeper:
    """Memory, CPUs and processes are limited while the container runs; the size of /dev/shm is fixed at its start."""

    def __init__(self, engine: Engine, host: Host) -> None:
        self._engine = engine
        self._host = host

    def possible(self, limits: Limits) -> Limits:
        """Return the limits as far as they mean anything on this machine."""
        return limits.within(self._host.capacity)

    def changed(self, addon: Addon, changes: Mapping[str, Any] | None) -> Limits:
        """Return the add-on's limits with a user's changes, see `changed_limits`.

        Raises:
            Invalid: a limit is out of bounds.
        """
        own_shm = not addon.manifest.host_ipc
        return changed_limits(addon.record.limits, changes, self._host.capacity, own_shm=own_shm)

    def pending(self, addon: Addon) -> tuple[str, ...]:
        """Return the names of the limits that differ between what was chosen and what the container has."""
        if not addon.running:
            return ()
        chosen, given = self.possible(addon.record.limits).resources, self._meant(addon.resources)
        own_shm = not addon.manifest.host_ipc
        differs = {
            "memory": chosen.memory != given.memory,
            "cpus": chosen.nano_cpus != given.nano_cpus,
            "pids": chosen.pids != given.pids,
            "shm": own_shm and chosen.shm != given.shm,
        }
        return tuple(name for name, differ in differs.items() if differ)

    async def apply(self, addon: Addon) -> None:
        """Change what can be changed in the running container. What the engine refuses waits for the next start."""
        chosen = self.possible(addon.record.limits).resources
        for name in self.pending(addon):
            if name == "shm":
                continue
            try:
                await self._set(addon, name, chosen)
            except SupervisorError as err:
                _LOGGER.warning("%s: its limit %s waits for a restart: %s", addon.slug, name, err)
            else:
                _LOGGER.info("%s: its limit %s is changed", addon.slug, name, extra={"ADDON": addon.slug})

    async def _set(self, addon: Addon, name: str, chosen: Resources) -> None:
        containers, container, capacity = self._engine.containers, addon.container_name, self._host.capacity
        match name:
            case "memory":
                await containers.update(container, memory=chosen.memory or capacity.memory)
            case "cpus":
                await containers.update(container, nano_cpus=chosen.nano_cpus or _nano(capacity.cpus))
            case _:
                await containers.update(container, pids=chosen.pids)
        addon.resources = (await containers.inspect(container)).resources

    def _meant(self, resources: Resources) -> Resources:
        """Read "all there is" as no limit: the engine can't take a limit away from a running container."""
        capacity = self._host.capacity
        return Resources(
            resources.memory if resources.memory < capacity.memory else 0,
            resources.nano_cpus if resources.nano_cpus < _nano(capacity.cpus) else 0,
            resources.pids,
            resources.shm,
        )


def _nano(cpus: int) -> int:
    return cpus * 1_000_000_000
