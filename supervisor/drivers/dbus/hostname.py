"""systemd-hostnamed (host contract §17)."""

from __future__ import annotations

from typing import Final

from supervisor.drivers.dbus.declaration import NON_INTERACTIVE, NOTHING, STRING, Property, Service, method
from supervisor.drivers.dbus.interface import Interface

HOSTNAMED: Final = Service("org.freedesktop.hostname1", "systemd-hostnamed", on_demand=True, idles=True)


class Hostname(Interface):
    """What the machine is called, and what it is. `operating_system_cpe` is empty where the system has none."""

    service = HOSTNAMED
    interface = "org.freedesktop.hostname1"
    default_path = "/org/freedesktop/hostname1"

    hostname = Property("Hostname", STRING)
    static_hostname = Property("StaticHostname", STRING)
    chassis = Property("Chassis", STRING)
    deployment = Property("Deployment", STRING)
    kernel_release = Property("KernelRelease", STRING)
    operating_system = Property("OperatingSystemPrettyName", STRING)
    operating_system_cpe = Property("OperatingSystemCPEName", STRING)

    set_static_hostname = method("SetStaticHostname", STRING, returns=NOTHING, fixed=(NON_INTERACTIVE,))
