"""Which backups there are (backup contract §7): read from the files, kept in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from supervisor.drivers.archive.reader import ArchiveReader
from supervisor.errors import BackupError, BackupFileNotFoundError, NotFound
from supervisor.managers.resolution import Resolution

from .backup import Backup, Copy, Location
from .locations import Locations
from .metadata import Metadata, read_metadata

_LOGGER = logging.getLogger(__name__)

UNFINISHED: Final = ".unfinished"


def unfinished(path: Path) -> Path:
    """Return where a backup is while it is not whole; such a file is never listed."""
    return path.with_name(f".{path.name}{UNFINISHED}")


def read_file(path: Path) -> tuple[Metadata, int]:
    """Read what a file says about itself, and its size. Blocking.

    Raises:
        NotFound, BackupError: it is no backup, or can't be read.
    """
    with ArchiveReader(path) as archive:
        return read_metadata(archive.metadata()), archive.size


class Catalogue:
    def __init__(self, locations: Locations, resolution: Resolution) -> None:
        self._locations = locations
        self._resolution = resolution
        self._backups: dict[str, Backup] = {}
        self._scanning = asyncio.Lock()
        # Where backups are being written, and where one was that failed: the removal may have met no mount there.
        self._drafts: set[Path] = set()
        self._left: set[Path] = set()
        self._elsewhere: dict[Location, tuple[Backup, ...]] = {}
        # What was added or removed since the scan that is under way began: it may have seen either.
        self._changed: set[tuple[str, Location]] = set()
        self.backups: Mapping[str, Backup] = MappingProxyType(self._backups)

    def get(self, slug: str) -> Backup:
        """Raise NotFound when there is no such backup."""
        if (backup := self._backups.get(slug)) is None:
            raise NotFound("Backup does not exist")
        return backup

    def find(self, slug: str) -> Backup | None:
        return self._backups.get(slug)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that can be looked into now."""
        return tuple(self._locations.usable.values())

    @asynccontextmanager
    async def draft(self, path: Path) -> AsyncIterator[Path]:
        """Yield where a backup is while it is not whole. When it fails nothing is left there.

        Where that can't be removed, as when the mount has gone, it is when the mount is back.
        """
        draft = unfinished(path)
        self._drafts.add(draft)
        try:
            yield draft
        except BaseException:
            self._left.add(draft)
            await asyncio.shield(asyncio.to_thread(_remove, [draft]))
            raise
        finally:
            self._drafts.discard(draft)

    async def _remove_left(self) -> None:
        folders = set(self._locations.usable.values())
        left = [draft for draft in self._left - self._drafts if draft.parent in folders]
        await asyncio.to_thread(_remove, left)

    async def sweep(self) -> None:
        """Remove what a crash left of backups that were being made or received."""
        for folder in self._locations.usable.values():
            for name in await asyncio.to_thread(_sweep, folder):
                _LOGGER.warning("A backup was cut off: %s is removed", name)

    async def reload(self) -> None:
        """Read all locations anew."""
        async with self._scanning:
            await self._remove_left()
            self._changed.clear()
            found: dict[str, Backup] = {}
            for location, folder in self._locations.usable.items():
                await self._scan(location, folder, found)
            for slug, location in self._changed:
                self._keep_known(slug, location, found)
            for kept in self._elsewhere.values():
                self._merge_all(kept, found)
            self._backups.clear()
            self._backups.update(found)
        _LOGGER.info("%d backups found", len(found))

    async def reload_location(self, location: Location) -> None:
        """Read one location anew, after something there was not as expected."""
        if location in self._elsewhere:
            return
        async with self._scanning:
            self._changed.clear()
            folder = self._locations.usable.get(location)
            known: dict[str, Backup] = {}
            if folder is not None:
                await self._scan(location, folder, known)
            for slug, changed in self._changed:
                if changed == location:
                    self._keep_known(slug, location, known)
            for slug in list(self._backups):
                _drop(self._backups, slug, location)
            for backup in known.values():
                self._merge(backup, self._backups)

    def _keep_known(self, slug: str, location: Location, found: dict[str, Backup]) -> None:
        """Have what is known of a copy count, and not what a scan saw of it."""
        _drop(found, slug, location)
        backup = self._backups.get(slug)
        if backup is not None and (copy := backup.copies.get(location)) is not None:
            self._merge(Backup(backup.metadata, {location: copy}), found)

    async def _scan(self, location: Location, folder: Path, found: dict[str, Backup]) -> None:
        try:
            paths = await asyncio.to_thread(_archives, folder)
        except OSError as err:
            _LOGGER.error("The backups in %s can't be listed: %s", folder, err.strerror)
            self.judge(location, err)
            return
        results = await asyncio.gather(*(asyncio.to_thread(read_file, path) for path in paths), return_exceptions=True)
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, BackupError | NotFound):
                _LOGGER.error("%s is no backup that could be listed: %s", path, result)
            elif isinstance(result, Exception):
                # Whatever is in one file, the others are listed.
                _LOGGER.error("%s can't be looked at", path, exc_info=result)
            elif isinstance(result, BaseException):
                raise result
            else:
                metadata, size = result
                self._merge(Backup(metadata, {location: Copy(path, metadata.protected, size)}), found)

    def keep_elsewhere(self, location: Location, backups: Iterable[Backup]) -> None:
        """Take over what a location holds that is no folder; it replaces what was known of it."""
        self._elsewhere[location] = tuple(backups)
        for slug in list(self._backups):
            _drop(self._backups, slug, location)
        self._merge_all(self._elsewhere[location], self._backups)

    def forget_elsewhere(self, location: Location) -> None:
        self.keep_elsewhere(location, ())
        del self._elsewhere[location]

    def _merge_all(self, backups: Iterable[Backup], known: dict[str, Backup]) -> None:
        for backup in backups:
            self._merge(Backup(backup.metadata, dict(backup.copies)), known)

    def _merge(self, new: Backup, known: dict[str, Backup]) -> bool:
        """Add a copy to what is known of its backup; False when both don't speak of the same."""
        backup = known.get(new.slug)
        if backup is None:
            known[new.slug] = new
            return True
        if not backup.metadata.same_as(new.metadata):
            _LOGGER.error(
                "%s is left out: %s says something else about backup %s", new.copy.path, backup.copy.path, new.slug
            )
            return False
        for location, copy in new.copies.items():
            if location in backup.copies and backup.copies[location].path != copy.path:
                _LOGGER.warning("Backup %s is in %s twice; %s counts", new.slug, copy.path.parent, copy.path.name)
            backup.copies[location] = copy
        return True

    def add(self, metadata: Metadata, location: Location, path: Path, size: int) -> Backup:
        """List a file.

        Raises:
            BackupError: another file says something else about the same backup.
        """
        if not self._merge(Backup(metadata, {location: Copy(path, metadata.protected, size)}), self._backups):
            raise BackupError(f"Cannot import backup {metadata.slug} due to: another backup has the same slug")
        self._changed.add((metadata.slug, location))
        return self._backups[metadata.slug]

    async def remove(self, backup: Backup, locations: Iterable[Location]) -> None:
        """Remove the files of a backup in some locations; others stay.

        Raises:
            BackupFileNotFoundError: a file has vanished; the location is read anew.
            BackupError: a file can't be removed.
        """
        for location in locations:
            copy = backup.copies.get(location)
            if copy is None:
                continue
            try:
                await asyncio.to_thread(copy.path.unlink)
            except FileNotFoundError:
                await self.reload_location(location)
                raise BackupFileNotFoundError(f"The file of backup {backup.slug} at {copy.path} has vanished") from None
            except OSError as err:
                self.judge(location, err)
                raise BackupError(f"Cannot delete backup at {copy.path}: {err.strerror}") from err
            self._changed.add((backup.slug, location))
            _drop(self._backups, backup.slug, location)

    def judge(self, location: Location, err: OSError) -> None:
        """Take a sign of a dying disk for what it is."""
        if self._locations.is_on_data_disk(location):
            self._resolution.judge_disk(err.errno)


def _drop(backups: dict[str, Backup], slug: str, location: Location) -> None:
    """Forget a copy, and with the last one its backup; what is not there is fine."""
    if (backup := backups.get(slug)) is not None:
        backup.copies.pop(location, None)
        if not backup.copies:
            del backups[slug]


def _archives(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
    except FileNotFoundError:
        return []


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _sweep(folder: Path) -> list[str]:
    removed = []
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(".") and path.name.endswith(UNFINISHED):
                path.unlink(missing_ok=True)
                removed.append(path.name)
    return removed
