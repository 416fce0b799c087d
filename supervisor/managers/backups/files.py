"""Single files of backups, whichever kind those are: listed, read, and put back to where they were."""

from __future__ import annotations

import asyncio

import attrs

from supervisor.jobs import JobCondition, JobManager
from supervisor.managers.host import Host
from supervisor.paths import DataPaths

from .archive_files import ArchiveFiles
from .backup import Location, RepositoryCopy
from .browsing import Browsable
from .catalogue import Catalogue
from .freezing import LOCK
from .indexes import Indexes
from .locations import RESERVE
from .opening import keyring_of
from .path_restore import live_place, restore_path
from .repository_contents import RepositoryContents


@attrs.frozen
class BackupFiles:
    _catalogue: Catalogue
    _repositories: RepositoryContents
    _indexes: Indexes
    _jobs: JobManager
    _host: Host
    _paths: DataPaths

    def of(self, slug: str, location: Location, password: str | None) -> Browsable:
        """Return the files of a backup's copy in one of its locations.

        Raises:
            NotFound: there is no such backup.
            BackupInvalidError: it has no copy there.
        """
        backup = self._catalogue.get(slug)
        copy = backup.copy_in(location)
        if isinstance(copy, RepositoryCopy):
            return self._repositories.of(copy.repository, slug)
        keyring = keyring_of(copy, password)
        return ArchiveFiles(
            backup,
            copy,
            keyring,
            self._indexes,
            self._jobs,
            self._room,
            lambda: self._catalogue.reload_location(location),
        )

    async def restore_path(self, slug: str, location: Location, password: str | None, path: str) -> None:
        """Put one file or folder (`part/path`) back to where it was; what is there now is replaced.

        Raises:
            Invalid, NotFound: there is no such path in the backup, or nothing to put it back into.
            SupervisorError: it can't be read or written.
        """
        files = self.of(slug, location, password)
        live_place(self._paths, path)
        async with self._jobs.run(
            "backup_manager_restore_path",
            reference=slug,
            conditions=(JobCondition.RUNNING,),
            lock=LOCK,
            cancellable=True,
        ):
            await restore_path(files, path, self._paths, self._paths.tmp / "backup")

    async def tidy(self, *, drafts: bool = False) -> None:
        """Remove the indexes of files that are gone; `drafts` also what a crash left, when none is being written."""
        paths = [copy.path for backup in self._catalogue.backups.values() for copy in backup.copies.values()]
        await asyncio.to_thread(self._indexes.sweep, self._catalogue.folders, paths, drafts=drafts)

    async def _room(self) -> int:
        return max(0, await self._host.free_bytes() - RESERVE)
