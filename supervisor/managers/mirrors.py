"""Mirrors of image registries, as the user lists them.

They have a file of their own: other systems that read `docker.json` refuse keys they don't know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import voluptuous as vol

from supervisor.errors import NotFound
from supervisor.model.registries import canonical_registry, mirror_list, registry_host
from supervisor.state import StateFile

MIRRORS_SCHEMA = vol.Schema({vol.Optional("mirrors", default=dict): {registry_host: mirror_list}})


class Mirrors:
    """Which other hosts have the images of a registry, the one to ask first in front."""

    def __init__(self, state: StateFile) -> None:
        self._state = state
        self._changing = asyncio.Lock()
        self._mirrors: dict[str, list[str]] = {}

    async def load(self) -> None:
        self._mirrors = (await self._state.load())["mirrors"]

    @property
    def all(self) -> Mapping[str, list[str]]:
        """Registry host -> its mirrors; Docker Hub is `docker.io`."""
        return {registry: list(mirrors) for registry, mirrors in self._mirrors.items()}

    def of(self, registry: str) -> tuple[str, ...]:
        """Return the mirrors of a registry (none is usual)."""
        return tuple(self._mirrors.get(canonical_registry(registry), ()))

    async def set(self, lists: Mapping[str, list[str]]) -> None:
        """Replace the mirrors of the registries named; those of others stay."""
        changes = {canonical_registry(registry): list(mirrors) for registry, mirrors in lists.items()}
        async with self._changing:
            await self._save({**self._mirrors, **changes})

    async def remove(self, registry: str) -> None:
        """Forget the mirrors of a registry.

        Raises:
            NotFound: it has none.
        """
        name = canonical_registry(registry)
        async with self._changing:
            if name not in self._mirrors:
                raise NotFound(f"Registry {name} has no mirrors")
            await self._save({known: mirrors for known, mirrors in self._mirrors.items() if known != name})

    async def _save(self, mirrors: dict[str, list[str]]) -> None:
        await self._state.save({"mirrors": mirrors})
        self._mirrors = mirrors
