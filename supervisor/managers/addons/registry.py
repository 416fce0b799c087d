"""Which add-ons are installed, in memory and on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from supervisor.errors import ADDON_NOT_INSTALLED, Invalid, NotFound, SupervisorError
from supervisor.events import AddonTokenChanged, EventBus
from supervisor.managers.host import Host
from supervisor.managers.ingress import IngressManager
from supervisor.managers.store import StoreAddon, StoreManager
from supervisor.model.machine import match_arch
from supervisor.model.manifest_schema import image_name, validate_manifest
from supervisor.state import StateFile

from .addon import Addon
from .record import INTERNAL_KEYS, AddonRecord, check_user_part
from .refused import RefusedEntries

_LOGGER = logging.getLogger(__name__)


class AddonRegistry:
    """The only writer of `addons.json`. What a change brings is saved before it shows.

    `kept_images` are images that an add-on may return to, by slug. `ingress` gives each add-on the port of its page.
    """

    def __init__(
        self, state: StateFile, bus: EventBus, host: Host, store: StoreManager, ingress: IngressManager
    ) -> None:
        self._state = state
        self._bus = bus
        self._host = host
        self._store = store
        self._ingress = ingress
        self._refused = RefusedEntries(state.path, bus)
        self._addons: dict[str, Addon] = {}
        # Different add-ons change side by side: without this one's change would be saved over the other's.
        self._changing = asyncio.Lock()
        self.installed: Mapping[str, Addon] = MappingProxyType(self._addons)
        self.kept_images: dict[str, str] = {}
        # Add-ons whose entry does not say whether they should run: another daemon wrote it.
        self.adopted: set[str] = set()

    async def load(self) -> None:
        """Read what is installed. An entry that makes no sense is put aside where nothing overwrites it."""
        data = await self._state.load()
        users, systems = data["user"], data["system"]
        for slug in sorted({*users, *systems}):
            try:
                record = self._read(slug, users.get(slug), systems.get(slug))
            except Invalid as err:
                _LOGGER.critical("%s: its stored entry can't be used: %s", slug, err)
                await self._refused.keep(slug, users.get(slug), systems.get(slug), str(err))
                continue
            addon = Addon(record, self._bus)
            self._addons[slug] = addon
            if "should_run" not in users[slug]:
                self.adopted.add(slug)
            try:
                addon.ingress_port = await self._ingress.port_of(slug, record.manifest)
            except SupervisorError as err:
                _LOGGER.error("%s: its page has no port: %s", slug, err, extra={"ADDON": slug})

    def _read(self, slug: str, user: object, system: object) -> AddonRecord:
        if not isinstance(system, dict):
            raise Invalid("its manifest is missing")
        if user is None:
            raise Invalid("what the user chose is missing")
        return AddonRecord.from_stored(slug, check_user_part(user), system, self._image_of(system))

    def _image_of(self, system: dict[str, object]) -> str | None:
        try:
            config, _ = validate_manifest({key: system[key] for key in system if key not in INTERNAL_KEYS})
        except Invalid:
            return None
        arch = match_arch(config["arch"], self._host.supported_arch) or self._host.arch
        return image_name(config, arch, str(system.get("repository")))

    def get(self, slug: str) -> Addon:
        """Return an installed add-on.

        Raises:
            Invalid: the store knows it, but it is not installed.
            NotFound: nobody knows it.
        """
        addon = self._addons.get(slug)
        if addon is not None:
            return addon
        if slug in self._store.addons:
            raise ADDON_NOT_INSTALLED(slug=slug)
        raise NotFound(f"No add-on {slug}")

    def check_installed(self, addon: Addon) -> None:
        """Make sure that the add-on was not removed since somebody took hold of it.

        Raises:
            Invalid: it was.
        """
        if self._addons.get(addon.slug) is not addon:
            raise ADDON_NOT_INSTALLED(slug=addon.slug)

    def images_in_use(self, *, without: str | None = None) -> frozenset[str]:
        """Return the image references that add-ons run on or can return to, one add-on left out if asked."""
        running = {slug: addon.record.image_reference for slug, addon in self._addons.items()}
        return frozenset(
            image for images in (running, self.kept_images) for slug, image in images.items() if slug != without
        )

    def by_container(self, name: str) -> Addon | None:
        """Return the add-on whose container has this name."""
        return next((addon for addon in self._addons.values() if addon.container_name == name), None)

    async def add(self, record: AddonRecord) -> Addon:
        """Remember an add-on whose image is there; from then on it is shown as stopped."""
        port = await self._ingress.port_of(record.slug, record.manifest)
        addon = Addon(record, self._bus, ingress_port=port)
        async with self._changing:
            await self._save({**self._records(), record.slug: record})
            self._addons[record.slug] = addon
        addon.attach(None, image_present=True)
        return addon

    async def remove(self, slug: str) -> None:
        """Forget an add-on; absent is fine."""
        async with self._changing:
            if slug in self._addons:
                await self._save({known: record for known, record in self._records().items() if known != slug})
                del self._addons[slug]
                self._bus.publish(AddonTokenChanged(slug))
        await self._ingress.release(slug)

    async def change(self, addon: Addon, **values: Any) -> None:
        """Change fields of an add-on's record; they are saved before they count.

        Raises:
            Invalid: it was removed meanwhile.
        """
        manifest = values.get("manifest")
        port = None if manifest is None else await self._ingress.port_of(addon.slug, manifest)
        async with self._changing:
            self.check_installed(addon)
            record = attrs.evolve(addon.record, **values)
            await self._save({**self._records(), addon.slug: record})
            addon.record = record
            if manifest is not None:
                addon.ingress_port = port

    async def switch(self, addon: Addon, store: StoreAddon, image: str) -> None:
        """Make the store's version the installed one; what the user chose stays."""
        await self.change(
            addon,
            manifest=store.manifest,
            translations=store.translations,
            repository=store.repository,
            version=store.manifest.version,
            image=image,
        )

    async def _save(self, records: Mapping[str, AddonRecord]) -> None:
        data = {
            "user": {slug: record.user_part() for slug, record in records.items()},
            "system": {slug: record.system_part() for slug, record in records.items()},
        }
        for slug, user in data["user"].items():
            try:
                check_user_part(user)
            except Invalid as err:
                raise Invalid(f"What should be stored of {slug} makes no sense: {err}") from err
        await self._state.save(data)

    def _records(self) -> dict[str, AddonRecord]:
        return {slug: addon.record for slug, addon in self._addons.items()}
