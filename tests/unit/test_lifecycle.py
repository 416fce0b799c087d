"""What starts and stops, in which order (API contract §9)."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from addon_house import House, until
from supervisor import lifecycle
from supervisor.drivers.docker.instance import engine_run
from supervisor.drivers.systemd import Notifier
from supervisor.errors import Unavailable
from supervisor.events import (
    AddonState,
    AddonStateChanged,
    CoreState,
    CoreStateChanged,
    EngineAvailabilityChanged,
    EventBus,
)
from supervisor.lifecycle import EXIT_RESTART, Lifecycle, StateKeeper, StopRequest
from supervisor.managers.addons.watchdog import ContainerWatchdog
from supervisor.managers.configuration import CONFIGURATION_SCHEMA, Configuration
from supervisor.state import write_atomic

pytestmark = pytest.mark.usefixtures("no_blocking_calls")


@pytest.fixture
def engine_socket(tmp_path: Path) -> Iterator[str]:
    """A socket that listens, as an engine's does; the kernel names this process as the one behind it."""
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        yield f"unix://{path}"


class Impatient(Configuration):
    """Boot stages last a second at least, which the order of things does not need."""

    @property
    def wait_boot(self) -> int:
        return 0


class Machine:
    """A daemon over add-ons whose engine is a table; `log` is what was done, in its order."""

    def __init__(self, root: Path, docker_url: str) -> None:
        root.mkdir(exist_ok=True)
        self.house = House(root)
        self.bus: EventBus = self.house.bus
        self.log: list[str] = []
        self.bus.subscribe(CoreStateChanged, lambda event: self.log.append(event.state.value))
        self.state = StateKeeper(self.bus, root / "state")
        self.end = StopRequest()
        self.configuration = Impatient(self.house.state_file("config.json", CONFIGURATION_SCHEMA))
        self.available = True
        self.goes_down = False
        self.booter = self.house.booter
        self.watchdog = ContainerWatchdog(
            self.bus, self.house.jobs, self.house.registry, self.house.runner, self.house.resolution
        )
        self.engine_up = partial(self.step, "engine up")
        self.docker_url = docker_url
        self.setup: list[Any] = [
            ("API", self.state.show),
            ("configuration", self.configuration.load),
            ("add-ons", self.house.registry.load),
        ]
        self.startup: list[Any] = [("boot slot", partial(self.step, "boot slot"))]
        self.closing: list[Any] = [
            [("one", partial(self.step, "close one"))],
            [("two", partial(self.step, "close two"))],
        ]

    async def step(self, name: str) -> None:
        self.log.append(name)

    async def engine_reached(self) -> None:
        for addon in self.house.registry.installed.values():
            await self.house.runner.attach(addon)

    def background(self) -> None:
        self.log.append("background")

    def build(self) -> Lifecycle:
        return Lifecycle(
            self.state,
            self.bus,
            self,  # type: ignore[arg-type] - of the engine it asks `available` alone
            self.docker_url,
            self,  # type: ignore[arg-type] - of the add-ons `engine_reached`, `booter` and `watchdog`
            self.configuration,
            self.house.host,
            self.house.resolution,
            partial(self.step, "machine booted"),
            Notifier(),
            self.end,
            self.setup,
            self.startup,
            self.engine_up,
            self.background,
            self.closing,
            self.stops,
        )

    async def stops(self) -> bool:
        return self.goes_down

    async def once(self) -> int:
        """Run until everything is up, then stop."""
        running = asyncio.ensure_future(self.build().run())
        await until(lambda: "running" in self.log)
        self.end.ask()
        return await running

    @property
    def started(self) -> list[str]:
        return [spec.name for spec in self.house.engine.specs]


@pytest.fixture
def machine(tmp_path: Path, engine_socket: str) -> Machine:
    machine = Machine(tmp_path / "data", engine_socket)
    machine.house.host.facts = machine.house.host.facts.__class__(None, None, "", None, None, "boot-1")
    return machine


def again(before: Machine, *, boot: str = "boot-1") -> Machine:
    """Return the daemon of the next process on the same disk, with the same engine."""
    machine = Machine(before.house.paths.root, before.docker_url)
    machine.house.host.facts = machine.house.host.facts.__class__(None, None, "", None, None, boot)
    machine.house.engine.present = before.house.engine.present
    return machine


async def test_the_daemon_goes_through_its_states_and_closes_stage_by_stage(machine: Machine) -> None:
    assert await machine.once() == 0
    assert machine.log == [
        "setup", "startup", "boot slot", "engine up", "machine booted", "background", "running", "stopping",
        "close one", "close two", "close",
    ]  # fmt: skip
    assert (machine.house.paths.root / "state").read_text() == "close"


