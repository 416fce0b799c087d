"""Takes over the data of an installation that another version of the daemon wrote (add-on contract §0.1, §3.11).

Newer versions call add-ons apps, in the names of folders and files, too. They rename what they find under the older
names when they start; this does the same the other way round, so that one can go back and forth between them. Nothing
is ever overwritten or deleted: what is there under both names stays under both, and is told of.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import attrs

from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.paths import DataPaths

_LOGGER = logging.getLogger(__name__)


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
