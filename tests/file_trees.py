"""Folders with files of all kinds, and everything about them, for tests of what must come back as it was."""

from __future__ import annotations

import errno
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
        looks = (status.st_mode, status.st_uid, status.st_gid, mtime, attributes_of(path))
        found[str(path.relative_to(folder))] = (content, *looks)
    return found


def attributes_of(path: Path) -> dict[str, bytes]:
    """Return the extended attributes that users may give; links have none."""
    if path.is_symlink():
        return {}
    return {name: os.getxattr(path, name) for name in os.listxattr(path) if name.startswith("user.")}


def mark(path: Path) -> None:
    """Give a file or folder extended attributes, as file servers do; not every file system has them."""
    try:
        os.setxattr(path, "user.DOSATTRIB", b"\x00\xff\x00binary=\n")
        os.setxattr(path, "user.größe=%3D", "ü".encode())
    except OSError as err:
        if err.errno != errno.ENOTSUP:
            raise


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
    mark(folder / "text")
    mark(folder / "sub")