async def test_of_two_changes_at_once_the_file_tells_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, began, goes_on = StateKeeper(EventBus(), tmp_path / "state"), threading.Event(), threading.Event()

    def slowly(path: Path, content: bytes, mode: int) -> None:
        if content == b"running":
            began.set()
            assert goes_on.wait(60)
        write_atomic(path, content, mode)

    monkeypatch.setattr(lifecycle, "write_atomic", slowly)
    await keeper.show()
    first = asyncio.create_task(keeper.set(CoreState.RUNNING))
    await asyncio.to_thread(began.wait, 60)
    second = asyncio.create_task(keeper.set(CoreState.STOPPING))
    # Who did not wait for the first would have written by then.
    await asyncio.wait({second}, timeout=0.1)
    goes_on.set()
    await asyncio.gather(first, second)
    assert (tmp_path / "state").read_text() == "stopping"


async def test_who_asks_first_decides_the_exit_code(machine: Machine) -> None:
    machine.end.ask(EXIT_RESTART)
    machine.end.ask()
    assert await machine.build().run() == EXIT_RESTART


async def test_a_step_that_fails_makes_the_system_unhealthy_and_the_next_one_follows(machine: Machine) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    machine.setup.insert(0, ("something", fail))
    await machine.once()
    assert machine.house.resolution.unhealthy == ("setup",)
    assert "running" in machine.log


async def test_a_stop_while_it_starts_ends_the_start_and_closes(machine: Machine) -> None:
    async def hang() -> None:
        machine.log.append("hanging")
        await asyncio.Event().wait()

    machine.setup.append(("something", hang))
    running = asyncio.ensure_future(machine.build().run())
    await until(lambda: "hanging" in machine.log)
    machine.end.ask()
    assert await running == 0
    assert machine.log == ["setup", "hanging", "stopping", "close one", "close two", "close"]


async def test_a_part_that_does_not_stop_is_left_behind(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 0.02)
    machine.closing[0] += [("stuck", asyncio.Event().wait), ("broken", fail)]
    await machine.once()
    assert machine.log[-3:] == ["close one", "close two", "close"]


async def install(machine: Machine) -> None:
    await machine.house.install("local_late", startup="application")
    await machine.house.install("local_early", startup="system")
    await machine.house.install("local_manual", boot="manual")


async def test_after_a_boot_of_the_machine_add_ons_start_in_the_order_of_their_stages(machine: Machine) -> None:
    await install(machine)
    await machine.once()
    assert machine.started == ["addon_local_early", "addon_local_late"]
    assert machine.configuration.last_boot_id == "boot-1"


async def test_a_restart_of_the_daemon_starts_and_stops_nothing(machine: Machine) -> None:
    await install(machine)
    await machine.once()
    ids = {name: raw["Id"] for name, raw in machine.house.engine.present.items()}
    following = again(machine)
    await following.once()
    assert following.started == []
    assert {name: raw["Id"] for name, raw in following.house.engine.present.items()} == ids
    assert following.house.registry.get("local_early").running


async def test_a_crash_in_the_middle_of_the_boot_is_caught_up(machine: Machine) -> None:
    await install(machine)
    await machine.once()
    del machine.house.engine.present["addon_local_late"]
    following = again(machine)
    await following.configuration.load()
    await following.configuration.change(last_boot_id=None)
    await following.once()
    assert following.started == ["addon_local_late"], "what runs already is left alone"


def end_all(machine: Machine) -> None:
    for raw in machine.house.engine.present.values():
        raw["State"] = {"Status": "exited", "Running": False, "ExitCode": 255}


async def test_a_start_that_the_last_process_did_not_finish_is_done_by_the_next(machine: Machine) -> None:
    await install(machine)
    await machine.once()
    del machine.house.engine.present["addon_local_late"]
    machine.house.engine.present["addon_local_early"]["State"] = {"Status": "exited", "Running": False, "ExitCode": 1}
    following = again(machine)
    await following.once()
    assert following.started == ["addon_local_late"], "one that ended by itself is not our business"


async def test_what_the_watchdog_missed_while_no_daemon_ran_is_rescued_by_the_next_one(machine: Machine) -> None:
    await install(machine)
    for slug in ("local_late", "local_early"):
        await machine.house.registry.change(machine.house.registry.get(slug), watchdog=slug == "local_late")
    await machine.once()
    following = again(machine)
    end_all(following)
    running = asyncio.ensure_future(following.build().run())
    await until(lambda: following.started == ["addon_local_late"])
    assert not following.house.registry.get("local_early").running
    following.end.ask()
    await running
    await following.watchdog.stop()


