"""The agent of the Home Assistant Operating System (host contract §22); other hosts have none."""

from __future__ import annotations

from typing import Final

from supervisor.drivers.dbus.declaration import BOOL, INT32, NOTHING, STRING, Property, Service, method
from supervisor.drivers.dbus.interface import Interface

OS_AGENT: Final = Service("io.hass.os", "The OS agent", late=True)

# Moving data and the like begin at once, but the agent may have to look at disks or write to a slow one first.
_SLOW_SECONDS: Final = 60.0


class Agent(Interface):
    """`diagnostics` may be written: whether the system reports its crashes."""

    service = OS_AGENT
    interface = "io.hass.os"
    default_path = "/io/hass/os"

    version = Property("Version", STRING)
    diagnostics = Property("Diagnostics", BOOL)


class AppArmor(Interface):
    """Profiles and their cache are given as paths of the host."""

    service = OS_AGENT
    interface = "io.hass.os.AppArmor"
    default_path = "/io/hass/os/AppArmor"

    parser_version = Property("ParserVersion", STRING)

    load_profile = method("LoadProfile", STRING, STRING, returns=BOOL, seconds=_SLOW_SECONDS)
    unload_profile = method("UnloadProfile", STRING, STRING, returns=BOOL, seconds=_SLOW_SECONDS)


class ControlGroups(Interface):
    service = OS_AGENT
    interface = "io.hass.os.CGroup"
    default_path = "/io/hass/os/CGroup"

    add_devices_allowed = method("AddDevicesAllowed", STRING, STRING, returns=BOOL)


class DataDisk(Interface):
    """`mark_data_move` came with version 1.5.0 of the agent."""

    service = OS_AGENT
    interface = "io.hass.os.DataDisk"
    default_path = "/io/hass/os/DataDisk"

    current_device = Property("CurrentDevice", STRING)

    change_device = method("ChangeDevice", STRING, returns=BOOL, seconds=_SLOW_SECONDS)
    reload_device = method("ReloadDevice", returns=BOOL, seconds=_SLOW_SECONDS)
    mark_data_move = method("MarkDataMove", returns=NOTHING, seconds=_SLOW_SECONDS)


class AgentSystem(Interface):
    service = OS_AGENT
    interface = "io.hass.os.System"
    default_path = "/io/hass/os/System"

    schedule_wipe_device = method("ScheduleWipeDevice", returns=BOOL, seconds=_SLOW_SECONDS)
    migrate_storage_driver = method("MigrateDockerStorageDriver", STRING, returns=NOTHING)


class Swap(Interface):
    """Both may be written; the next boot heeds them."""

    service = OS_AGENT
    interface = "io.hass.os.Config.Swap"
    default_path = "/io/hass/os/Config/Swap"

    size = Property("SwapSize", STRING)
    swappiness = Property("Swappiness", INT32)


class Boards(Interface):
    service = OS_AGENT
    interface = "io.hass.os.Boards"
    default_path = "/io/hass/os/Boards"

    board = Property("Board", STRING)


class GreenBoard(Interface):
    service = OS_AGENT
    interface = "io.hass.os.Boards.Green"
    default_path = "/io/hass/os/Boards/Green"

    activity_led = Property("ActivityLED", BOOL)
    power_led = Property("PowerLED", BOOL)
    user_led = Property("UserLED", BOOL)


class YellowBoard(Interface):
    service = OS_AGENT
    interface = "io.hass.os.Boards.Yellow"
    default_path = "/io/hass/os/Boards/Yellow"

    disk_led = Property("DiskLED", BOOL)
    heartbeat_led = Property("HeartbeatLED", BOOL)
    power_led = Property("PowerLED", BOOL)


class PiFirmware(Interface):
    """The firmware of Raspberry Pi boards; `blocked_reason` is empty unless `update_blocked`."""

    service = OS_AGENT
    interface = "io.hass.os.Boards.RaspberryPi.Firmware"
    default_path = "/io/hass/os/Boards/RaspberryPi/Firmware"

    current_version = Property("CurrentVersion", STRING)
    latest_version = Property("LatestVersion", STRING)
    update_available = Property("UpdateAvailable", BOOL)
    update_blocked = Property("UpdateBlocked", BOOL)
    update_pending = Property("UpdatePending", BOOL)
    blocked_reason = Property("BlockedReason", STRING)

    update = method("Update", returns=NOTHING, seconds=_SLOW_SECONDS)
