"""Limits of add-ons on a real engine: what the kernel enforces, what changes while they run, who was killed."""

from __future__ import annotations

from typing import Any

import pytest
from addon_stage import SLUG, MakeImage, lamp, output
from engine_stage import until

from addon_house import House
from supervisor.events import AddonState
from supervisor.managers.addons import Addon
from supervisor.managers.addons.limit_keeper import LimitKeeper
from supervisor.managers.addons.limits import Limits

MB = 1024 * 1024
EATS = "read line; exec tail /dev/zero"


@pytest.fixture
def keeper(house: House) -> LimitKeeper:
    return LimitKeeper(house.engine, house.host)


async def limited(house: House, keeper: LimitKeeper, addon: Addon, **limits: Any) -> None:
    """Set limits as a user does."""
    await house.registry.change(addon, limits=keeper.changed(addon, limits))
    await house.runner.apply_limits(addon)


def cgroup(name: str) -> str:
    """Give the shell command that prints a limit as the container sees it, on either version of cgroups."""
    old, new = {
        "memory": ("memory/memory.limit_in_bytes", "memory.max"),
        "swap": ("memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
        "cpus": ("cpu/cpu.cfs_quota_us", "cpu.max"),
        "pids": ("pids/pids.max", "pids.max"),
    }[name]
    return f"cat /sys/fs/cgroup/{old} 2>/dev/null || cat /sys/fs/cgroup/{new}"


async def test_an_add_on_starts_within_its_limits(house: House, keeper: LimitKeeper, make_image: MakeImage) -> None:
    # Its own program begins no others: that it can't is the end of a shell. The init takes in what is left alone.
    make_image("exec sleep 100000")
    addon = await lamp(house, init=True)
    await limited(house, keeper, addon, memory=64 * MB, cpus=0.5, pids=20, shm=8 * MB)
    await house.runner.start(addon)
    assert keeper.pending(addon) == ()
    assert await output(house, addon, cgroup("memory")) == str(64 * MB)
    assert (await output(house, addon, cgroup("cpus"))).split()[0] == "50000"
    assert await output(house, addon, cgroup("pids")) == "20"
    assert (await output(house, addon, "df -k /dev/shm | tail -1")).split()[1] == "8192"
    refused = await output(house, addon, "i=0; while [ $i -lt 40 ]; do sleep 2 & i=$((i+1)); done 2>&1 | tail -1")
    assert "fork" in refused
    too_much = await output(house, addon, "dd if=/dev/zero of=/dev/shm/x bs=1M count=9 2>&1 || true")
    assert "No space left" in too_much


async def test_a_running_add_on_gets_its_limits_at_once(
    house: House, keeper: LimitKeeper, make_image: MakeImage
) -> None:
    make_image()
    addon = await lamp(house)
    await house.runner.start(addon)
    first = addon.container_id
    await limited(house, keeper, addon, memory=96 * MB, cpus=0.25, pids=30, shm=8 * MB)
    assert await output(house, addon, cgroup("memory")) == str(96 * MB)
    assert (await output(house, addon, cgroup("cpus"))).split()[0] == "25000"
    assert await output(house, addon, cgroup("pids")) == "30"
    assert keeper.pending(addon) == ("shm",), "its size is fixed while it runs"
    assert addon.container_id == first

    await limited(house, keeper, addon, memory=128 * MB)
    assert await output(house, addon, cgroup("memory")) == str(128 * MB), "more is given, too"
    await limited(house, keeper, addon, memory=None, cpus=None, pids=None)
    assert int(await output(house, addon, cgroup("memory"))) >= house.host.capacity.memory // 4096 * 4096
    assert await output(house, addon, cgroup("pids")) == "max"
    assert keeper.pending(addon) == ("shm",)

    await house.runner.restart(addon)
    assert keeper.pending(addon) == ()
    info = await house.engine.containers.inspect(addon.container_name)
    assert (info.resources.memory, info.resources.nano_cpus, info.resources.shm) == (0, 0, 8 * MB)


async def test_a_limit_below_what_is_used_waits_for_a_restart(
    house: House, keeper: LimitKeeper, make_image: MakeImage
) -> None:
    # Kept in a file system in memory, it can't be pushed out.
    make_image("dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null; while :; do sleep 0.1; done")
    addon = await lamp(house)
    await house.runner.start(addon)
    await until(
        lambda: output(house, addon, "[ $(stat -c %s /dev/shm/x 2>/dev/null || echo 0) -ge 62914560 ] && echo y || :")
    )
    await limited(house, keeper, addon, memory=16 * MB)
    assert addon.record.limits == Limits(memory=16 * MB)
    # The first version of cgroups refuses, the second one kills.
    assert keeper.pending(addon) == ("memory",) if addon.running else addon.last_error


async def test_a_daemon_that_was_away_brings_the_running_add_on_to_its_limits(
    house: House, keeper: LimitKeeper, make_image: MakeImage
) -> None:
    make_image()
    addon = await lamp(house)
    await house.runner.start(addon)
    await house.registry.change(addon, limits=Limits(memory=64 * MB, pids=40))
    assert keeper.pending(addon) == ("memory", "pids")
    await house.runner.attach(addon)
    assert keeper.pending(addon) == ()
    assert await output(house, addon, cgroup("pids")) == "40"


@pytest.mark.parametrize("init", [False, True])
async def test_a_memory_eater_is_killed_and_the_reason_is_said(
    house: House, keeper: LimitKeeper, make_image: MakeImage, caplog: pytest.LogCaptureFixture, init: bool
) -> None:
    make_image(EATS)
    addon = await lamp(house, stdin=True, init=init)
    await limited(house, keeper, addon, memory=64 * MB)
    await house.runner.start(addon)
    await house.runner.write_stdin(addon, b"eat")
    await until(lambda: addon.state is AddonState.ERROR)
    await until(lambda: addon.last_error == "killed: out of memory (limit 64.0 MiB)")
    assert addon.last_exit_code == 137
    assert f"{SLUG}: killed: out of memory (limit 64.0 MiB)" in caplog.messages
    [issue] = house.resolution.issues
    assert (issue.type, issue.reference, issue.reference_extra) == (
        "addon_out_of_memory", SLUG, {"limit": 64 * MB},
    )  # fmt: skip
    assert house.suggestions() == ["execute_restart"]

    later = House(house.paths.root, bus=house.bus, engine=house.engine)
    await later.registry.load()
    again = later.registry.get(SLUG)
    await later.runner.attach(again)
    assert again.last_error == "killed: out of memory (limit 64.0 MiB)", "the engine remembers it"
    assert later.issues() == [("addon_out_of_memory", SLUG)]


async def test_a_part_that_is_killed_is_told_while_the_add_on_goes_on(
    house: House, keeper: LimitKeeper, make_image: MakeImage
) -> None:
    make_image("read line; tail /dev/zero; touch /data/survived; while :; do sleep 0.1; done")
    addon = await lamp(house, stdin=True)
    await limited(house, keeper, addon, memory=64 * MB)
    await house.runner.start(addon)
    await house.runner.write_stdin(addon, b"eat")
    await until((house.paths.addons_data / SLUG / "survived").exists)
    await until(lambda: addon.last_error)
    assert addon.last_error == "a process of it was killed: out of memory (limit 64.0 MiB)"
    assert addon.state is AddonState.STARTED
    assert house.issues() == [("addon_out_of_memory", SLUG)]


async def test_a_kill_by_hand_is_not_taken_for_lack_of_memory(
    house: House, keeper: LimitKeeper, make_image: MakeImage, docker_client: Any
) -> None:
    make_image()
    addon = await lamp(house)
    await limited(house, keeper, addon, memory=64 * MB)
    await house.runner.start(addon)
    docker_client.kill(addon.container_name)
    await until(lambda: addon.state is AddonState.ERROR)
    assert (addon.last_error, house.issues()) == ("ended with exit code 137", [])
