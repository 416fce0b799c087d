"""Who an API token belongs to: the add-ons' tokens, kept up to date by their news."""

from __future__ import annotations

from supervisor.api.caller import Caller, CallerKind
from supervisor.api.tokens import TokenIndex
from supervisor.events import AddonTokenChanged, EventBus
from supervisor.managers.addons import AddonManager


class Callers:
    """The directory of everybody with a token."""

    def __init__(self, addons: AddonManager, bus: EventBus) -> None:
        self._addons = addons
        self._index = TokenIndex()
        bus.subscribe(AddonTokenChanged, self._changed)

    def by_token(self, token: str) -> Caller | None:
        return self._index.by_token(token)

    def _changed(self, event: AddonTokenChanged) -> None:
        addon = self._addons.registry.installed.get(event.slug)
        if addon is None or addon.record.token_hash is None:
            self._index.remove(CallerKind.ADDON, event.slug)
            return
        manifest = addon.manifest
        caller = Caller.addon(event.slug, role=manifest.hassio_role.value, hassio_api=manifest.hassio_api)
        self._index.replace_hash(bytes.fromhex(addon.record.token_hash), caller)
