"""What a backup in a repository looks like to somebody who walks through it: its parts, and their content."""

from __future__ import annotations

import attrs

from supervisor.drivers.snapshot_engine import Entry, EntryKind, RepositoryAccess, SnapshotEngine
from supervisor.errors import NotFound

from .repository_backup import HERE, KeptPart, RepositoryBackup, split_path


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
    found = await engine.entries(access, part.snapshot, inside)
    if not found:
        return await _itself(engine, access, backup, path)
    return [attrs.evolve(entry, path=f"{name}/{inner}/{entry.name}") for entry in found]


async def _itself(engine: SnapshotEngine, access: RepositoryAccess, backup: RepositoryBackup, path: str) -> list[Entry]:
    """Tell an empty folder, which holds nothing, from a file, which is listed itself, and from what is not there."""
    part, _, inside = backup.locate(path)
    parent, _, last = inside.rpartition("/")
    for entry in await engine.entries(access, part.snapshot, parent or "/"):
        if entry.name == last:
            return [] if entry.kind is EntryKind.FOLDER else [attrs.evolve(entry, path="/".join(split_path(path)))]
    raise NotFound(f"Backup {backup.slug} holds no {path}")


async def _top(engine: SnapshotEngine, access: RepositoryAccess, part: KeptPart, name: str) -> list[Entry]:
    """List a part itself: the content of its own root, and its other roots under their names."""
    found: dict[str, Entry] = {}
    if HERE in part.roots:
        for entry in await engine.entries(access, part.snapshot, part.roots[HERE]):
            found[entry.name] = attrs.evolve(entry, path=f"{name}/{entry.name}")
    for root, path in part.roots.items():
        if root == HERE:
            continue
        parent, _, last = path.rpartition("/")
        for entry in await engine.entries(access, part.snapshot, parent or "/"):
            if entry.name == last:
                found[root] = attrs.evolve(entry, path=f"{name}/{root}")
    return [found[key] for key in sorted(found)]
