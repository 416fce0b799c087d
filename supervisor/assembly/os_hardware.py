"""Builds what looks after the disks and the board that the operating system runs on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import attrs

from supervisor.drivers.dbus import Interface
from supervisor.drivers.dbus.os_agent import AgentSystem, GreenBoard, PiFirmware, YellowBoard
from supervisor.managers.host import AgentReturns
from supervisor.managers.os import (
    BOARD_SCHEMA,
    Board,
    BoardManager,
    DataDiskFixups,
    DataDiskManager,
    DataDiskWatch,
    DisabledDataDiskCheck,
    DiskLifetimeCheck,
    DuplicateOsCheck,
    Firmware,
    MultipleDataDisksCheck,
    OperatingSystem,
    StorageDriver,
    SwapSettings,
    SystemDiagnostics,
)
from supervisor.managers.resolution import Checks, HealthCheck, Resolution

from .base import Base
from .host import HostParts
from .parts import Parts


@attrs.frozen(eq=False)
class OsHardwareParts:
    """`followers` look after what happens to disks and the agent, in this order."""

    data_disk: DataDiskManager
    boards: BoardManager
    firmware: Firmware
    swap: SwapSettings
    storage_driver: StorageDriver
    diagnostics: SystemDiagnostics
    followers: tuple[AgentReturns | DataDiskWatch, ...]

    async def begin(self) -> None:
        await self.boards.load()
        for follower in self.followers:
            await follower.begin()

    async def stop(self) -> None:
        for follower in self.followers:
            await follower.stop()
        await self.boards.stop()
        await self.firmware.stop()


def build_os_hardware(base: Base, parts: Parts, host: HostParts, health: HealthCheck) -> OsHardwareParts:
    services, bus, resolution = parts.system, base.system_bus, base.resolution
    system, agent_system = parts.operating_system, AgentSystem(bus)
    data_disk = DataDiskManager(
        services.agent, services.data_disk, agent_system, services.disks, host.control, base.jobs, resolution
    )
    green, yellow = GreenBoard(bus), YellowBoard(bus)
    board_file = base.state_file("board.json", BOARD_SCHEMA)
    boards = BoardManager(services.boards, green, yellow, system, board_file, resolution)
    firmware = Firmware(services.agent, services.boards, PiFirmware(bus), base.jobs, resolution)

    def returns(interface: Interface, back: Callable[[], Awaitable[object]], purpose: str) -> AgentReturns:
        begin = partial(base.jobs.begin, name=f"OS agent: {purpose}")
        return AgentReturns(interface, back, begin, purpose, at_once=True)

    async def meet_board() -> None:
        await boards.follow()
        await firmware.follow()

    diagnostics = SystemDiagnostics(services.agent, resolution, lambda: parts.configuration.diagnostics)
    _look_after(health, parts, host, system, data_disk, resolution)
    return OsHardwareParts(
        data_disk,
        boards,
        firmware,
        SwapSettings(services.swap, system, resolution),
        StorageDriver(agent_system, system, resolution),
        diagnostics,
        (
            returns(services.agent, diagnostics.tell, "it reports crashes or not"),
            returns(services.data_disk, data_disk.reload, "it looks where the data is"),
            returns(services.boards, meet_board, "it tells of its board"),
            returns(green, partial(boards.restore, Board.GREEN), "it switches the lamps"),
            returns(yellow, partial(boards.restore, Board.YELLOW), "it switches the lamps"),
            DataDiskWatch(
                services.disks, partial(_look, health.checks), partial(base.jobs.begin, name="disks with data")
            ),
        ),
    )


def _look_after(
    health: HealthCheck,
    parts: Parts,
    host: HostParts,
    system: OperatingSystem,
    data_disk: DataDiskManager,
    resolution: Resolution,
) -> None:
    disks = parts.system.disks
    health.checks.add(
        [
            DisabledDataDiskCheck(disks, resolution),
            MultipleDataDisksCheck(disks, resolution, data_disk, system),
            DuplicateOsCheck(disks, resolution, system),
            DiskLifetimeCheck(host.disks, data_disk, resolution),
        ]
    )
    health.fixups.add(DataDiskFixups(disks, data_disk, host.control, resolution).fixups())


async def _look(checks: Checks, slug: str) -> None:
    """Look with one check, unless somebody switched it off."""
    if checks.enabled[slug]:
        await checks.run(slug)
