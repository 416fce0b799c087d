"""The host's network: its interfaces as NetworkManager has them, and changes that find their way back.

`Network` keeps the picture, `NetworkChanges` changes it.
"""

from __future__ import annotations

from supervisor.drivers.dbus.network_reading import Card
from supervisor.managers.network.changes import NetworkChanges
from supervisor.managers.network.manager import Network
from supervisor.managers.network.pending import Pending

__all__ = ["Card", "Network", "NetworkChanges", "Pending"]
