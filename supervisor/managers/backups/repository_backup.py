"""A backup in a repository: its parts, and the snapshots that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.drivers.snapshot_engine import Snapshot
from supervisor.errors import BACKUP_PART_NOT_FOUND, BACKUP_PATH_NOT_FOUND

from .browsing import split_path
from .repository_tags import decode, slug_of

Exclude = Callable[[str], bool]
HERE: Final = "."


def _nothing(_path: str) -> bool:
    return False


@attrs.frozen
class Root:
    """A folder or a file of the disk that becomes `name` in its part; `.` makes its content the part's own.

    `exclude` is asked with each path below a folder ("a/b"); what it wants out is not looked into.
    """

    name: str
    path: Path
    exclude: Exclude = _nothing


@attrs.frozen
class Part:
    """One thing that is saved as a whole: Core's folder, an add-on, a folder. `name` is as in archives (contract §4.1).

    `texts` are small files that exist only here, by name; `folders` are empty ones.
    """

    name: str
    roots: tuple[Root, ...]
    texts: Mapping[str, bytes] = attrs.field(factory=dict)
    folders: tuple[str, ...] = ()


@attrs.frozen
class KeptPart:
    """Where a part lies in the repository: `roots` maps names to absolute paths in the snapshot; `size` is in bytes."""

    snapshot: str
    roots: Mapping[str, str]
    size: int


@attrs.frozen
class RepositoryBackup:
    """`metadata` is what `backup.json` of an archive holds (contract §3)."""

    slug: str
    date: datetime
    metadata: Mapping[str, Any]
    parts: Mapping[str, KeptPart]
    snapshots: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.metadata.get("name", ""))

    @property
    def size(self) -> int:
        """How many bytes it would restore; what it takes in the repository is less."""
        return sum(part.size for part in self.parts.values())

    def part(self, name: str) -> KeptPart:
        """Return a part.

        Raises:
            NotFound: the backup has no such part.
        """
        if name not in self.parts:
            held = ", ".join(sorted(self.parts)) or "nothing"
            raise BACKUP_PART_NOT_FOUND(slug=self.slug, part=name, parts=held)
        return self.parts[name]

    def locate(self, path: str) -> tuple[KeptPart, str, str]:
        """Return the part, the name of the root and the path in the snapshot of `part/path/in/it`.

        Raises:
            Invalid: this is no path.
            NotFound: the backup has no such part or root.
        """
        name, inner = split_path(path)
        part = self.part(name)
        first, _, rest = inner.partition("/")
        if first in part.roots and first != HERE:
            return part, first, _join(part.roots[first], rest)
        if HERE not in part.roots:
            raise BACKUP_PATH_NOT_FOUND(slug=self.slug, path=path)
        return part, HERE, _join(part.roots[HERE], inner)


def _join(folder: str, inner: str) -> str:
    return f"{folder.rstrip('/')}/{inner}" if inner else folder


def _root_name(value: Any) -> str:
    """Check the name that something gets in its part: whoever wrote the repository must not lead us elsewhere by it."""
    if not isinstance(value, str) or not value or value == ".." or "/" in value or "\0" in value:
        raise vol.Invalid("expected a name without slashes")
    return value


def _absolute(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value or ".." in value.split("/"):
        raise vol.Invalid("expected an absolute path that does not climb")
    return value


_DESCRIPTION: Final = vol.Schema(
    {
        vol.Required("backup"): vol.Schema(
            {vol.Required("slug"): str, vol.Required("date"): str, vol.Optional("name", default=""): str},
            extra=vol.ALLOW_EXTRA,
        ),
        vol.Required("parts"): {
            str: vol.Schema(
                {
                    vol.Required("snapshot"): vol.Any(None, vol.All(str, vol.Match(r"^[0-9a-f]{8,64}$"))),
                    vol.Required("roots"): vol.Schema({_root_name: _absolute}),
                    vol.Optional("size", default=0): vol.All(int, vol.Range(0)),
                },
                extra=vol.REMOVE_EXTRA,
            )
        },
    },
    extra=vol.REMOVE_EXTRA,
)


def describe(metadata: Mapping[str, Any], parts: Mapping[str, KeptPart]) -> dict[str, Any]:
    """Return what the last snapshot of a backup tells; a part without a snapshot's name is in that one itself."""
    listed = {
        name: {"snapshot": part.snapshot or None, "roots": dict(part.roots), "size": part.size}
        for name, part in parts.items()
    }
    return {"backup": dict(metadata), "parts": listed}


def collect(snapshots: Iterable[Snapshot]) -> tuple[dict[str, RepositoryBackup], list[Snapshot]]:
    """Return the backups that the snapshots make up, by slug, and the snapshots that belong to none.

    Of two that claim the same slug the newer one counts. Snapshots of other programs are left out of both.
    """
    ours = [(snapshot, slug) for snapshot in snapshots if (slug := slug_of(snapshot.tags)) is not None]
    whole = {snapshot.id for snapshot, _ in ours}
    backups: dict[str, RepositoryBackup] = {}
    for snapshot, slug in sorted(ours, key=lambda pair: pair[0].time):
        if (backup := _backup(snapshot, slug, whole)) is not None:
            backups[slug] = backup
    used = {identifier for backup in backups.values() for identifier in backup.snapshots}
    return backups, [snapshot for snapshot, _ in ours if snapshot.id not in used]


def _backup(snapshot: Snapshot, slug: str, present: set[str]) -> RepositoryBackup | None:
    described = decode(snapshot.tags)
    if described is None:
        return None
    try:
        checked = _DESCRIPTION(described)
        date = datetime.fromisoformat(checked["backup"]["date"])
    except (vol.Invalid, ValueError):
        return None
    if checked["backup"]["slug"] != slug:
        return None
    parts: dict[str, KeptPart] = {}
    for name, part in checked["parts"].items():
        wanted = part["snapshot"]
        full = snapshot.id if wanted is None else next((one for one in present if one.startswith(wanted)), None)
        if full is None:
            # Somebody removed a snapshot of it: what is left of the backup can still be restored.
            continue
        parts[name] = KeptPart(full, part["roots"], part["size"])
    used = {snapshot.id, *(part.snapshot for part in parts.values())}
    aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return RepositoryBackup(slug, aware, checked["backup"], parts, tuple(sorted(used)))
