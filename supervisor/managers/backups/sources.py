"""What a backup is restored from: a file, or a repository."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import attrs

from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.unpack import pick, unpack
from supervisor.drivers.archive.work import in_thread, opened

from .metadata import Metadata
from .progress import ByteProgress


class Source(Protocol):
    """A backup that was opened. Items are named as in the description: `share`, `addons/local`, an add-on's slug.

    `secret` tells whether it is encrypted.
    """

    @property
    def secret(self) -> bool: ...

    def holds(self, item: str) -> bool: ...

    def size_of(self, items: Iterable[str]) -> int:
        """Return how many bytes are to be read for these items."""
        ...

    async def unpack(self, item: str, target: Path, rules: Rules, progress: ByteProgress) -> None:
        """Put an item into the empty folder `target`.

        Raises:
            BackupError, OSError: it can't be; `target` then holds something of it.
        """
        ...

    async def pick(self, item: str, names: set[str], progress: ByteProgress) -> dict[str, bytes]:
        """Return these small files of an item; what is not there is left out.

        Raises:
            BackupError: it can't be read.
        """
        ...


@attrs.frozen
class ArchiveSource:
    """A file."""

    _archive: ArchiveReader
    _metadata: Metadata
    _keyring: Keyring | None

    @property
    def secret(self) -> bool:
        return self._keyring is not None

    def holds(self, item: str) -> bool:
        return self._metadata.member(item) in self._archive.inner

    def size_of(self, items: Iterable[str]) -> int:
        names = {self._metadata.member(item) for item in items}
        return sum(part.size for part in self._archive.inner.values() if part.name in names)

    async def unpack(self, item: str, target: Path, rules: Rules, progress: ByteProgress) -> None:
        part, work = self._archive.inner[self._metadata.member(item)], progress.work()
        await in_thread(work, lambda: unpack(part, self._keyring, target, rules, work))

    async def pick(self, item: str, names: set[str], progress: ByteProgress) -> dict[str, bytes]:
        part, work = self._archive.inner[self._metadata.member(item)], progress.work()
        return await in_thread(work, lambda: pick(part, self._keyring, names, work))


@asynccontextmanager
async def archive_source(path: Path, metadata: Metadata, keyring: Keyring | None) -> AsyncIterator[Source]:
    """Open a file."""
    async with opened(ArchiveReader(path)) as archive:
        yield ArchiveSource(archive, metadata, keyring)
