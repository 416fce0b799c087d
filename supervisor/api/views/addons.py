"""How an add-on looks to clients, installed or only in the store."""

from __future__ import annotations

import time
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

import attrs
import msgspec
import voluptuous as vol

from supervisor.api.answer import encode
from supervisor.api.models import addons as wire
from supervisor.api.models import store as store_wire
from supervisor.const import DNS_SUFFIX, UNKNOWN_ADDRESS
from supervisor.errors import SupervisorError
from supervisor.events import AddonState
from supervisor.managers.addons import Addon, AddonManager
from supervisor.managers.addons.spec import hostname_of
from supervisor.managers.host import Host
from supervisor.managers.store import AssetKind, StoreAddon, StoreManager
from supervisor.model.manifest import Manifest
from supervisor.model.rating import AppArmorState, apparmor_state, rating
from supervisor.model.ui_schema import ui_schema
from supervisor.model.url_template import WebUi

INGRESS_PREFIX = "/api/hassio_ingress/"
# A README may change on disk without any news of it.
TEXT_SECONDS = 30.0
_PLAIN = (str, int, tuple, IPv4Address)


@attrs.frozen
class _Encoded:
    """An answer that stays true while everything it was made of is still the same."""

    made_of: tuple[object, ...]
    until: float
    body: msgspec.Raw


