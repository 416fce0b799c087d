"""What a backup of either kind, archive or in a repository, offers to those who want single files of it.

A path begins with the name of a part, which is that of its inner archive: `share/photos`, `local_x/data/log`,
`homeassistant/data`, `addons_local`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from supervisor.drivers.snapshot_engine import Entry
from supervisor.errors import Invalid

_LOCAL_ADDONS: Final = ("addons", "local")


class Browsable(Protocol):
    """One backup. Every call raises Invalid or NotFound for a path that is none in it."""

    async def entries(self, path: str) -> list[Entry]:
        """List a folder, with nothing for its path the parts; a file lists itself."""
        ...

    def reading(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give the content of a file, or of a folder as a tar archive that holds it under its own name.

        Only what came to its end without an error is whole.
        """
        ...

    async def fetch_path(self, path: str, target: Path) -> Path:
        """Write a file or folder below the empty folder `target`, which only root can enter; return where it is."""
        ...


def split_path(path: str) -> tuple[str, str]:
    """Return the part's name and the path in it, cleaned.

    Raises:
        Invalid: the path is empty or leads out of the backup.
    """
    if "\0" in path:
        raise Invalid("A path can't hold a NUL")
    parts = PurePosixPath("/" + path.strip("/")).parts[1:]
    if not parts or ".." in parts:
        raise Invalid(f"{path or 'Nothing'} is no path in a backup; it begins with the name of a part")
    if parts[:2] == _LOCAL_ADDONS:
        # What people call the folder; its part has a name without a slash.
        parts = ("_".join(parts[:2]), *parts[2:])
    return parts[0], "/".join(parts[1:])
