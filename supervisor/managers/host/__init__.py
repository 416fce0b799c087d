"""The host: what it is, what it can do, its name, clock, power, services and disks.

`Host` holds the facts that need no service, `HostManager` the picture with all that the services tell.
"""

from .agent import AgentDevices, AgentProfiles, AgentReturns
from .clock import Clock
from .control import HostControl
from .disks import Disks, Usage
from .doctor import Condition, Doctor, Finding
from .features import Features, HostFeature
from .firewall import GatewayFirewall
from .machine import Host, HostFacts
from .manager import HostInfo, HostManager
from .services import SystemServices
from .units import SERVICES_SCHEMA, HostServices, ServiceLine, UnitAction

__all__ = [
    "SERVICES_SCHEMA",
    "AgentDevices",
    "AgentProfiles",
    "AgentReturns",
    "Clock",
    "Condition",
    "Disks",
    "Doctor",
    "Features",
    "Finding",
    "GatewayFirewall",
    "Host",
    "HostControl",
    "HostFacts",
    "HostFeature",
    "HostInfo",
    "HostManager",
    "HostServices",
    "ServiceLine",
    "SystemServices",
    "UnitAction",
    "Usage",
]
