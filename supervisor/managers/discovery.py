"""Services that add-ons announce to Home Assistant (add-on contract §6.2)."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Collection
from typing import Any

import attrs
import voluptuous as vol

from supervisor.errors import Forbidden, NotFound
from supervisor.events import AddonRemoved, AddonState, DiscoveryChanged, DiscoveryRemoved, EventBus
from supervisor.jobs import JobManager
from supervisor.managers.addons import Addon
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.store import StoreManager
from supervisor.model.validators import uuid_hex
from supervisor.state import StateFile

_LOGGER = logging.getLogger(__name__)

_MESSAGE = vol.Schema(
    {
        vol.Required("uuid"): uuid_hex,
        # Newer installations write the owner as `app`.
        vol.Exclusive("addon", "owner"): str,
        vol.Exclusive("app", "owner"): str,
        vol.Required("service"): str,
        vol.Optional("config", default=None): vol.Any(None, dict),
    },
    extra=vol.REMOVE_EXTRA,
)
DISCOVERY_SCHEMA = vol.Schema({vol.Optional("discovery", default=list): [_MESSAGE]}, extra=vol.REMOVE_EXTRA)


@attrs.frozen
class Discovered:
    """One announcement. Owner and service identify it; `config`, which may hold passwords, is what they agreed on."""

    uuid: str
    owner: str
    service: str
    config: dict[str, Any] = attrs.field(repr=False)


class DiscoveryManager:
    """What add-ons announced, kept over restarts until they take it back or are uninstalled."""

    def __init__(
        self, state: StateFile, registry: AddonRegistry, store: StoreManager, jobs: JobManager, bus: EventBus
    ) -> None:
        self._state = state
        self._registry = registry
        self._store = store
        self._jobs = jobs
        self._bus = bus
        self._messages: dict[str, Discovered] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read the messages; those of add-ons that are gone don't count. Add-ons are loaded before."""
        for stored in (await self._state.load())["discovery"]:
            owner = stored.get("app") or stored.get("addon")
            if isinstance(owner, str) and owner in self._registry.installed:
                config = stored["config"] or {}
                self._messages[stored["uuid"]] = Discovered(stored["uuid"], owner, stored["service"], config)
        self._bus.subscribe(AddonRemoved, self._removed)

    @property
    def active(self) -> list[Discovered]:
        """The messages of add-ons that run."""
        installed = self._registry.installed
        return [
            message
            for message in self._messages.values()
            if (addon := installed.get(message.owner)) is not None and addon.state == AddonState.STARTED
        ]

    @property
    def services(self) -> dict[str, list[str]]:
        """Which add-ons, installed or in the store, say that they announce a service."""
        manifests = {slug: addon.manifest for slug, addon in self._store.addons.items()}
        manifests |= {slug: addon.manifest for slug, addon in self._registry.installed.items()}
        found: dict[str, list[str]] = {}
        for slug, manifest in manifests.items():
            for service in manifest.discovery:
                found.setdefault(service, []).append(slug)
        return found

    def get(self, uuid: str) -> Discovered:
        """Return a message.

        Raises:
            NotFound: there is none.
        """
        message = self._messages.get(uuid)
        if message is None or message.owner not in self._registry.installed:
            raise NotFound(f"No discovery message {uuid}")
        return message

    async def send(self, addon: Addon, service: str, config: dict[str, Any]) -> Discovered:
        """Announce a service; doing so again changes the details, and nothing when they are the same.

        Raises:
            Forbidden: the add-on's manifest does not list the service.
        """
        if service not in addon.manifest.discovery:
            _LOGGER.error(
                "%s: announces a service that its manifest does not list", addon.slug, extra={"ADDON": addon.slug}
            )
            raise Forbidden(f"The manifest of add-on {addon.slug} does not list {service} for discovery")
        async with self._changing:
            known = self._known(addon.slug, service)
            if known is not None and known.config == config:
                return known
            uuid = known.uuid if known is not None else secrets.token_hex(16)
            message = Discovered(uuid, addon.slug, service, config)
            await self._save({**self._messages, uuid: message})
        self._bus.publish(DiscoveryChanged(uuid, addon.slug, service))
        return message

    async def remove(self, uuid: str, addon: Addon) -> None:
        """Take a message back.

        Raises:
            NotFound: there is none.
            Forbidden: it is another add-on's.
        """
        async with self._changing:
            message = self.get(uuid)
            if message.owner != addon.slug:
                raise Forbidden(f"Discovery message {uuid} is not one of add-on {addon.slug}")
            await self._drop([message])

    def _known(self, owner: str, service: str) -> Discovered | None:
        messages = self._messages.values()
        return next((known for known in messages if (known.owner, known.service) == (owner, service)), None)

    def _removed(self, event: AddonRemoved) -> None:
        self._jobs.spawn(lambda: self._forget(event.slug))

    async def _forget(self, slug: str) -> None:
        async with self._changing:
            gone = [message for message in self._messages.values() if message.owner == slug]
            if gone:
                await self._drop(gone)

    async def _drop(self, gone: Collection[Discovered]) -> None:
        uuids = {message.uuid for message in gone}
        await self._save({uuid: message for uuid, message in self._messages.items() if uuid not in uuids})
        for message in gone:
            self._bus.publish(DiscoveryRemoved(message.uuid, message.owner, message.service))

    async def _save(self, messages: dict[str, Discovered]) -> None:
        stored = [
            {"addon": message.owner, "service": message.service, "uuid": message.uuid, "config": message.config}
            for message in messages.values()
        ]
        await self._state.save({"discovery": stored})
        self._messages = messages
