"""What the kernel says about our mounts."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount_points(table: Path = MOUNTINFO) -> list[Path]:
    """Return where something is mounted, without touching any of it: a share that hangs can't hold us. Blocking.

    Where the table can't be read the list is empty.
    """
    try:
        lines = table.read_bytes().splitlines()
    except OSError:
        return []
    return [_mount_point(fields[4]) for line in lines if len(fields := line.split(b" ")) > 4]


def mounted_below(folder: Path, table: Path = MOUNTINFO) -> list[Path]:
    """Return where something is mounted below `folder`, as paths relative to it. Blocking.

    Whoever moves or removes such a folder takes along what others keep there.
    """
    folder = folder.parent.resolve() / folder.name
    return [point.relative_to(folder) for point in mount_points(table) if folder in point.parents]


def _mount_point(field: bytes) -> Path:
    """Read a path as the table writes it."""
    return Path(os.fsdecode(_ESCAPED.sub(lambda code: bytes([int(code[1], 8) & 0xFF]), field)))


def takes_part_in_propagation(path: Path, table: Path = MOUNTINFO) -> bool:
    """Tell whether the mount that `path` lies on is shared or a slave; the engine refuses `rslave` elsewhere. Blocking.

    Where the table can't be read the answer is no.
    """
    fields = _innermost(path, table)
    optional = fields[6 : fields.index(b"-", 6)] if fields else ()
    return any(field.startswith((b"shared:", b"master:")) for field in optional)


def mounted_device(path: Path, table: Path = MOUNTINFO) -> Path | None:
    """Return the node of what is mounted where `path` lies; None for what has none, such as an overlay. Blocking."""
    fields = _innermost(path, table)
    source = fields[fields.index(b"-", 6) + 2 :][:1] if fields else ()
    return next((_mount_point(word) for word in source if word.startswith(b"/dev/")), None)


def _innermost(path: Path, table: Path) -> list[bytes]:
    """Return the line of the mount that `path` lies on, as its words; none where the table can't be read."""
    target = path.resolve()
    best, found = -1, list[bytes]()
    try:
        lines = table.read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        fields = line.split(b" ")
        if b"-" not in fields[6:]:
            continue
        mount_point = _mount_point(fields[4])
        depth = len(mount_point.parts)
        # A later line of the same depth is mounted over the earlier one.
        if depth >= best and target.is_relative_to(mount_point):
            best, found = depth, fields
    return found
