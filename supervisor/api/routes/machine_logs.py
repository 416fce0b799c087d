"""Logs of the machine, of Core and of the plugins (API contract §5.5)."""

from __future__ import annotations

from typing import Final

import attrs

from supervisor.api.models import system as wire
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.logs import log_routes
from supervisor.managers.logs import HOST_IDENTIFIERS, LogManager, LogTarget

_CORE: Final = LogTarget(("homeassistant",), "homeassistant")
_PLUGINS: Final = ("audio", "dns", "multicast")


@attrs.frozen
class MachineLogRoutes:
    """Handlers of `/host/logs`, `/core/logs` and the logs of the plugins."""

    _logs: LogManager

    def routes(self) -> list[Route]:
        plugins = [route for name in _PLUGINS for route in self._plugin(name)]
        return [*self._host(), *self._core("/core"), *self._core("/homeassistant"), *plugins]

    def _host(self) -> list[Route]:
        base, manager = "/host/logs", Access.MANAGER
        one = "identifiers/{identifier}"
        return [
            *log_routes(base, manager, self._logs, lambda _call: LogTarget(HOST_IDENTIFIERS), verbose=True, runs=False),
            *log_routes(
                f"{base}/{one}",
                manager,
                self._logs,
                lambda call: LogTarget((call.path["identifier"],)),
                runs=False,
                boot=f"{base}/boots/{{bootid}}/{one}",
            ),
            Route("GET", f"{base}/boots", manager, self._boots, "List the boots on record", None, wire.Boots),
            Route(
                "GET", f"{base}/identifiers", manager, self._identifiers, "List who has a log", None, wire.Identifiers
            ),
        ]

    def _core(self, base: str) -> list[Route]:
        return log_routes(f"{base}/logs", Access.HOMEASSISTANT, self._logs, lambda _call: _CORE)

    def _plugin(self, name: str) -> list[Route]:
        container = f"hassio_{name}"
        target = LogTarget((container,), container)
        return log_routes(f"/{name}/logs", Access.MANAGER, self._logs, lambda _call: target, verbose=True)

    async def _boots(self, _call: Call) -> wire.Boots:
        return wire.Boots(boots=await self._logs.boots())

    async def _identifiers(self, _call: Call) -> wire.Identifiers:
        return wire.Identifiers(identifiers=await self._logs.identifiers())
