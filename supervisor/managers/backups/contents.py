"""What goes into the inner archive of each item (backup contract §4)."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor.drivers.archive.content import Content, File, Folder, Text, Tree
from supervisor.events import AddonState
from supervisor.managers.addons import Addon
from supervisor.managers.docker import DockerSettings
from supervisor.managers.mounts import MountManager
from supervisor.paths import DataPaths

from .core_data import CoreData
from .exclusions import CORE_PATTERNS, DATABASE_PATTERNS, anchored, from_the_right

SUPERVISOR: Final = "supervisor"
CORE: Final = "homeassistant"
LEFT_OUT_OF_USER: Final = ("access_token", "access_token_sha256", "should_run")


@attrs.frozen
class Item:
    """One inner archive: its name without ending, and what it holds."""

    name: str
    contents: tuple[Content, ...]


def folder_path(paths: DataPaths, folder: str) -> Path:
    """Return where a folder of the contract's list lies here."""
    known = {"share": paths.share, "ssl": paths.ssl, "media": paths.media, "addons/local": paths.addons_local}
    return known[folder]


@attrs.frozen
class Contents:
    """`excludes` are the patterns that people chose, by add-on."""

    _paths: DataPaths
    _docker: DockerSettings
    _excludes: Callable[[], Mapping[str, tuple[str, ...]]]
    _mounts: MountManager

    async def folder(self, folder: str) -> Item | None:
        """Return None when there is no such folder."""
        path = folder_path(self._paths, folder)
        if not await asyncio.to_thread(_is_there, path):
            return None
        # What lies on a server is the server's to keep.
        far = self._mounts.given(path)
        return Item(folder.replace("/", "_"), (Tree(".", path, far.__contains__),))

    def core(self, core: CoreData, *, exclude_database: bool) -> Item:
        patterns = CORE_PATTERNS + (DATABASE_PATTERNS if exclude_database else ())
        return Item(
            CORE,
            (
                Folder("."),
                Text("./homeassistant.json", _json(core.settings)),
                Tree("data", self._paths.homeassistant, anchored(patterns)),
            ),
        )

    async def addon(self, addon: Addon, state: AddonState, image: Path | None) -> Item:
        """Describe an add-on; `state` is that before it was made quiet, `image` its saved image where it has one."""
        contents: list[Content] = [Folder("."), Text("./addon.json", _json(addon_json(addon, state)))]
        if image is not None:
            contents.append(File("./image.tar", image))
        profile = self._paths.apparmor / addon.slug
        if await asyncio.to_thread(_is_there, profile, stat.S_ISREG):
            contents.append(File("./apparmor.txt", profile))
        data = self._tree(addon, "data", self._paths.addons_data)
        contents.append(data if await asyncio.to_thread(_is_there, data.path) else Folder("data"))
        if addon.manifest.public_config is not None:
            config = self._tree(addon, "config", self._paths.addon_configs)
            if await asyncio.to_thread(_is_there, config.path):
                contents.append(config)
        return Item(addon.slug, tuple(contents))

    def _tree(self, addon: Addon, name: str, parent: Path) -> Tree:
        path = parent / addon.slug
        own = from_the_right(addon.manifest.backup_exclude)
        chosen = from_the_right(self._excludes().get(addon.slug, ()))
        prefix = f"{path}".lstrip("/")

        def exclude(inner: str) -> bool:
            return own(f"{prefix}/{inner}") or chosen(f"{name}/{inner}")

        return Tree(name, path, exclude)

    def supervisor(self) -> Item | None:
        """Return None when there is nothing of ours to be saved."""
        registries, mounts = self._docker.registries, self._mounts.stored()
        if not (registries or mounts["mounts"]):
            return None
        return Item(
            SUPERVISOR,
            (
                Text("mounts.json", _json(mounts), 0o644),
                Text("docker.json", _json({"registries": registries}), 0o644),
            ),
        )


def addon_json(addon: Addon, state: AddonState) -> dict[str, Any]:
    """Return what is saved of an add-on besides its files. Its token is not: each start makes a new one."""
    user = {key: value for key, value in addon.record.user_part().items() if key not in LEFT_OUT_OF_USER}
    running = state in (AddonState.STARTUP, AddonState.STARTED)
    return {
        "user": user,
        "system": addon.record.system_part(),
        "version": addon.record.version,
        "state": "started" if running else "stopped",
    }


def _is_there(path: Path, is_kind: Callable[[int], bool] = stat.S_ISDIR) -> bool:
    """Tell whether there is such a folder. What can't be looked at is there: reading it will tell what ails it."""
    try:
        return is_kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=2, ensure_ascii=False, default=str).encode()
