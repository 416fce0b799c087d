"""Whether the operating system reports its own crashes (host contract): the OS agent is told what users want."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from supervisor.drivers.dbus.os_agent import Agent
from supervisor.managers.resolution import Resolution


@attrs.frozen(eq=False)
class SystemDiagnostics:
    """`wish` is what the settings say, None where nobody has chosen. The Supervisor itself reports nothing."""

    _agent: Agent
    _resolution: Resolution
    _wish: Callable[[], bool | None]

    async def tell(self) -> None:
        """Tell the agent, when it is there, thinks otherwise, and the system is a supported one.

        Raises:
            SupervisorError: the agent can't be reached or refuses.
        """
        wish, known = self._wish(), self._agent.diagnostics
        if wish is not None and known is not None and wish != known and self._resolution.supported:
            await self._agent.write(Agent.diagnostics, wish)
            await self._agent.refresh()
