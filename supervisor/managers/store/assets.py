"""Reading files of a repository without being led out of it. Everything here blocks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from supervisor.const import MIB
from supervisor.errors import ADDON_FILE_UNREADABLE
from supervisor.model.apparmor import MAX_PROFILE_BYTES, PROFILE_FILE
from supervisor.model.assets import MAX_ASSET_BYTES, AssetKind

from .addon import StoreAddon


def is_inside(path: Path, root: Path) -> bool:
    """Tell whether `path`, all links followed, exists and lies below `root`."""
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve(strict=True))
    except (OSError, RuntimeError):
        return False


def read_asset(addon: StoreAddon, kind: AssetKind) -> bytes | None:
    """Return the file's content; None when there is none, or none below the repository.

    Raises:
        Invalid: the file can't be read or is too large.
    """
    try:
        content = read_inside(addon.folder / kind.value, addon.root, MAX_ASSET_BYTES + 1)
    except OSError as err:
        raise ADDON_FILE_UNREADABLE(app=addon.slug, error=err.strerror or "unreadable") from err
    if content is not None and len(content) > MAX_ASSET_BYTES:
        raise ADDON_FILE_UNREADABLE(app=addon.slug, error=f"larger than {MAX_ASSET_BYTES // MIB} MiB")
    return content


def read_profile(addon: StoreAddon) -> bytes | None:
    """Return the add-on's AppArmor profile as it is; None when there is none, or none below the repository.

    Raises:
        Invalid: the file can't be read.
    """
    try:
        return read_inside(addon.folder / PROFILE_FILE, addon.root, MAX_PROFILE_BYTES + 1)
    except OSError as err:
        raise ADDON_FILE_UNREADABLE(app=addon.slug, error=err.strerror or "unreadable") from err


def read_inside(path: Path, root: Path, most: int) -> bytes | None:
    """Return at most `most` bytes of the regular file; None when it is not there, no file, or not below `root`.

    The file is first opened as a mere place: looking at a device or a pipe must not set anything off, and what was
    looked at is what gets read, whoever swaps a link meanwhile.

    Raises:
        OSError: it is there and can't be read.
    """
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        if path.is_symlink():
            return None
        raise
    try:
        link = f"/proc/self/fd/{place}"
        inside = Path(os.readlink(link)).is_relative_to(root.resolve())  # noqa: PTH115 - a link that may name no path
        if not inside or not stat.S_ISREG(os.fstat(place).st_mode):
            return None
        with open(link, "rb") as file:
            return file.read(most)
    finally:
        os.close(place)
