"""systemd-timedated (host contract §17)."""

from __future__ import annotations

from typing import Final

from supervisor.drivers.dbus.declaration import (
    BOOL,
    INT64,
    NON_INTERACTIVE,
    NOTHING,
    STRING,
    Fixed,
    Property,
    Service,
    method,
)
from supervisor.drivers.dbus.interface import Interface

TIMEDATED: Final = Service("org.freedesktop.timedate1", "systemd-timedated", on_demand=True, idles=True)

_ABSOLUTE: Final = Fixed("b", False)  # noqa: FBT003 - the argument `relative` of the D-Bus method


class TimeDate(Interface):
    """The clock. No signal announces a change of `ntp_synchronized`: it is as old as the last `refresh`."""

    service = TIMEDATED
    interface = "org.freedesktop.timedate1"
    default_path = "/org/freedesktop/timedate1"

    timezone = Property("Timezone", STRING)
    local_rtc = Property("LocalRTC", BOOL)
    ntp = Property("NTP", BOOL)
    ntp_synchronized = Property("NTPSynchronized", BOOL)

    set_time = method("SetTime", INT64, returns=NOTHING, fixed=(_ABSOLUTE, NON_INTERACTIVE))
    set_ntp = method("SetNTP", BOOL, returns=NOTHING, fixed=(NON_INTERACTIVE,))
    set_timezone = method("SetTimezone", STRING, returns=NOTHING, fixed=(NON_INTERACTIVE,))
