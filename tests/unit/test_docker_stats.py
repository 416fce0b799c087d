from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.model import Stats
from supervisor.drivers.docker.stats import (
    Sample,
    Tracker,
    cpu_percent,
    sample_from_engine,
    sample_from_kernel,
)

ID = "a" * 64
FIRST = Sample(
    time=100.0,
    cpu=1_000,
    system=10_000,
    memory_usage=50,
    memory_limit=200,
    network_rx=1,
    network_tx=2,
    blk_read=3,
    blk_write=4,
)


def test_the_cpu_share_is_of_the_whole_machine():
    tracker = Tracker()
    assert tracker.wants_first(ID)
    tracker.first(ID, FIRST)
    second = attrs.evolve(FIRST, time=101.0, cpu=1_500, system=12_000)
    assert tracker.add(ID, second) == Stats(25.0, 50, 200, 25.0, 1, 2, 3, 4)


def test_a_sample_too_near_keeps_the_last_share():
    tracker = Tracker()
    tracker.first(ID, FIRST)
    tracker.add(ID, attrs.evolve(FIRST, time=101.0, cpu=1_500, system=12_000))
    near = attrs.evolve(FIRST, time=101.01, cpu=9_999, system=12_001, network_rx=7)
    assert tracker.add(ID, near).cpu_percent == 25.0
    assert tracker.add(ID, near).network_rx == 7
    tracker.forget(ID)
    assert tracker.wants_first(ID)


@given(st.integers(), st.integers())
def test_the_share_is_zero_unless_both_moved(used, system):
    if used <= 0 or system <= 0:
        assert cpu_percent(used, system) == 0
    else:
        assert 0 <= cpu_percent(used, system) <= 100


def test_an_answer_of_the_engine():
    sample = sample_from_engine(
        {
            "cpu_stats": {"cpu_usage": {"total_usage": 5}, "system_cpu_usage": 50},
            "memory_stats": {"usage": 100, "limit": 1000, "stats": {"inactive_file": 1, "total_inactive_file": 30}},
            "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 10, "tx_bytes": 20}},
            "blkio_stats": {
                "io_service_bytes_recursive": [
                    {"op": "Read", "value": 1},
                    {"op": "read", "value": 2},
                    {"op": "Write", "value": 4},
                    {"op": "Total", "value": 99},
                ]
            },
        }
    )
    assert attrs.astuple(sample)[1:] == (5, 50, 70, 1000, 11, 22, 3, 4)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "cpu_stats",
                    "memory_stats",
                    "stats",
                    "networks",
                    "blkio_stats",
                    "usage",
                    "cpu_usage",
                    "total_usage",
                    "op",
                    "value",
                ]
            ),
            inner,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["cpu_stats", "memory_stats", "networks", "blkio_stats"]), json))
def test_a_strange_answer_is_never_an_error(raw):
    assert sample_from_engine(raw).memory_usage >= 0


@pytest.fixture
def kernel(tmp_path: Path) -> tuple[Path, Path]:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    write(proc / "stat", "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 0\n")
    write(proc / "meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n")
    write(
        proc / "7" / "net" / "dev",
        "Inter-|   Receive\n face |bytes\n"
        "    lo: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n"
        "  eth0:11 0 0 0 0 0 0 0 22 0 0 0 0 0 0 0\n",
    )
    return proc, cgroup


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read(kernel: tuple[Path, Path], *, host_network: bool = False, pid: int = 7) -> Sample | None:
    return sample_from_kernel(ID, pid, host_network=host_network, proc_root=kernel[0], cgroup_root=kernel[1])


def test_control_groups_of_version_2(kernel):
    proc, cgroup = kernel
    write(proc / "7" / "cgroup", f"0::/system.slice/docker-{ID}.scope\n")
    folder = cgroup / "system.slice" / f"docker-{ID}.scope"
    write(folder / "memory.stat", "anon 5\ninactive_file 40\n")
    write(folder / "memory.current", "100\n")
    write(folder / "memory.max", "max\n")
    write(folder / "cpu.stat", "usage_usec 3\nuser_usec 1\n")
    write(folder / "io.stat", "8:0 rbytes=1 wbytes=2 rios=9\n8:16 rbytes=10 wbytes=20\n")
    sample = read(kernel)
    assert sample is not None
    assert attrs.astuple(sample)[1:] == (3000, 280_000_000, 60, 1_024_000, 11, 22, 11, 22)
    hosted = read(kernel, host_network=True)
    assert hosted is not None
    assert (hosted.network_rx, hosted.network_tx) == (0, 0)


