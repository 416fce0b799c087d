"""The network (API contract §2.18)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import attrs

from supervisor.api.models import network as wire
from supervisor.api.network_body import CREATE, UPDATE, change_of
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.api.views import network as view
from supervisor.errors import Invalid
from supervisor.managers.connectivity import Connectivity
from supervisor.managers.network import Card, Network, NetworkChanges
from supervisor.model.kept import Kept
from supervisor.model.network import IpAddress, IpMethod

_VLAN_DIGITS: Final = 4


@attrs.frozen
class NetworkRoutes:
    """Handlers of `/network`."""

    _network: Network
    _changes: NetworkChanges
    _connectivity: Connectivity
    # What is shown of the cards and the servers: the network is asked for often.
    _interfaces: Kept[tuple[Card, ...], list[wire.Interface]] = attrs.field(
        init=False, factory=lambda: Kept(view.interfaces)
    )
    _nameservers: Kept[tuple[IpAddress, ...], list[str]] = attrs.field(
        init=False, factory=lambda: Kept(view.nameservers)
    )

    def routes(self) -> list[Route]:
        base, one, manager = "/network", "/network/interface/{interface}", Access.MANAGER
        points = f"{one}/accesspoints"
        return [
            Route("GET", f"{base}/info", Access.ALL, self._info, "Show the network", None, wire.NetworkInfo),
            Route("POST", f"{base}/reload", manager, self._reload, "Look at the network again", NOTHING),
            Route("POST", f"{base}/confirm", manager, self._confirm, "Keep a change that waits for it", NOTHING),
            Route("POST", f"{base}/rollback", manager, self._roll_back, "Take a waiting change back", NOTHING),
            Route("GET", f"{one}/info", Access.ALL, self._interface, "Show an interface", None, wire.Interface),
            Route("POST", f"{one}/update", manager, self._update, "Change an interface", UPDATE),
            Route("GET", points, manager, self._scan, "Look for wireless networks", None, wire.AccessPoints),
            Route("POST", f"{one}/vlan/{{vlan}}", manager, self._create_vlan, "Make a VLAN", CREATE),
        ]

    async def _info(self, _call: Call) -> wire.NetworkInfo:
        return wire.NetworkInfo(
            interfaces=self._interfaces.of(self._network.cards),
            docker=view.DOCKER,
            host_internet=self._network.online,
            supervisor_internet=self._connectivity.online,
            available=self._network.available,
            nameservers=self._nameservers.of(self._network.nameservers),
            pending=view.pending(self._changes.pending, asyncio.get_running_loop().time()),
        )

    async def _reload(self, _call: Call) -> None:
        await self._network.reload()
        await self._connectivity.check(force=True)

    async def _confirm(self, _call: Call) -> None:
        await self._changes.confirm()

    async def _roll_back(self, _call: Call) -> None:
        await self._changes.roll_back()

    async def _interface(self, call: Call) -> wire.Interface:
        return view.interface(self._network.card(call.path["interface"]).interface)

    async def _update(self, call: Call) -> None:
        body: Mapping[str, Any] = call.body
        if not set(body) - {"confirm"}:
            raise Invalid("Nothing to change was given: name enabled, ipv4, ipv6, wifi, mdns or llmnr")
        change = change_of(body, IpMethod.STATIC)
        await self._changes.update(call.path["interface"], change, confirm=body.get("confirm"))

    async def _scan(self, call: Call) -> wire.AccessPoints:
        found = await self._network.scan(call.path["interface"])
        return wire.AccessPoints(accesspoints=[view.access_point(one) for one in found])

    async def _create_vlan(self, call: Call) -> None:
        text = call.path["vlan"]
        if not (text.isascii() and text.isdigit() and len(text) <= _VLAN_DIGITS):
            raise Invalid(f"A VLAN has a number from 0 to 4094, not {text!r}")
        change = change_of(call.body, IpMethod.AUTO)
        await self._changes.create_vlan(call.path["interface"], int(text), change)
