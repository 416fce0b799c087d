"""What authors should mend in the manifests of add-ons that are used here (contract §1.4)."""

from __future__ import annotations

import logging

from supervisor.events import EventBus, StoreReloaded
from supervisor.managers.store import StoreAddon, StoreManager

from .registry import AddonRegistry

_LOGGER = logging.getLogger(__name__)


class ManifestRemarks:
    """Logs the remarks on installed add-ons, once for each version of a manifest.

    The store itself tells those on local add-ons; the built-in repositories need nobody's advice.
    """

    def __init__(self, bus: EventBus, store: StoreManager, registry: AddonRegistry) -> None:
        self._bus = bus
        self._store = store
        self._registry = registry
        self._told: dict[str, StoreAddon] = {}

    async def begin(self) -> None:
        """Tell what there is to tell, now and after each change of the store."""
        self._bus.subscribe(StoreReloaded, self._on_reload)
        self._tell()

    def _on_reload(self, _event: StoreReloaded) -> None:
        self._tell()

    def _tell(self) -> None:
        for slug in self._registry.installed:
            offered = self._store.addons.get(slug)
            if offered is None or self._told.get(slug) is offered:
                continue
            self._told[slug] = offered
            repository = self._store.repositories.get(offered.repository)
            if repository is not None and not repository.builtin:
                for remark in offered.advisories:
                    _LOGGER.warning("%s: %s", slug, remark)