def test_control_groups_of_version_1(kernel):
    proc, cgroup = kernel
    lines = "".join(f"{number}:{name}:/docker/{ID}\n" for number, name in enumerate(("memory", "cpuacct", "blkio"), 1))
    write(proc / "7" / "cgroup", lines + f"0::/docker/{ID}\n")
    write(cgroup / "memory" / "docker" / ID / "memory.stat", "cache 3\ntotal_inactive_file 40\n")
    write(cgroup / "memory" / "docker" / ID / "memory.usage_in_bytes", "100\n")
    write(cgroup / "memory" / "docker" / ID / "memory.limit_in_bytes", "500\n")
    write(cgroup / "cpuacct" / "docker" / ID / "cpuacct.usage", "77\n")
    blocks = "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n"
    write(cgroup / "blkio" / "docker" / ID / "blkio.throttle.io_service_bytes_recursive", blocks)
    sample = read(kernel)
    assert sample is not None
    assert attrs.astuple(sample)[1:] == (77, 280_000_000, 60, 500, 11, 22, 1, 2)


def test_a_process_that_is_not_the_containers_or_not_there_gives_nothing(kernel):
    proc, _ = kernel
    assert read(kernel) is None
    assert read(kernel, pid=0) is None
    write(proc / "7" / "cgroup", f"0::/docker/{'b' * 64}\n")
    assert read(kernel) is None
    write(proc / "7" / "cgroup", f"0::/docker/{ID}\n")
    assert read(kernel) is None


def version_2(cgroup: Path, group: str) -> None:
    folder = cgroup / group
    write(folder / "memory.stat", "inactive_file 40\n")
    write(folder / "memory.current", "100\n")
    write(folder / "memory.max", "900\n")
    write(folder / "cpu.stat", "usage_usec 3\n")


@pytest.mark.parametrize(
    ("group", "below"),
    [
        (f"system.slice/docker-{ID}.scope", ""),
        (f"system.slice/docker-{ID}.scope", "/init.scope"),
        (f"docker/{ID}", ""),
        (f"docker/{ID}", "/a/b"),
    ],
)
def test_version_2_of_either_driver_is_read_where_the_container_begins(kernel, group, below):
    proc, cgroup = kernel
    write(proc / "7" / "cgroup", f"0::/{group}{below}\n")
    version_2(cgroup, group)
    sample = read(kernel)
    assert sample is not None
    assert (sample.cpu, sample.memory_usage, sample.memory_limit, sample.blk_read) == (3000, 60, 900, 0)


@pytest.mark.parametrize("blocks", ["blkio.throttle.io_service_bytes", "blkio.io_service_bytes_recursive"])
def test_version_1_as_systemd_mounts_it_and_on_older_kernels(kernel, blocks):
    proc, cgroup = kernel
    group = f"system.slice/docker-{ID}.scope"
    lines = f"4:memory:/{group}\n3:cpu,cpuacct:/{group}\n2:blkio:/{group}\n1:name=systemd:/{group}\n"
    write(proc / "7" / "cgroup", lines)
    write(cgroup / "memory" / group / "memory.stat", "total_inactive_file 40\n")
    write(cgroup / "memory" / group / "memory.usage_in_bytes", "100\n")
    write(cgroup / "memory" / group / "memory.limit_in_bytes", "9223372036854771712\n")
    write(cgroup / "cpu,cpuacct" / group / "cpuacct.usage", "77\n")
    write(cgroup / "blkio" / group / blocks, "8:0 Read 1\n8:16 Read 10\n8:0 Write 2\nTotal 13\n")
    sample = read(kernel)
    assert sample is not None
    assert (sample.cpu, sample.memory_usage, sample.memory_limit) == (77, 60, 1_024_000)
    assert (sample.blk_read, sample.blk_write) == (11, 2)


def test_a_group_that_is_not_mounted_here_gives_nothing(kernel):
    proc, cgroup = kernel
    write(proc / "7" / "cgroup", f"0::/../../docker/{ID}\n")
    version_2(cgroup, f"docker/{ID}")
    assert read(kernel) is None


def test_the_engines_spelling_of_operations_does_not_matter_and_page_cache_is_no_use():
    """Control groups of version 2 spell operations in lower case and have `inactive_file` alone."""
    sample = sample_from_engine(
        {
            "memory_stats": {"usage": 100, "stats": {"inactive_file": 30}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "read", "value": 5}, {"op": "WRITE", "value": 6}]},
        }
    )
    assert (sample.memory_usage, sample.blk_read, sample.blk_write) == (70, 5, 6)
    cached = sample_from_engine({"memory_stats": {"usage": 100, "stats": {"cache": 20, "inactive_file": 30}}})
    assert cached.memory_usage == 80
    assert sample_from_engine({"blkio_stats": {"io_service_bytes_recursive": None}}).blk_read == 0
