"""Takes in backups from elsewhere (backup contract §12)."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import attrs

from supervisor.drivers.archive.files import put_in_place
from supervisor.drivers.archive.work import Work, in_thread
from supervisor.errors import BackupError, BackupFileExistError, NotFound
from supervisor.jobs import Job, JobManager
from supervisor.model.amounts import size_text

from .backup import Backup, Location
from .catalogue import Catalogue, read_file
from .copies import Copies
from .locations import RESERVE, Locations
from .metadata import Metadata
from .order import check_file_name

_LOGGER = logging.getLogger(__name__)

_PIECE = 1024 * 1024


@attrs.frozen
class Imports:
    _jobs: JobManager
    _locations: Locations
    _catalogue: Catalogue
    _copies: Copies

    async def receive(
        self, pieces: AsyncIterator[bytes], locations: tuple[Location, ...], file_name: str | None
    ) -> Backup:
        """Write a backup to the first location as it comes in, list it, and copy it to the others.

        It takes as much memory as one piece, whatever its size. What is not taken leaves nothing.

        Raises:
            Invalid: the file's name, or what comes, is no backup.
            BackupError: the disk refused, or there is another backup of that slug or name.
        """
        name = check_file_name(file_name) if file_name else None
        folder = await self._locations.target(locations[0])
        for location in locations[1:]:
            self._locations.check(location)
        async with self._catalogue.draft(folder / f"{secrets.token_hex(8)}.tar") as draft:
            await self._write(draft, pieces, locations[0])
            # Written where the mount is, and not where it has been.
            await self._locations.target(locations[0])
            async with self._jobs.run("backup_manager_import_backup") as job:
                return await self._take_in(draft, folder, name, locations, job)

    async def _write(self, draft: Path, pieces: AsyncIterator[bytes], location: Location) -> None:
        reserve = RESERVE if self._locations.is_on_data_disk(location) else 0
        try:
            descriptor = await asyncio.to_thread(os.open, draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                pending = bytearray()
                async for piece in pieces:
                    pending += piece
                    if len(pending) >= _PIECE:
                        await _write_all(descriptor, pending, reserve)
                        pending = bytearray()
                await _write_all(descriptor, pending, reserve)
                await in_thread(Work(), lambda: os.fsync(descriptor))
            finally:
                os.close(descriptor)
        except OSError as err:
            self._catalogue.judge(location, err)
            raise BackupError(f"The upload can't be written: {err.strerror}") from err

    async def _take_in(
        self, draft: Path, folder: Path, name: str | None, locations: tuple[Location, ...], job: Job
    ) -> Backup:
        metadata, size = await asyncio.to_thread(read_file, draft)
        job.update(reference=metadata.slug)
        target = folder / (name or f"{metadata.slug}.tar")
        self._check_known(metadata)
        await self._place(draft, target, metadata)
        backup = self._catalogue.add(metadata, locations[0], target, size)
        if len(locations) > 1:
            job.stage("copy_additional_locations")
            await self._copies.make(backup, locations[1:], job)
        _LOGGER.info("Backup %s was uploaded: %s, %s", metadata.slug, target, size_text(size))
        return backup

    def _check_known(self, metadata: Metadata) -> None:
        known = self._catalogue.find(metadata.slug)
        if known is not None and not known.metadata.same_as(metadata):
            raise BackupError(f"Cannot import backup {metadata.slug} due to: another backup has the same slug")

    async def _place(self, draft: Path, target: Path, metadata: Metadata) -> None:
        """Give the file its name. Only an older copy of the same backup is replaced."""
        try:
            await asyncio.to_thread(put_in_place, draft, target)
        except FileExistsError:
            try:
                present, _ = await asyncio.to_thread(read_file, target)
            except (BackupError, NotFound):
                present = None
            if present is None or not present.same_as(metadata):
                raise BackupFileExistError(f"There is another file {target.name} already; it is left alone") from None
            try:
                await asyncio.to_thread(draft.replace, target)
            except OSError as err:
                raise BackupError(f"The upload can't be put in place: {err.strerror}") from err
        except OSError as err:
            raise BackupError(f"The upload can't be put in place: {err.strerror}") from err


async def _write_all(descriptor: int, data: bytearray, reserve: int) -> None:
    """Write in a thread, and wait for it in any case: the file must not be closed under it.

    Raises:
        OSError: the disk refused, or less than `reserve` bytes would be left on it.
    """

    def write() -> None:
        if reserve:
            disk = os.fstatvfs(descriptor)
            if disk.f_bavail * disk.f_frsize < reserve + len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                at += os.write(descriptor, view[at:])

    await in_thread(Work(), write)
