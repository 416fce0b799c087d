"""What the repositories on disk offer: a reader that looks at everything and reads only what changed.

Everything here blocks and is meant for a thread; one scan runs at a time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from supervisor.errors import Invalid
from supervisor.model.assets import AssetKind
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_files import find_manifests, read_config_file, read_translations
from supervisor.model.manifest_schema import validate_manifest
from supervisor.model.repository import RepositoryInfo, read_repository_info

from .addon import StoreAddon
from .assets import is_inside

_LOGGER = logging.getLogger(__name__)

_TRANSLATIONS: Final = "translations"
_ASSETS: Final = {kind.value: kind for kind in AssetKind}


@attrs.frozen
class Place:
    """A repository to look at.

    One that is not `described` needs no description of its own, a `trusted` one gets by with a broken one. Remarks on
    a `loud` one's manifests are warnings: whoever reads the log is likely their author.
    """

    slug: str
    folder: Path
    described: bool = True
    trusted: bool = False
    loud: bool = False


@attrs.frozen
class Scan:
    """What was found. `invalid` says why it is no repository, `broken` why its folder can't be walked."""

    addons: tuple[StoreAddon, ...] = ()
    info: RepositoryInfo | None = None
    present: bool = True
    invalid: str | None = None
    broken: OSError | None = None


@attrs.frozen
class _Stamp:
    """When this is equal, nothing that was read has changed."""

    manifest: tuple[int, int, int]
    translations: tuple[tuple[str, int, int, int], ...]


@attrs.frozen
class _Reading:
    """The outcome of reading one manifest; no add-on when it was refused."""

    stamp: _Stamp
    addon: StoreAddon | None


class StoreIndex:
    """Remembers every manifest by its path and stamp. Unchanged add-ons come back as the very same objects."""

    def __init__(self) -> None:
        self._readings: dict[str, dict[Path, _Reading]] = {}

    def scan(self, places: Sequence[Place]) -> dict[str, Scan]:
        """Look at every place; what is remembered of others is dropped."""
        self._readings = {place.slug: self._readings.get(place.slug, {}) for place in places}
        return {place.slug: self._scan(place) for place in places}

    def _scan(self, place: Place) -> Scan:
        if not place.folder.is_dir() or place.folder.is_symlink():
            self._readings[place.slug] = {}
            return Scan(present=False)
        info = invalid = None
        if place.described:
            try:
                info = read_repository_info(place.folder)
            except (Invalid, OSError) as err:
                invalid = str(err)
                if not place.trusted:
                    return Scan(invalid=invalid)
        try:
            manifests = find_manifests(place.folder)
        except OSError as err:
            return Scan(info=info, invalid=invalid, broken=err)
        except RecursionError:
            return Scan(info=info, invalid="its folders are nested too deeply")
        known = self._readings[place.slug]
        readings: dict[Path, _Reading] = {}
        for path in manifests:
            try:
                readings[path] = self._look(place, path, known.get(path))
            except OSError as err:
                _LOGGER.warning("Repository %s: %s can't be read: %s", place.slug, path, err.strerror)
        self._readings[place.slug] = readings
        addons = tuple(reading.addon for reading in readings.values() if reading.addon is not None)
        return Scan(addons, info, invalid=invalid)

    def _look(self, place: Place, path: Path, known: _Reading | None) -> _Reading:
        status = path.stat()
        assets, translations = _surroundings(path.parent, place.folder)
        stamp = _Stamp((status.st_mtime_ns, status.st_size, status.st_ino), translations)
        if known is None or known.stamp != stamp:
            return _Reading(stamp, self._read(place, path, status, assets))
        if known.addon is None or known.addon.assets == assets:
            return known
        return attrs.evolve(known, addon=attrs.evolve(known.addon, assets=assets))

    def _read(
        self, place: Place, path: Path, status: os.stat_result, assets: frozenset[AssetKind]
    ) -> StoreAddon | None:
        try:
            config, advisories = validate_manifest(read_config_file(path))
            manifest = Manifest.from_config(config)
        except (Invalid, OSError) as err:
            _LOGGER.warning("Repository %s: %s is left out: %s", place.slug, path, err)
            return None
        slug = f"{place.slug}_{manifest.slug}"
        level = logging.WARNING if place.loud else logging.DEBUG
        for advisory in advisories:
            _LOGGER.log(level, "Add-on %s: %s", slug, advisory)
        return StoreAddon(
            slug=slug,
            repository=place.slug,
            manifest=manifest,
            folder=path.parent,
            root=place.folder,
            translations=read_translations(path.parent),
            version_timestamp=status.st_mtime,
            advisories=tuple(advisories),
            assets=assets,
        )


def newest_change(folder: Path) -> int:
    """Return the newest modification time in the tree, its root included, in nanoseconds; 0 for none."""
    newest = 0
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            newest = max(newest, current.stat().st_mtime_ns)
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        newest = max(newest, entry.stat(follow_symlinks=False).st_mtime_ns)
        except OSError:
            continue
    return newest


def _surroundings(folder: Path, root: Path) -> tuple[frozenset[AssetKind], tuple[tuple[str, int, int, int], ...]]:
    """Return which assets lie in the folder, and the state of each file of its translations."""
    assets: set[AssetKind] = set()
    translations: list[tuple[str, int, int, int]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            kind = _ASSETS.get(entry.name)
            if kind is not None and entry.is_file() and (not entry.is_symlink() or is_inside(Path(entry.path), root)):
                assets.add(kind)
            elif entry.name == _TRANSLATIONS and entry.is_dir():
                translations = _stamps(Path(entry.path))
    return frozenset(assets), tuple(translations)


def _stamps(folder: Path) -> list[tuple[str, int, int, int]]:
    stamps: list[tuple[str, int, int, int]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            stamps.append((entry.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return sorted(stamps)
