"""The OS agent's interfaces, and the stand-in that speaks them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from stands.bus_daemon import BusDaemon
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
from supervisor.errors import Internal, Invalid, SupervisorError, Unsupported
from supervisor.events import EventBus

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
        if self.process is not None:
            self.process.kill()
            await self.process.wait()

    @property
    def calls(self) -> list[list[Any]]:
        return json.loads(self.state.read_text())["calls"]


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


async def there(*interfaces: Interface) -> None:
    for interface in interfaces:
        await interface.start()
    async with asyncio.timeout(20):
        while not all(interface.available for interface in interfaces):  # noqa: ASYNC110 - the test looks from outside
            await asyncio.sleep(0.02)


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


async def test_a_board_has_its_own_interface_alone(agent: Running, bus: SystemBus) -> None:
    await agent.start(board="Green")
    await there(green := GreenBoard(bus))
    await (yellow := YellowBoard(bus)).start()
    assert (green.user_led, yellow.available, yellow.disk_led) == (True, False, None)
    with pytest.raises(SupervisorError):
        await PiFirmware(bus).update()
    await green.close()
    await yellow.close()
