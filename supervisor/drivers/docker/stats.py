"""How much of the machine a container uses (add-on contract §4.9).

Where the container's control group and process can be seen they are read directly (under a millisecond); else the
engine is asked for single samples.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from supervisor.drivers.docker.model import Stats

CGROUP_ROOT = Path("/sys/fs/cgroup")
PROC_ROOT = Path("/proc")

# CPU use is a difference: of samples not too near each other (the kernel counts in ticks) and not too far.
SHORTEST_SPAN = 0.1
LONGEST_SPAN = 60.0

# The first that the kernel has; the last is of kernels without the others.
_BLOCK_FILES = (
    "blkio.throttle.io_service_bytes_recursive",
    "blkio.throttle.io_service_bytes",
    "blkio.io_service_bytes_recursive",
)
_NANO = 1_000_000_000


@attrs.frozen
class Sample:
    """Counters at one moment: CPU time in ns of the container and of the whole machine, the rest in bytes."""

    time: float
    cpu: int
    system: int
    memory_usage: int
    memory_limit: int
    network_rx: int
    network_tx: int
    blk_read: int
    blk_write: int


class Tracker:
    """Remembers the last sample of each container, so that one more is enough for the CPU's share."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Sample, float]] = {}

    def wants_first(self, identity: str) -> bool:
        """Whether a sample must be taken now and another one `SHORTEST_SPAN` later."""
        last = self._last.get(identity)
        return last is None or time.monotonic() - last[0].time > LONGEST_SPAN

    def first(self, identity: str, sample: Sample) -> None:
        self._last[identity] = (sample, 0.0)

    def add(self, identity: str, sample: Sample) -> Stats:
        last, percent = self._last.get(identity, (sample, 0.0))
        if sample.time - last.time >= SHORTEST_SPAN * 0.9:
            percent = cpu_percent(sample.cpu - last.cpu, sample.system - last.system)
            self._last[identity] = (sample, percent)
        return Stats(
            cpu_percent=percent,
            memory_usage=sample.memory_usage,
            memory_limit=sample.memory_limit,
            memory_percent=round(100 * sample.memory_usage / sample.memory_limit, 2) if sample.memory_limit else 0.0,
            network_rx=sample.network_rx,
            network_tx=sample.network_tx,
            blk_read=sample.blk_read,
            blk_write=sample.blk_write,
        )

    def forget(self, identity: str) -> None:
        self._last.pop(identity, None)


def cpu_percent(used: int, system: int) -> float:
    """Return the share of the whole machine; its time is read a moment after the container's, so no more than all."""
    return min(100.0, round(100 * used / system, 2)) if used > 0 and system > 0 else 0.0


def sample_from_engine(raw: Mapping[str, Any]) -> Sample:
    """Read one answer of the engine; what it lacks counts as 0."""
    memory = _mapping(raw.get("memory_stats"))
    details = _mapping(memory.get("stats"))
    cpu = _mapping(raw.get("cpu_stats"))
    cache = next((details[key] for key in ("total_inactive_file", "cache", "inactive_file") if key in details), 0)
    networks = [_mapping(entry) for entry in _mapping(raw.get("networks")).values()]
    blocks = _mapping(raw.get("blkio_stats")).get("io_service_bytes_recursive")
    entries = [_mapping(entry) for entry in blocks] if isinstance(blocks, list) else []
    return Sample(
        time=time.monotonic(),
        cpu=_number(_mapping(cpu.get("cpu_usage")).get("total_usage")),
        system=_number(cpu.get("system_cpu_usage")),
        memory_usage=max(0, _number(memory.get("usage")) - _number(cache)),
        memory_limit=_number(memory.get("limit")),
        network_rx=sum(_number(entry.get("rx_bytes")) for entry in networks),
        network_tx=sum(_number(entry.get("tx_bytes")) for entry in networks),
        blk_read=_operations(entries, "read"),
        blk_write=_operations(entries, "write"),
    )


