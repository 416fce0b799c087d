"""Which network storage there is: described by users, brought up, watched (host contract §41, §43)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import voluptuous as vol

from supervisor.errors import (
    MOUNT_NOT_FOUND,
    MOUNT_TARGET_NOT_DIRECTORY,
    MOUNT_TARGET_NOT_EMPTY,
    MOUNT_USAGE_NOT_ACTIVE,
    MOUNT_USAGE_NOT_MOUNTED,
    Blocked,
    Invalid,
    SupervisorError,
)
from supervisor.events import EventBus, StateEntryRefused
from supervisor.jobs import JobCondition, JobManager
from supervisor.managers.resolution import ContextType, IssueType, Resolution, Suggestion, SuggestionType
from supervisor.model.mount import MOUNT, Mount, MountUsage
from supervisor.state import StateFile

from .mounting import Mounting, MountStatus

_LOGGER = logging.getLogger(__name__)

MOUNTS_SCHEMA: Final = vol.Schema(
    {
        # Each is looked at for itself: one that makes no sense must not cost the others.
        vol.Optional("mounts", default=list): [dict],
        vol.Optional("default_backup_mount", default=None): vol.Any(None, str),
    },
    extra=vol.REMOVE_EXTRA,
)
# How long the start of the daemon waits for servers; what takes longer goes on behind it.
START_SECONDS: Final = 10.0
# How long who lists the mounts waits for systemd.
LOOK_SECONDS: Final = 0.8

_CONDITIONS: Final = (JobCondition.MOUNT_AVAILABLE,)
_IN_THE_WAY: Final = frozenset({MOUNT_TARGET_NOT_EMPTY.key, MOUNT_TARGET_NOT_DIRECTORY.key})


class MountManager:
    """What is known of each mount is answered from memory; only what says so asks systemd or a server.

    `backups_changed` is awaited when mounts for backups came, went, or were looked at again.
    """

    def __init__(
        self, state: StateFile, mounting: Mounting, jobs: JobManager, resolution: Resolution, bus: EventBus
    ) -> None:
        self._state = state
        self._mounting = mounting
        self._jobs = jobs
        self._resolution = resolution
        self._bus = bus
        self._mounts: dict[str, Mount] = {}
        self._status: dict[str, MountStatus] = {}
        # Entries of the file that nobody here understands, kept in it for who does.
        self._foreign: list[dict[str, Any]] = []
        self._saving = asyncio.Lock()
        self.mounts: Mapping[str, Mount] = MappingProxyType(self._mounts)
        self.default_backup_mount: str | None = None
        self.backups_changed: Callable[[], Awaitable[object]] | None = None

    async def load(self) -> None:
        """Read what was described, and begin to mount it; wait a little for that, and no longer."""
        data = await self._state.load()
        for entry in data["mounts"]:
            self._take(entry)
        default = data["default_backup_mount"]
        if default is not None and self.is_backup_mount(default):
            self.default_backup_mount = default
        work = self._jobs.spawn(self.reload)
        await asyncio.wait({work.task}, timeout=START_SECONDS)

    def _take(self, entry: dict[str, Any]) -> None:
        try:
            mount = Mount.of(MOUNT(entry))
        except vol.Invalid as err:
            name = str(entry.get("name"))[:64]
            _LOGGER.error("Mount %s of %s makes no sense and is left alone: %s", name, self._state.path.name, err)
            self._foreign.append(entry)
            self._bus.publish(StateEntryRefused(self._state.path, name, self._state.path, str(err)))
            return
        self._mounts[mount.name] = mount

    async def stop(self) -> None:
        """Stop looking after the mounts; they stay mounted."""
        await self._mounting.stop()

    # What is known.

    def get(self, name: str) -> Mount:
        """Return a mount.

        Raises:
            NotFound: there is none of that name.
        """
        mount = self._mounts.get(name)
        if mount is None:
            raise MOUNT_NOT_FOUND(name=name)
        return mount

    def status(self, name: str) -> MountStatus:
        return self._status.get(name, MountStatus())

    @property
    def unit_names(self) -> frozenset[str]:
        """The units of the host that belong to the mounts."""
        return frozenset().union(*(self._mounting.unit_names(mount) for mount in self._mounts.values()))

    def stored(self) -> dict[str, Any]:
        """Return everything as the state file has it, logins included: for that file and for backups only."""
        mounts = [*(mount.stored() for mount in self._mounts.values()), *self._foreign]
        return {"default_backup_mount": self.default_backup_mount, "mounts": mounts}

    async def look(self) -> None:
        """Ask systemd, and no server, for the state of all mounts; where it can't be asked the known states stay."""

        async def one(mount: Mount) -> None:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    found = await self._mounting.status(mount, self.status(mount.name))
            except (SupervisorError, TimeoutError) as err:
                _LOGGER.debug("%s", err)
                return
            if mount.name in self._mounts:
                self._status[mount.name] = found

        await asyncio.gather(*map(one, tuple(self._mounts.values())))

    async def usable_folder(self, name: str) -> Path:
        """Return where a mount is, when it can be read now.

        Raises:
            NotFound: there is none of that name. Invalid: it is away.
        """
        mount = self.get(name)
        status = await self._examined(mount)
        if status.state != "active":
            raise MOUNT_USAGE_NOT_ACTIVE(name=name)
        if not status.usable:
            raise MOUNT_USAGE_NOT_MOUNTED(name=name)
        return self._mounting.folder(mount)

    # What backups ask.

    def given(self, folder: Path) -> frozenset[str]:
        """Return the names in one of add-ons' folders that lie on servers."""
        bound = filter(None, map(self._mounting.bound_folder, self._mounts.values()))
        return frozenset(path.name for path in bound if path.parent == folder)

    async def restore(self, saved: dict[str, Any]) -> None:
        """Take over what a backup has, in place of mounts of the same names; it is mounted behind the scenes.

        Raises:
            Invalid: something of it makes no sense; the rest is taken over.
        """
        wrong = []
        for entry in saved["mounts"]:
            try:
                mount = Mount.of(MOUNT(entry))
            except vol.Invalid as err:
                wrong.append(f"{str(entry.get('name'))[:64]!r}: {err}")
                continue
            before = self._mounts.get(mount.name)
            if before == mount:
                continue
            if before is not None:
                await self._give_up(before)
            self._mounts[mount.name] = mount
            self._status.pop(mount.name, None)
        default = saved["default_backup_mount"]
        if self.default_backup_mount is None and default is not None and self.is_backup_mount(default):
            self.default_backup_mount = default
        await self._save()
        self._jobs.spawn(self.reload)
        if wrong:
            raise Invalid(f"Mounts that make no sense were left out: {'; '.join(wrong)}")

    @property
    def active(self) -> Mapping[str, Path]:
        """The mounts for backups that can be used, as folders."""
        return {
            name: self._mounting.folder(mount)
            for name, mount in self._mounts.items()
            if mount.usage is MountUsage.BACKUP and self.status(name).usable
        }

    def is_backup_mount(self, name: str) -> bool | None:
        """Tell whether a mount is for backups; None when there is none of that name."""
        mount = self._mounts.get(name)
        return None if mount is None else mount.usage is MountUsage.BACKUP

    async def probe(self, name: str) -> bool:
        """Tell whether a mount can be used now, asking its server."""
        mount = self._mounts.get(name)
        return mount is not None and (await self._examined(mount)).usable

    # What users ask.

    async def set_default(self, name: str | None) -> None:
        """Choose where backups go when nobody says where; None is this machine.

        Raises:
            NotFound: there is no such mount. Invalid: it is for something else.
        """
        if name is not None and self.get(name).usage is not MountUsage.BACKUP:
            raise Invalid(f"Mount {name} is not used for backups")
        self.default_backup_mount = name
        await self._save()

    async def create(self, mount: Mount) -> None:
        """Mount something new; when that fails nothing is left of it.

        Raises:
            Invalid: there is one of that name, or its folders are in use. SupervisorError: it can't be mounted.
        """
        async with self._job("create_mount", mount.name) as job:
            if mount.name in self._mounts:
                raise Invalid(f"A mount named {mount.name} already exists")
            await self._mounting.check_targets(mount)
            job.validated()
            await self._bring(mount)
            await self._added(mount)
        _LOGGER.info("Mount %s (%s) was added", mount.name, mount.what)

    async def update(self, mount: Mount) -> None:
        """Put one in the place of that of the same name; when it can't be mounted the earlier one comes back.

        Raises:
            NotFound: there is none of that name. SupervisorError: it can't be mounted.
        """
        async with self._job("create_mount", mount.name) as job:
            before = self.get(mount.name)
            job.validated()
            with self._brought_back(before):
                await self._mounting.down(before)
                await self._mounting.check_targets(mount)
                await self._bring(mount)
            await self._added(mount)
            if before.usage is MountUsage.BACKUP and mount.usage is not MountUsage.BACKUP:
                await self._backups_changed()
        _LOGGER.info("Mount %s (%s) was changed", mount.name, mount.what)

    async def remove(self, name: str) -> None:
        """Unmount and forget.

        Raises:
            NotFound: there is none of that name. SupervisorError: it can't be unmounted, and stays.
        """
        async with self._job("remove_mount", name) as job:
            mount = self.get(name)
            job.validated()
            with self._brought_back(mount):
                await self._mounting.down(mount)
            del self._mounts[name]
            self._status.pop(name, None)
            self._resolution.forget(ContextType.MOUNT, name)
            if self.default_backup_mount == name:
                self.default_backup_mount = None
            await self._save()
            if mount.usage is MountUsage.BACKUP:
                await self._backups_changed()
        _LOGGER.info("Mount %s was removed", name)

    async def reload_mount(self, name: str) -> None:
        """Mount anew what is not there or does not answer.

        Raises:
            NotFound: there is none of that name. SupervisorError: it can't be mounted.
        """
        async with self._job("reload_mount", name) as job:
            mount = self.get(name)
            job.validated()
            try:
                await self._up(mount, self._mounting.reload)
            finally:
                if mount.usage is MountUsage.BACKUP:
                    await self._backups_changed()

    async def relocate_local_data(self, name: str) -> None:
        """Move what is in the way of a mount to where people find it, and mount.

        Raises:
            NotFound: there is none of that name. SupervisorError: it can't be moved, or mounted.
        """
        async with self._job("relocate_local_data", name):
            mount = self.get(name)
            await self._mounting.set_aside(mount)
            await self._up(mount, self._mounting.reload)

    async def reload(self) -> None:
        """Look at all mounts, and bring up those that are away. What fails becomes an issue.

        What is left of mounts that are not described is unmounted: a daemon that died had begun with them.
        """
        left = await self._left()
        if not self._mounts and not left:
            return
        try:
            async with self._jobs.run("mount_manager_reload", conditions=_CONDITIONS):
                before = set(self.active)
                work = [*map(self._clear, left), *map(self._keep_up, tuple(self._mounts.values()))]
                await asyncio.gather(*work)
                if set(self.active) != before:
                    await self._backups_changed()
        except Blocked as err:
            _LOGGER.error("The mounts are not active: %s", err)

    # How it is done.

    def _job(self, work: str, name: str) -> Any:
        return self._jobs.run(
            f"mount_manager_{work}", reference=name, conditions=_CONDITIONS, lock=f"mount_{name}", wait=True
        )

    @contextmanager
    def _brought_back(self, mount: Mount) -> Iterator[None]:
        """Have a mount that stays described mounted and given to add-ons again, when what is done with it fails."""
        try:
            yield
        except SupervisorError:
            self._jobs.spawn(partial(self._keep_up, mount))
            raise

    async def _keep_up(self, mount: Mount) -> None:
        """Bring one up that may have been changed or removed meanwhile."""
        lock = f"mount_{mount.name}"
        async with self._jobs.run("mount_manager_look", reference=mount.name, lock=lock, wait=True, internal=True):
            if self._mounts.get(mount.name) is not mount:
                return
            try:
                await self._up(mount, self._mounting.up)
            except SupervisorError as err:
                _LOGGER.error("Mount %s is away: %s", mount.name, err)

    async def _left(self) -> set[str]:
        try:
            names = await self._mounting.names()
        except SupervisorError as err:
            _LOGGER.warning("%s", err)
            return set()
        return names - self._mounts.keys() - {entry.get("name") for entry in self._foreign}

    async def _clear(self, name: str) -> None:
        """Unmount what is left of a mount, unless somebody is just making it."""
        lock = f"mount_{name}"
        async with self._jobs.run("mount_manager_look", reference=name, lock=lock, wait=True, internal=True):
            if name in self._mounts:
                return
            try:
                if await self._mounting.clear(name):
                    _LOGGER.warning("Mount %s was begun and never finished: it is unmounted", name)
            except SupervisorError as err:
                _LOGGER.warning("Mount %s: something of it is left: %s", name, err)

    async def _up(self, mount: Mount, work: Callable[[Mount], Awaitable[None]]) -> None:
        """Do what should bring a mount up; tell of a failure by an issue, of success by its end.

        Both come when the state is known, so that who waits for one sees the other.
        """
        try:
            try:
                await work(mount)
            finally:
                await self._examined(mount)
        except SupervisorError as err:
            self._raise_issue(mount, err)
            raise
        self._resolution.forget(ContextType.MOUNT, mount.name)

    async def _bring(self, mount: Mount) -> None:
        """Mount what is new, or leave nothing of it."""
        # A daemon that died before it had written a mount down may have left another one of this name.
        await self._mounting.down(mount)
        try:
            await self._mounting.up(mount)
        except BaseException:
            await asyncio.shield(self._give_up(mount))
            raise

    async def _give_up(self, mount: Mount) -> None:
        try:
            await self._mounting.down(mount)
        except SupervisorError as err:
            _LOGGER.warning("Mount %s: something of it is left: %s", mount.name, err)

    async def _added(self, mount: Mount) -> None:
        self._mounts[mount.name] = mount
        self._resolution.forget(ContextType.MOUNT, mount.name)
        is_backup = mount.usage is MountUsage.BACKUP
        if is_backup and self.default_backup_mount is None:
            self.default_backup_mount = mount.name
        elif not is_backup and self.default_backup_mount == mount.name:
            self.default_backup_mount = None
        await self._save()
        await self._examined(mount)
        if is_backup:
            await self._backups_changed()

    async def _examined(self, mount: Mount) -> MountStatus:
        try:
            status = await self._mounting.examine(mount)
        except SupervisorError as err:
            _LOGGER.debug("%s", err)
            status = MountStatus()
        if self._mounts.get(mount.name) is mount:
            self._status[mount.name] = status
        return status

    def _raise_issue(self, mount: Mount, error: SupervisorError) -> None:
        suggestions = [SuggestionType.EXECUTE_RELOAD, SuggestionType.EXECUTE_REMOVE]
        if error.key in _IN_THE_WAY:
            suggestions.insert(0, SuggestionType.MOVE_LOCAL_DATA)
        else:
            move = Suggestion(SuggestionType.MOVE_LOCAL_DATA, ContextType.MOUNT, mount.name)
            self._resolution.withdraw_suggestion(move)
        self._resolution.raise_issue(
            IssueType.MOUNT_FAILED,
            ContextType.MOUNT,
            reference=mount.name,
            reason=str(error),
            suggestions=suggestions,
        )

    async def _backups_changed(self) -> None:
        if self.backups_changed is not None:
            await self.backups_changed()

    async def _save(self) -> None:
        async with self._saving:
            await self._state.save(self.stored())
