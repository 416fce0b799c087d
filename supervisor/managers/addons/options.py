"""Options of an add-on: checked, stored, and written out for its container (add-on contract §1.8)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from supervisor.drivers.sysfs import Device
from supervisor.errors import ADDON_CONFIGURATION_INVALID, Invalid
from supervisor.managers.host import Host
from supervisor.model.manifest import Manifest
from supervisor.model.options import OptionSchema, ValidatedOptions, merge_options

from .addon import Addon
from .secrets import SecretsFile

_LOGGER = logging.getLogger(__name__)


class AddonOptions:
    """Knows the secrets and the devices that options may name."""

    def __init__(self, secrets: SecretsFile, host: Host) -> None:
        self._secrets = secrets
        self._host = host

    def effective(self, addon: Addon) -> dict[str, Any]:
        """Return the defaults with the user's options on top, references to secrets as they are."""
        if addon.manifest.schema is None:
            return {}
        return merge_options(addon.manifest.options, addon.record.options)

    def devices(self, addon: Addon) -> tuple[Device, ...]:
        """Return the devices that the options in effect name, as far as they are there now."""
        schema = OptionSchema(addon.manifest.schema, addon.name, addon.slug)
        found = schema.option_devices(self.effective(addon), self._host.devices)
        return tuple(device for device in found if isinstance(device, Device))

    async def check(self, addon: Addon, options: object) -> ValidatedOptions:
        """Check options as they were submitted.

        Raises:
            Invalid: `app_configuration_invalid_error` with the reason.
        """
        try:
            checked = await self._validate(addon, addon.manifest, options)
        except Invalid as err:
            raise ADDON_CONFIGURATION_INVALID(app=addon.slug, validation_error=str(err)) from err
        for path in checked.dropped:
            _LOGGER.warning("%s: unknown option %s is ignored", addon.slug, path)
        return checked

    async def fit(self, addon: Addon, manifest: Manifest) -> bool:
        """Tell whether the user's options are valid for another version of the add-on, too."""
        await self._host.reload_devices()
        try:
            await self._validate(addon, manifest, merge_options(manifest.options, addon.record.options))
        except Invalid:
            return False
        return True

    async def _validate(self, addon: Addon, manifest: Manifest, options: object) -> ValidatedOptions:
        await self._secrets.refresh()
        schema = OptionSchema(manifest.schema, manifest.name, addon.slug)
        # Patterns come from manifests and may take their time.
        return await asyncio.to_thread(schema.validate, options, secrets=self._secrets.get, devices=self._host.devices)

    async def check_effective(self, addon: Addon) -> ValidatedOptions:
        """Check what the add-on would start with.

        Raises:
            Invalid: `app_configuration_invalid_error` with the reason.
        """
        await self._host.reload_devices()
        return await self.check(addon, self.effective(addon))


def option_devices(checked: ValidatedOptions) -> tuple[Device, ...]:
    return tuple(device for device in checked.devices if isinstance(device, Device))
