"""The host's services over D-Bus: the only room that speaks it.

`SystemBus` keeps the connection; a service's interface is a class that declares its properties and methods (see
docs/architecture.md). Values above this room are plain Python; errors are our own.
"""

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.interface import Interface
from supervisor.drivers.dbus.objects import ObjectTree
from supervisor.drivers.dbus.translate import error_name

__all__ = ["Interface", "ObjectTree", "SystemBus", "error_name"]
