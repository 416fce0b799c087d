"""A program for the box: read the host's services with one of the libraries, and print what they tell as JSON.

Usage: read_services.py dbus-next|dbus-fast
"""

from __future__ import annotations

import asyncio
import json
import sys

from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.library import FAST, NEXT
from supervisor.events import EventBus
from supervisor.managers.host import SystemServices


async def main(name: str) -> None:
    bus = SystemBus(EventBus(), "unix:path=/run/dbus/system_bus_socket", FAST if name == "dbus-fast" else NEXT)
    services = SystemServices.on(bus)
    await bus.start()
    await services.start()
    units = await services.systemd.list_units([], ["*.service"])
    result = await services.systemd.finish(lambda: services.systemd.restart_unit("pulseaudio.service", "replace"))
    sys.stdout.write(
        json.dumps(
            {
                "library": bus.library,
                "hostname": services.hostname.static_hostname,
                "chassis": services.hostname.chassis,
                "timezone": services.timedate.timezone,
                "ntp": services.timedate.ntp,
                "state": services.systemd.system_state,
                "llmnr": services.resolved.llmnr,
                "servers": sorted(str(server.address) for server in services.resolved.dns or ()),
                "can_reboot": await services.login.can_reboot(),
                "units": sorted(unit.name for unit in units),
                "restarted": result,
            }
        )
    )
    await services.close()
    await bus.stop()


asyncio.run(main(sys.argv[1]))
