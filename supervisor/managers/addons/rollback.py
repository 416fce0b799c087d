"""The way back from an update: the old image and the add-on's data stay until the new version has proved itself.

An update first copies the add-on's private data to `snapshots/<slug>` and notes down the old version. When the new
version then runs without trouble for the length of the window, both are dropped. When it ends or gets sick within the
window, the old version comes back with its data by itself; `roll_back` does the same on demand.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import voluptuous as vol

from supervisor.drivers.files import copy_tree
from supervisor.drivers.folder import remove_tree
from supervisor.errors import Invalid, SupervisorError
from supervisor.events import (
    AddonRemoved,
    AddonState,
    AddonStateChanged,
    AddonTokenChanged,
    ContainerState,
    ContainerStateChanged,
    EventBus,
)
from supervisor.jobs import Job, JobManager
from supervisor.managers.apparmor import AppArmor
from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import validate_manifest
from supervisor.paths import DataPaths
from supervisor.state import StateFile, sync_folder
from supervisor.tasks import end

from .addon import Addon
from .images import AddonImages
from .intents import Action, Intent, Intents
from .registry import AddonRegistry
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)

WINDOW_SECONDS = 600.0

ROLLBACKS_SCHEMA = vol.Schema(
    {
        vol.Optional("rollbacks", default=dict): {
            str: vol.Schema(
                {
                    vol.Required("version"): str,
                    vol.Required("image"): str,
                    vol.Required("repository"): str,
                    vol.Required("manifest"): dict,
                    vol.Required("translations"): dict,
                    vol.Required("options"): dict,
                    vol.Optional("profile", default=None): vol.Any(None, str),
                },
                extra=vol.REMOVE_EXTRA,
            )
        }
    },
    extra=vol.REMOVE_EXTRA,
)


@attrs.frozen
class WayBack:
    """The version that an add-on can return to; `profile` is its AppArmor profile."""

    version: str
    image: str
    repository: str
    manifest: Manifest
    translations: dict[str, Any]
    options: dict[str, Any]
    profile: str | None = None

    @property
    def image_reference(self) -> str:
        return f"{self.image}:{self.version}"

    @classmethod
    def of(cls, addon: Addon, profile: str | None) -> WayBack:
        record = addon.record
        return cls(
            record.version,
            record.image,
            record.repository,
            record.manifest,
            dict(record.translations),
            record.options,
            profile,
        )

    @classmethod
    def from_stored(cls, stored: dict[str, Any]) -> WayBack:
        """Build it from its entry in the state file.

        Raises:
            Invalid: the manifest makes no sense any more.
        """
        config, _ = validate_manifest(stored["manifest"])
        return cls(**{**stored, "manifest": Manifest.from_config(config)})

    def of_record(self) -> dict[str, Any]:
        """Return what of it belongs into the add-on's record."""
        fields = attrs.asdict(self, recurse=False)
        del fields["profile"]
        return fields

    def as_stored(self) -> dict[str, Any]:
        return {**attrs.asdict(self, recurse=False), "manifest": self.manifest.config}


