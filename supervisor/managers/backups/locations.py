"""Where backups may lie (backup contract §1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import attrs

from supervisor.errors import MOUNT_NOT_FOUND, BackupMountDownError, ErrorKind, Invalid
from supervisor.paths import DataPaths

from .backup import CLOUD, Location, location_order

# In bytes. Without any room on the data disk nothing here could save its state, and add-ons not their databases.
RESERVE: Final = 512 * 1024 * 1024
BACKUP_MOUNT_DOWN = ErrorKind("backup_mount_down", BackupMountDownError, "{mount} is down, cannot back up to it")


class BackupMounts(Protocol):
    """The mounts that backups can be kept on."""

    @property
    def default_backup_mount(self) -> str | None:
        """The mount that backups go to when nobody says where, None for the local folder."""
        ...

    @property
    def active(self) -> Mapping[str, Path]:
        """The mounts for backups that can be used now, as folders."""
        ...

    def is_backup_mount(self, name: str) -> bool | None:
        """Tell whether a mount is for backups; None when there is none of that name."""
        ...

    async def probe(self, name: str) -> bool:
        """Tell whether a mount can really be used now, asking the machine."""
        ...


@attrs.frozen
class Locations:
    """Knows every location and its folder."""

    _paths: DataPaths
    _mounts: BackupMounts

    @property
    def default(self) -> Location:
        return self._mounts.default_backup_mount

    @property
    def usable(self) -> dict[Location, Path]:
        """The locations that can be looked into now, in their order."""
        mounts: dict[Location, Path] = dict(self._mounts.active.items())
        folders = {None: self._paths.backup, CLOUD: self._paths.core_backup, **mounts}
        return dict(sorted(folders.items(), key=lambda pair: location_order(pair[0])))

    def is_on_data_disk(self, location: Location) -> bool:
        return location in (None, CLOUD)

    def check(self, location: Location) -> None:
        """Make sure that there is such a location, whether it can be used now or not.

        Raises:
            NotFound: there is none.
            Invalid: it is a mount for something else.
        """
        if location in (None, CLOUD):
            return
        purpose = self._mounts.is_backup_mount(location)
        if purpose is None:
            raise MOUNT_NOT_FOUND(name=location)
        if not purpose:
            raise Invalid(f"Mount {location} is not used for backups, cannot backup to there")

    async def target(self, location: Location) -> Path:
        """Return the folder to write to.

        Raises:
            NotFound: there is no such location.
            Invalid: it is a mount for something else.
            BackupMountDownError: it can't be written to now.
        """
        if location is None:
            return self._paths.backup
        if location == CLOUD:
            return self._paths.core_backup
        self.check(location)
        folder = self._mounts.active.get(location)
        if folder is None or not await self._mounts.probe(location):
            raise BACKUP_MOUNT_DOWN(mount=location)
        return folder
