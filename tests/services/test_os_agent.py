"""The OS agent's interfaces, and the stand-in that speaks them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Served
from supervisor.drivers.dbus import Interface, SystemBus
from supervisor.drivers.dbus.os_agent import (
    Agent,
    AgentSystem,
    AppArmor,
    Boards,
    ControlGroups,
    DataDisk,
    GreenBoard,
    PiFirmware,
    Swap,
    YellowBoard,
)
from supervisor.errors import Blocked, Busy, Internal, Invalid, SupervisorError, Unsupported
from supervisor.events import EventBus
from supervisor.jobs import JobCondition, JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.apparmor import AppArmor as Profiles
from supervisor.managers.host import AgentDevices, AgentProfiles, AgentReturns, SystemServices
from supervisor.managers.os import Firmware, OperatingSystem, SystemDiagnostics
from supervisor.managers.resolution import Resolution, UnsupportedReason
from supervisor.paths import DataPaths
from supervisor.state import StateFile

SLUG = "local_lamp"
PROFILE = f"profile {SLUG} {{\n  file,\n}}\n"
STAND = Path(__file__).parents[1] / "stands/os_agent.py"


@attrs.define(eq=False)
class Running:
    """The stand-in as a process of its own, and what it knows."""

    address: str
    state: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self, **known: Any) -> None:
        before = json.loads(self.state.read_text()) if self.state.exists() else {}
        self.state.write_text(json.dumps({**before, **known}))
        self.process = await asyncio.create_subprocess_exec(sys.executable, STAND, self.address, self.state)

    async def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            await process.wait()

    @property
    def calls(self) -> list[list[Any]]:
        return json.loads(self.state.read_text()).get("calls", [])


@pytest_asyncio.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Running]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    running = Running(daemon.address, tmp_path / "agent.json")
    yield running
    await running.stop()
    await daemon.stop()


@pytest_asyncio.fixture
async def bus(agent: Running) -> AsyncIterator[SystemBus]:
    bus = SystemBus(EventBus(), agent.address)
    await bus.start()
    yield bus
    await bus.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the test looks from outside
            await asyncio.sleep(0.02)


async def there(*interfaces: Interface) -> None:
    for interface in interfaces:
        await interface.start()
    await until(lambda: all(interface.available for interface in interfaces))


async def test_what_it_knows_is_read_and_what_may_be_written_is_kept(agent: Running, bus: SystemBus) -> None:
    await agent.start(board="Yellow", swap_size="2G")
    parts = [Agent(bus), AppArmor(bus), DataDisk(bus), Swap(bus), Boards(bus), YellowBoard(bus), PiFirmware(bus)]
    await there(*parts)
    main, apparmor, disk, swap, boards, yellow, firmware = parts
    assert (main.version, apparmor.parser_version, disk.current_device) == ("1.9.0", "3.1.7", "/dev/sda")
    assert (swap.size, swap.swappiness, boards.board, yellow.disk_led) == ("2G", 60, "Yellow", True)
    assert (firmware.update_available, firmware.blocked_reason) == (True, "")
    await main.write(Agent.diagnostics, True)
    await swap.write(Swap.swappiness, 10)
    await yellow.write(YellowBoard.heartbeat_led, False)
    with pytest.raises(Invalid):
        await swap.write(Swap.size, "much")
    with pytest.raises(Unsupported):
        await main.write(Agent.version, "2.0.0")
    kept = json.loads(agent.state.read_text())
    assert (kept["diagnostics"], kept["swappiness"], kept["leds"]["HeartbeatLED"]) == (True, 10, False)
    for part in parts:
        await part.close()


async def test_what_is_asked_of_it_is_written_down(agent: Running, bus: SystemBus) -> None:
    await agent.start()
    await there(disk := DataDisk(bus))
    await disk.mark_data_move()
    assert await AppArmor(bus).load_profile("/profile", "/cache") is True
    assert await ControlGroups(bus).add_devices_allowed("f" * 64, "c 188:0 rwm") is True
    assert await disk.change_device("/dev/sdb") is True
    assert await AgentSystem(bus).schedule_wipe_device() is True
    with pytest.raises(Invalid):
        await ControlGroups(bus).add_devices_allowed("f" * 64, "everything")
    assert [call[0] for call in agent.calls] == [
        *("MarkDataMove", "LoadProfile", "AddDevicesAllowed", "ChangeDevice", "ScheduleWipeDevice")
    ]
    await disk.close()


async def test_it_may_refuse_fail_and_be_older(agent: Running, bus: SystemBus) -> None:
    await agent.start(version="1.4.0", failing=["ReloadDevice"], refusing=["ScheduleWipeDevice"])
    await there(disk := DataDisk(bus))
    assert await AgentSystem(bus).schedule_wipe_device() is False
    with pytest.raises(Internal):
        await disk.reload_device()
    with pytest.raises(Unsupported):
        await disk.mark_data_move()
    await disk.close()


async def test_an_agent_that_has_its_name_before_its_objects_is_asked_again(agent: Running, bus: SystemBus) -> None:
    await (disk := DataDisk(bus)).start()
    await agent.start(current_device="/dev/sdb", objects_after=1.5)
    await until(lambda: disk.current_device == "/dev/sdb")
    await disk.close()


async def test_a_board_has_its_own_interface_alone(agent: Running, bus: SystemBus) -> None:
    await agent.start(board="Green")
    await there(green := GreenBoard(bus))
    await (yellow := YellowBoard(bus)).start()
    assert (green.user_led, yellow.available, yellow.disk_led) == (True, False, None)
    with pytest.raises(SupervisorError):
        await PiFirmware(bus).update()
    await green.close()
    await yellow.close()


@pytest_asyncio.fixture
async def services(bus: SystemBus) -> AsyncIterator[SystemServices]:
    services = SystemServices.on(bus)
    await services.start()
    yield services
    await services.close()


@pytest.fixture
def resolution() -> Resolution:
    return Resolution(EventBus())


@pytest.fixture
def profiles(tmp_path: Path, services: SystemServices, resolution: Resolution) -> Profiles:
    paths = DataPaths(tmp_path / "data", Path("/mnt/data"))
    paths.create()
    return Profiles(paths, resolution, AgentProfiles(services.apparmor))


HOST_PATHS = [f"/mnt/data/apparmor/{SLUG}", "/mnt/data/apparmor/cache"]


async def test_profiles_are_loaded_and_unloaded_by_their_path_on_the_host(
    agent: Running, services: SystemServices, profiles: Profiles, resolution: Resolution
) -> None:
    assert not profiles.available
    await profiles.install(SLUG, PROFILE)
    await agent.start()
    await until(lambda: profiles.available)
    assert agent.calls == []
    await profiles.load()
    await profiles.remove(SLUG)
    assert agent.calls == [["LoadProfile", *HOST_PATHS], ["UnloadProfile", *HOST_PATHS]]
    resolution.set_unsupported(UnsupportedReason.APPARMOR, True)
    assert not profiles.available, "a host without AppArmor knows no profile, whoever loads it"
    resolution.set_unsupported(UnsupportedReason.APPARMOR, False)
    await agent.stop()
    await until(lambda: not profiles.available)


async def test_the_operating_system_is_what_its_name_and_the_agent_tell(
    agent: Running, services: SystemServices
) -> None:
    system = OperatingSystem(services)
    assert (system.version, system.board, system.data_disk) == (None, None, None)
    hostnamed = BusService(agent.address, "org.freedesktop.hostname1")
    path, name = "/org/freedesktop/hostname1", "org.freedesktop.hostname1"
    cpe = "cpe:2.3:o:home-assistant:haos:15.2:*:production:*:*:*:rpi4-64:*"
    hostnamed.objects[path] = {name: Served(properties={"OperatingSystemCPEName": ("s", cpe)})}
    await hostnamed.start()
    await agent.start(current_device="/dev/sdb")
    await until(lambda: system.version == "15.2" and system.data_disk == "/dev/sdb")
    assert (system.board, services.is_haos) == ("rpi4-64", True)
    assert services.can_mount
    for version, can_mount in (("10.1", False), ("10.2", True), ("9.5", False), ("17.0.dev20251101", True)):
        await hostnamed.change(path, name, OperatingSystemCPEName=cpe.replace("15.2", version))
        await until(lambda wanted=version: system.version == wanted)
        assert services.can_mount is can_mount, version
    await hostnamed.change(path, name, OperatingSystemCPEName=cpe.replace("haos", "debian").replace("15.2", "9"))
    await until(lambda: system.version is None)
    assert (system.board, services.is_haos, services.can_mount) == ("supervised", False, True)
    await hostnamed.stop()


@pytest.mark.parametrize("how", ["refusing", "failing"])
async def test_a_profile_that_the_agent_does_not_load_is_not_kept(
    agent: Running, services: SystemServices, profiles: Profiles, how: str
) -> None:
    await agent.start(**{how: ["LoadProfile"]})
    await until(lambda: profiles.available)
    with pytest.raises(Internal, match="LoadProfile failed" if how == "failing" else "did not load"):
        await profiles.install(SLUG, PROFILE)
    assert profiles.profiles == frozenset()


async def test_an_agent_that_comes_later_or_again_is_given_all_profiles(
    agent: Running, services: SystemServices, profiles: Profiles
) -> None:
    await profiles.install(SLUG, PROFILE)

    def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    returns = AgentReturns(services.apparmor, profiles.load, begin, "it loads profiles")
    await returns.begin()
    for wanted in ([["LoadProfile", *HOST_PATHS]], [["LoadProfile", *HOST_PATHS]] * 2):
        await agent.start()
        await until(lambda wanted=wanted: agent.calls == wanted)
        await agent.stop()
        await until(lambda: not profiles.available)
    await returns.stop()
    await agent.start()
    await until(lambda: profiles.available)
    assert len(agent.calls) == 2, "nobody follows it any more"


async def test_the_agent_is_told_whether_crashes_are_to_be_reported(agent: Running, services: SystemServices) -> None:
    resolution = Resolution(EventBus())
    wish: bool | None = None
    diagnostics = SystemDiagnostics(services.agent, resolution, lambda: wish)
    await diagnostics.tell()  # it is away, and nobody wishes anything
    await agent.start()
    await until(lambda: services.agent.available)
    for wish, kept in ((None, False), (True, True), (None, True), (False, False)):
        await diagnostics.tell()
        assert json.loads(agent.state.read_text()).get("diagnostics", False) is kept, wish
        assert services.agent.diagnostics is kept
    resolution.set_unsupported(UnsupportedReason.OS, True)
    wish = True
    await diagnostics.tell()
    assert json.loads(agent.state.read_text())["diagnostics"] is False


async def test_devices_are_allowed_by_the_agent_only_where_it_can(agent: Running, services: SystemServices) -> None:
    able = True
    devices = AgentDevices(services.cgroups, lambda: able)
    assert not devices.available
    await agent.start()
    await until(lambda: devices.available)
    await devices.add_devices_allowed("f" * 64, "c 188:0 rwm")
    assert agent.calls == [["AddDevicesAllowed", "f" * 64, "c 188:0 rwm"]]
    able = False
    assert not devices.available
    await agent.stop()
    able = True
    await until(lambda: not devices.available)
    await agent.start(refusing=["AddDevicesAllowed"])
    await until(lambda: devices.available)
    with pytest.raises(Internal, match="c 188:0 rwm"):
        await devices.add_devices_allowed("f" * 64, "c 188:0 rwm")


async def test_firmware_is_updated_once_at_a_time_and_on_that_system_alone(
    agent: Running, bus: SystemBus, tmp_path: Path
) -> None:
    await agent.start(board="RaspberryPi5")
    main, boards, chip = Agent(bus), Boards(bus), PiFirmware(bus)
    await there(main, boards, chip)
    events, why = EventBus(), ["no Home Assistant OS available"]
    jobs = JobManager(events, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, events))

    async def judge() -> str | None:
        return why[0] if why else None

    jobs.provide(JobCondition.HAOS, judge)
    firmware = Firmware(main, boards, chip, jobs, Resolution(events))
    with pytest.raises(Blocked, match="no Home Assistant OS available"):
        await firmware.update()
    why.clear()
    process = agent.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    first = asyncio.create_task(firmware.update())
    await until(lambda: [job.name for job in jobs.roots] == ["os_manager_update_raspberrypi_firmware"])
    with pytest.raises(Busy):
        await firmware.update()
    process.send_signal(signal.SIGCONT)
    await first
    assert agent.calls == [["Update"]]
    for part in (main, boards, chip):
        await part.close()
