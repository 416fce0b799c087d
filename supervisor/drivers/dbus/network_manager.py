"""NetworkManager: devices, connections and the profiles they are made of (host contract §19)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

import attrs

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.connection import Signalled
from supervisor.drivers.dbus.declaration import (
    BOOL,
    BYTE,
    BYTES,
    INT64,
    NOTHING,
    PATH,
    STRING,
    UINT32,
    VARDICT,
    Fixed,
    Kind,
    Property,
    Service,
    Signal,
    array,
    choice,
    mapping,
    method,
)
from supervisor.drivers.dbus.interface import PROPERTIES, Interface
from supervisor.drivers.dbus.signals import Source
from supervisor.drivers.dbus.values import Variant
from supervisor.errors import Invalid, NotFound, SupervisorError

NETWORK_MANAGER: Final = Service("org.freedesktop.NetworkManager", "NetworkManager", late=True)
NO_OBJECT: Final = "/"
ROOT: Final = "/org/freedesktop/NetworkManager"
OLDEST: Final = (1, 14, 6)

Profile = Mapping[str, Mapping[str, Variant]]
_PROFILE: Final[Kind[Profile]] = Kind("a{sa{sv}}", dict, typed=True)
_RECORDS: Final = array(VARDICT)
_NO_OPTIONS: Final = Fixed("a{sv}", {})
# Profiles are written and scans begun at once, but a busy NetworkManager takes its time.
_SLOW_SECONDS: Final = 30.0
# A look at the internet that NetworkManager is made to take.
_CHECK_SECONDS: Final = 60.0


class DeviceType(IntEnum):
    """The types that the daemon shows; others are left alone, and stay numbers."""

    ETHERNET = 1
    WIFI = 2
    VLAN = 11


class ActiveState(IntEnum):
    UNKNOWN = 0
    ACTIVATING = 1
    ACTIVATED = 2
    DEACTIVATING = 3
    DEACTIVATED = 4


class StateFlag(IntEnum):
    IP4_READY = 0x8
    IP6_READY = 0x10


CONNECTED_TO_INTERNET: Final = 4
# What appeared after the checkpoint goes when it is rolled back, else it would come up at the next boot.
_DELETE_NEW: Final = Fixed("u", 0x2)


@lru_cache(4)
def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isascii() and part.isdigit())


class NetworkManager(Interface):
    """Settings are given as a{sa{sv}}; the methods that activate return the path of the active connection."""

    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager"
    default_path = ROOT

    version = Property("Version", STRING)
    devices = Property("Devices", array(PATH))
    primary_connection = Property("PrimaryConnection", PATH)
    check_enabled = Property("ConnectivityCheckEnabled", BOOL)
    connectivity = Property("Connectivity", UINT32)
    checkpoints = Property("Checkpoints", array(PATH))

    activate = method("ActivateConnection", PATH, PATH, fixed=(Fixed("o", NO_OBJECT),), returns=PATH)
    deactivate = method("DeactivateConnection", PATH, returns=NOTHING)
    check_connectivity = method("CheckConnectivity", returns=UINT32, seconds=_CHECK_SECONDS)
    create_checkpoint = method("CheckpointCreate", array(PATH), UINT32, fixed=(_DELETE_NEW,), returns=PATH)
    destroy_checkpoint = method("CheckpointDestroy", PATH, returns=NOTHING)
    roll_back = method("CheckpointRollback", PATH, returns=mapping(STRING, UINT32), seconds=_SLOW_SECONDS)
    extend_checkpoint = method("CheckpointAdjustRollbackTimeout", PATH, UINT32, returns=NOTHING)

    @property
    def version_number(self) -> tuple[int, ...]:
        return _numbers(self.version or "")


class Checkpoint(Interface):
    """`created` is in milliseconds since the machine was booted, sleep included; `timeout` in seconds from that."""

    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.Checkpoint"

    devices = Property("Devices", array(PATH))
    created = Property("Created", INT64)
    timeout = Property("RollbackTimeout", UINT32)


class ProfileStore(Interface):
    """What is added unsaved is used like any other, but gone after the next boot."""

    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.Settings"
    default_path = ROOT + "/Settings"

    profiles = Property("Connections", array(PATH))

    add = method("AddConnection", _PROFILE, returns=PATH, seconds=_SLOW_SECONDS)
    add_unsaved = method("AddConnectionUnsaved", _PROFILE, returns=PATH, seconds=_SLOW_SECONDS)
    reload = method("ReloadConnections", returns=BOOL, seconds=_SLOW_SECONDS)


class StoredProfile(Interface):
    """The settings never hold a secret; an update that has none leaves those that are stored.

    `secrets` gives those of one section alone, in the form of a profile. After an unsaved update the disk has what it
    had, and so has the machine after its next boot, until `save`.
    """

    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.Settings.Connection"

    unsaved = Property("Unsaved", BOOL)

    read = method("GetSettings", returns=_PROFILE)
    secrets = method("GetSecrets", STRING, returns=_PROFILE)
    update = method("Update", _PROFILE, returns=NOTHING, seconds=_SLOW_SECONDS)
    update_unsaved = method("UpdateUnsaved", _PROFILE, returns=NOTHING, seconds=_SLOW_SECONDS)
    save = method("Save", returns=NOTHING, seconds=_SLOW_SECONDS)
    delete = method("Delete", returns=NOTHING, seconds=_SLOW_SECONDS)


class Device(Interface):
    """`udev_path` tells where the hardware is plugged in, empty where there is none."""

    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.Device"

    name = Property("Interface", STRING)
    type = Property("DeviceType", UINT32)
    managed = Property("Managed", BOOL)
    mac = Property("HwAddress", STRING)
    udev_path = Property("Path", STRING)
    active_connection = Property("ActiveConnection", PATH)

    # The profile as it is stored now, whatever version is applied.
    reapply = method(
        "Reapply", fixed=(Fixed("a{sa{sv}}", {}), Fixed("t", 0), Fixed("u", 0)), returns=NOTHING, seconds=_SLOW_SECONDS
    )


class WirelessDevice(Interface):
    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.Device.Wireless"

    active_access_point = Property("ActiveAccessPoint", PATH)

    request_scan = method("RequestScan", fixed=(_NO_OPTIONS,), returns=NOTHING)
    access_points = method("GetAllAccessPoints", returns=array(PATH))


class AccessPointObject(Interface):
    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.AccessPoint"

    ssid = Property("Ssid", BYTES)
    frequency = Property("Frequency", UINT32)
    mac = Property("HwAddress", STRING)
    mode = Property("Mode", UINT32)
    strength = Property("Strength", BYTE)


@attrs.frozen
class ActivationNews:
    state: ActiveState | int
    reason: int


def _activation_news(state: int, reason: int) -> ActivationNews:
    return ActivationNews(_ACTIVE_STATE.decode(state), reason)


_ACTIVE_STATE: Final = choice(ActiveState, UINT32)


class ActiveConnection(Interface):
    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.Connection.Active"

    uuid = Property("Uuid", STRING)
    state = Property("State", _ACTIVE_STATE)
    state_flags = Property("StateFlags", UINT32)
    profile = Property("Connection", PATH)
    ip4_config = Property("Ip4Config", PATH)
    ip6_config = Property("Ip6Config", PATH)

    state_changed = Signal("StateChanged", _activation_news)

    async def finish(self, seconds: float) -> bool:
        """Wait for the end of an activation; return whether it succeeded.

        Raises:
            Timeout: it has not ended in time. Unavailable: NetworkManager went away.
        """
        async with self.listen(self.state_changed) as heard:
            try:
                await self.refresh()
            except NotFound:
                return False
            state = self.state
            if state in (ActiveState.UNKNOWN, ActiveState.ACTIVATING):
                ends = (ActiveState.ACTIVATED, ActiveState.DEACTIVATED)
                state = (await heard.until(lambda news: news.state in ends, seconds=seconds)).state
            return state == ActiveState.ACTIVATED


class Ip4Config(Interface):
    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.IP4Config"

    addresses = Property("AddressData", _RECORDS)
    gateway = Property("Gateway", STRING)
    nameservers = Property("NameserverData", _RECORDS)


class Ip6Config(Interface):
    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.IP6Config"

    addresses = Property("AddressData", _RECORDS)
    gateway = Property("Gateway", STRING)
    nameservers = Property("Nameservers", array(BYTES))


class DnsManager(Interface):
    service = NETWORK_MANAGER
    interface = "org.freedesktop.NetworkManager.DnsManager"
    default_path = ROOT + "/DnsManager"

    configuration = Property("Configuration", _RECORDS)


# What changes all the time and says nothing about how interfaces are set up.
_NOISE: Final = (AccessPointObject.interface, "org.freedesktop.NetworkManager.Device.Statistics")


async def follow_changes(bus: SystemBus, changed: Callable[[str], None]) -> Callable[[], None]:
    """Call `changed` with the path of each object that changes; the returned function ends that."""

    def properties(signal: Signalled) -> None:
        if signal.arguments[0] not in _NOISE:
            changed(signal.path)

    def written(signal: Signalled) -> None:
        changed(signal.path)

    name = NETWORK_MANAGER.name
    wishes = (
        (Source(name, ROOT, PROPERTIES, "PropertiesChanged", below=True), properties),
        (Source(name, ROOT, StoredProfile.interface, "Updated", below=True), written),
    )
    for source, hear in wishes:
        # Should the bus be away, it is asked again when it returns.
        with suppress(SupervisorError):
            await bus.hear(source, hear)

    def forget() -> None:
        for source, hear in wishes:
            bus.forget(source, hear)

    return forget


async def understood(work: Awaitable[Any], what: str) -> Any:
    """Have NetworkManager's refusal of settings say what was refused."""
    try:
        return await work
    except Invalid as err:
        raise Invalid(f"NetworkManager refuses the settings of {what}: {err.message}") from err
