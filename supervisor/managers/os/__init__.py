"""The operating system below the daemon: what it is, its boot slots, its updates.

`OperatingSystem` tells what it says of itself. All of it is empty where the host is no Home Assistant Operating System.
"""

from .system import OperatingSystem

__all__ = ["OperatingSystem"]
