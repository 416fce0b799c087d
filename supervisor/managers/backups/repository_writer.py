"""Writes one backup into a repository: snapshot after snapshot, the one that makes it a backup last."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor.drivers.archive.content import Packed
from supervisor.drivers.archive.names import can_be_read, shown
from supervisor.drivers.folder import remove_tree
from supervisor.drivers.snapshot_engine import (
    OnProgress,
    RepositoryAccess,
    Saved,
    Selection,
    Snapshot,
    SnapshotEngine,
    Unread,
)
from supervisor.errors import REPOSITORY_SNAPSHOT_MISSING, NotFound, SupervisorError, Unavailable
from supervisor.state import write_atomic

from .repository_backup import HERE, Exclude, KeptPart, Part, Root, describe
from .repository_tags import encode

_LOGGER = logging.getLogger(__name__)

_METADATA: Final = "backup.json"
# A file that went while we looked is no failure: data that is in use changes all the time.
_GONE: Final = "no such file or directory"

Stored = Mapping[str, KeptPart | SupervisorError]
DescribeKept = Callable[[Mapping[str, KeptPart]], Mapping[str, Any]]


@attrs.frozen
class _Prepared:
    kept: KeptPart
    excluded: list[Path]


@attrs.define
class RepositoryWriter:
    """Used for one backup and then left. `stage` is a folder of ours for what exists only in memory.

    `known` are the snapshots of the repository: what did not change since the most similar one is not read again.
    `made` are those of this run; where one was `retagged` since, it has another identifier. `packed` tells of each part
    what is left out of it.
    """

    _engine: SnapshotEngine
    _access: RepositoryAccess
    _slug: str
    _stage: Path
    _known: Sequence[Snapshot]
    made: list[Snapshot] = attrs.field(factory=list, init=False)
    retagged: bool = attrs.field(default=False, init=False)
    packed: dict[str, Packed] = attrs.field(factory=dict, init=False)
    _kept: dict[str, KeptPart] = attrs.field(factory=dict, init=False)

    async def store(self, parts: Sequence[Part], on_progress: OnProgress) -> Stored:
        """Save the parts as they are now, in one snapshot; return for each where it lies or why it could not be saved.

        Raises:
            SupervisorError: nothing of it could be saved.
        """
        found, failed = await self._prepare(parts)
        if not found:
            return failed
        saved = await self._backup(found, (), encode(self._slug), on_progress)
        failed |= self._unsaved(found, saved.unread)
        stored = {name: attrs.evolve(part.kept, snapshot=saved.snapshot.id) for name, part in found.items()}
        self._kept |= {name: part for name, part in stored.items() if name not in failed}
        return {**stored, **failed}

    async def finish(self, metadata: DescribeKept, parts: Sequence[Part], on_progress: OnProgress) -> Stored:
        """Save the last parts (none is fine) and make all that was stored a backup.

        `metadata` is asked for the content of `backup.json` with the parts that were saved, by name.

        Raises:
            SupervisorError: there is no backup.
        """
        found, failed = await self._prepare(parts)
        here = {name: part.kept for name, part in found.items()}
        kept = {**self._kept, **here}
        content = metadata(kept)
        await asyncio.to_thread(self._write_metadata, content)
        tags = encode(self._slug, describe(content, kept))
        saved = await self._backup(found, (self._stage / _METADATA,), tags, on_progress)
        unsaved = self._unsaved(found, saved.unread)
        if unsaved:
            kept = {name: part for name, part in kept.items() if name not in unsaved}
            tags = encode(self._slug, describe(metadata(kept), kept))
            self.retagged = True
            await self._engine.retag(self._access, saved.snapshot.id, tags)
        return {**here, **failed, **unsaved}

    def _write_metadata(self, content: Mapping[str, Any]) -> None:
        self._stage.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._stage / _METADATA).write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")

    async def _prepare(self, parts: Sequence[Part]) -> tuple[dict[str, _Prepared], dict[str, SupervisorError]]:
        ready: dict[str, _Prepared] = {}
        failed: dict[str, SupervisorError] = {}
        for part in parts:
            try:
                ready[part.name] = await asyncio.to_thread(self._look_at, part)
            except OSError as err:
                failed[part.name] = NotFound(f"{part.name} can't be saved: {err.strerror} ({err.filename})")
        return ready, failed

    def _look_at(self, part: Part) -> _Prepared:
        """Write what exists only in memory, and look at what lies on the disk. Blocking."""
        size = sum(map(len, part.texts.values()))
        roots = {root.name: str(root.path) for root in part.roots}
        excluded: list[Path] = []
        if part.texts or part.folders:
            folder = self._stage / part.name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            roots[HERE] = str(folder)
            for name in part.folders:
                (folder / name).mkdir(exist_ok=True)
            for name, content in part.texts.items():
                write_atomic(folder / name, content)
        packed = self.packed[part.name] = Packed()
        for root in part.roots:
            size += _survey(root, excluded, packed)
        return _Prepared(KeptPart("", roots, size), excluded)

    async def _backup(
        self, found: Mapping[str, _Prepared], more: Sequence[Path], tags: Sequence[str], on_progress: OnProgress
    ) -> Saved:
        paths = [Path(path) for part in found.values() for path in part.kept.roots.values()]
        excluded = [path for part in found.values() for path in part.excluded]
        selection = Selection([*paths, *more], excluded, self._parent(paths))
        try:
            saved = await self._engine.backup(self._access, selection, tags, on_progress)
        except SupervisorError as err:
            if err.key != REPOSITORY_SNAPSHOT_MISSING.key or selection.parent is None:
                raise
            # Somebody removed the snapshot to compare with.
            selection = attrs.evolve(selection, parent=None)
            saved = await self._engine.backup(self._access, selection, tags, on_progress)
        self.made.append(saved.snapshot)
        return saved

    def _unsaved(self, found: Mapping[str, _Prepared], unread: Iterable[Unread]) -> dict[str, SupervisorError]:
        failed: dict[str, SupervisorError] = {}
        for one in unread:
            if _GONE in one.reason.lower():
                continue
            owners = [
                name
                for name, part in found.items()
                if any(_is_below(one.path, root) for root in part.kept.roots.values())
            ]
            if not owners:
                _LOGGER.warning("%s was not saved: %s", one.path, one.reason)
            for name in owners:
                failed.setdefault(name, Unavailable(f"{name} can't be saved: {one.path}: {one.reason}"))
        return failed

    def _parent(self, paths: Collection[Path]) -> str | None:
        wanted = set(map(str, paths))
        similar = [(len(wanted & set(snapshot.paths)), snapshot.time, snapshot.id) for snapshot in self._known]
        best = max(similar, default=None)
        return best[2] if best is not None and best[0] else None

    def clear(self) -> None:
        """Remove what was written for this run alone. Blocking."""
        remove_tree(self._stage)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _survey(root: Root, excluded: list[Path], packed: Packed) -> int:
    """Return how many bytes there are; add to `excluded` what stays out.

    That is also what is no file, folder or link, and what no restore would take; `packed` counts those.

    Raises:
        OSError: the root itself can't be looked at; what can't be read below it the engine will tell.
    """
    status = root.path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    size = 0
    pending = [(os.fspath(root.path), "")]
    while pending:
        folder, inner = pending.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                below = f"{inner}{entry.name}"
                if _stays_out(entry, below, root.exclude):
                    excluded.append(Path(entry.path))
                elif not can_be_read(f"{root.name}/{below}"):
                    excluded.append(Path(entry.path))
                    packed.example = packed.example or shown(below)
                    packed.beyond += 1
                elif entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{below}/"))
                elif entry.is_file(follow_symlinks=False):
                    with suppress(OSError):
                        size += entry.stat(follow_symlinks=False).st_size
    return size


def _stays_out(entry: os.DirEntry[str], below: str, exclude: Exclude) -> bool:
    plain = entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False) or entry.is_symlink()
    return not plain or exclude(below)
