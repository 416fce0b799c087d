"""What a backup in a repository looks like to somebody who walks through it: its parts, and their content."""

from __future__ import annotations

import attrs

from supervisor.drivers.snapshot_engine import Entry, EntryKind, RepositoryAccess, SnapshotEngine
from supervisor.errors import BACKUP_PATH_NOT_FOUND

from .browsing import split_path
from .repository_backup import HERE, KeptPart, RepositoryBackup


async def listed(engine: SnapshotEngine, access: RepositoryAccess, backup: RepositoryBackup, path: str) -> list[Entry]:
    """List a folder (`part/path/in/it`, nothing for the parts themselves); paths of entries begin with the part's name.

    Raises:
        Invalid, NotFound: there is no such path in the backup.
        SupervisorError: the repository can't be read.
    """
    if not path.strip("/"):
        return [
            Entry(name, EntryKind.FOLDER, part.size, 0o755, backup.date) for name, part in sorted(backup.parts.items())
        ]
    name, inner = split_path(path)
    if not inner:
        return await _top(engine, access, backup.part(name), name)
    part, _, inside = backup.locate(path)
    entries = await engine.entries(access, part.snapshot, inside)
    if not entries:
        return await _itself(engine, access, backup, path)
    return [attrs.evolve(entry, path=f"{name}/{inner}/{entry.name}") for entry in entries]


async def _itself(engine: SnapshotEngine, access: RepositoryAccess, backup: RepositoryBackup, path: str) -> list[Entry]:
    """Tell an empty folder, which holds nothing, from a file, which is listed itself, and from what is not there."""
    entry = await found(engine, access, backup, path)
    return [] if entry.kind is EntryKind.FOLDER else [attrs.evolve(entry, path="/".join(split_path(path)))]


async def found(engine: SnapshotEngine, access: RepositoryAccess, backup: RepositoryBackup, path: str) -> Entry:
    """Return what is at a path; the entry's own path is that in the snapshot.

    Raises:
        Invalid, NotFound: there is no such path in the backup.
        SupervisorError: the repository can't be read.
    """
    part, _, inside = backup.locate(path)
    if (entry := await engine.entry(access, part.snapshot, inside)) is not None:
        return entry
    raise BACKUP_PATH_NOT_FOUND(slug=backup.slug, path=path)


async def _top(engine: SnapshotEngine, access: RepositoryAccess, part: KeptPart, name: str) -> list[Entry]:
    """List a part itself: the content of its own root, and its other roots under their names."""
    entries: dict[str, Entry] = {}
    if HERE in part.roots:
        for entry in await engine.entries(access, part.snapshot, part.roots[HERE]):
            entries[entry.name] = attrs.evolve(entry, path=f"{name}/{entry.name}")
    for root, path in part.roots.items():
        if root == HERE:
            continue
        if (one := await engine.entry(access, part.snapshot, path)) is not None:
            entries[root] = attrs.evolve(one, path=f"{name}/{root}")
    return [entries[key] for key in sorted(entries)]
