"""Settings of the engine that we keep: registry logins, IPv6 and MTU of its network (add-on contract §3.11)."""

from __future__ import annotations

import asyncio
from typing import Any

import voluptuous as vol

from supervisor.errors import NotFound
from supervisor.managers.mirrors import Mirrors
from supervisor.managers.resolution import (
    Resolution,
)
from supervisor.state import StateFile

DOCKER_SCHEMA = vol.Schema(
    {
        vol.Optional("registries", default=dict): {str: {vol.Required("username"): str, vol.Required("password"): str}},
        vol.Optional("enable_ipv6", default=None): vol.Any(None, bool),
        vol.Optional("mtu", default=None): vol.Any(None, vol.All(int, vol.Range(68, 65535))),
    },
    # A key of a newer version must not cost the user the logins.
    extra=vol.REMOVE_EXTRA,
)


class DockerSettings:
    """Keeps the settings; what about the engine is not as it should be is told by the health check."""

    def __init__(self, state: StateFile, mirrors: Mirrors, resolution: Resolution) -> None:
        self._state = state
        self.mirrors = mirrors
        self._resolution = resolution
        self._changing = asyncio.Lock()
        self._data: dict[str, Any] = DOCKER_SCHEMA({})

    async def load(self) -> None:
        self._data = await self._state.load()
        await self.mirrors.load()

    @property
    def enable_ipv6(self) -> bool | None:
        value = self._data["enable_ipv6"]
        return None if value is None else bool(value)

    @property
    def mtu(self) -> int | None:
        value = self._data["mtu"]
        return None if value is None else int(value)

    @property
    def registries(self) -> dict[str, dict[str, str]]:
        """Logins by registry host. Holds passwords: for pulls only, never for answers."""
        return dict(self._data["registries"])

    async def set_options(self, changes: dict[str, Any]) -> None:
        """Store `enable_ipv6` and `mtu` where given; they act after the next boot of the host."""
        async with self._changing:
            wanted = {**self._data, **changes}
            if wanted == self._data:
                return
            await self._save(wanted)
        self._resolution.ask_for_reboot()

    async def add_registries(self, logins: dict[str, dict[str, str]]) -> None:
        """Add or replace logins."""
        async with self._changing:
            await self._save({**self._data, "registries": {**self._data["registries"], **logins}})

    async def remove_registry(self, host: str) -> None:
        """Forget a login.

        Raises:
            NotFound: there is none for this host.
        """
        async with self._changing:
            if host not in self._data["registries"]:
                raise NotFound(f"No login is stored for registry {host}")
            rest = {known: login for known, login in self._data["registries"].items() if known != host}
            await self._save({**self._data, "registries": rest})

    async def _save(self, data: dict[str, Any]) -> None:
        await self._state.save(data)
        self._data = data
