"""Brings back images that are gone although an installed add-on needs them (add-on contract §3.5, §3.6)."""

from __future__ import annotations

import logging

import attrs

from supervisor.drivers.docker.engine import Engine
from supervisor.errors import Busy, Invalid, SupervisorError
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType
from supervisor.managers.store import StoreManager

from .addon import Addon
from .images import AddonImages
from .registry import AddonRegistry
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)

REPAIR_CONDITIONS = (JobCondition.FREE_SPACE, JobCondition.INTERNET_HOST)


@attrs.frozen
class MissingImages:
    """Gets the image of an installed version again, where that is still possible."""

    _store: StoreManager
    _images: AddonImages

    async def fetch(self, addon: Addon, job: Job) -> None:
        """Pull or build it.

        Raises:
            Invalid: it was built here, and what it was built from is gone or has another version.
            SupervisorError: it can't be had.
        """
        if not addon.manifest.needs_build:
            await self._images.pull(addon.slug, addon.record.image, addon.manifest, job)
            return
        store = self._store.addons.get(addon.slug)
        if store is None:
            raise Invalid(f"The image of add-on {addon.slug} can't be built again: its repository no longer has it")
        if store.manifest.version != addon.record.version:
            raise Invalid(
                f"The image of version {addon.record.version} of add-on {addon.slug} can't be built again: its "
                f"repository has version {store.manifest.version}. Update the add-on"
            )
        await self._images.fetch(store, job)


@attrs.define(eq=False)
class AddonRepairs:
    """An add-on is never taken away because its image can't be had: its data would go with it."""

    _engine: Engine
    _jobs: JobManager
    _missing: MissingImages
    _registry: AddonRegistry
    _runner: AddonRunner
    _resolution: Resolution

    async def repair(self, addon: Addon) -> None:
        """Pull or build the image of the installed version if it is missing.

        Raises:
            Invalid: it was built here, and what it was built from is gone or has another version.
            SupervisorError: the image can't be had; the issue about it stays.
        """
        async with self._jobs.run(
            "app_repair", reference=addon.slug, conditions=REPAIR_CONDITIONS, lock=addon.lock
        ) as job:
            if not await self._engine.images.exists(addon.record.image_reference):
                _LOGGER.warning("%s: its image is missing and fetched anew", addon.slug, extra={"ADDON": addon.slug})
                try:
                    await self._missing.fetch(addon, job)
                except SupervisorError:
                    self.report(addon)
                    raise
            # Whoever sees that the issue is gone may count on the state being known.
            await self._runner.attach(addon)
            self._resolution.dismiss_issue_of(IssueType.MISSING_IMAGE, ContextType.ADDON, addon.slug)

    async def repair_all(self) -> list[SupervisorError]:
        """Bring back every missing image, one after the other; return what went wrong.

        Raises:
            Blocked: there is no space left, or no internet.
        """
        failures: list[SupervisorError] = []
        async with self._jobs.run("app_manager_repair", conditions=REPAIR_CONDITIONS) as job:
            addons = list(self._registry.installed.values())
            for number, addon in enumerate(addons):
                job.progress = 100 * number / len(addons)
                try:
                    await self.repair(addon)
                except Busy:
                    _LOGGER.info("%s: is being changed and not repaired now", addon.slug)
                except SupervisorError as err:
                    _LOGGER.error("%s: can't be repaired: %s", addon.slug, err, extra={"ADDON": addon.slug})
                    failures.append(err)
        return failures

    def report(self, addon: Addon) -> None:
        """Make the missing image an issue."""
        report_missing_image(self._resolution, addon)


def report_missing_image(resolution: Resolution, addon: Addon) -> None:
    resolution.raise_issue(
        IssueType.MISSING_IMAGE,
        ContextType.ADDON,
        reference=addon.slug,
        suggestions=(SuggestionType.EXECUTE_REPAIR,),
    )
