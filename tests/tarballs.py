"""Tar archives made the way anybody could."""

from __future__ import annotations

import io
import tarfile


def tar_of(members: dict[str, bytes], *, compressed: bool = False) -> bytes:
    """Make an archive of files by their names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz" if compressed else "w:") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()
