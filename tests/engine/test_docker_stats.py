"""What we read of a container's use is what the engine reads (add-on contract §4.9)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import docker
import pytest
from engine_stage import spec, until

from supervisor.drivers.docker import containers as containers_module
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import Stats
from supervisor.drivers.docker.stats import CGROUP_ROOT, PROC_ROOT, Sample, sample_from_engine, sample_from_kernel

BUSY = "head -c 8000000 /dev/zero > /data/file; sync; cat /data/file > /dev/null; echo busy; while :; do :; done"
# The times of idle and of waiting are rounded down each for itself, and move from one to the other.
TICKS = 2 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@pytest.fixture
async def busy(engine: Engine, network: None, base_image: str) -> str:
    info = await engine.containers.run(spec("busy", "sh", "-c", BUSY, network="hassio"))

    async def is_busy() -> bool:
        return [line.message async for line in engine.containers.logs(info.name)] == ["busy"]

    # What it reads makes its memory another one.
    await until(is_busy, 120)
    return info.id


def kernel(client: docker.APIClient, identity: str) -> Sample:
    pid = client.inspect_container(identity)["State"]["Pid"]
    sample = sample_from_kernel(identity, pid, host_network=False, cgroup_root=CGROUP_ROOT, proc_root=PROC_ROOT)
    assert sample is not None
    return sample


def _after_traffic(client: docker.APIClient, identity: str) -> Sample | None:
    sample = kernel(client, identity)
    return sample if sample.network_rx else None


def _after_work(client: docker.APIClient, identity: str, before: Sample) -> Sample | None:
    sample = kernel(client, identity)
    return sample if sample.cpu > before.cpu else None


async def test_the_kernels_files_and_the_engine_tell_the_same(docker_client: docker.APIClient, busy: str) -> None:
    # The first packet may take its time.
    first = await until(lambda: _after_traffic(docker_client, busy))
    engine = sample_from_engine(docker_client.stats(busy, stream=False, one_shot=True))
    # It may not have had its turn since, on a machine that is busy.
    last = await until(lambda: _after_work(docker_client, busy, first))
    for name in ("cpu", "network_rx", "network_tx", "blk_read", "blk_write"):
        assert getattr(first, name) <= getattr(engine, name) <= getattr(last, name), name
    assert first.system - TICKS <= engine.system <= last.system + TICKS
    assert abs(engine.memory_usage - last.memory_usage) < 1_000_000
    assert engine.memory_limit == last.memory_limit
    assert last.cpu > first.cpu > 0
    assert last.network_rx > 0


async def test_without_the_kernels_files_the_engine_is_asked(
    engine: Engine, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def over_a_second() -> Stats:
        """Measure for longer than it takes to lose a processor between two looks."""
        await engine.containers.stats(busy)
        await asyncio.sleep(1)
        return await engine.containers.stats(busy)

    seen = await over_a_second()
    monkeypatch.setattr(containers_module, "CGROUP_ROOT", Path("/nonexistent"))
    engine.containers.forget(busy)
    asked = await over_a_second()
    processors = os.cpu_count() or 1
    for stats in (seen, asked):
        # One process that never rests uses one processor, of all that the machine has.
        assert 0 < stats.cpu_percent <= 100 / processors + 20
        assert stats.memory_usage > 0
        assert stats.memory_percent == round(100 * stats.memory_usage / stats.memory_limit, 2)
    assert asked.memory_limit == seen.memory_limit
