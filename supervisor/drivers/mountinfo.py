"""What the kernel says about our mounts."""

from __future__ import annotations

from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")


def takes_part_in_propagation(path: Path, table: Path = MOUNTINFO) -> bool:
    """Tell whether the mount that `path` lies on is shared or a slave; the engine refuses `rslave` elsewhere. Blocking.

    Where the table can't be read the answer is no.
    """
    target = path.resolve()
    best, propagates = -1, False
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        fields = line.split(" ")
        mount_point = Path(fields[4].encode().decode("unicode_escape"))
        depth = len(mount_point.parts)
        # A later line of the same depth is mounted over the earlier one.
        if depth >= best and target.is_relative_to(mount_point):
            optional = fields[6 : fields.index("-", 6)]
            best, propagates = depth, any(field.startswith(("shared:", "master:")) for field in optional)
    return propagates
