"""The broker and the database that add-ons provide to each other (API contract §2.21)."""

from __future__ import annotations

from typing import Any

import attrs
import voluptuous as vol

from supervisor.api.caller import CallerKind
from supervisor.api.invalid import describe_invalid
from supervisor.api.models import services as wire
from supervisor.api.route import Access, Call, Route
from supervisor.errors import Forbidden, Invalid
from supervisor.managers.addons import Addon, AddonManager
from supervisor.managers.services import SERVICE_SCHEMAS, ServiceManager

# Which keys there are depends on the service, and on the right to provide it, which is looked at first.
RECORD = vol.Schema({}, extra=vol.ALLOW_EXTRA)


def calling_addon(call: Call, addons: AddonManager) -> Addon:
    """Return the add-on that calls.

    Raises:
        Forbidden: the caller is no add-on.
    """
    if call.caller.kind is not CallerKind.ADDON or call.caller.slug is None:
        raise Forbidden("Only an add-on may do this, with its own token")
    return addons.get(call.caller.slug)


@attrs.frozen
class ServiceRoutes:
    """Handlers of `/services`."""

    _services: ServiceManager
    _addons: AddonManager

    def routes(self) -> list[Route]:
        one = "/services/{service}"
        record = dict[str, Any]
        return [
            Route("GET", "/services", Access.ANY, self._list, "List the services", None, wire.ServiceList),
            Route("GET", one, Access.ANY, self._read, "Show how to reach a service", None, record),
            Route("POST", one, Access.ANY, self._provide, "Provide a service", RECORD),
            Route("DELETE", one, Access.ANY, self._withdraw, "Provide a service no longer"),
        ]

    async def _list(self, _call: Call) -> wire.ServiceList:
        return wire.ServiceList(
            services=[
                wire.Service(
                    slug=service,
                    available=self._services.record(service) is not None,
                    providers=self._services.providers(service),
                )
                for service in SERVICE_SCHEMAS
            ]
        )

    async def _read(self, call: Call) -> dict[str, Any]:
        record = self._services.read(call.path["service"], calling_addon(call, self._addons))
        return {**record.data, "addon": record.owner}

    async def _provide(self, call: Call) -> None:
        service, addon = call.path["service"], calling_addon(call, self._addons)
        self._services.check_provider(service, addon)
        try:
            data = SERVICE_SCHEMAS[service](call.body)
        except vol.Invalid as err:
            raise Invalid(describe_invalid(call.body, err)) from err
        await self._services.provide(service, addon, data)

    async def _withdraw(self, call: Call) -> None:
        await self._services.withdraw(call.path["service"], calling_addon(call, self._addons))
