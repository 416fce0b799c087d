"""systemd-logind (host contract §17)."""

from __future__ import annotations

from typing import Final

from supervisor.drivers.dbus.declaration import NON_INTERACTIVE, NOTHING, STRING, Service, Signal, method
from supervisor.drivers.dbus.interface import Interface

LOGIND: Final = Service("org.freedesktop.login1", "systemd-logind", on_demand=True)


class Login(Interface):
    """The power switch. `prepare_for_shutdown` says True when the machine is about to go down, False when it is not."""

    service = LOGIND
    interface = "org.freedesktop.login1.Manager"
    default_path = "/org/freedesktop/login1"

    reboot = method("Reboot", returns=NOTHING, fixed=(NON_INTERACTIVE,))
    power_off = method("PowerOff", returns=NOTHING, fixed=(NON_INTERACTIVE,))

    # The answers are yes, no, na (this machine can't) and challenge.
    can_reboot = method("CanReboot", returns=STRING)
    can_power_off = method("CanPowerOff", returns=STRING)

    prepare_for_shutdown = Signal("PrepareForShutdown", bool)
