"""What add-ons announce to Home Assistant (API contract §2.9)."""

from __future__ import annotations

import attrs
import voluptuous as vol

from supervisor.api.models import services as wire
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.services import calling_addon
from supervisor.managers.addons import AddonManager
from supervisor.managers.discovery import Discovered, DiscoveryManager
from supervisor.model.validators import non_empty_text

MESSAGE = vol.Schema({vol.Required("service"): non_empty_text, vol.Required("config"): dict})


@attrs.frozen
class DiscoveryRoutes:
    """Handlers of `/discovery`."""

    _discovery: DiscoveryManager
    _addons: AddonManager

    def routes(self) -> list[Route]:
        base, one = "/discovery", "/discovery/{uuid}"
        core = Access.CORE_HANDLER
        return [
            Route("GET", base, core, self._list, "List what running add-ons announce", None, wire.DiscoveryList),
            Route("POST", base, Access.ANY, self._send, "Announce a service", MESSAGE, wire.DiscoverySent),
            Route("GET", one, core, self._show, "Show one announcement", None, wire.Discovery),
            Route("DELETE", one, Access.ANY, self._remove, "Take an announcement back"),
        ]

    async def _list(self, _call: Call) -> wire.DiscoveryList:
        active = [_shown(message) for message in self._discovery.active]
        return wire.DiscoveryList(discovery=active, services=self._discovery.services)

    async def _send(self, call: Call) -> wire.DiscoverySent:
        addon = calling_addon(call, self._addons)
        message = await self._discovery.send(addon, call.body["service"], call.body["config"])
        return wire.DiscoverySent(uuid=message.uuid)

    async def _show(self, call: Call) -> wire.Discovery:
        return _shown(self._discovery.get(call.path["uuid"]))

    async def _remove(self, call: Call) -> None:
        await self._discovery.remove(call.path["uuid"], calling_addon(call, self._addons))


def _shown(message: Discovered) -> wire.Discovery:
    return wire.Discovery(addon=message.owner, service=message.service, uuid=message.uuid, config=message.config)