class Rollbacks:
    """`window` is how many seconds a new version must run without trouble before the way back is given up."""

    def __init__(
        self,
        state: StateFile,
        paths: DataPaths,
        bus: EventBus,
        jobs: JobManager,
        resolution: Resolution,
        intents: Intents,
        registry: AddonRegistry,
        runner: AddonRunner,
        images: AddonImages,
        apparmor: AppArmor,
        *,
        window: float = WINDOW_SECONDS,
    ) -> None:
        self._state = state
        self._snapshots = paths.addons_snapshots
        self._data = paths.addons_data
        self._bus = bus
        self._jobs = jobs
        self._resolution = resolution
        self._intents = intents
        self._registry = registry
        self._runner = runner
        self._images = images
        self._apparmor = apparmor
        self._window = window
        self._ways: dict[str, WayBack] = {}
        self._probations: dict[str, asyncio.Task[None]] = {}
        self._returns: set[asyncio.Task[None]] = set()
        self._unsubscribe: list[Callable[[], None]] = []

    async def load(self) -> None:
        """Read which ways back are open, and begin to watch."""
        for slug, stored in (await self._state.load())["rollbacks"].items():
            addon = self._registry.installed.get(slug)
            try:
                way = WayBack.from_stored(stored)
            except Invalid as err:
                _LOGGER.error("%s: the way back from its update is lost: %s", slug, err)
                continue
            # The crash came between noting the way back and the update itself: there is nothing to return from.
            if addon is not None and addon.record.version != way.version:
                self._open(slug, way)
        await asyncio.to_thread(_sweep, self._snapshots, frozenset(self._ways))
        self._unsubscribe = [
            self._bus.subscribe(AddonStateChanged, self._addon_changed),
            self._bus.subscribe(ContainerStateChanged, self._container_changed),
            self._bus.subscribe(AddonRemoved, self._removed),
        ]

    async def stop(self) -> None:
        """Stop watching; the ways back stay open."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await end([*self._probations.values(), *self._returns])

    def way(self, slug: str) -> WayBack | None:
        """Return the version that an add-on can return to, if any."""
        return self._ways.get(slug)

    async def keep(self, addon: Addon) -> None:
        """Open a way back to what is installed now. The add-on must not be running.

        Raises:
            Internal: its data can't be copied.
        """
        way = WayBack.of(addon, await self._apparmor.text(addon.slug))
        target = self._snapshots / addon.slug
        fresh = target.with_name(f"{addon.slug}.new")
        await asyncio.to_thread(remove_tree, fresh)
        await copy_tree(self._data / addon.slug, fresh)
        await asyncio.to_thread(_replace, fresh, target)
        self._open(addon.slug, way)
        await self._save()

    async def roll_back(self, addon: Addon, *, reason: str | None = None) -> None:
        """Return to the version before the last update, with the data of then; it runs again if it should run.

        `reason` tells what was wrong with the new version when nobody asked for this; an issue then says so.

        Raises:
            Invalid: there is no way back.
            SupervisorError: a step failed; asking again, or the next start of the daemon, goes on with it.
        """
        async with self._jobs.run("app_manager_rollback", reference=addon.slug, lock=addon.lock, wait=True) as job:
            way = self._ways.get(addon.slug)
            if way is None:
                raise Invalid(
                    f"There is no earlier version of {addon.slug} to return to: it was not updated lately, or the new "
                    "version has proved itself"
                )
            left = addon.record.version
            job.stage("prepare")
            images = (addon.record.image_reference,)
            intent = Intent(addon.slug, Action.ROLLBACK, images, was_running=addon.record.should_run)
            await self._intents.begin(intent)
            await self.finish(intent, addon, job)
        _LOGGER.warning("%s: back at version %s from %s", addon.slug, way.version, left, extra={"ADDON": addon.slug})
        if reason is not None:
            self._resolution.raise_issue(
                IssueType.UPDATE_ROLLBACK,
                ContextType.ADDON,
                reference=addon.slug,
                extra={"version": way.version, "failed_version": left, "reason": reason[:500]},
            )

    async def finish(self, intent: Intent, addon: Addon, job: Job | None = None) -> None:
        """Do every step of a return; each may have been done before a crash."""
        stage = job.stage if job is not None else _no_stage
        way = self._ways.get(addon.slug)
        stage("stop")
        await self._runner.pause(addon)
        if way is not None:
            stage("data")
            await asyncio.to_thread(_replace, self._snapshots / addon.slug, self._data / addon.slug)
            stage("record")
            await self._apparmor.install(addon.slug, way.profile)
            await self._registry.change(addon, **way.of_record())
            self._bus.publish(AddonTokenChanged(addon.slug))
            stage("cleanup")
            await self._drop(addon.slug)
        await self._images.remove(intent.images, in_use=self._registry.images_in_use())
        stage("start")
        if intent.was_running:
            await self._runner.start(addon)
        stage("finish")
        await self._intents.end(addon.slug)

    def _open(self, slug: str, way: WayBack) -> None:
        self._ways[slug] = way
        self._registry.kept_images[slug] = way.image_reference

    async def _drop(self, slug: str) -> None:
        """Give the way back up."""
        self._ways.pop(slug, None)
        self._registry.kept_images.pop(slug, None)
        await self._save()
        await asyncio.to_thread(remove_tree, self._snapshots / slug)

    async def _save(self) -> None:
        await self._state.save({"rollbacks": {slug: way.as_stored() for slug, way in self._ways.items()}})

    # Watching a new version.

    def _addon_changed(self, event: AddonStateChanged) -> None:
        addon = self._registry.installed.get(event.slug)
        if addon is None or event.slug not in self._ways:
            return
        self._end_probation(event.slug)
        if event.state == AddonState.STARTUP:
            self._probations[event.slug] = self._task(event.slug, self._expect(addon))
        elif event.state == AddonState.STARTED:
            self._probations[event.slug] = self._task(event.slug, self._prove(addon))
        elif event.state == AddonState.ERROR and not addon.stop_requested:
            ended = f"ended with exit code {addon.last_exit_code}"
            self._begin(addon, f"it was {addon.last_error}" if addon.out_of_memory else f"it {ended}")

    def _container_changed(self, event: ContainerStateChanged) -> None:
        if event.state is ContainerState.UNHEALTHY:
            addon = self._registry.by_container(event.name)
            if addon is not None and addon.slug in self._ways:
                self._begin(addon, "its health check failed")

    def _removed(self, event: AddonRemoved) -> None:
        self._end_probation(event.slug)
        if event.slug in self._ways:
            self._keep_task(self._task(event.slug, self._drop(event.slug)))

    async def _expect(self, addon: Addon) -> None:
        """Wait for the end of the window; a new version that did not get healthy in it is left."""
        await asyncio.sleep(self._window)
        # Not done in this task, which ends with the next state of the add-on.
        self._begin(addon, f"it did not get healthy in {self._window:.0f} s")

    async def _prove(self, addon: Addon) -> None:
        """Wait for the end of the window; a new version that came so far is accepted."""
        await asyncio.sleep(self._window)
        way = self._ways.get(addon.slug)
        if way is None:
            return
        _LOGGER.info("%s: version %s has proved itself", addon.slug, addon.record.version, extra={"ADDON": addon.slug})
        await self._drop(addon.slug)
        await self._images.remove([way.image_reference], in_use=self._registry.images_in_use())

    async def _give_in(self, addon: Addon, reason: str) -> None:
        """Leave a version that failed, once whatever is being done to the add-on has ended and it is still failing."""
        async with self._jobs.run(
            "app_restart_after_problem", reference=addon.slug, lock=addon.lock, wait=True, internal=True
        ):
            failing = addon.unhealthy or addon.state in (AddonState.ERROR, AddonState.STARTUP)
            if failing and addon.slug in self._ways:
                _LOGGER.error("%s: version %s failed: %s", addon.slug, addon.record.version, reason)
                await self.roll_back(addon, reason=reason)

    def _begin(self, addon: Addon, reason: str) -> None:
        self._keep_task(self._task(addon.slug, self._give_in(addon, reason)))

    def _keep_task(self, task: asyncio.Task[None]) -> None:
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    def _task(self, slug: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._jobs.begin(self._guarded(slug, work), name=f"way back of {slug}")

    def _end_probation(self, slug: str) -> None:
        if (task := self._probations.pop(slug, None)) is not None:
            task.cancel()

    async def _guarded(self, slug: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SupervisorError as err:
            _LOGGER.error("%s: %s", slug, err, extra={"ADDON": slug})
        except Exception:
            _LOGGER.exception("%s: returning to its earlier version failed", slug)


def _replace(source: Path, target: Path) -> None:
    """Put `source` in the place of `target`; if it is gone, a crash came after that had been done. Blocking."""
    aside = target.with_name(f"{target.name}.replaced")
    if source.exists():
        remove_tree(aside)
        with suppress(FileNotFoundError):
            target.rename(aside)
        source.rename(target)
        sync_folder(target.parent)
    remove_tree(aside)


def _sweep(folder: Path, known: frozenset[str]) -> None:
    """Remove what crashes left in the snapshots' folder."""
    with suppress(FileNotFoundError):
        for entry in folder.iterdir():
            if entry.name not in known:
                remove_tree(entry)


def _no_stage(_name: str) -> None:
    """Mending has no job to show stages on."""
