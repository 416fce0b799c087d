"""The operating system below the daemon: what it is, its boot slots, its updates, its data disk, its board.

`OperatingSystem` tells what it says of itself; the others have work on the Home Assistant Operating System alone.
"""

from .boards import BOARD_SCHEMA, Board, BoardManager
from .data_disk import DataDiskManager
from .data_disk_health import (
    DataDiskFixups,
    DataDiskWatch,
    DisabledDataDiskCheck,
    DiskLifetimeCheck,
    DuplicateOsCheck,
    MultipleDataDisksCheck,
)
from .diagnostics import SystemDiagnostics
from .disk import Disk
from .firmware import Firmware
from .manager import OsInfo, OsManager
from .slots import BootSlots
from .storage_driver import STORAGE_DRIVERS, StorageDriver
from .swap import SwapSettings, swap_size, swappiness
from .system import OperatingSystem
from .update import OsUpdates

__all__ = [
    "BOARD_SCHEMA",
    "STORAGE_DRIVERS",
    "Board",
    "BoardManager",
    "BootSlots",
    "DataDiskFixups",
    "DataDiskManager",
    "DataDiskWatch",
    "DisabledDataDiskCheck",
    "Disk",
    "DiskLifetimeCheck",
    "DuplicateOsCheck",
    "Firmware",
    "MultipleDataDisksCheck",
    "OperatingSystem",
    "OsInfo",
    "OsManager",
    "OsUpdates",
    "StorageDriver",
    "SwapSettings",
    "SystemDiagnostics",
    "swap_size",
    "swappiness",
]
