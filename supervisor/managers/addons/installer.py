"""Brings add-ons to this machine, changes their version, takes them away (add-on contract §3.2-3.5).

Each change writes an `Intent` first. `mend` finishes or undoes what a crash cut off, so that nothing half-done is ever
shown: a record is written only when the image is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import attrs

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.registry import check_reference
from supervisor.drivers.folder import remove_tree
from supervisor.errors import (
    ADDON_ALREADY_INSTALLED,
    ADDON_NO_UPDATE,
    ADDON_NOT_FOUND,
    ADDON_NOT_IN_STORE,
    ADDON_PROFILE_INVALID,
    ADDON_REBUILD_IMAGE,
    ADDON_REBUILD_VERSION,
    ADDON_UNKNOWN,
    Invalid,
    SupervisorError,
)
from supervisor.events import AddonRemoved, AddonTokenChanged, EventBus
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.managers.apparmor import AppArmor
from supervisor.managers.host import Host
from supervisor.managers.store import StoreAddon, StoreManager
from supervisor.model.apparmor import adjusted_profile
from supervisor.model.machine import check_availability
from supervisor.model.manifest import Manifest
from supervisor.paths import DataPaths

from .addon import Addon
from .images import AddonImages
from .intents import Action, Intent, Intents
from .record import AddonRecord
from .registry import AddonRegistry
from .rollback import Rollbacks
from .runner import AddonRunner, LogKeeper
from .spec import container_name, pulse_client_file

_LOGGER = logging.getLogger(__name__)

INSTALL_CONDITIONS = (
    JobCondition.FREE_SPACE,
    JobCondition.HEALTHY,
    JobCondition.INTERNET_HOST,
    JobCondition.PLUGINS_UPDATED,
    JobCondition.SUPERVISOR_UPDATED,
)
# An image from a file needs no network, and where there is none nobody can update anything else first.
LOAD_CONDITIONS = (JobCondition.FREE_SPACE, JobCondition.HEALTHY)
REBUILD_CONDITIONS = (JobCondition.FREE_SPACE, JobCondition.INTERNET_HOST, JobCondition.HEALTHY)

# Makes the image of the store's version present, and shows on the job how far that is.
ImageSource = Callable[[StoreAddon, Job], Awaitable[None]]


@attrs.define(eq=False)
class AddonInstaller:
    """`core_version` answers which Home Assistant is installed, None for none."""

    _engine: Engine
    _jobs: JobManager
    _bus: EventBus
    _host: Host
    _store: StoreManager
    _registry: AddonRegistry
    _images: AddonImages
    _runner: AddonRunner
    _rollbacks: Rollbacks
    _intents: Intents
    _logs: LogKeeper
    _apparmor: AppArmor
    _paths: DataPaths
    _core_version: Callable[[], str | None]

    def check_available(self, store: StoreAddon) -> None:
        """Make sure that the store's version can run here.

        Raises:
            Unsupported: it can't.
        """
        self._check(store.manifest, store.slug)

    def check_runnable(self, addon: Addon) -> None:
        """Make sure that the installed version can run here.

        Raises:
            Unsupported: it can't.
        """
        self._check(addon.manifest, addon.slug)

    def _check(self, manifest: Manifest, slug: str) -> None:
        check_availability(
            manifest,
            arches=self._host.supported_arch,
            machine=self._host.machine,
            core_version=self._core_version(),
            slug=slug,
        )

    async def install(self, slug: str, *, source: ImageSource | None = None) -> None:
        """Install an add-on from the store; one installation runs at a time, others wait.

        Its image comes from `source`; without one it is fetched or built.

        Raises:
            Invalid, Unsupported: it is installed already, unknown, or not for this machine.
            SupervisorError: its image can't be had; nothing stays behind.
        """
        async with self._jobs.run(
            "app_manager_install",
            reference=slug,
            conditions=INSTALL_CONDITIONS if source is None else LOAD_CONDITIONS,
            lock="app_manager_install",
            wait=True,
            cancellable=True,
        ) as job:
            store = self._installable(slug)
            job.validated()
            async with self._jobs.run("app_install", reference=slug, lock=f"app_{slug}"):
                await self._install(store, job, source or self._images.fetch)

    def _installable(self, slug: str) -> StoreAddon:
        installed = self._registry.installed.get(slug)
        if installed is not None:
            raise ADDON_ALREADY_INSTALLED(app=installed.name, slug=slug)
        store = self._store.addons.get(slug)
        if store is None:
            raise ADDON_NOT_FOUND(slug=slug)
        self.check_available(store)
        return store

    async def _install(self, store: StoreAddon, job: Job, source: ImageSource) -> None:
        image = self._images.name(store)
        record = AddonRecord(
            store.slug, store.repository, store.manifest, store.translations, store.manifest.version, image
        )
        check_reference(record.image_reference)
        job.stage("prepare")
        profile = await self._profile(store)
        had_data = await asyncio.to_thread((self._paths.addons_data / store.slug).exists)
        intent = Intent(store.slug, Action.INSTALL, (record.image_reference,), keep_data=had_data)
        await self._intents.begin(intent)
        try:
            job.stage("image")
            await source(store, job)
            job.stage("data")
            await asyncio.to_thread((self._paths.addons_data / store.slug).mkdir, parents=True, exist_ok=True)
            await self._apparmor.install(store.slug, profile)
            job.stage("record")
            addon = await self._registry.add(record)
        except BaseException:
            await asyncio.shield(self._undo_quietly(intent))
            raise
        job.stage("finish")
        await self._intents.end(store.slug)
        await self._runner.attach(addon)
        _LOGGER.info("%s: installed version %s", store.slug, record.version, extra={"ADDON": store.slug})

    async def _profile(self, store: StoreAddon) -> str | None:
        """Return the store's AppArmor profile as it may be used; None when it has none.

        Raises:
            Invalid: it can't be used.
        """
        content = await self._store.read_profile(store.slug)
        try:
            return None if content is None else adjusted_profile(content, store.slug)
        except Invalid as err:
            raise ADDON_PROFILE_INVALID(app=store.slug, reason=str(err)) from err

    async def uninstall(self, slug: str, *, remove_config: bool = False) -> None:
        """Remove an add-on with its container, image and data.

        `remove_config` removes its public configuration folder too.

        Raises:
            NotFound, Invalid: it is not installed.
            SupervisorError: the engine refused; asking again goes on where it stopped.
        """
        addon = self._registry.get(slug)
        async with (
            self._jobs.run("app_manager_uninstall", reference=slug) as job,
            self._jobs.run("app_uninstall", reference=slug, lock=addon.lock),
        ):
            job.stage("prepare")
            intent = Intent(slug, Action.UNINSTALL, (addon.record.image_reference,), remove_config=remove_config)
            await self._intents.begin(intent)
            await self._uninstall(intent, job)
        _LOGGER.info("%s: uninstalled", slug, extra={"ADDON": slug})

    async def _uninstall(self, intent: Intent, job: Job | None) -> None:
        """Do every step of an uninstallation; each may have been done before."""
        slug = intent.slug
        addon = self._registry.installed.get(slug)
        stage = job.stage if job is not None else _no_stage
        stage("container")
        if addon is not None:
            addon.stop_requested = True
            await self._engine.containers.stop(container_name(slug), grace=addon.manifest.timeout, remove=True)
        else:
            await self._engine.containers.remove(container_name(slug))
        stage("image")
        await self._images.remove(intent.images, in_use=self._registry.images_in_use(without=slug))
        stage("data")
        await self._apparmor.remove(slug)
        await self._remove_files(slug, remove_config=intent.remove_config)
        stage("record")
        await self._registry.remove(slug)
        await self._logs.forget(container_name(slug))
        self._bus.publish(AddonRemoved(slug))
        stage("finish")
        await self._intents.end(slug)

    async def update(
        self,
        slug: str,
        *,
        source: ImageSource | None = None,
        save: Callable[[Addon], Awaitable[object]] | None = None,
    ) -> None:
        """Bring an add-on to the store's version; it runs again afterwards when it ran before.

        The new image comes from `source`; without one it is fetched or built. `save` is awaited before anything is
        changed; when it fails, nothing is.

        Raises:
            Invalid, NotFound, Unsupported: nothing to update to, or not for this machine.
            SupervisorError: the new image can't be had (the old version stays), or the new version doesn't start.
        """
        addon = self._registry.get(slug)
        conditions = INSTALL_CONDITIONS if source is None else LOAD_CONDITIONS
        async with self._jobs.run(
            "app_manager_update", reference=slug, conditions=conditions, cancellable=False
        ) as job:
            store = self._in_store(addon)
            if store.manifest.version == addon.record.version:
                raise ADDON_NO_UPDATE(app=addon.name, slug=slug)
            self.check_available(store)
            job.validated()
            if save is not None:
                job.stage("backup")
                await save(addon)
            async with self._jobs.run("app_update", reference=slug, lock=addon.lock):
                await self._replace(addon, store, job, source or self._images.fetch, way_back=True)

    async def rebuild(self, slug: str, *, force: bool = False) -> None:
        """Make the image of the installed version anew and run it where the old one ran.

        Raises:
            Invalid: the store has another version, or the image is a published one and `force` is off.
            SupervisorError: the image can't be had; the old one stays in place.
        """
        addon = self._registry.get(slug)
        async with self._jobs.run("app_manager_rebuild", reference=slug, conditions=REBUILD_CONDITIONS) as job:
            store = self._in_store(addon)
            if store.manifest.version != addon.record.version:
                raise ADDON_REBUILD_VERSION(app=addon.name, slug=slug)
            if not store.manifest.needs_build and not force:
                raise ADDON_REBUILD_IMAGE(app=addon.name, slug=slug)
            async with self._jobs.run("app_rebuild", reference=slug, lock=addon.lock):
                await self._replace(addon, store, job, self._images.fetch, way_back=False)

    def _in_store(self, addon: Addon) -> StoreAddon:
        store = self._store.addons.get(addon.slug)
        if store is None:
            raise ADDON_NOT_IN_STORE(app=addon.name, slug=addon.slug)
        return store

    async def _replace(self, addon: Addon, store: StoreAddon, job: Job, source: ImageSource, *, way_back: bool) -> None:
        """Get the store's image while the present one runs, then switch: stop, record, start.

        With `way_back` the present version and its data are kept until the new one has proved itself; a new version
        that does not even start is left again at once.
        """
        self._registry.check_installed(addon)
        was_running = addon.running
        image = self._images.name(store)
        references = (addon.record.image_reference, check_reference(f"{image}:{store.manifest.version}"))
        job.stage("prepare")
        profile = await self._profile(store)
        await self._intents.begin(Intent(addon.slug, Action.UPDATE, references, was_running=was_running))
        try:
            job.stage("image")
            await source(store, job)
        except BaseException:
            await asyncio.shield(self._intents.end(addon.slug))
            raise
        try:
            job.stage("stop")
            if was_running:
                await self._runner.pause(addon)
            if way_back:
                job.stage("snapshot")
                await self._rollbacks.keep(addon)
            job.stage("record")
            await self._registry.switch(addon, store, image)
            self._bus.publish(AddonTokenChanged(addon.slug))
        except BaseException:
            await asyncio.shield(self._give_up(addon, start=was_running))
            raise
        job.stage("start")
        try:
            # Not before the record: which profile a version has is known, which version a profile is of is not.
            await self._apparmor.install(addon.slug, profile)
            await self._resume(addon, start=was_running)
        except SupervisorError as err:
            if way_back:
                await self._rollbacks.roll_back(addon, reason=str(err))
            raise
        job.stage("cleanup")
        await self._cleanup(addon, references)
        job.stage("finish")
        await self._intents.end(addon.slug)
        _LOGGER.info("%s: now at version %s", addon.slug, addon.record.version, extra={"ADDON": addon.slug})

    async def _resume(self, addon: Addon, *, start: bool) -> None:
        if start:
            await self._runner.start(addon)
        else:
            await self._runner.attach(addon)

    async def _give_up(self, addon: Addon, *, start: bool) -> None:
        """Go on with the present version. What that meets is logged: why the change failed is the news."""
        try:
            await self._resume(addon, start=start)
            await self._intents.end(addon.slug)
        except SupervisorError as err:
            _LOGGER.error("%s: does not run again yet: %s", addon.slug, err, extra={"ADDON": addon.slug})

    async def _cleanup(self, addon: Addon, references: Iterable[str]) -> None:
        names = {addon.record.image, *(reference.rpartition(":")[0] for reference in references)}
        await self._images.cleanup(keep=self._registry.images_in_use(), names=names)

    async def mend(self) -> None:
        """Finish or undo what was cut off; each add-on by itself, failures are logged and tried at the next start."""
        for intent in self._intents.open:
            # An engine that was away for a moment cut nothing off: what is still being done is not mended.
            if self._jobs.busy(f"app_{intent.slug}"):
                continue
            try:
                await self._mend(intent)
            except SupervisorError as err:
                _LOGGER.error("%s: its unfinished %s can't be mended now: %s", intent.slug, intent.action.value, err)

    async def _mend(self, intent: Intent) -> None:
        _LOGGER.warning("%s: mending an unfinished %s", intent.slug, intent.action.value)
        match intent.action:
            case Action.INSTALL if intent.slug not in self._registry.installed:
                await self._undo_install(intent)
            case Action.UNINSTALL:
                await self._uninstall(intent, None)
            case Action.UPDATE if (addon := self._registry.installed.get(intent.slug)) is not None:
                await self._runner.attach(addon)
                await self._mend_profile(addon)
                if intent.was_running and not addon.running:
                    await self._runner.start(addon)
                await self._cleanup(addon, intent.images)
                await self._intents.end(intent.slug)
            case Action.ROLLBACK if (addon := self._registry.installed.get(intent.slug)) is not None:
                await self._runner.attach(addon)
                await self._rollbacks.finish(intent, addon)
            case _:
                await self._intents.end(intent.slug)

    async def _mend_profile(self, addon: Addon) -> None:
        """Give an updated add-on the profile of its version: the crash may have come before that was done."""
        store = self._store.addons.get(addon.slug)
        if store is None or store.manifest.version != addon.record.version:
            return
        try:
            await self._apparmor.install(addon.slug, await self._profile(store))
        except SupervisorError as err:
            _LOGGER.error("%s: may have the profile of another version: %s", addon.slug, err)

    async def _undo_install(self, intent: Intent) -> None:
        await self._images.remove(intent.images, in_use=self._registry.images_in_use())
        await self._apparmor.remove(intent.slug)
        if not intent.keep_data:
            await self._remove_files(intent.slug, remove_config=False)
        await self._intents.end(intent.slug)

    async def _undo_quietly(self, intent: Intent) -> None:
        """Undo an installation whose own error is the news; what can't be undone now is mended later."""
        try:
            await self._undo_install(intent)
        except SupervisorError as err:
            _LOGGER.error("%s: its leftovers can't be removed now: %s", intent.slug, err)

    async def _remove_files(self, slug: str, *, remove_config: bool) -> None:
        folders = [self._paths.addons_data / slug]
        if remove_config:
            folders.append(self._paths.addon_configs / slug)
        files = [pulse_client_file(self._paths, slug)]
        try:
            await asyncio.to_thread(_remove, folders, files)
        except OSError as err:
            _LOGGER.error("%s: its files could not all be removed: %s", slug, err)
            raise ADDON_UNKNOWN(app=slug) from err


def _remove(folders: list[Path], files: list[Path]) -> None:
    for folder in folders:
        remove_tree(folder)
    for file in files:
        file.unlink(missing_ok=True)


def _no_stage(_name: str) -> None:
    """Mending has no job to show stages on."""