class AddonViews:
    """Makes the models of add-ons. The full model is asked for all the time, so its JSON is kept for a while."""

    def __init__(self, addons: AddonManager, store: StoreManager, host: Host) -> None:
        self._addons = addons
        self._store = store
        self._host = host
        self._encoded: dict[tuple[str, bool], _Encoded] = {}

    async def info(self, addon: Addon, *, with_options: bool) -> msgspec.Raw:
        """Return everything about an installed add-on as JSON; `with_options` off blanks its options."""
        key, now, made_of = (addon.slug, with_options), time.monotonic(), self._made_of(addon)
        known = self._encoded.get(key)
        if known is not None and now <= known.until and _same(known.made_of, made_of):
            return known.body
        body = msgspec.Raw(encode(await self.installed(addon, with_options=with_options)))
        if _same(made_of, self._made_of(addon)):
            self._encoded[key] = _Encoded(made_of, now + TEXT_SECONDS, body)
        return body

    def _made_of(self, addon: Addon) -> tuple[object, ...]:
        return (
            addon.record,
            addon.state,
            addon.ip_address,
            addon.ingress_port,
            addon.last_exit_code,
            addon.last_error,
            addon.crash_loop,
            addon.resources,
            addon.option_devices,
            self._addons.rollbacks.way(addon.slug),
            self._store.addons.get(addon.slug),
            self._host.devices,
            self._has_profile(addon.slug),
        )

    def drop(self, slug: str) -> None:
        """Forget what was kept of an add-on."""
        self._encoded.pop((slug, True), None)
        self._encoded.pop((slug, False), None)

    def list_item(self, addon: Addon) -> wire.AddonListItem:
        """Return one line of the list of installed add-ons."""
        store = self._store.addons.get(addon.slug)
        manifest = addon.manifest
        return wire.AddonListItem(
            name=manifest.name,
            slug=addon.slug,
            description=manifest.description,
            stage=manifest.stage.value,
            version=addon.record.version,
            version_latest=store.manifest.version if store else addon.record.version,
            update_available=self._addons.update_available(addon),
            available=self._available(addon, store),
            detached=store is None,
            homeassistant=manifest.homeassistant,
            state=addon.state.value,
            crash_loop=addon.crash_loop,
            repository=addon.record.repository,
            build=manifest.needs_build,
            url=manifest.url,
            icon=bool(store and store.icon),
            logo=bool(store and store.logo),
            system_managed=addon.record.system_managed,
        )

    async def installed(self, addon: Addon, *, with_options: bool) -> wire.AddonInfo:
        """Return everything about an installed add-on; `with_options` off blanks its options."""
        store = self._store.addons.get(addon.slug)
        # Read first: all the rest is of one moment.
        long_description = await self._long_description(store)
        record, manifest = addon.record, addon.manifest
        options = self._addons.options.effective(addon)
        ingress_entry = f"{INGRESS_PREFIX}{record.ingress_token}" if manifest.ingress else None
        return wire.AddonInfo(
            **self._from_manifest(addon.slug, manifest, has_profile=self._has_profile(addon.slug)),
            **_assets(store),
            long_description=long_description,
            repository=record.repository,
            version=record.version,
            version_latest=store.manifest.version if store else record.version,
            update_available=self._addons.update_available(addon),
            available=self._available(addon, store),
            detached=store is None,
            protected=record.protected,
            boot=addon.boot.value,
            state=addon.state.value,
            options=options if with_options else {},
            network=addon.ports,
            devices=list(dict.fromkeys((*manifest.devices, *addon.option_devices))),
            audio_input=record.audio_input if manifest.audio else None,
            audio_output=record.audio_output if manifest.audio else None,
            translations=record.translations,
            ingress_entry=ingress_entry,
            ingress_url=_ingress_url(ingress_entry, manifest),
            ingress_port=addon.ingress_port if manifest.ingress else None,
            ingress_panel=record.ingress_panel if manifest.ingress else None,
            webui=_webui(manifest, addon.ports, options),
            auto_update=record.auto_update,
            ip_address=str(addon.address),
            watchdog=record.watchdog,
            system_managed=record.system_managed,
            system_managed_config_entry=record.system_managed_config_entry if record.system_managed else None,
            last_exit_code=addon.last_exit_code,
            last_error=addon.last_error,
            crash_loop=addon.crash_loop,
            limits=wire.Limits(**attrs.asdict(record.limits)),
            limits_pending=list(self._addons.limits.pending(addon)),
            rollback_version=way.version if (way := self._addons.rollbacks.way(addon.slug)) else None,
        )

    async def not_installed(self, store: StoreAddon) -> wire.AddonInfo:
        """Return what is known of an add-on that is only in the store, in the same shape."""
        manifest = store.manifest
        return wire.AddonInfo(
            **self._from_manifest(store.slug, manifest, has_profile=False),
            **_assets(store),
            long_description=await self._long_description(store),
            repository=store.repository,
            version=None,
            version_latest=manifest.version,
            update_available=False,
            available=self._available(None, store),
            detached=False,
            protected=True,
            boot=manifest.default_boot.value,
            state=AddonState.UNKNOWN.value,
            options=manifest.options,
            network=manifest.ports,
            devices=list(manifest.devices),
            audio_input=None,
            audio_output=None,
            translations=store.translations,
            ingress_entry=None,
            ingress_url=None,
            ingress_port=None,
            ingress_panel=None,
            webui=_webui(manifest, manifest.ports, manifest.options),
            auto_update=False,
            ip_address=str(UNKNOWN_ADDRESS),
            watchdog=False,
            system_managed=False,
            system_managed_config_entry=None,
            installed=False,
        )

    def store_item(self, store: StoreAddon) -> store_wire.StoreAddon:
        """Return one line of the store's list."""
        return store_wire.StoreAddon(**self._store_fields(store))

    async def store_details(self, store: StoreAddon) -> store_wire.StoreAddonExtended:
        """Return everything about an add-on of the store."""
        manifest = store.manifest
        apparmor = apparmor_state(manifest, has_profile=self._has_profile(store.slug))
        return store_wire.StoreAddonExtended(
            **self._store_fields(store),
            apparmor=apparmor.value,
            auth_api=manifest.auth_api,
            detached=False,
            docker_api=manifest.docker_api,
            full_access=manifest.full_access,
            hassio_api=manifest.hassio_api,
            hassio_role=manifest.hassio_role.value,
            homeassistant_api=manifest.homeassistant_api,
            host_network=manifest.host_network,
            host_pid=manifest.host_pid,
            ingress=manifest.ingress,
            long_description=await self._long_description(store),
            rating=rating(manifest, apparmor),
        )

    def _store_fields(self, store: StoreAddon) -> dict[str, Any]:
        manifest = store.manifest
        installed = self._addons.registry.installed.get(store.slug)
        return {
            "arch": list(manifest.arch),
            "available": self._available(None, store),
            "build": manifest.needs_build,
            "description": manifest.description,
            "documentation": store.documentation,
            "homeassistant": manifest.homeassistant,
            "icon": store.icon,
            "installed": installed is not None,
            "logo": store.logo,
            "name": manifest.name,
            "repository": store.repository,
            "slug": store.slug,
            "stage": manifest.stage.value,
            "update_available": installed is not None and self._addons.update_available(installed),
            "url": manifest.url,
            "version": installed.record.version if installed is not None else None,
            "version_latest": manifest.version,
        }

    def _from_manifest(self, slug: str, manifest: Manifest, *, has_profile: bool) -> dict[str, Any]:
        """Return the part of the model that follows from the manifest alone."""
        apparmor: AppArmorState = apparmor_state(manifest, has_profile=has_profile)
        services = [f"{service}:{role.value}" for service, role in manifest.services.items()]
        hostname = hostname_of(slug)
        same = (
            "name description homeassistant url host_network host_pid host_ipc host_uts host_dbus full_access gpio usb "
            "uart kernel_modules devicetree udev docker_api video audio stdin hassio_api homeassistant_api auth_api "
            "ingress"
        )
        return {
            **{field: getattr(manifest, field) for field in same.split()},
            "slug": slug,
            "hostname": hostname,
            "dns": [f"{hostname}.{DNS_SUFFIX}"],
            "stage": manifest.stage.value,
            "build": manifest.needs_build,
            "rating": rating(manifest, apparmor),
            "boot_config": manifest.boot_config.value,
            "startup": manifest.startup.value,
            "schema": ui_schema(manifest.schema, self._host.devices),
            "arch": list(manifest.arch),
            "machine": list(manifest.machine),
            "network_description": manifest.ports_description,
            "privileged": list(manifest.privileged),
            "apparmor": apparmor.value,
            "hassio_role": manifest.hassio_role.value,
            "services": services,
            "services_role": services,
            "discovery": list(manifest.discovery),
            "auto_uart": manifest.uart,
        }

    def _available(self, addon: Addon | None, store: StoreAddon | None) -> bool:
        """Tell whether the store's version runs here, or the installed one where the store has none."""
        try:
            if store is not None:
                self._addons.installer.check_available(store)
            elif addon is not None:
                self._addons.installer.check_runnable(addon)
        except SupervisorError:
            return False
        return True

    def _has_profile(self, slug: str) -> bool:
        return slug in self._addons.apparmor.profiles

    async def _long_description(self, store: StoreAddon | None) -> str | None:
        if store is None or not store.readme:
            return None
        content = await self._store.read_file(store.slug, AssetKind.LONG_DESCRIPTION)
        return content.decode(errors="replace") if content is not None else None


def _same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    """Compare by identity: records, store entries and device tables are replaced, never changed."""
    return all(old is new or (isinstance(new, _PLAIN) and old == new) for old, new in zip(before, now, strict=True))


def _assets(store: StoreAddon | None) -> dict[str, Any]:
    return {
        "icon": bool(store and store.icon),
        "logo": bool(store and store.logo),
        "changelog": bool(store and store.changelog),
        "documentation": bool(store and store.documentation),
    }


def _ingress_url(entry: str | None, manifest: Manifest) -> str | None:
    if entry is None:
        return None
    return f"{entry}/{(manifest.ingress_entry or '').lstrip('/')}"


def _webui(manifest: Manifest, ports: Any, options: Any) -> str | None:
    if manifest.webui is None:
        return None
    with suppress(vol.Invalid):
        return WebUi.parse(manifest.webui).render(ports, options)
    return None
