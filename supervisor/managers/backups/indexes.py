"""The indexes of backups that are files: kept by the daemon, as many as fit, each for one part of one file.

The name of an index says what it is of: the file, the part, and what the file was like. An index of a file that has
changed since is never found.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from supervisor.drivers.archive.index import Index, IndexWriter, Recorder
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader, Inner
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.walk import FrontToBack, Indexed, Look
from supervisor.drivers.archive.work import Work
from supervisor.errors import BackupError, NotFound

_LOGGER = logging.getLogger(__name__)

MAX_TOTAL: Final = 64 * 1024 * 1024
_DIGITS: Final = 24


@attrs.frozen
class Indexes:
    """Everything here is blocking. What goes wrong with an index costs only time: without one all is read."""

    _folder: Path
    _limit: int = MAX_TOTAL

    @contextmanager
    def look(
        self, path: Path, slug: str, part: Inner, keyring: Keyring | None, rules: Rules, work: Work
    ) -> Iterator[Look]:
        """Give a way to look into a part of the file `path`: by its index, or such that it has one afterwards."""
        name = _name(path, slug, part)
        with ExitStack() as stack:
            if (index := self._opened(name, keyring, stack)) is not None:
                yield Indexed(part, keyring, rules, work, index)
                return
            writer = stack.enter_context(self.writer(keyring))
            try:
                yield FrontToBack(part, keyring, rules, work, Recorder(writer))
            finally:
                # It is whole, too, when what was looked for is not there.
                if writer.path is not None:
                    self._keep(writer.path, name)

    def writer(self, keyring: Keyring | None) -> IndexWriter:
        """Return what writes an index of a part that is encrypted with these keys."""
        return IndexWriter(self._folder, keyring)

    @contextmanager
    def drafts(self) -> Iterator[dict[str, Path]]:
        """Give a place to note the indexes of a file that is being made, by its parts; those not kept are removed."""
        noted: dict[str, Path] = {}
        try:
            yield noted
        finally:
            for draft in noted.values():
                _remove(draft)

    def keep(self, path: Path, slug: str, drafts: dict[str, Path]) -> None:
        """Keep the indexes of a new file."""
        with suppress(NotFound, BackupError), ArchiveReader(path) as archive:
            for member, draft in drafts.items():
                self._keep(draft, _name(path, slug, archive.inner[member]))

    def copy(self, source: Path, target: Path, slug: str) -> None:
        """Give a copy of a file the indexes of that."""
        with suppress(NotFound, BackupError), ArchiveReader(source) as one, ArchiveReader(target) as other:
            for member, part in one.inner.items():
                name = _name(target, slug, other.inner[member])
                with suppress(OSError):
                    os.link(self._folder / _name(source, slug, part), self._folder / name)

    def sweep(self, folders: Iterable[Path], paths: Iterable[Path], *, drafts: bool = False) -> None:
        """Remove the indexes of all files in these folders but those at `paths`.

        What lies elsewhere is kept: a mount that is away comes back. `drafts` are those that a crash left half written;
        they go, too, if wanted.
        """
        looked_at = {_digest(os.fsencode(folder)) for folder in folders}
        known = {_digest(os.fsencode(path)) for path in paths}
        for index in self._kept():
            folder, _, rest = index.name.partition("-")
            gone = folder in looked_at and rest.partition("-")[0] not in known
            if drafts if index.name.startswith(".") else gone:
                _remove(index)

    def _opened(self, name: str, keyring: Keyring | None, stack: ExitStack) -> Index | None:
        path = self._folder / name
        try:
            index = stack.enter_context(Index(path, keyring))
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, BackupError) as err:
            _LOGGER.warning("The index %s of a backup is made anew: %s", name, err)
            _remove(path)
            return None
        return index

    def _keep(self, draft: Path, name: str) -> None:
        same = name.rpartition("-")[0]
        for index in self._kept():
            if index.name.startswith(f"{same}-"):
                _remove(index)
        try:
            draft.rename(self._folder / name)
        except OSError:
            _remove(draft)
        self._fit()

    def _fit(self) -> None:
        """Remove those that were not used for the longest time, until the rest fits."""
        total = 0
        kept = []
        for index in self._kept():
            with suppress(OSError):
                kept.append((index.stat(), index))
        for status, index in sorted(kept, key=lambda pair: pair[0].st_mtime_ns, reverse=True):
            total += status.st_size
            if total > self._limit and not index.name.startswith("."):
                _remove(index)

    def _kept(self) -> list[Path]:
        try:
            return list(self._folder.iterdir())
        except OSError:
            return []


def _name(path: Path, slug: str, part: Inner) -> str:
    status = os.fstat(part.descriptor)
    what = f"{slug} {status.st_size} {status.st_mtime_ns} {part.offset} {part.size}"
    place = (os.fsencode(path.parent), os.fsencode(path), os.fsencode(part.name))
    return "-".join(map(_digest, (*place, what.encode())))


def _digest(what: bytes) -> str:
    return hashlib.sha256(what).hexdigest()[:_DIGITS]


def _remove(index: Path) -> None:
    with suppress(OSError):
        index.unlink(missing_ok=True)
