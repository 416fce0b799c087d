"""The operating system below the daemon: what it is, its boot slots, its updates.

`OperatingSystem` tells what it says of itself; the others have work on the Home Assistant Operating System alone.
"""

from .manager import OsInfo, OsManager
from .slots import BootSlots
from .system import OperatingSystem
from .update import OsUpdates

__all__ = ["BootSlots", "OperatingSystem", "OsInfo", "OsManager", "OsUpdates"]
