"""What an engine of deduplicating backup repositories can do for us; `restic.py` is one.

A repository holds snapshots: trees of files under their absolute paths, each with tags of ours. An engine keeps the
data encrypted with the repository's password and stores what did not change only once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import attrs

OnProgress = Callable[["Progress"], None]


@attrs.frozen
class Progress:
    """How far a run is, in bytes; `total` is None while the engine does not know it."""

    done: int
    total: int | None = None


class EntryKind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@attrs.frozen
class Entry:
    """A file, folder or link in a snapshot; `size` in bytes counts for files alone."""

    path: str
    kind: EntryKind
    size: int
    mode: int
    modified: datetime

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@attrs.frozen
class Snapshot:
    id: str
    time: datetime
    tags: tuple[str, ...]
    paths: tuple[str, ...]
    host: str


@attrs.frozen
class Unread:
    """Something that could not be read into a snapshot, and why."""

    path: str
    reason: str


@attrs.frozen
class Saved:
    """The outcome of a backup: `processed` bytes were looked at, `added` bytes of them were new.

    The identifier of `snapshot` may be the unambiguous beginning of the full one, and its time is about that of the
    engine. Where `unread` is not empty it lacks those files.
    """

    snapshot: Snapshot
    processed: int
    added: int
    unread: tuple[Unread, ...] = ()


@attrs.frozen
class Selection:
    """What goes into a snapshot: whole trees, less the paths in `excluded` with all that is below them.

    `parent` names the snapshot to compare with: a file whose times and size are as there is not read again.
    """

    paths: Sequence[Path]
    excluded: Sequence[Path] = ()
    parent: str | None = None


@attrs.frozen
class RepositoryAccess:
    """How a repository is opened. Secrets stay in files that only root can read; no value here is one.

    `url` is in the engine's own spelling. `settings` holds more of its options, `environment` more of its variables.
    """

    url: str
    password_file: Path
    cache: Path
    settings: tuple[str, ...] = ()
    environment: dict[str, str] = attrs.field(factory=dict)


class SnapshotEngine(Protocol):
    """The calls that managers make.

    Every call raises the errors named in `supervisor.errors` as REPOSITORY_…, `Timeout` when nothing moves any more,
    and `Unsupported` when the engine is not installed. A call that is cancelled ends the engine first.
    """

    async def version(self) -> str: ...

    async def init(self, access: RepositoryAccess) -> None:
        """Make a new, empty repository."""

    async def identity(self, access: RepositoryAccess) -> str:
        """Open the repository; return what tells it from every other one."""

    async def backup(
        self, access: RepositoryAccess, selection: Selection, tags: Sequence[str], on_progress: OnProgress
    ) -> Saved:
        """Make a snapshot."""

    async def snapshots(self, access: RepositoryAccess) -> list[Snapshot]:
        """List all snapshots, oldest first."""

    async def entries(self, access: RepositoryAccess, snapshot: str, folder: str) -> list[Entry]:
        """List what lies directly in a folder of a snapshot.

        Raises:
            ArchiveRefused: that is more than anybody could read.
        """

    async def entry(self, access: RepositoryAccess, snapshot: str, path: str) -> Entry | None:
        """Return what lies at a path of a snapshot, None when nothing does."""

    async def restore(
        self,
        access: RepositoryAccess,
        snapshot: str,
        paths: Sequence[str],
        target: Path,
        on_progress: OnProgress,
    ) -> None:
        """Write these trees of the snapshot below `target`, under their absolute paths, with owners, modes and times.

        `target` must be a folder that nobody but root can enter. Nothing is written but below it.

        Raises:
            ArchiveRefused: two entries have one name, or there are more than any backup has.
        """

    def read(
        self, access: RepositoryAccess, snapshot: str, path: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give the content of one file, or of a folder as a tar archive, piece by piece."""

    async def verify(self, access: RepositoryAccess, part: int, parts: int) -> None:
        """Check the structure, and read and check the given one of `parts` equal shares of the data; 0 reads none.

        Raises:
            SupervisorError: what is wrong, as REPOSITORY_DAMAGED; also every other reason why it could not be checked.
        """

    async def forget(self, access: RepositoryAccess, snapshots: Sequence[str], *, prune: bool) -> None:
        """Remove these snapshots, and with `prune` the data that no snapshot needs any more."""

    async def retag(self, access: RepositoryAccess, snapshot: str, tags: Sequence[str]) -> None:
        """Replace the tags of a snapshot, which gives it a new identifier."""

    async def unlock(self, access: RepositoryAccess) -> None:
        """Remove the locks that dead processes left behind; locks of living ones stay."""
