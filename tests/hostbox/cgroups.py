"""The box's own place in every hierarchy of control groups."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import attrs

TOP = "supervisor-test"


@attrs.frozen
class Hierarchy:
    """`kind` is cgroup or cgroup2; `options` mount the same hierarchy again."""

    where: Path
    kind: str
    options: str


def hierarchies() -> list[Hierarchy]:
    controllers = {line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()[1:]}
    found: dict[Path, Hierarchy] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind not in ("cgroup", "cgroup2") or not where.startswith("/sys/fs/cgroup"):
            continue
        own = [option for option in options.split(",") if option in controllers or option.startswith("name=")]
        found[Path(where)] = Hierarchy(Path(where), kind, ",".join(own) if kind == "cgroup" else "")
    return list(found.values())


def make(name: str) -> None:
    """Make the box's groups, in which no disk of this machine can be opened."""
    for hierarchy in hierarchies():
        group = hierarchy.where / TOP / name
        make_group(group.parent, hierarchy)
        make_group(group, hierarchy)
        if "devices" in hierarchy.options.split(","):
            for disk in Path("/sys/block").iterdir():
                if not disk.name.startswith("loop"):
                    major = (disk / "dev").read_text().split(":")[0]
                    (group / "devices.deny").write_text(f"b {major}:* rw")


def join(name: str, inner: str = "") -> None:
    """Move this process into the box's groups."""
    for hierarchy in hierarchies():
        group = hierarchy.where / TOP / name / inner
        make_group(group, hierarchy)
        (group / "cgroup.procs").write_text("0")


def remove(name: str) -> None:
    for hierarchy in hierarchies():
        top = hierarchy.where / TOP / name
        for folder, _, _ in os.walk(top, topdown=False):
            # A group is busy for a moment after its last process has ended.
            for _ in range(100):
                try:
                    Path(folder).rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
        with contextlib.suppress(OSError):
            top.parent.rmdir()


def make_group(group: Path, hierarchy: Hierarchy) -> None:
    while True:
        try:
            group.mkdir(exist_ok=True)
            break
        except FileNotFoundError:
            # Another run of the tests has just taken the one above along with its own last one.
            make_group(group.parent, hierarchy)
    if "cpuset" in hierarchy.options.split(","):
        # A new group of this kind takes nobody before these are set.
        for name in ("cpuset.cpus", "cpuset.mems"):
            (group / name).write_text((group.parent / name).read_text())
