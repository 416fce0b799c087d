"""How much memory the system may swap to its disk (host contract §22)."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.drivers.dbus.os_agent import Swap
from supervisor.errors import NotFound
from supervisor.managers.resolution import Resolution
from supervisor.model.validators import strict_int
from supervisor.model.version import at_least

from .system import OperatingSystem

SINCE: Final = "15.0"

_SIZE: Final = re.compile(r"[0-9]{1,18}(?:[KMG](?:i?B)?|B)?", re.IGNORECASE)


def swap_size(value: Any) -> str:
    """Accept bytes, or a number with a unit of 1024: `2G`, `512MiB`, `1048576`."""
    if not isinstance(value, str) or _SIZE.fullmatch(value) is None:
        raise vol.Invalid("expected a size such as 512M or 2G")
    return value


def swappiness(value: Any) -> int:
    """Accept how eagerly the kernel swaps, 0 to 200."""
    number = strict_int(value)
    if not 0 <= number <= 200:
        raise vol.Invalid("expected a number from 0 to 200")
    return number


@attrs.frozen(eq=False)
class SwapSettings:
    """Both are None while the agent is away."""

    _agent: Swap
    _system: OperatingSystem
    _resolution: Resolution

    @property
    def size(self) -> str | None:
        return self._agent.size

    @property
    def swappiness(self) -> int | None:
        return self._agent.swappiness

    def require(self) -> None:
        """Go on only on a system that has these settings.

        Raises:
            NotFound: it is another system, or too old.
        """
        if not at_least(self._system.version, SINCE):
            raise NotFound(f"Home Assistant OS {SINCE} or newer required for swap settings")

    async def change(self, *, size: str | None = None, swappiness: int | None = None) -> None:
        """Set what is given; the next boot heeds it.

        Raises:
            NotFound: see `require`. Unavailable, Timeout: the agent is away or silent. Invalid: it refuses.
        """
        self.require()
        if size is not None and size != self.size:
            await self._agent.write(Swap.size, size)
            self._resolution.ask_for_reboot()
        if swappiness is not None and swappiness != self.swappiness:
            await self._agent.write(Swap.swappiness, swappiness)
            self._resolution.ask_for_reboot()
        await self._agent.refresh()