async def test_how_containers_of_an_earlier_run_of_the_machine_ended_is_no_case_for_the_watchdog(
    machine: Machine,
) -> None:
    await machine.house.install("local_manual", boot="manual", user={"watchdog": True, "should_run": True})
    await machine.once()
    following = again(machine, boot="boot-2")
    name = "addon_local_manual"
    following.house.engine.present[name] = {"Id": "old", "Name": f"/{name}", "State": {"Status": "exited"}}
    running = asyncio.ensure_future(following.build().run())
    await until(lambda: "running" in following.log)
    following.house.engine.end(name, 255)
    await asyncio.sleep(0.05)
    assert following.started == []
    assert following.house.registry.get("local_manual").state is AddonState.ERROR
    following.end.ask()
    await running
    await following.watchdog.stop()


async def test_a_new_run_of_the_engine_brings_back_what_ran(machine: Machine) -> None:
    await install(machine)
    await machine.once()
    following = again(machine)
    end_all(following)
    await following.configuration.load()
    await following.configuration.change(last_engine_run="another run")
    await following.once()
    assert sorted(following.started) == ["addon_local_early", "addon_local_late"]


async def test_add_ons_of_the_first_stage_start_with_every_run_of_the_daemon(machine: Machine) -> None:
    await machine.house.install("local_first", startup="initialize")
    await machine.house.install("local_manual", startup="initialize", boot="manual")
    await install(machine)
    await machine.once()
    following = again(machine)
    for name in ("addon_local_first", "addon_local_late"):
        following.house.engine.present[name]["State"] = {"Status": "exited", "Running": False, "ExitCode": 0}
    await following.once()
    assert following.started == ["addon_local_first"]
    third = again(following)
    await third.once()
    assert third.started == [], "what runs is left alone"


async def test_when_the_machine_goes_down_every_add_on_is_stopped_in_order_and_starts_at_the_next_boot(
    machine: Machine,
) -> None:
    for slug, startup in (("a", "initialize"), ("b", "system"), ("c", "services"), ("d", "application")):
        await machine.house.install(f"local_{slug}", startup=startup)
    await machine.house.install("local_once", startup="once")
    stopped: list[str] = []
    machine.bus.subscribe(
        AddonStateChanged, lambda event: stopped.append(event.slug) if event.state is AddonState.STOPPED else None
    )
    running = asyncio.ensure_future(machine.build().run())
    await until(lambda: "running" in machine.log)
    await machine.house.runner.start(machine.house.registry.get("local_once"))
    stopped.clear()
    machine.goes_down = True
    machine.end.ask()
    await running
    assert stopped == ["local_once", "local_d", "local_c", "local_b", "local_a"]
    assert machine.log[-5:] == ["shutdown", "stopping", "close one", "close two", "close"]
    following = again(machine, boot="boot-2")
    await following.once()
    assert following.started == [f"addon_local_{slug}" for slug in "abcd"]


async def test_a_restart_of_the_daemon_alone_stops_no_add_on(machine: Machine) -> None:
    await install(machine)
    machine.goes_down = True
    running = asyncio.ensure_future(machine.build().run())
    await until(lambda: "running" in machine.log)
    machine.end.ask(EXIT_RESTART)
    await running
    assert "shutdown" not in machine.log
    assert machine.house.registry.get("local_late").running


async def test_an_engine_that_can_t_be_told_from_the_one_before_starts_nothing(machine: Machine) -> None:
    await install(machine)
    await machine.once()
    known = machine.configuration.last_engine_run
    following = again(machine)
    end_all(following)
    following.docker_url = "tcp://127.0.0.1:1"
    await following.once()
    assert following.started == []
    assert following.configuration.last_engine_run == known


async def test_without_an_engine_the_daemon_runs_and_add_ons_start_when_it_comes(machine: Machine) -> None:
    await install(machine)
    machine.available = False
    running = asyncio.ensure_future(machine.build().run())
    await until(lambda: machine.state() is CoreState.RUNNING)
    assert machine.started == []
    machine.available = True
    machine.bus.publish(EngineAvailabilityChanged(available=True))
    await until(lambda: len(machine.started) == 2)
    await until(lambda: machine.configuration.last_boot_id == "boot-1")
    machine.end.ask()
    await running


@pytest.mark.parametrize("error", [Unavailable("no network"), OSError("strange")])
async def test_an_engine_that_makes_trouble_does_not_end_the_daemon(
    machine: Machine, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def fail() -> None:
        raise error

    machine.engine_up = fail  # type: ignore[assignment] - a step as any other
    assert await machine.once() == 0
    assert "Not everything could be brought up" in caplog.text


def test_a_run_of_an_engine_has_a_name_of_its_own(engine_socket: str, tmp_path: Path) -> None:
    mine = engine_run(engine_socket)
    assert mine is not None
    assert engine_run(engine_socket) == mine
    assert engine_run(f"unix://{tmp_path}/none.sock") is None
    assert engine_run("tcp://127.0.0.1:2375") is None
