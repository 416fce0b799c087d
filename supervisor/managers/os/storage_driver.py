"""How the engine keeps images and containers on the disk, which the operating system can change (host contract §22)."""

from __future__ import annotations

import logging
from typing import Final

import attrs

from supervisor.drivers.dbus.os_agent import AgentSystem
from supervisor.errors import NotFound
from supervisor.managers.resolution import Resolution
from supervisor.model.version import at_least

from .system import OperatingSystem

_LOGGER = logging.getLogger(__name__)

SINCE: Final = "17.0.dev0"
# What the system can migrate to.
STORAGE_DRIVERS: Final = ("overlayfs",)


@attrs.frozen(eq=False)
class StorageDriver:
    _agent: AgentSystem
    _system: OperatingSystem
    _resolution: Resolution

    async def migrate(self, driver: str) -> None:
        """Have the next boot change the engine to one of `STORAGE_DRIVERS`, with all that it has.

        Raises:
            NotFound: it is another system, or too old. Unsupported: its agent is too old.
            Unavailable, Timeout, Internal: the agent is away, silent, or it failed.
        """
        if not at_least(self._system.version, SINCE):
            raise NotFound("Home Assistant OS 17.0 or newer required to migrate Docker's storage driver")
        await self._agent.migrate_storage_driver(driver)
        _LOGGER.warning("The next boot changes Docker's storage driver to %s", driver)
        self._resolution.ask_for_reboot()
