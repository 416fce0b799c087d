"""Folders with files of all kinds, and everything about them, for tests of what must come back as it was."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any


def described(folder: Path) -> dict[str, Any]:
    """Return everything about the files below a folder but the times of folders, which add-ons change."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_symlink():
            content: object = str(path.readlink())
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        mtime = None if path.is_dir() else status.st_mtime_ns
        found[str(path.relative_to(folder))] = (content, status.st_mode, status.st_uid, status.st_gid, mtime)
    return found


def fill(folder: Path, word: str) -> None:
    """Put files of all kinds into a folder."""
    (folder / "sub" / "empty").mkdir(parents=True, exist_ok=True)
    (folder / "text").write_text(f"{word}\n" * 50_000)
    (folder / "sub" / "random").write_bytes(os.urandom(1_200_000))
    (folder / "sub" / "script").write_text("#!/bin/sh\n")
    (folder / "sub" / "script").chmod(0o751)
    (folder / "link").symlink_to("sub/script")
    os.chown(folder / "text", 1000, 1001)
    os.chown(folder / "sub", 33, 44)
    (folder / "sub").chmod(0o2770)
