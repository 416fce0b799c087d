"""The configured backup repositories: which there are, what is in them, and the work on each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor.drivers.folder import remove_tree
from supervisor.drivers.mountinfo import mount_points
from supervisor.drivers.snapshot_engine import RepositoryAccess, Snapshot, SnapshotEngine
from supervisor.drivers.ssh_key import ensure_key
from supervisor.errors import (
    REPOSITORY_DAMAGED,
    REPOSITORY_MISSING,
    REPOSITORY_UNREACHABLE,
    Conflict,
    Invalid,
    NotFound,
    SupervisorError,
)
from supervisor.events import BackupRepositoryChanged, EventBus
from supervisor.jobs import Job, JobManager
from supervisor.paths import DataPaths
from supervisor.state import StateFile

from .repository_backup import RepositoryBackup, collect
from .repository_files import RepositoryFiles, Secrets
from .repository_place import Place, PlaceKind
from .repository_record import RepositoryRecord, Verification, record
from .repository_writer import RepositoryWriter
from .retention import Retention, expired

_LOGGER = logging.getLogger(__name__)

# What a run that was cut off left behind may still be somebody's running backup, also another machine's.
_LEFTOVER_AGE: Final = timedelta(days=1)
MAX_REPOSITORIES: Final = 32


@attrs.define(eq=False)
class Repository:
    """A configured repository and what is known of its content since it was last looked at.

    `problem` tells why that look failed; `backups` then is what was known before.
    """

    record: RepositoryRecord
    backups: Mapping[str, RepositoryBackup] = attrs.field(factory=dict)
    snapshots: Sequence[Snapshot] = ()
    leftovers: Sequence[Snapshot] = ()
    looked: datetime | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def lock(self) -> str:
        return f"backup_repository_{self.name}"

    def backup(self, slug: str) -> RepositoryBackup:
        """Return a backup that is in here.

        Raises:
            NotFound: it is not.
        """
        if slug not in self.backups:
            raise NotFound(f"Repository {self.name} holds no backup {slug}")
        return self.backups[slug]


class RepositoryManager:
    """All work on one repository is a job that holds its lock: one after the other."""

    def __init__(
        self,
        engine: SnapshotEngine,
        state: StateFile,
        files: RepositoryFiles,
        jobs: JobManager,
        bus: EventBus,
        paths: DataPaths,
    ) -> None:
        self._engine = engine
        self._state = state
        self._files = files
        self._jobs = jobs
        self._bus = bus
        self._paths = paths
        self._tmp = paths.tmp / "repositories"
        self._known: dict[str, Repository] = {}

    async def load(self) -> None:
        """Read what is configured; what is in the repositories is found by `reload`."""
        data = await self._state.load()
        for name, stored in data["repositories"].items():
            try:
                self._known[name] = Repository(record(name, stored))
            except Invalid as err:
                _LOGGER.error("Repository %s is left out: %s", name, err)
        await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        self._files.sweep(self._known)
        if self._tmp.is_dir():
            remove_tree(self._tmp)

    @property
    def repositories(self) -> tuple[Repository, ...]:
        return tuple(self._known[name] for name in sorted(self._known))

    def get(self, name: str) -> Repository:
        """Return a configured repository.

        Raises:
            NotFound: there is none of this name.
        """
        if name not in self._known:
            raise NotFound(f"No backup repository {name}")
        return self._known[name]

    def holding(self, slug: str) -> tuple[Repository, ...]:
        """Return the repositories that hold a backup."""
        return tuple(repository for repository in self.repositories if slug in repository.backups)

    async def public_key(self) -> str:
        """Return the public half of the key that repositories by SFTP use unless they were given one."""
        return await ensure_key(self._files.own_key, "supervisor-backups")

    def host_fingerprint(self, name: str) -> str | None:
        """Return which SSH server a repository was made on. Blocking."""
        return self._files.host_fingerprint(self.get(name).name)

    async def add(
        self, name: str, place: Place, given: Secrets, *, adopt: bool, retention: Retention | None = None
    ) -> Repository:
        """Configure a repository: a new one is made there, or the one that is there is adopted.

        Raises:
            Conflict: the name is taken, or there is a repository already.
            NotFound: there is none to adopt.
            Invalid: the place and the secrets don't fit each other; the password is wrong.
            SupervisorError: the place can't be reached or used.
        """
        given.check(place)
        async with self._jobs.run("backup_repository_add", reference=name, lock=f"backup_repository_{name}") as job:
            self._check_new(name, place)
            if place.kind is PlaceKind.SFTP and given.private_key is None:
                await self.public_key()
            await asyncio.to_thread(self._files.create, name, place, given)
            try:
                made = await self._open(job, name, place, adopt=adopt)
                repository = Repository(attrs.evolve(made, retention=retention or Retention()))
                await self._look(repository)
                await self._store({**self._known, name: repository})
            except BaseException:
                await asyncio.to_thread(self._files.remove, name)
                raise
            _LOGGER.info("Repository %s: %s", name, "adopted" if adopt else "created")
            self._bus.publish(BackupRepositoryChanged(name))
            return repository

    def _check_new(self, name: str, place: Place) -> None:
        if name in self._known:
            raise Conflict(f"There is a backup repository {name} already")
        if len(self._known) >= MAX_REPOSITORIES:
            raise Invalid(f"There can't be more than {MAX_REPOSITORIES} backup repositories")
        if place.kind is PlaceKind.FOLDER:
            self._check_folder(Path(place.path))
        for other in self._known.values():
            if other.record.place == place:
                raise Conflict(f"The backup repository {other.name} lies there already")

    def _check_folder(self, folder: Path) -> None:
        """Refuse what would be saved into itself, and what belongs to others."""
        if folder.is_relative_to(self._paths.root) and self._paths.backup not in folder.parents:
            raise Invalid(f"Among the Supervisor's data a repository can only lie below {self._paths.backup}")
        if self._paths.root.is_relative_to(folder):
            raise Invalid("The folder of a repository can't hold the Supervisor's data")

    async def _open(self, job: Job, name: str, place: Place, *, adopt: bool) -> RepositoryRecord:
        await self._check_reachable(name, place)
        access = self._files.access(name, place)
        if not adopt:
            job.stage("create")
            await self._engine.init(access)
        job.stage("open")
        identity = await self._engine.identity(access)
        await asyncio.to_thread(self._files.pin, name)
        return RepositoryRecord(name, place, identity, datetime.now(UTC))

    async def change(self, name: str, retention: Retention) -> None:
        """Set what prune goes by.

        Raises:
            NotFound: there is no such repository.
        """
        repository = self.get(name)
        await self._note(repository, attrs.evolve(repository.record, retention=retention))

    async def remove(self, name: str) -> None:
        """Forget a repository and its secrets. What is in it stays where it is and can be adopted again.

        Raises:
            NotFound: there is no such repository.
            Busy: something is being done with it.
        """
        repository = self.get(name)
        async with self._jobs.run("backup_repository_remove", reference=name, lock=repository.lock):
            await self._store({other: kept for other, kept in self._known.items() if other != name})
            await asyncio.to_thread(self._files.remove, name)
            self._bus.publish(BackupRepositoryChanged(name))

    async def reload(self, name: str | None = None) -> None:
        """Look what is in one repository, or in all; what can't be reached keeps what was known of it.

        Raises:
            SupervisorError: the one that was named can't be looked at.
        """
        if name is not None:
            async with self.work(name, "backup_repository_reload") as (repository, _):
                await self._look(repository)
            return
        for repository in self.repositories:
            try:
                await self.reload(repository.name)
            except SupervisorError as err:
                _LOGGER.warning("%s", err)

    @asynccontextmanager
    async def writing(self, name: str, slug: str) -> AsyncIterator[RepositoryWriter]:
        """Give what writes a new backup; nobody else works on the repository meanwhile.

        Raises:
            NotFound: there is no such repository.
            Conflict: it holds a backup of this slug.
            SupervisorError: the repository can't be used.
        """
        async with self.work(name, "backup_repository_write", cancellable=True) as (repository, access):
            if repository.looked is None or repository.problem is not None:
                await self._look(repository)
            if slug in repository.backups:
                raise Conflict(f"Repository {name} holds a backup {slug} already")
            stage = self._tmp / name
            writer = RepositoryWriter(self._engine, access, slug, stage, repository.snapshots)
            try:
                yield writer
                if writer.retagged:
                    await self._look(repository)
                else:
                    # Opening a repository once more costs longer than saving what is unchanged.
                    self._show(repository, [*repository.snapshots, *writer.made])
            except BaseException:
                await asyncio.shield(self._discard(access, [snapshot.id for snapshot in writer.made]))
                raise
            finally:
                await asyncio.shield(asyncio.to_thread(writer.clear))

    async def _discard(self, access: RepositoryAccess, made: Sequence[str]) -> None:
        """Take back what a backup that failed has made; what can't be taken back goes with a later prune."""
        if made:
            try:
                await self._engine.forget(access, made, prune=False)
            except SupervisorError as err:
                _LOGGER.warning("What is left of a failed backup stays until the next prune: %s", err)

    async def forget(self, name: str, slugs: Collection[str], *, prune: bool = False) -> None:
        """Remove backups; the space is freed by `prune`, now or later.

        Raises:
            NotFound: one of them is not there.
            SupervisorError: the repository can't be used.
        """
        async with self.work(name, "backup_repository_forget") as (repository, access):
            gone = {snapshot for slug in slugs for snapshot in repository.backup(slug).snapshots}
            await self._engine.forget(access, sorted(gone), prune=prune)
            await self._look(repository)

    async def prune(self, name: str, zone: tzinfo) -> list[str]:
        """Remove what the repository's retention does not keep and what was cut off, and free the space.

        Returns the slugs of the backups that were removed.

        Raises:
            SupervisorError: the repository can't be used.
        """
        async with self.work(name, "backup_repository_prune", cancellable=True) as (repository, access):
            await self._look(repository)
            going = expired(repository.backups.values(), repository.record.retention, zone, datetime.now(UTC))
            old = datetime.now(UTC) - _LEFTOVER_AGE
            gone = {snapshot for backup in going for snapshot in backup.snapshots}
            staying = {
                snapshot
                for backup in repository.backups.values()
                if backup not in going
                for snapshot in backup.snapshots
            }
            gone |= {snapshot.id for snapshot in repository.leftovers if snapshot.time < old}
            await self._engine.forget(access, sorted(gone - staying), prune=True)
            await self._look(repository)
            return [backup.slug for backup in going]

    async def verify(self, name: str, share: int) -> Verification:
        """Check the structure of the repository, and read and check `share` percent of the data (0 to 100).

        One share after the other is read, so that in the end all of it was. The outcome is remembered, also when it is
        bad; only then it is not raised.

        Raises:
            SupervisorError: it could not be checked at all (unreachable, locked …).
        """
        async with self.work(name, "backup_repository_verify", cancellable=True) as (repository, access):
            parts = 0 if share <= 0 else max(1, round(100 / share))
            last = repository.record.verification
            part = 0 if not parts else (last.part % parts) + 1 if last is not None and last.parts == parts else 1
            good, reason = True, ""
            try:
                await self._engine.verify(access, part, parts)
            except SupervisorError as err:
                if err.key != REPOSITORY_DAMAGED.key:
                    raise
                good, reason = False, str(err)
            outcome = Verification(datetime.now(UTC), good, reason, part, parts)
            await self._note(repository, attrs.evolve(repository.record, verification=outcome))
            return outcome

    @asynccontextmanager
    async def work(
        self, name: str, job: str, *, reference: str | None = None, cancellable: bool = False
    ) -> AsyncIterator[tuple[Repository, RepositoryAccess]]:
        """Make the block a job that has the repository for itself; give it and the way to it.

        Raises:
            NotFound: there is no such repository any more.
            SupervisorError: it can't be reached.
        """
        repository = self.get(name)
        async with self._jobs.run(
            job, reference=reference or name, lock=repository.lock, wait=True, cancellable=cancellable
        ) as running:
            if self._known.get(name) is not repository:
                raise NotFound(f"No backup repository {name}")
            access = await self.access(repository)
            running.validated()
            yield repository, access

    async def access(self, repository: Repository) -> RepositoryAccess:
        """Return how the engine opens the repository.

        Raises:
            Unavailable: the mount that it lies on is not there.
        """
        await self._check_reachable(repository.name, repository.record.place)
        return self._files.access(repository.name, repository.record.place)

    async def _check_reachable(self, name: str, place: Place) -> None:
        """Where a share is not mounted its folder is an empty one of this machine: nothing may be made there."""
        if place.kind is PlaceKind.FOLDER and await asyncio.to_thread(_leads_away, place.path, self._paths.backup):
            # Add-ons may write there. A link of theirs must not have root write into any folder of the machine.
            raise REPOSITORY_UNREACHABLE(repository=name, reason=f"a link leads out of {self._paths.backup}")
        if place.kind is not PlaceKind.MOUNT:
            return
        folder = self._files.mounts / place.mount
        if folder not in await asyncio.to_thread(mount_points):
            raise REPOSITORY_UNREACHABLE(repository=name, reason=f"the mount {place.mount} is not active")

    async def _look(self, repository: Repository) -> None:
        access = await self.access(repository)
        try:
            if repository.record.identity and repository.looked is None:
                await self._check_identity(repository, access)
            snapshots = await self._engine.snapshots(access)
        except SupervisorError as err:
            repository.problem = str(err)
            raise
        self._show(repository, snapshots)

    def _show(self, repository: Repository, snapshots: list[Snapshot]) -> None:
        before = repository.backups.keys()
        repository.backups, repository.leftovers = collect(snapshots)
        repository.snapshots = snapshots
        repository.looked, repository.problem = datetime.now(UTC), None
        if repository.backups.keys() != before:
            self._bus.publish(BackupRepositoryChanged(repository.name))

    async def _check_identity(self, repository: Repository, access: RepositoryAccess) -> None:
        identity = await self._engine.identity(access)
        if identity != repository.record.identity:
            raise REPOSITORY_MISSING(repository=repository.name, reason="another repository lies there now")

    async def _note(self, repository: Repository, changed: RepositoryRecord) -> None:
        before, repository.record = repository.record, changed
        try:
            await self._store(self._known)
        except BaseException:
            repository.record = before
            raise
        self._bus.publish(BackupRepositoryChanged(repository.name))

    async def _store(self, known: dict[str, Repository]) -> None:
        stored: dict[str, Any] = {name: repository.record.as_state() for name, repository in known.items()}
        await self._state.save({"repositories": stored})
        self._known = known


def _leads_away(folder: str, shared: Path) -> bool:
    """Tell whether a folder below `shared` really lies elsewhere. Blocking."""
    below = Path(folder).is_relative_to(shared)
    return below and not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(shared))
