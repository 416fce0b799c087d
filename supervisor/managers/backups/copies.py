"""More copies of a backup (backup contract §15)."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Iterable

import attrs

from supervisor.drivers.archive.files import copy_file, put_in_place
from supervisor.drivers.archive.work import Work, in_thread
from supervisor.errors import BackupDataDiskBadMessageError, BackupError, BackupFileExistError, SupervisorError
from supervisor.jobs import Job, JobManager
from supervisor.jobs.job import JobError

from .backup import Backup, Location
from .catalogue import Catalogue
from .indexes import Indexes
from .locations import Locations
from .progress import ByteProgress

_LOGGER = logging.getLogger(__name__)


@attrs.frozen
class Copies:
    _jobs: JobManager
    _locations: Locations
    _catalogue: Catalogue
    _indexes: Indexes

    async def make(self, backup: Backup, locations: Iterable[Location], job: Job) -> None:
        """Copy a backup to more locations; one that fails costs only itself and is told on its job."""
        async with self._jobs.run("backup_copy_to_additional_locations", keep=True) as group:
            for location in locations:
                if location in backup.copies:
                    continue
                progress = ByteProgress(job, backup.copy.size)
                try:
                    async with self._jobs.run("backup_copy_to_location", reference=location, keep=True):
                        await self._copy(backup, location, progress.work())
                except SupervisorError as err:
                    _LOGGER.error("Backup %s is not copied to %s: %s", backup.slug, location or "the local folder", err)
                    group.errors.append(JobError.of(err, job.current_stage))

    async def _copy(self, backup: Backup, location: Location, work: Work) -> None:
        folder = await self._locations.target(location)
        source = backup.copy
        target = folder / source.path.name
        try:
            async with self._catalogue.draft(target) as draft:
                await in_thread(work, lambda: copy_file(source.path, draft, work))
                # Written where the mount is, and not where it has been.
                await self._locations.target(location)
                await asyncio.to_thread(put_in_place, draft, target)
                await asyncio.to_thread(self._indexes.copy, source.path, target, backup.slug)
        except FileExistsError:
            raise BackupFileExistError(f"There is a file {target.name} already; it is left alone") from None
        except OSError as err:
            self._catalogue.judge(location, err)
            message = f"Could not copy backup to {location or 'the local folder'} due to: {err.strerror}"
            kind = BackupDataDiskBadMessageError if err.errno == errno.EBADMSG else BackupError
            raise kind(message) from err
        self._catalogue.add(attrs.evolve(backup.metadata, protected=source.protected), location, target, source.size)
