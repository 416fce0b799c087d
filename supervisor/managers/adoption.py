"""Takes over the data of an installation that another version of the daemon wrote (add-on contract §0.1, §3.11).

Newer versions call add-ons apps, in the names of folders and files, too. They rename what they find under the older
names when they start; this does the same the other way round, so that one can go back and forth between them. Nothing
is ever overwritten or deleted: what is there under both names stays under both, and is told of.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.paths import DataPaths
from supervisor.state import write_atomic

_LOGGER = logging.getLogger(__name__)

# Where very old versions, and the newest, keep the repositories that a user added.
_CUSTOM_LISTS: Final = ("addons_custom_list", "apps_custom_list")


@attrs.frozen
class LeftBehind:
    """Something that could not be taken over, where it still is, and why."""

    path: Path
    reason: str


async def take_over(paths: DataPaths, resolution: Resolution) -> None:
    """Adopt what another version left, make the folders that are missing, and make an issue of what stayed behind."""
    left = await asyncio.to_thread(adopt, paths)
    for one in left:
        resolution.raise_issue(
            IssueType.CORRUPT_STATE_FILE,
            ContextType.SUPERVISOR,
            reference=str(one.path.relative_to(paths.root)),
            extra={"reason": one.reason},
        )
    await asyncio.to_thread(paths.create)


def adopt(paths: DataPaths) -> list[LeftBehind]:
    """Bring folders and files to where this version looks for them; return what stayed where it was. Blocking.

    It may be cut off at any point and run again.
    """
    left: list[LeftBehind] = []
    apps = paths.root / "apps"
    for newer, ours in (
        (apps / "core", paths.addons_core),
        (apps / "local", paths.addons_local),
        (apps / "git", paths.addons_git),
        (apps / "data", paths.addons_data),
        (paths.root / "app_configs", paths.addon_configs),
    ):
        _move(newer, ours, left)
    with suppress(OSError):
        apps.rmdir()
    _move_file(paths.root / "apps.json", paths.root / "addons.json", left)
    try:
        _take_custom_repositories(paths.root)
    except OSError as err:
        left.append(LeftBehind(paths.root / "config.json", f"its repositories could not be taken over: {err}"))
    for one in left:
        _LOGGER.error("%s stays where it is: %s", one.path, one.reason)
    return left


def _move(source: Path, target: Path, left: list[LeftBehind]) -> None:
    """Rename a folder, or move what it holds into the one that is there already."""
    if source.is_symlink() or not source.is_dir():
        return
    try:
        if _is_empty(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                target.rmdir()
            source.rename(target)
            _LOGGER.warning("%s is now %s", source, target)
            return
        for child in sorted(source.iterdir()):
            _move_child(child, target / child.name, left)
        with suppress(OSError):
            source.rmdir()
    except OSError as err:
        left.append(LeftBehind(source, f"it can't be moved to {target}: {err.strerror or err}"))


def _move_child(source: Path, target: Path, left: list[LeftBehind]) -> None:
    if target.exists() or target.is_symlink():
        left.append(LeftBehind(source, f"{target} is there already"))
        return
    source.rename(target)
    _LOGGER.warning("%s is now %s", source, target)


def _is_empty(folder: Path) -> bool:
    if folder.is_symlink():
        return False
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True


def _move_file(source: Path, target: Path, left: list[LeftBehind]) -> None:
    if not source.is_file() or source.is_symlink():
        return
    if target.exists():
        left.append(LeftBehind(source, f"{target.name} is there already, and counts"))
        return
    try:
        source.rename(target)
    except OSError as err:
        left.append(LeftBehind(source, f"it can't be renamed to {target.name}: {err.strerror or err}"))
        return
    _LOGGER.warning("%s is now %s", source, target)


def _take_custom_repositories(root: Path) -> None:
    """Move the repositories that the configuration lists to the store's own list; first there, then from here."""
    configuration_file, store_file = root / "config.json", root / "store.json"
    configuration = _read(configuration_file)
    found = [configuration.get(key) for key in _CUSTOM_LISTS if configuration]
    custom = [source for known in found if isinstance(known, list) for source in known if isinstance(source, str)]
    if not configuration or not custom:
        return
    store = _read(store_file)
    if store is None:
        # What can't be read is put aside by whoever loads it; the list is taken over at the next start.
        return
    listed = store.get("repositories")
    known = listed if isinstance(listed, list) else []
    more = [source for source in dict.fromkeys(custom) if source not in known]
    if more:
        _write(store_file, {**store, "repositories": [*known, *more]})
        _LOGGER.warning("%d repositories of config.json are now in store.json", len(more))
    _write(configuration_file, {key: value for key, value in configuration.items() if key not in _CUSTOM_LISTS})


def _read(file: Path) -> dict[str, Any] | None:
    """Return what a file holds: nothing when it is not there, None when it makes no sense."""
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _write(file: Path, content: dict[str, Any]) -> None:
    write_atomic(file, json.dumps(content, indent=2).encode())
