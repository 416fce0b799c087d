"""A NetworkManager with cards that no machine of ours has: enough of it to set them up, scan, and be restarted."""

from __future__ import annotations

import copy
import time
from typing import Any

import attrs
from dbus_next import Variant

from stands.bus_service import BusService, Refusal, Served

NAME = "org.freedesktop.NetworkManager"
ROOT = "/org/freedesktop/NetworkManager"
WIRELESS, ETHERNET = f"{ROOT}/Devices/1", f"{ROOT}/Devices/2"
IP4 = f"{ROOT}/IP4Config/1"
POINT = f"{ROOT}/AccessPoint/1"
CHECKPOINT = f"{ROOT}/Checkpoint/1"
SECURITY = "802-11-wireless-security"

Profile = dict[str, dict[str, Variant]]


@attrs.define
class Kept:
    """A profile; `secret` is its password, which no answer but that of GetSecrets has."""

    profile: Profile
    secret: str | None = None


class NetworkStand(BusService):
    """Has wlan0, and eth0 if `ethernet` says so. `password` is the one that the wireless network takes.

    `kept` are the profiles by path, `saved` those that are on the disk, `history` is what became of checkpoints.
    """

    def __init__(self, address: str, *, password: str = "correct horse", ethernet: bool = False) -> None:
        super().__init__(address, NAME)
        self.password = password
        self.kept: dict[str, Kept] = {}
        self.saved: dict[str, Kept] = {}
        self.history: list[str] = []
        self._checkpoint: tuple[dict[str, Kept], dict[str, str]] | None = None
        self._made = 0
        self._devices = {WIRELESS: "wlan0", **({ETHERNET: "eth0"} if ethernet else {})}
        self._add_manager()
        for number, (device, name) in enumerate(self._devices.items(), 1):
            self._add_card(device, name, number)
        self._add_wireless()

    @property
    def profile(self) -> Profile:
        """The only profile, nothing while there is none."""
        [one] = self.kept.values() or [Kept({})]
        return one.profile

    @property
    def secret(self) -> str | None:
        [one] = self.kept.values() or [Kept({})]
        return one.secret

    async def restart(self) -> None:
        """End and begin again, as systemd restarts it: profiles are kept, saved or not, checkpoints are not."""
        await self.stop()
        self._checkpoint = None
        properties = self.objects[ROOT][NAME].properties
        properties["Checkpoints"] = ("ao", [])
        await self.start()

    def unplug(self, device: str) -> None:
        """Take a card out; the profile that it used stays as it is."""
        self._use(device, "/")
        del self._devices[device]
        self.set(ROOT, NAME, "Devices", list(self._devices))

    def _add_manager(self) -> None:
        manager = self.served(ROOT, NAME)
        manager.properties = {
            "Version": ("s", "1.42.4"),
            "Devices": ("ao", list(self._devices)),
            "PrimaryConnection": ("o", "/"),
            "ConnectivityCheckEnabled": ("b", True),
            "Connectivity": ("u", 1),
            "Checkpoints": ("ao", []),
        }
        manager.methods = {
            "CheckConnectivity": ("", "u", self._check),
            "ActivateConnection": ("ooo", "o", self._activate),
            "DeactivateConnection": ("o", "", self._deactivate),
            "CheckpointCreate": ("aouu", "o", self._remember),
            "CheckpointDestroy": ("o", "", self._forget),
            "CheckpointRollback": ("o", "a{su}", self._go_back),
            "CheckpointAdjustRollbackTimeout": ("ou", "", self._adjust),
        }
        store = self.served(f"{ROOT}/Settings", f"{NAME}.Settings")
        store.properties = {"Connections": ("ao", [])}
        store.methods = {
            "ReloadConnections": ("", "b", lambda: [True]),
            "AddConnection": ("a{sa{sv}}", "o", self._add_saved),
            "AddConnectionUnsaved": ("a{sa{sv}}", "o", lambda profile: [self._add(profile)]),
        }
        self.served(f"{ROOT}/DnsManager", f"{NAME}.DnsManager").properties = {"Configuration": ("aa{sv}", [])}

    def _add_card(self, device: str, name: str, number: int) -> None:
        self.served(device, f"{NAME}.Device").properties = {
            "Interface": ("s", name),
            "DeviceType": ("u", 2 if device == WIRELESS else 1),
            "Managed": ("b", True),
            "HwAddress": ("s", f"02:00:00:00:00:{number:02}"),
            "Path": ("s", f"pci-0000:0{number}:00.0"),
            "ActiveConnection": ("o", "/"),
        }
        self.served(_active(device), f"{NAME}.Connection.Active").properties = {
            "Uuid": ("s", ""),
            "State": ("u", 1),
            "StateFlags": ("u", 8),
            "Connection": ("o", "/"),
            "Ip4Config": ("o", IP4 if device == ETHERNET else "/"),
            "Ip6Config": ("o", "/"),
        }
        self.served(IP4, f"{NAME}.IP4Config").properties = {
            "AddressData": ("aa{sv}", [{"address": Variant("s", "192.0.2.10"), "prefix": Variant("u", 24)}]),
            "Gateway": ("s", "192.0.2.1"),
            "NameserverData": ("aa{sv}", []),
        }

    def _add_wireless(self) -> None:
        wireless = self.served(WIRELESS, f"{NAME}.Device.Wireless")
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

    def _add(self, profile: Profile) -> str:
        self._made += 1
        path = f"{ROOT}/Settings/{self._made}"
        self._keep(path, Kept({}))
        self._write(path, profile)
        return path

    def _add_saved(self, profile: Profile) -> list[str]:
        path = self._add(profile)
        self._save(path)
        return [path]

    def _keep(self, path: str, kept: Kept) -> None:
        self.kept[path] = kept
        self.objects[path] = {
            f"{NAME}.Settings.Connection": Served(
                properties={"Unsaved": ("b", True)},
                methods={
                    "GetSettings": ("", "a{sa{sv}}", lambda: [copy.deepcopy(self.kept[path].profile)]),
                    "GetSecrets": ("s", "a{sa{sv}}", lambda section: [self._secrets(path, section)]),
                    "Update": ("a{sa{sv}}", "", lambda profile: self._update(path, profile)),
                    "UpdateUnsaved": ("a{sa{sv}}", "", lambda profile: self._write(path, profile)),
                    "Save": ("", "", lambda: self._save(path)),
                    "Delete": ("", "", lambda: self._delete(path)),
                },
            )
        }
        self._announce()

    def _update(self, path: str, profile: Profile) -> None:
        self._write(path, profile)
        self._save(path)

    def _save(self, path: str) -> None:
        self.saved[path] = copy.deepcopy(self.kept[path])
        self.set(path, f"{NAME}.Settings.Connection", "Unsaved", value=False)

    def _write(self, path: str, profile: Profile) -> None:
        self.set(path, f"{NAME}.Settings.Connection", "Unsaved", value=True)
        kept, security = self.kept[path], profile.get(SECURITY, {})
        given = security.pop("psk", None)
        kept.secret = given.value if given else kept.secret if security else None
        kept.profile = profile

    def _secrets(self, path: str, section: str) -> Profile:
        secret = self.kept[path].secret
        return {section: {"psk": Variant("s", secret)} if secret else {}}

    def _delete(self, path: str) -> None:
        del self.kept[path]
        self.saved.pop(path, None)
        del self.objects[path]
        for device in self._devices:
            if self._used(device) == path:
                self._use(device, "/")
        self._announce()

    def _announce(self) -> None:
        self.set(f"{ROOT}/Settings", f"{NAME}.Settings", "Connections", list(self.kept))

    def _used(self, device: str) -> str:
        on = self.objects[device][f"{NAME}.Device"].properties["ActiveConnection"][1]
        return "/" if on == "/" else str(self.objects[on][f"{NAME}.Connection.Active"].properties["Connection"][1])

    def _use(self, device: str, path: str) -> None:
        self.set(_active(device), f"{NAME}.Connection.Active", "Connection", path)
        self.set(device, f"{NAME}.Device", "ActiveConnection", "/" if path == "/" else _active(device))

    def _deactivate(self, active: str) -> None:
        for device in self._devices:
            if _active(device) == active:
                self._use(device, "/")

    def _activate(self, path: str, device: str, _specific: str) -> list[str]:
        active, kept = _active(device), self.kept[path]
        works = SECURITY not in kept.profile or kept.secret == self.password
        self.set(active, f"{NAME}.Connection.Active", "State", 1)
        self._use(device, path if works else "/")
        state = 2 if works else 4
        properties = self.objects[active][f"{NAME}.Connection.Active"].properties
        properties["State"] = ("u", state)
        self.later(active, f"{NAME}.Connection.Active", "StateChanged", "uu", [state, 0])
        return [active]

    def _remember(self, devices: list[str], seconds: int, _flags: int) -> list[str]:
        self.served(CHECKPOINT, f"{NAME}.Checkpoint").properties = {
            "Devices": ("ao", devices),
            "Created": ("x", int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)),
            "RollbackTimeout": ("u", seconds),
        }
        self._checkpoint = (copy.deepcopy(self.kept), {device: self._used(device) for device in self._devices})
        self.set(ROOT, NAME, "Checkpoints", [CHECKPOINT])
        return [CHECKPOINT]

    def _adjust(self, checkpoint: str, seconds: int) -> None:
        self.set(checkpoint, f"{NAME}.Checkpoint", "RollbackTimeout", seconds)

    def _forget(self, _checkpoint: str) -> None:
        self.history.append("kept")
        self.set(ROOT, NAME, "Checkpoints", [])

    def time_is_up(self) -> None:
        """Go back to the checkpoint that nobody destroyed in time."""
        self._go_back(CHECKPOINT)

    def _go_back(self, _checkpoint: str) -> list[dict[str, int]]:
        if self._checkpoint is None:
            raise Refusal(f"{NAME}.InvalidArguments", "checkpoint does not exist")
        self.history.append("back")
        self.set(ROOT, NAME, "Checkpoints", [])
        kept, used = self._checkpoint
        gone = used.keys() - self._devices.keys()
        if gone:
            return [dict.fromkeys(gone, 1)]
        for path in set(self.kept) - set(kept):
            self._delete(path)
        for path, one in kept.items():
            self._keep(path, one)
        for device, path in used.items():
            if path == "/":
                self._use(device, "/")
            else:
                self._activate(path, device, "/")
        return [dict.fromkeys(self._devices, 0)]


def _active(device: str) -> str:
    return device.replace("Devices", "ActiveConnection")


def plain(value: Any) -> Any:
    """Take the library's variants out, however deep they are."""
    match value:
        case Variant():
            return plain(value.value)
        case list():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
    return value
