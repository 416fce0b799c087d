"""The states of an add-on as the engine's news make them (add-on contract §3.7)."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.const import GATEWAY_ADDRESS, UNKNOWN_ADDRESS
from supervisor.drivers.docker.model import ContainerInfo, container_info
from supervisor.events import AddonState, AddonStateChanged, ContainerState, ContainerStateChanged, EventBus
from supervisor.managers.addons import Addon
from supervisor.managers.addons.record import AddonRecord
from supervisor.model.manifest import AddonBoot, Manifest
from supervisor.model.manifest_schema import validate_manifest

LEAST: dict[str, Any] = {"name": "L", "version": "1", "slug": "lamp", "description": "d", "arch": ["amd64"]}


def addon(bus: EventBus | None = None, **keys: Any) -> Addon:
    manifest = Manifest.from_config(validate_manifest({**LEAST, **keys})[0])
    return Addon(AddonRecord("local_lamp", "local", manifest, {}, "1", "local/lamp"), bus or EventBus())


def container(
    id_: str = "new",
    status: str = "running",
    exit_code: int = 0,
    health: str | None = None,
    check: bool = False,
    finished: str = "0001-01-01T00:00:00Z",
) -> ContainerInfo:
    raw: dict[str, Any] = {
        "Id": id_,
        "Name": "/addon_local_lamp",
        "State": {"Status": status, "Running": status == "running", "ExitCode": exit_code, "FinishedAt": finished},
        "Config": {"Healthcheck": {"Test": ["CMD", "true"]}} if check else {},
        "NetworkSettings": {"Networks": {"hassio": {"IPAddress": "172.30.33.7" if status == "running" else ""}}},
    }
    if health is not None:
        raw["State"]["Health"] = {"Status": health}
    return container_info(raw, network_name="hassio")


def event(
    state: ContainerState, id_: str = "new", exit_code: int | None = None, time: float = 1.0
) -> ContainerStateChanged:
    return ContainerStateChanged("addon_local_lamp", id_, state, time, exit_code)


@pytest.mark.parametrize(
    ("info", "image", "state"),
    [
        (None, False, AddonState.UNKNOWN),
        (None, True, AddonState.STOPPED),
        (container(), True, AddonState.STARTED),
        (container(check=True, health="starting"), True, AddonState.STARTUP),
        (container(check=True, health="healthy"), True, AddonState.STARTED),
        (container(check=True, health="unhealthy"), True, AddonState.STARTED),
        (container(status="exited"), True, AddonState.STOPPED),
        (container(status="exited", exit_code=1), True, AddonState.ERROR),
        (container(status="created"), True, AddonState.STOPPED),
    ],
)
def test_what_the_engine_has_decides_the_first_state(
    info: ContainerInfo | None, image: bool, state: AddonState
) -> None:
    lamp = addon()
    lamp.attach(info, image_present=image)
    assert lamp.state is state


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    ("news", "code", "state"),
    [
        (ContainerState.HEALTHY, None, AddonState.STARTED),
        (ContainerState.UNHEALTHY, None, AddonState.STARTED),
        (ContainerState.STOPPED, 0, AddonState.STOPPED),
        (ContainerState.FAILED, 143, AddonState.ERROR),
        (ContainerState.UNKNOWN, None, AddonState.UNKNOWN),
    ],
)
def test_news_of_the_container_move_the_state(
    check: bool, asked: bool, news: ContainerState, code: int | None, state: AddonState
) -> None:
    lamp = addon()
    lamp.attach(container(check=check), image_present=True)
    assert lamp.state is (AddonState.STARTUP if check else AddonState.STARTED)
    lamp.stop_requested = asked
    lamp.apply(news, code)
    # Who was asked to stop and is killed by the signal did nothing wrong.
    assert lamp.state is (AddonState.STOPPED if asked and state is AddonState.ERROR else state)
    assert lamp.last_exit_code == code
    assert lamp.unhealthy is (news is ContainerState.UNHEALTHY)


def test_late_news_of_an_old_container_do_not_count() -> None:
    lamp = addon()
    lamp.attach(container("old"), image_present=True)
    assert lamp.concerns(event(ContainerState.FAILED, "old"))
    lamp.attach(None, image_present=True)
    for state in ContainerState:
        assert not lamp.concerns(event(state, "old")), "the container is gone"
    assert lamp.concerns(event(ContainerState.RUNNING, "new"))
    lamp.attach(container("new"), image_present=True)
    assert not lamp.concerns(event(ContainerState.FAILED, "old"))
    assert not lamp.concerns(event(ContainerState.FAILED, "other"))
    assert lamp.concerns(event(ContainerState.FAILED, "new"))


def test_a_container_that_somebody_else_made_is_taken_over_when_it_lives() -> None:
    lamp = addon()
    lamp.attach(container("new"), image_present=True)
    assert lamp.concerns(event(ContainerState.RUNNING, "foreign"))
    assert not lamp.concerns(event(ContainerState.STOPPED, "foreign"))


def test_a_program_that_ended_before_its_start_was_reported_stays_ended() -> None:
    lamp = addon()
    lamp.container_id = "new"
    lamp.apply(ContainerState.RUNNING)
    lamp.apply(ContainerState.FAILED, 3)
    lamp.started(container("new"))
    assert (lamp.state, lamp.ip_address, lamp.last_exit_code) == (AddonState.ERROR, UNKNOWN_ADDRESS, 3)


def test_late_news_of_a_start_do_not_revive_what_the_engine_said_has_ended() -> None:
    bus, heard = EventBus(), []
    bus.subscribe(AddonStateChanged, lambda event: heard.append(event.state.value))
    lamp = addon(bus)
    lamp.started(container("new", status="exited", exit_code=3, finished="1970-01-01T00:00:10Z"))
    lamp.follow(event(ContainerState.RUNNING, time=9.5))
    lamp.follow(event(ContainerState.FAILED, exit_code=3, time=10.0))
    assert (heard, lamp.last_exit_code) == (["error"], 3)
    lamp.follow(event(ContainerState.RUNNING, time=20.0))
    assert lamp.state is AddonState.STARTED, "somebody started it again"


def test_a_start_without_news_yet_is_taken_from_the_engine_s_answer() -> None:
    lamp = addon()
    lamp.started(container("new"))
    assert (lamp.state, lamp.ip_address) == (AddonState.STARTED, IPv4Address("172.30.33.7"))


def test_the_address_is_learnt_although_the_news_came_first() -> None:
    lamp = addon()
    lamp.container_id = "new"
    lamp.apply(ContainerState.RUNNING)
    lamp.started(container("new"))
    assert lamp.address == IPv4Address("172.30.33.7")
    lamp.apply(ContainerState.STOPPED, 0)
    assert lamp.address == UNKNOWN_ADDRESS


def test_in_the_network_of_the_host_the_address_is_the_gateway() -> None:
    assert addon(host_network=True).address == GATEWAY_ADDRESS


def test_each_change_is_told_once() -> None:
    bus, heard = EventBus(), []
    bus.subscribe(AddonStateChanged, lambda event: heard.append(event.state.value))
    lamp = addon(bus)
    lamp.attach(container(), image_present=True)
    lamp.apply(ContainerState.HEALTHY)
    lamp.fail("refused")
    lamp.fail("refused")
    assert heard == ["started", "error"]


@pytest.mark.parametrize(
    ("config", "chosen", "boot"),
    [
        ("auto", None, AddonBoot.AUTO),
        ("auto", "manual", AddonBoot.MANUAL),
        ("manual", None, AddonBoot.MANUAL),
        ("manual", "auto", AddonBoot.AUTO),
        ("manual_only", None, AddonBoot.MANUAL),
        ("manual_only", "auto", AddonBoot.MANUAL),
    ],
)
def test_the_boot_mode_is_the_user_s_unless_it_is_pinned(config: str, chosen: str | None, boot: AddonBoot) -> None:
    lamp = addon(boot=config)
    lamp.record = attrs.evolve(lamp.record, boot=chosen)
    assert lamp.boot is boot


async def test_waiting_for_a_start_ends_with_the_verdict() -> None:
    lamp = addon()
    lamp.attach(container(check=True, health="starting"), image_present=True)
    waiters = [asyncio.ensure_future(lamp.settle(10)) for _ in range(2)]
    await asyncio.sleep(0)
    lamp.apply(ContainerState.HEALTHY)
    assert await asyncio.gather(*waiters) == [AddonState.STARTED] * 2


async def test_waiting_for_a_start_gives_up_in_time(caplog: pytest.LogCaptureFixture) -> None:
    lamp = addon()
    lamp.attach(container(check=True, health="starting"), image_present=True)
    assert await lamp.settle(0.01) is AddonState.STARTUP
    assert "still not healthy" in caplog.text


@given(st.lists(st.tuples(st.sampled_from(ContainerState), st.sampled_from(["a", "b"]), st.integers(0, 255))))
def test_no_order_of_news_leaves_the_add_on_running_without_a_container(news: list[Any]) -> None:
    lamp = addon()
    for state, id_, code in news:
        told = event(state, id_, code)
        lamp.follow(told)
        assert not lamp.running or lamp.container_id is not None
        assert lamp.running or lamp.ip_address == UNKNOWN_ADDRESS


async def test_who_hears_of_a_start_before_the_engine_tells_waits_for_its_word() -> None:
    lamp = addon()
    lamp.attach(None, image_present=True)
    waiting = asyncio.ensure_future(lamp.noticed(5))
    await asyncio.sleep(0)
    lamp.apply(ContainerState.RUNNING)
    await asyncio.wait_for(waiting, 30)
    assert lamp.state is AddonState.STARTED
    lamp.apply(ContainerState.STOPPED)
    await lamp.noticed(0.01)
    assert lamp.state is AddonState.STOPPED, "a word that does not come is not waited for long"
