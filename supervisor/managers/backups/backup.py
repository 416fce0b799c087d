"""One backup, which may lie in several places."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import attrs

from supervisor.const import MIB
from supervisor.errors import BackupInvalidError

from .metadata import Metadata

CLOUD: Final = ".cloud_backup"
LOCAL_ATTRIBUTE: Final = ".local"
Location = str | None


def location_order(location: Location) -> tuple[bool, str]:
    """Sort the local folder first, the others by name."""
    return (location is not None, location or "")


@attrs.frozen
class Copy:
    """The file of a backup in one location. `size` is in bytes."""

    path: Path
    protected: bool
    size: int


@attrs.frozen
class RepositoryCopy(Copy):
    """A backup in a repository: no file of its own. `size` is what restoring it would write."""

    repository: str


@attrs.define(eq=False)
class Backup:
    """`copies` is never empty while the backup is listed."""

    metadata: Metadata
    copies: dict[Location, Copy]

    @property
    def slug(self) -> str:
        return self.metadata.slug

    @property
    def locations(self) -> tuple[Location, ...]:
        """Where it lies; the transient folder counts only when it is the only one."""
        known = sorted(self.copies, key=location_order)
        return tuple(location for location in known if location != CLOUD) or tuple(known)

    @property
    def location(self) -> Location:
        return self.locations[0]

    @property
    def copy(self) -> Copy:
        """The copy that is used when nobody asks for another one."""
        return self.copies[self.location]

    def copy_in(self, location: Location) -> Copy:
        """Return the copy in one of its locations.

        Raises:
            BackupInvalidError: it has none there.
        """
        if (copy := self.copies.get(location)) is None:
            raise BackupInvalidError(f"Backup {self.slug} is not in location {location or LOCAL_ATTRIBUTE}")
        return copy

    @property
    def hidden(self) -> bool:
        return self.location == CLOUD

    @property
    def size(self) -> float:
        """Return the size in MiB, with two digits."""
        return round(self.copy.size / MIB, 2)

    def download_name(self, location: Location) -> str:
        """Return the name of the file as people get it."""
        name = self.copies[location].path.name
        if name != f"{self.slug}.tar":
            return name
        readable = re.sub(r"[^A-Za-z0-9]+", "_", self.metadata.name)
        return name if not readable.strip("_") else f"{readable}.tar"
