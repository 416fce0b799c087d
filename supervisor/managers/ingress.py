"""Where the web pages of add-ons are reached through Home Assistant: their ports (add-on contract §3.9)."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Collection
from typing import Any, Final

import voluptuous as vol

from supervisor.const import GATEWAY_ADDRESS
from supervisor.drivers.probe import accepts_tcp
from supervisor.errors import Unavailable
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import DYNAMIC_INGRESS_PORTS
from supervisor.model.validators import port
from supervisor.state import StateFile

_LOGGER = logging.getLogger(__name__)

PROBE_SECONDS: Final = 0.5
MAX_PROBES: Final = 20

INGRESS_SCHEMA = vol.Schema(
    {
        vol.Optional("session", default=dict): dict,
        vol.Optional("session_data", default=dict): dict,
        vol.Optional("ports", default=dict): {str: port},
    },
    extra=vol.REMOVE_EXTRA,
)


class IngressManager:
    """An add-on that leaves its ingress port open gets one here, and keeps it until it is uninstalled.

    `gateway` is the address on which a chosen port must be unused, since add-ons on the host's network listen there.
    """

    def __init__(self, state: StateFile, *, gateway: str = str(GATEWAY_ADDRESS)) -> None:
        self._state = state
        self._gateway = gateway
        self._data: dict[str, Any] = INGRESS_SCHEMA({})
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        data = await self._state.load()
        ports: dict[str, int] = {}
        for slug, number in data["ports"].items():
            if number not in ports.values():
                ports[slug] = number
        self._data = {**data, "ports": ports}

    async def port_of(self, slug: str, manifest: Manifest) -> int | None:
        """Return the port on which an add-on serves its page, None for one without ingress.

        Raises:
            Unavailable: no free port was found.
            Internal: the choice can't be saved.
        """
        if not manifest.ingress:
            return None
        if manifest.ingress_port:
            return manifest.ingress_port
        async with self._changing:
            ports: dict[str, int] = self._data["ports"]
            if slug not in ports:
                number = await self._free_port(ports.values())
                await self._save({**ports, slug: number})
                _LOGGER.info("%s: its page is served on port %d", slug, number, extra={"ADDON": slug})
            return int(self._data["ports"][slug])

    async def release(self, slug: str) -> None:
        """Free the port of an add-on that goes; none is fine."""
        async with self._changing:
            ports: dict[str, int] = self._data["ports"]
            if slug in ports:
                await self._save({known: number for known, number in ports.items() if known != slug})

    async def _free_port(self, used: Collection[int]) -> int:
        candidates = [number for number in DYNAMIC_INGRESS_PORTS if number not in used]
        for number in secrets.SystemRandom().sample(candidates, min(MAX_PROBES, len(candidates))):
            if not await accepts_tcp(self._gateway, number, seconds=PROBE_SECONDS):
                return number
        raise Unavailable("No free port was found for the page of an add-on")

    async def _save(self, ports: dict[str, int]) -> None:
        data = {**self._data, "ports": ports}
        await self._state.save(data)
        self._data = data
