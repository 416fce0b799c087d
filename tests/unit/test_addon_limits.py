"""Limits that users set: what is accepted, kept, and made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from addon_house import House
from supervisor.drivers.capacity import Capacity, read_capacity
from supervisor.drivers.docker.model import Resources
from supervisor.drivers.docker.refusals import refused_wish
from supervisor.drivers.docker.spec import ContainerSpec, Ulimit
from supervisor.errors import Invalid, SupervisorError
from supervisor.events import AddonState, ContainerOutOfMemory, ContainerState
from supervisor.managers.addons.limits import LIMITS_SCHEMA, Limits, changed_limits
from supervisor.managers.addons.record import AddonRecord, addons_schema
from supervisor.model.amounts import size_text
from supervisor.model.sizes import size

MB = 1024 * 1024
MACHINE = Capacity(memory=8 * 1024 * MB, cpus=4)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (1, 1),
        (67108864, 64 * MB),
        ("67108864", 64 * MB),
        ("64M", 64 * MB),
        ("64m", 64 * MB),
        (" 64 MB ", 64 * MB),
        ("64MiB", 64 * MB),
        ("0.5G", 512 * MB),
        ("1.5g", 1536 * MB),
        ("100b", 100),
        ("2T", 2 * 1024 * 1024 * MB),
    ],
)
def test_a_size_is_a_number_with_or_without_a_unit(written: object, meant: int) -> None:
    assert size(written) == meant


@pytest.mark.parametrize(
    "written",
    ["", "M", "64X", "-1", "1e9", "64M64", "\uff11M", "0", 0, -5, True, 1.5, None, [], "9" * 15 + "T", 2**60, "0.1"],
)
def test_anything_else_is_no_size(written: object) -> None:
    with pytest.raises(vol.Invalid):
        size(written)


@given(st.text() | st.integers() | st.floats() | st.none() | st.binary())
def test_whatever_is_written_a_size_is_a_number_or_refused(written: object) -> None:
    try:
        amount = size(written)
    except vol.Invalid:
        return
    assert 0 < amount <= 2**53


@pytest.mark.parametrize(
    ("amount", "said"),
    [(64 * MB, "64.0 MiB"), (1536 * MB, "1.5 GiB"), (100, "100 B"), (1024, "1.0 KiB"), (2**41, "2.0 TiB")],
)
def test_a_size_is_said_as_people_do(amount: int, said: str) -> None:
    assert size_text(amount) == said


def changed(changes: dict[str, Any] | None, before: Limits = Limits(), *, own_shm: bool = True) -> Limits:  # noqa: B008 - frozen
    checked = None if changes is None else LIMITS_SCHEMA(changes)
    return changed_limits(before, checked, MACHINE, own_shm=own_shm)


def test_what_is_not_named_stays_and_null_takes_away() -> None:
    first = changed({"memory": "512M", "cpus": 1.5, "pids": "100", "shm": "64M"})
    assert first == Limits(512 * MB, 1.5, 100, 64 * MB)
    assert changed({"memory": None}, first) == Limits(None, 1.5, 100, 64 * MB)
    assert changed({"cpus": "2"}, first) == Limits(512 * MB, 2.0, 100, 64 * MB)
    assert changed({}, first) == first
    assert changed(None, first) == Limits()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"memory": "8M"}, "The limit memory can't be set so: 16.0 MiB is the least"),
        ({"memory": "9G"}, "The limit memory can't be set so: this machine has 8.0 GiB"),
        ({"cpus": 0.01}, "The limit cpus can't be set so: 0.05 is the least"),
        ({"cpus": 4.5}, "The limit cpus can't be set so: this machine has 4"),
        ({"cpus": -1}, "The limit cpus can't be set so: 0.05 is the least"),
        ({"pids": 1}, "The limit pids can't be set so: 8 is the least"),
        ({"pids": 10**9}, "The limit pids can't be set so: this machine has 4194304"),
        ({"shm": 1000}, "The limit shm can't be set so: 1.0 MiB is the least"),
        ({"shm": "64G"}, "The limit shm can't be set so: this machine has 8.0 GiB"),
        ({"memory": "1G", "pids": 1}, "The limit pids can't be set so: 8 is the least"),
    ],
)
def test_a_limit_out_of_bounds_is_refused_with_the_bound(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid) as caught:
        changed(changes)
    assert (str(caught.value), caught.value.key) == (text, "app_limit_invalid_error")


def test_an_add_on_with_the_machine_s_shared_memory_has_none_of_its_own_to_limit() -> None:
    with pytest.raises(Invalid, match="host_ipc"):
        changed({"shm": "64M"}, own_shm=False)
    assert changed({"shm": None}, own_shm=False) == Limits()


@pytest.mark.parametrize("changes", [{"cpus": "many"}, {"cpus": True}, {"pids": "x"}, {"disk": 1}, {"cpus": "nan"}])
def test_what_makes_no_sense_does_not_pass_the_edge(changes: dict[str, Any]) -> None:
    with pytest.raises(vol.Invalid):
        LIMITS_SCHEMA(changes)


LIMITS = st.builds(
    Limits,
    st.none() | st.integers(1, 2**50),
    st.none() | st.floats(0.05, 1000),
    st.none() | st.integers(1, 10**9),
    st.none() | st.integers(1, 2**50),
)


@given(LIMITS)
def test_limits_survive_the_state_file(limits: Limits) -> None:
    assert Limits.from_stored(limits.as_stored()) == limits


@given(LIMITS)
def test_what_the_machine_lacks_is_no_limit(limits: Limits) -> None:
    possible = limits.within(MACHINE)
    assert possible.memory is None or possible.memory < MACHINE.memory
    assert possible.cpus is None or possible.cpus < MACHINE.cpus
    assert possible.within(MACHINE) == possible


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["memory", "cpus", "pids", "shm", "x"]), inner),
)


@given(JSON)
def test_whatever_a_state_file_holds_the_add_on_is_not_lost(stored: object) -> None:
    limits = Limits.from_stored(stored)
    assert Limits.from_stored(limits.as_stored()) == limits


def test_this_machine_has_something_to_give() -> None:
    capacity = read_capacity()
    assert capacity.memory > 100 * MB
    assert capacity.cpus >= 1


async def test_the_record_keeps_limits_and_says_nothing_when_there_are_none(tmp_path: Path) -> None:
    house = House(tmp_path)
    addon = await house.install()
    assert "limits" not in addon.record.user_part()
    await house.registry.change(addon, limits=Limits(64 * MB, 0.5, 20, None))
    user, system = addon.record.user_part(), addon.record.system_part()
    assert user["limits"] == {"memory": 64 * MB, "cpus": 0.5, "pids": 20}
    checked = addons_schema({"user": {"local_lamp": user}, "system": {"local_lamp": system}})
    again = AddonRecord.from_stored("local_lamp", checked["user"]["local_lamp"], system, None)
    assert again.limits == addon.record.limits


async def test_the_container_gets_the_limits(tmp_path: Path) -> None:
    house = House(tmp_path)
    addon = await house.install(user={"limits": Limits(64 * MB, 0.5, 20, 32 * MB)})
    await house.runner.start(addon)
    [spec] = house.engine.specs
    assert (spec.memory, spec.nano_cpus, spec.pids_limit, spec.shm_size) == (64 * MB, 500_000_000, 20, 32 * MB)
    assert spec.tmpfs["/dev/shm"] == f"size={32 * MB}"


async def test_with_the_machine_s_shared_memory_no_size_is_set(tmp_path: Path) -> None:
    house = House(tmp_path)
    addon = await house.install(user={"limits": Limits(shm=32 * MB)}, host_ipc=True)
    await house.runner.start(addon)
    [spec] = house.engine.specs
    assert (spec.shm_size, spec.tmpfs) == (None, {})


def oom(house: House, addon: Any) -> None:
    house.bus.publish(ContainerOutOfMemory(addon.container_name, addon.container_id, 1.0))


async def test_a_kill_for_lack_of_memory_is_said_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    house = House(tmp_path)
    addon = await house.install()
    await house.runner.start(addon)
    addon.resources = Resources(memory=64 * MB)
    oom(house, addon)
    assert addon.last_error == "a process of it was killed: out of memory (limit 64.0 MiB)"
    house.engine.end(addon.container_name, 137)
    assert (addon.state, addon.last_error) == (AddonState.ERROR, "killed: out of memory (limit 64.0 MiB)")
    assert "local_lamp: killed: out of memory (limit 64.0 MiB)" in caplog.messages
    [issue] = house.resolution.issues
    assert (issue.type, issue.reference, issue.reference_extra) == (
        "addon_out_of_memory", "local_lamp", {"limit": 64 * MB},
    )  # fmt: skip
    assert house.suggestions() == ["execute_restart"]
    await house.runner.start(addon)
    assert addon.last_error is None
    assert house.issues() == [("addon_out_of_memory", "local_lamp")], "a start does not make it need less"


async def test_a_program_whose_parts_are_killed_all_the_time_does_not_flood_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(tmp_path)
    addon = await house.install()
    await house.runner.start(addon)
    for _ in range(20):
        oom(house, addon)
    assert len([message for message in caplog.messages if "out of memory" in message]) == 1
    assert house.issues() == [("addon_out_of_memory", "local_lamp")]


async def test_the_news_may_come_after_the_end(tmp_path: Path) -> None:
    house = House(tmp_path)
    addon = await house.install()
    await house.runner.start(addon)
    house.engine.end(addon.container_name, 137)
    assert addon.last_error == "ended with exit code 137"
    oom(house, addon)
    assert addon.last_error == "killed: out of memory (the machine had no more)"


async def test_another_exit_code_is_told_together_with_the_lack_of_memory(tmp_path: Path) -> None:
    house = House(tmp_path)
    addon = await house.install()
    await house.runner.start(addon)
    oom(house, addon)
    house.engine.end(addon.container_name, 1)
    assert addon.last_error == "ended with exit code 1, killed: out of memory (the machine had no more)"


async def test_news_of_a_container_that_was_replaced_do_not_count(tmp_path: Path) -> None:
    house = House(tmp_path)
    addon = await house.install()
    await house.runner.start(addon)
    house.bus.publish(ContainerOutOfMemory(addon.container_name, "another", 1.0))
    house.bus.publish(ContainerOutOfMemory("addon_unknown", "another", 1.0))
    assert (addon.last_error, house.issues()) == (None, [])


async def test_what_happened_while_the_daemon_was_away_is_found(tmp_path: Path) -> None:
    house = House(tmp_path)
    addon = await house.install()
    await house.runner.start(addon)
    house.engine.present[addon.container_name]["State"] = {
        "Status": "exited", "Running": False, "ExitCode": 137, "OOMKilled": True,
    }  # fmt: skip
    await house.runner.attach(addon)
    assert addon.state is AddonState.ERROR
    assert addon.last_error == "killed: out of memory (the machine had no more)"
    assert house.issues() == [("addon_out_of_memory", "local_lamp")]


async def test_an_old_lack_of_memory_is_not_blamed_for_a_later_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    addon = await house.install()
    await house.runner.start(addon)
    oom(house, addon)
    monkeypatch.setattr("supervisor.managers.addons.addon.STARVED_SECONDS", 0.0)
    addon.apply(ContainerState.FAILED, 137)
    assert addon.last_error == "ended with exit code 137"


CAPS = "OCI runtime create failed: runc create failed: unable to apply caps: operation not permitted: unknown"


@pytest.mark.parametrize(
    ("fields", "text", "said"),
    [
        ({"capabilities": ("SYS_RESOURCE", "NET_ADMIN")}, CAPS, "(SYS_RESOURCE, NET_ADMIN)"),
        ({"privileged": True}, CAPS, "(all capabilities)"),
        ({}, 'invalid CapAdd: unknown capability: "CAP_BPF"', "does not know the capability BPF"),
        ({"ulimits": (Ulimit("memlock", 1, 1),)}, "error setting rlimit type 8: operation not permitted", "(memlock)"),
        ({}, "wrong rlimit value: RLIMIT_NONSENSE", "called nonsense"),
        ({"cpu_rt_runtime": 1}, 'failed to write "1": cpu.rt_runtime_us: invalid argument', "real-time"),
        ({"security_opt": ("apparmor=local_x",)}, "unable to apply apparmor profile: no such file", "profile local_x"),
        ({"memory": 9}, "container init was OOM-killed (memory limit too low?)", "9 bytes is too small"),
    ],
)
def test_what_the_engine_refuses_is_said_in_words_that_help(fields: dict[str, Any], text: str, said: str) -> None:
    refusal = refused_wish(ContainerSpec(name="addon_x", image="x:1", **fields), text)
    assert isinstance(refusal, SupervisorError)
    assert str(refusal).startswith("addon_x can't start: ")
    assert said in str(refusal)


def test_other_refusals_are_left_to_others() -> None:
    assert refused_wish(ContainerSpec(name="addon_x", image="x:1"), "no space left on device") is None
