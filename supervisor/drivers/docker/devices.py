"""Lets a running container use one more device, through the kernel's first version of control groups."""

from __future__ import annotations

import re
from pathlib import Path

from supervisor.drivers.docker.model import ContainerInfo
from supervisor.drivers.docker.stats import CGROUP_ROOT, PROC_ROOT
from supervisor.errors import Internal, Unsupported

_RULE = re.compile(r"[abc] (?:\d+|\*):(?:\d+|\*) r?w?m?")


def allow_device(
    info: ContainerInfo, rule: str, *, cgroup_root: Path = CGROUP_ROOT, proc_root: Path = PROC_ROOT
) -> None:
    """Add a cgroup rule such as `c 188:0 rwm` to a running container. Blocking.

    Raises:
        Unsupported: its group can't be seen from here, or the machine has the second version, which takes a program.
        Internal: the kernel refused.
    """
    if _RULE.fullmatch(rule) is None:
        raise Internal(f"{info.name}: {rule!r} is no rule for devices")
    folder = _group(info, cgroup_root, proc_root)
    if folder is None:
        raise Unsupported(f"{info.name}: devices can't be added while it runs")
    try:
        (folder / "devices.allow").write_text(rule)
    except OSError as err:
        raise Internal(f"{info.name}: the kernel does not let it use {rule}: {err.strerror or err}") from err


def _group(info: ContainerInfo, cgroup_root: Path, proc_root: Path) -> Path | None:
    """Return the folder of the container's group of devices; None unless it really is that container's."""
    if info.pid <= 0 or not info.id:
        return None
    try:
        lines = (proc_root / str(info.pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "devices" in controllers.split(",") and info.id in path:
            folder = cgroup_root / "devices" / path.lstrip("/")
            return folder if (folder / "devices.allow").exists() else None
    return None