def sample_from_kernel(
    identity: str, pid: int, *, host_network: bool, cgroup_root: Path, proc_root: Path
) -> Sample | None:
    """Read the files of the container's control groups; None when they, or the process, can't be seen from here.

    Blocking, but only on files of the kernel.
    """
    try:
        groups = _groups(identity, pid, proc_root)
        if groups is None:
            return None
        unified = groups.get("")
        if unified is not None and "memory" not in groups:
            counters = _version_2(cgroup_root / unified.lstrip("/"))
        else:
            counters = _version_1(cgroup_root, groups)
        total = _memory_total(proc_root)
        received, sent = (0, 0) if host_network else _network(proc_root / str(pid) / "net" / "dev")
        limit = counters.memory_limit
        return attrs.evolve(
            counters,
            time=time.monotonic(),
            system=_system_cpu(proc_root),
            memory_limit=total if limit <= 0 or limit > total else limit,
            network_rx=received,
            network_tx=sent,
        )
    except (OSError, ValueError, IndexError, KeyError):
        return None


def _groups(identity: str, pid: int, proc_root: Path) -> dict[str, str] | None:
    """Controller -> group of the container; None unless the process really is that container's.

    The process may be in a group below the container's own one, as with systemd inside.
    """
    if pid <= 0:
        return None
    groups: dict[str, str] = {}
    for line in (proc_root / str(pid) / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        before, found, after = path.partition(identity)
        for controller in controllers.split(","):
            groups[controller] = before + found + after.partition("/")[0]
    return groups if any(identity in path for path in groups.values()) else None


def _version_1(root: Path, groups: Mapping[str, str]) -> Sample:
    def folder(controller: str) -> Path:
        # systemd mounts these two together, with a link for each; others mount them apart, or without links.
        place = root / controller
        if controller == "cpuacct" and not place.exists():
            place = root / "cpu,cpuacct"
        return place / groups[controller].lstrip("/")

    details = _pairs((folder("memory") / "memory.stat").read_text().splitlines())
    usage = int((folder("memory") / "memory.usage_in_bytes").read_text())
    blocks = next((path for name in _BLOCK_FILES if (path := folder("blkio") / name).exists()), None)
    entries = [] if blocks is None else [line.split() for line in blocks.read_text().splitlines()]
    return Sample(
        time=0.0,
        cpu=int((folder("cpuacct") / "cpuacct.usage").read_text()),
        system=0,
        memory_usage=max(0, usage - details.get("total_inactive_file", 0)),
        memory_limit=int((folder("memory") / "memory.limit_in_bytes").read_text()),
        network_rx=0,
        network_tx=0,
        blk_read=sum(int(entry[2]) for entry in entries if len(entry) == 3 and entry[1].lower() == "read"),
        blk_write=sum(int(entry[2]) for entry in entries if len(entry) == 3 and entry[1].lower() == "write"),
    )


def _version_2(folder: Path) -> Sample:
    details = _pairs((folder / "memory.stat").read_text().splitlines())
    cpu = _pairs((folder / "cpu.stat").read_text().splitlines())
    limit = (folder / "memory.max").read_text().strip()
    words = (folder / "io.stat").read_text().split() if (folder / "io.stat").exists() else []
    blocks = [word.partition("=") for word in words]
    return Sample(
        time=0.0,
        cpu=cpu.get("usage_usec", 0) * 1000,
        system=0,
        memory_usage=max(0, int((folder / "memory.current").read_text()) - details.get("inactive_file", 0)),
        memory_limit=0 if limit == "max" else int(limit),
        network_rx=0,
        network_tx=0,
        blk_read=sum(int(value) for key, _, value in blocks if key == "rbytes"),
        blk_write=sum(int(value) for key, _, value in blocks if key == "wbytes"),
    )


def _system_cpu(proc_root: Path) -> int:
    """CPU time of the whole machine in ns, as the engine counts it: without what a hypervisor took away."""
    with (proc_root / "stat").open() as file:
        words = file.readline().split()
    return sum(int(word) for word in words[1:8]) * (_NANO // os.sysconf("SC_CLK_TCK"))


def _memory_total(proc_root: Path) -> int:
    with (proc_root / "meminfo").open() as file:
        return int(file.readline().split()[1]) * 1024


def _network(path: Path) -> tuple[int, int]:
    received = sent = 0
    for line in path.read_text().splitlines()[2:]:
        interface, _, numbers = line.partition(":")
        if interface.strip() != "lo":
            words = numbers.split()
            received += int(words[0])
            sent += int(words[8])
    return received, sent


def _pairs(lines: Iterable[str]) -> dict[str, int]:
    return {key: int(value) for key, _, value in (line.partition(" ") for line in lines) if value}


def _operations(entries: Iterable[Mapping[str, Any]], operation: str) -> int:
    return sum(_number(entry.get("value")) for entry in entries if str(entry.get("op")).lower() == operation)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
