"""A NetworkManager with one wireless card, which no machine of ours has: enough of it to be set up and to scan."""

from __future__ import annotations

import copy
from typing import Any

from dbus_next import Variant

from stands.bus_service import BusService, Refusal, Served

NAME = "org.freedesktop.NetworkManager"
ROOT = "/org/freedesktop/NetworkManager"
DEVICE, ACTIVE, POINT, PROFILE = (
    f"{ROOT}/{kind}/1" for kind in ("Devices", "ActiveConnection", "AccessPoint", "Settings")
)
CHECKPOINT = f"{ROOT}/Checkpoint/1"


class WirelessStand(BusService):
    """`password` is the one that the network takes; `secret` what is stored, which no answer has.

    `checkpoint` is what was remembered, `history` what became of it.
    """

    def __init__(self, address: str, *, password: str = "correct horse") -> None:
        super().__init__(address, NAME)
        self.password = password
        self.secret: str | None = None
        self.profile: dict[str, dict[str, Variant]] = {}
        self.checkpoint: tuple[Any, Any] | None = None
        self.history: list[str] = []
        self._add_manager()
        self._add_card()

    def _add_manager(self) -> None:
        manager = self.served(ROOT, NAME)
        manager.properties = {
            "Version": ("s", "1.42.4"),
            "Devices": ("ao", [DEVICE]),
            "PrimaryConnection": ("o", "/"),
            "ConnectivityCheckEnabled": ("b", True),
            "Connectivity": ("u", 1),
            "Checkpoints": ("ao", []),
        }
        manager.methods = {
            "CheckConnectivity": ("", "u", self._check),
            "AddAndActivateConnection": ("a{sa{sv}}oo", "oo", self._add_and_activate),
            "ActivateConnection": ("ooo", "o", self._activate),
            "CheckpointCreate": ("aouu", "o", self._remember),
            "CheckpointDestroy": ("o", "", self._forget),
            "CheckpointRollback": ("o", "a{su}", self._go_back),
        }
        store = self.served(f"{ROOT}/Settings", f"{NAME}.Settings")
        store.properties = {"Connections": ("ao", [])}
        store.methods = {"ReloadConnections": ("", "b", lambda: [True])}
        self.served(f"{ROOT}/DnsManager", f"{NAME}.DnsManager").properties = {"Configuration": ("aa{sv}", [])}

    def _add_card(self) -> None:
        self.served(DEVICE, f"{NAME}.Device").properties = {
            "Interface": ("s", "wlan0"),
            "DeviceType": ("u", 2),
            "Managed": ("b", True),
            "HwAddress": ("s", "02:00:00:00:00:01"),
            "Path": ("s", "pci-0000:01:00.0"),
            "ActiveConnection": ("o", "/"),
        }
        wireless = self.served(DEVICE, f"{NAME}.Device.Wireless")
        wireless.properties = {"ActiveAccessPoint": ("o", POINT)}
        wireless.methods = {
            "RequestScan": ("a{sv}", "", self._scan),
            "GetAllAccessPoints": ("", "ao", lambda: [[POINT, f"{ROOT}/AccessPoint/gone"]]),
        }
        self.served(POINT, f"{NAME}.AccessPoint").properties = {
            "Ssid": ("ay", b"attic"),
            "Frequency": ("u", 2412),
            "HwAddress": ("s", "02:00:00:00:00:99"),
            "Mode": ("u", 2),
            "Strength": ("y", 70),
        }
        self.served(ACTIVE, f"{NAME}.Connection.Active").properties = {
            "Uuid": ("s", ""),
            "State": ("u", 1),
            "StateFlags": ("u", 0),
            "Connection": ("o", PROFILE),
            "Ip4Config": ("o", "/"),
            "Ip6Config": ("o", "/"),
        }

    def _check(self) -> list[int]:
        self.set(ROOT, NAME, "Connectivity", 4)
        return [4]

    def _scan(self, _options: Any) -> None:
        raise Refusal(f"{NAME}.Device.NotAllowed", "Scanning not allowed immediately following previous scan")

    def set(self, path: str, interface: str, name: str, value: Any) -> None:
        properties = self.objects[path][interface].properties
        properties[name] = (properties[name][0], value)
        body = [interface, {name: Variant(properties[name][0], value)}, []]
        self.later(path, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", body)

    # Profiles never tell their secrets, and keep them when they are written without.

    def _store(self, profile: dict[str, dict[str, Variant]]) -> None:
        security = profile.get("802-11-wireless-security", {})
        given = security.pop("psk", None)
        self.secret = given.value if given else self.secret if security else None
        self.profile = profile
        self.set(f"{ROOT}/Settings", f"{NAME}.Settings", "Connections", [PROFILE])
        self.objects[PROFILE] = {
            f"{NAME}.Settings.Connection": Served(
                methods={
                    "GetSettings": ("", "a{sa{sv}}", lambda: [copy.deepcopy(self.profile)]),
                    "Update": ("a{sa{sv}}", "", self._store),
                }
            )
        }

    def _add_and_activate(self, profile: Any, device: str, _specific: str) -> list[str]:
        self._store(profile)
        return [PROFILE, *self._activate(PROFILE, device, "/")]

    def _activate(self, _profile: str, _device: str, _specific: str) -> list[str]:
        works = "802-11-wireless-security" not in self.profile or self.secret == self.password
        self.set(ACTIVE, f"{NAME}.Connection.Active", "State", 1)
        self.set(DEVICE, f"{NAME}.Device", "ActiveConnection", ACTIVE if works else "/")
        state = 2 if works else 4
        properties = self.objects[ACTIVE][f"{NAME}.Connection.Active"].properties
        properties["State"] = ("u", state)
        self.later(ACTIVE, f"{NAME}.Connection.Active", "StateChanged", "uu", [state, 0])
        return [ACTIVE]

    def _remember(self, _devices: Any, _seconds: int, _flags: int) -> list[str]:
        self.checkpoint = (copy.deepcopy(self.profile), self.secret)
        self.set(ROOT, NAME, "Checkpoints", [CHECKPOINT])
        return [CHECKPOINT]

    def _forget(self, _checkpoint: str) -> None:
        self.history.append("kept")
        self.set(ROOT, NAME, "Checkpoints", [])

    def _go_back(self, _checkpoint: str) -> list[dict[str, int]]:
        assert self.checkpoint is not None
        self.history.append("back")
        self.profile, self.secret = self.checkpoint
        self.set(ROOT, NAME, "Checkpoints", [])
        if not self.profile:
            self.objects.pop(PROFILE)
            self.set(f"{ROOT}/Settings", f"{NAME}.Settings", "Connections", [])
            self.set(DEVICE, f"{NAME}.Device", "ActiveConnection", "/")
        else:
            self._activate(PROFILE, DEVICE, "/")
        return [{DEVICE: 0}]
