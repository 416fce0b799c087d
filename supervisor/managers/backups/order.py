"""What somebody wants to be saved, and where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from supervisor.errors import Invalid

from .backup import Location
from .metadata import BackupType

_FILE_NAME: Final = re.compile(r"[^\\/\x00-\x1f]+\.tar")
# A file system takes 255 bytes; while it is being written the name has a beginning and an ending more.
_MOST_BYTES: Final = 240


def check_file_name(name: str) -> str:
    """Return a name that somebody chose for a file of a backup.

    Raises:
        Invalid: it is none.
    """
    size = len(name.encode(errors="replace"))
    if not _FILE_NAME.fullmatch(name) or name.startswith(".") or size > _MOST_BYTES:
        raise Invalid(
            f"{name[:_MOST_BYTES]!r} is no name for the file of a backup; it ends in .tar, has no slashes, and at most "
            f"{_MOST_BYTES} bytes"
        )
    return name


@attrs.frozen
class Selection:
    """What to save. Add-ons that are not installed are left out."""

    homeassistant: bool = False
    addons: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@attrs.frozen
class Order:
    """What somebody wants. No `selection` is everything; no `locations` is the default one; the first is written to."""

    name: str = ""
    selection: Selection | None = None
    file_name: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    compressed: bool = True
    locations: tuple[Location, ...] | None = None
    exclude_database: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def type(self) -> BackupType:
        return BackupType.FULL if self.selection is None else BackupType.PARTIAL
