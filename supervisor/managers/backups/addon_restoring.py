"""Restores one add-on (backup contract §11.5)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.drivers.archive.work import Work, in_thread
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.image_archive import read_archive
from supervisor.drivers.exchange import Exchange, Pair
from supervisor.drivers.folder import open_plain_file
from supervisor.errors import (
    AppBackupMetadataInvalidError,
    BackupError,
    ErrorKind,
    Invalid,
    SupervisorError,
    Unavailable,
)
from supervisor.events import AddonTokenChanged, EventBus
from supervisor.jobs import Job, JobManager
from supervisor.managers.addons import Addon
from supervisor.managers.addons.images import AddonImages
from supervisor.managers.addons.record import USER_SCHEMA, AddonRecord
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.addons.runner import AddonRunner
from supervisor.managers.host import Host
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType
from supervisor.managers.store import StoreManager
from supervisor.model.machine import check_availability
from supervisor.paths import DataPaths
from supervisor.state import write_atomic

from .quiet import Quiet

_LOGGER = logging.getLogger(__name__)

METADATA_INVALID: Final = ErrorKind(
    "app_backup_metadata_invalid_error",
    AppBackupMetadataInvalidError,
    "What the backup says about add-on {app} makes no sense: {validation_error}",
)
_STATES: Final = {"started": True, "startup": True, "stopped": False, "error": False, "unknown": False}
_SAVED: Final = vol.Schema(
    {
        vol.Required("user"): dict,
        vol.Required("system"): dict,
        vol.Required("version"): vol.All(vol.Any(str, int, float), str),
        vol.Required("state"): vol.In(_STATES),
    },
    extra=vol.REMOVE_EXTRA,
)
_PROFILE: Final = "apparmor.before"
_MAX_SETTINGS: Final = 16 * 1024 * 1024


@attrs.frozen
class SavedState:
    """What `addon.json` holds, checked."""

    record: AddonRecord
    started: bool


def read_saved(slug: str, content: bytes, image_name: Callable[[Any, str], str]) -> SavedState:
    """Read `addon.json`. `image_name` makes the image's name of a manifest and a repository.

    Raises:
        AppBackupMetadataInvalidError: it does not describe an add-on.
    """
    try:
        saved = _SAVED(json.loads(content))
        user = USER_SCHEMA({**saved["user"], "version": saved["version"]})
        record = AddonRecord.from_stored(slug, user, saved["system"], "unknown/unknown")
    except (ValueError, RecursionError, vol.Invalid, Invalid) as err:
        raise METADATA_INVALID(app=slug, validation_error=str(err)) from err
    # Another machine may have made the backup: its image has the name of this one's architecture.
    image = image_name(record.manifest, record.repository)
    started = _STATES[saved["state"]]
    return SavedState(attrs.evolve(record, image=image, token_hash=None, should_run=started), started=started)


@attrs.frozen
class AddonRestoring:
    """`core_version` answers which Home Assistant is installed, None for none."""

    _engine: Engine
    _jobs: JobManager
    _bus: EventBus
    _host: Host
    _resolution: Resolution
    _store: StoreManager
    _registry: AddonRegistry
    _runner: AddonRunner
    _images: AddonImages
    _paths: DataPaths
    _quiet: Quiet
    _core_version: Callable[[], str | None]

    def staging(self, slug: str) -> Path:
        return self._paths.restore / f"addon_{slug}"

    async def restore(self, slug: str, unpacked: Path, job: Job) -> Addon | None:
        """Put an add-on back from what was unpacked below its staging folder.

        Returns:
            The add-on when it was running and was started again.

        Raises:
            SupervisorError: what the backup says makes no sense here; the present add-on goes on as it was.
        """
        saved = await self._read(slug, unpacked)
        self._check(saved.record)
        present = self._registry.installed.get(slug)
        async with self._jobs.run("app_restore", reference=slug, lock=f"app_{slug}"):
            was_running = present is not None and present.running
            if present is not None and was_running:
                await self._runner.pause(present)
            try:
                await self._image(saved.record, unpacked / "image.tar", job)
                exchange = self._exchange(saved.record, unpacked)
                # Waited for in any case: nobody may tidy up while it is at work.
                await in_thread(Work(), partial(_swap, exchange))
                try:
                    addon = await self.take_over(saved, exchange)
                except SupervisorError:
                    await in_thread(Work(), partial(_undo, exchange))
                    raise
            except BaseException:
                if present is not None and was_running:
                    await asyncio.shield(self._go_on(present))
                raise
            if not saved.started:
                return None
            try:
                await self._runner.start(addon)
            except SupervisorError as err:
                self._quiet.leave(addon, err)
                raise
        return addon

    async def take_over(self, saved: SavedState, exchange: Exchange) -> Addon:
        """Write the record of an add-on whose folders are in place, and finish.

        Raises:
            SupervisorError: it can't be written; nothing of it was.
        """
        record = saved.record
        present = self._registry.installed.get(record.slug)
        try:
            await asyncio.to_thread(self._keep_profile, record.slug, exchange.staging)
        except OSError as err:
            raise BackupError(f"The AppArmor profile of {record.slug} can't be written: {err.strerror}") from err
        try:
            addon = await self._write(record, present)
        except SupervisorError:
            await asyncio.to_thread(self._return_profile, record.slug, exchange.staging)
            raise
        self._bus.publish(AddonTokenChanged(record.slug))
        # Without the engine nobody knows now; it will tell when it is back.
        with suppress(SupervisorError):
            await self._runner.attach(addon)
        await asyncio.to_thread(finish, exchange)
        _LOGGER.info("%s: restored at version %s", record.slug, record.version, extra={"ADDON": record.slug})
        return addon

    async def _write(self, record: AddonRecord, present: Addon | None) -> Addon:
        if present is None:
            return await self._registry.add(record)
        fields = {field.name: getattr(record, field.name) for field in attrs.fields(AddonRecord)}
        del fields["slug"], fields["ingress_token"]
        await self._registry.change(present, **fields)
        return present

    async def recover(self, exchange: Exchange) -> None:
        """Finish a restore that a crash cut off after its folders were in place."""
        slug = str(exchange.note["slug"])
        saved = await self._read(slug, exchange.staging / "unpacked")
        await self.take_over(saved, exchange)

    async def _read(self, slug: str, unpacked: Path) -> SavedState:
        def read() -> bytes:
            with open_plain_file(unpacked / "addon.json") as file:
                return file.read(_MAX_SETTINGS)

        try:
            content = await asyncio.to_thread(read)
        except OSError as err:
            raise METADATA_INVALID(app=slug, validation_error=f"addon.json: {err.strerror}") from err
        return read_saved(slug, content, self._images.name_of)

    def _check(self, record: AddonRecord) -> None:
        check_availability(
            record.manifest,
            arches=self._host.supported_arch,
            machine=self._host.machine,
            core_version=self._core_version(),
            slug=record.slug,
        )

    def _exchange(self, record: AddonRecord, unpacked: Path) -> Exchange:
        name = unpacked.name
        pairs = [Pair(f"{name}/data", self._paths.addons_data / record.slug)]
        if record.manifest.public_config is not None:
            pairs.append(Pair(f"{name}/config", self._paths.addon_configs / record.slug))
        return Exchange(unpacked.parent, tuple(pairs), {"slug": record.slug})

    async def _image(self, record: AddonRecord, saved_image: Path, job: Job) -> None:
        """Make the image present. An add-on without one is restored all the same, and an issue tells.

        Raises:
            Unavailable: there is no engine.
        """
        try:
            if not await self._engine.images.exists(record.image_reference):
                await self._fetch(record, saved_image, job)
        except Unavailable:
            # Nobody knows what images there are. What is there now stays, until the engine is back.
            raise
        except (SupervisorError, OSError) as err:
            _LOGGER.error("%s: its image can't be had: %s", record.slug, err, extra={"ADDON": record.slug})
            self._resolution.raise_issue(
                IssueType.MISSING_IMAGE,
                ContextType.ADDON,
                reference=record.slug,
                reason=str(err),
                suggestions=(SuggestionType.EXECUTE_REPAIR,),
            )

    async def _fetch(self, record: AddonRecord, saved_image: Path, job: Job) -> None:
        if await asyncio.to_thread(os.path.lexists, saved_image):
            await self._load(record, saved_image)
            return
        if not record.manifest.needs_build:
            await self._images.pull(record.slug, record.image, record.manifest, job)
            return
        store = self._store.addons.get(record.slug)
        if store is None or store.manifest.version != record.version:
            raise BackupError(f"Version {record.version} of {record.slug} can't be built: no repository has it")
        await self._images.fetch(store, job)

    async def _load(self, record: AddonRecord, saved_image: Path) -> None:
        """Load the saved image under the add-on's own name, whatever names it has in its archive."""
        room = await self._host.free_bytes()
        try:
            file = await asyncio.to_thread(open_plain_file, saved_image)
        except OSError as err:
            raise BackupError(f"The saved image can't be read: {err.strerror}") from err
        with file:
            archive = await asyncio.to_thread(read_archive, file, room=room)
            if len(archive.images) != 1:
                raise Invalid(f"The saved image holds {len(archive.images)} images")
            await self._engine.images.load_single(file, archive, archive.images[0], record.image_reference)

    def _keep_profile(self, slug: str, staging: Path) -> None:
        try:
            with open_plain_file(staging / "unpacked" / "apparmor.txt") as file:
                content = file.read(_MAX_SETTINGS)
        except OSError:
            return
        kept = self._paths.apparmor / slug
        with suppress(FileNotFoundError, FileExistsError):
            os.link(kept, staging / _PROFILE)
        write_atomic(kept, content)

    def _return_profile(self, slug: str, staging: Path) -> None:
        before = staging / _PROFILE
        if before.exists():
            before.replace(self._paths.apparmor / slug)
        elif (staging / "unpacked" / "apparmor.txt").is_file():
            (self._paths.apparmor / slug).unlink(missing_ok=True)

    async def _go_on(self, addon: Addon) -> None:
        try:
            await self._runner.start(addon)
        except SupervisorError as err:
            _LOGGER.error("%s: does not run again: %s", addon.slug, err, extra={"ADDON": addon.slug})
            self._quiet.leave(addon, err)


def finish(exchange: Exchange) -> None:
    """Let the old go; where the disk refuses that, what is new counts all the same."""
    try:
        exchange.finish()
    except OSError as err:
        _LOGGER.warning("What %s held before its restore can't be removed: %s", exchange.staging.name, err)


def _undo(exchange: Exchange) -> None:
    try:
        exchange.undo()
    except OSError as err:
        _LOGGER.error("What %s held before its restore waits for the next start: %s", exchange.staging.name, err)


def _swap(exchange: Exchange) -> None:
    try:
        exchange.swap()
    except OSError as err:
        raise BackupError(f"The restored files can't be put in place: {err.strerror}") from err
