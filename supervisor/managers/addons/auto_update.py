"""Updates add-ons whose users asked for that, when it is safe to (add-on contract §3.4)."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from supervisor.errors import SupervisorError
from supervisor.jobs import JobCondition, JobManager
from supervisor.managers.resolution import IssueType, Resolution
from supervisor.managers.store import StoreAddon, StoreManager
from supervisor.model.version import is_newer

from .addon import Addon
from .installer import INSTALL_CONDITIONS
from .options import AddonOptions
from .registry import AddonRegistry

_LOGGER = logging.getLogger(__name__)

SEASONING_SECONDS = 24 * 60 * 60.0


class AutoUpdates:
    """`update` does it, given a slug; `now` tells the time in seconds since the epoch."""

    def __init__(
        self,
        jobs: JobManager,
        registry: AddonRegistry,
        store: StoreManager,
        options: AddonOptions,
        resolution: Resolution,
        update: Callable[[str], Awaitable[None]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._registry = registry
        self._store = store
        self._options = options
        self._resolution = resolution
        self._update = update
        self._now = now

    async def run(self) -> None:
        """Update what may be updated, one add-on after the other; one that fails does not hold up the next.

        Raises:
            Blocked: a condition of updates does not hold.
        """
        conditions = (*INSTALL_CONDITIONS, JobCondition.RUNNING)
        async with self._jobs.run("tasks_update_apps", conditions=conditions, internal=True):
            candidates = [addon for addon in self._registry.installed.values() if addon.record.auto_update]
        # Outside of the job, so that each update is a job that people see.
        for addon in candidates:
            store = self._store.addons.get(addon.slug)
            if store is None or store.manifest.version == addon.record.version:
                continue
            reason = await self.obstacle(addon, store)
            if reason is not None:
                _LOGGER.info("%s: is not updated to %s: %s", addon.slug, store.manifest.version, reason)
                continue
            _LOGGER.info("%s: is updated from %s by itself", addon.slug, addon.record.version)
            try:
                await self._update(addon.slug)
            except SupervisorError as err:
                _LOGGER.error("%s: its update failed: %s", addon.slug, err, extra={"ADDON": addon.slug})

    async def obstacle(self, addon: Addon, store: StoreAddon) -> str | None:
        """Tell why the store's version should not be installed without asking, None when nothing is in the way."""
        breaking = crossed(addon.record.version, store.manifest.version, store.manifest.breaking_versions)
        if breaking is not None:
            return f"version {breaking} breaks with what was before"
        if self._now() < store.version_timestamp + SEASONING_SECONDS:
            return "it has not been there for a day"
        if self._failed_before(addon.slug, store.manifest.version):
            return "it was tried and failed"
        if not await self._options.fit(addon, store.manifest):
            return "it needs other options"
        return None

    def _failed_before(self, slug: str, version: str) -> bool:
        return any(
            issue.type == IssueType.UPDATE_ROLLBACK
            and issue.reference == slug
            and (issue.reference_extra or {}).get("failed_version") == version
            for issue in self._resolution.issues
        )


def crossed(installed: str, latest: str, breaking_versions: tuple[str, ...]) -> str | None:
    """Return a breaking version that an update meets, None for none. What can't be compared at all counts as met."""
    for breaking in breaking_versions:
        newer = is_newer(breaking, installed)
        if newer is None:
            beyond = is_newer(breaking, latest)
            newer = beyond is None or not beyond
        if newer:
            return breaking
    return None
