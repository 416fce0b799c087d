"""The devices of this machine, read from sysfs (host contract §31)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import attrs

HIDDEN = ("/sys/devices/virtual/tty/", "/sys/devices/virtual/block/", "/sys/devices/virtual/vc/")


@attrs.frozen
class Device:
    """A device node. `links` are the by-… symlinks that lead to it, sorted."""

    name: str
    path: str
    sysfs: str
    subsystem: str
    major: int
    minor: int
    links: tuple[str, ...] = ()

    @property
    def by_id(self) -> str | None:
        return next((link for link in self.links if "/by-id/" in link), None)

    @property
    def cgroup_rule(self) -> str:
        kind = "b" if self.subsystem == "block" else "c"
        return f"{kind} {self.major}:{self.minor} rwm"


# The module is loaded when the node is opened first; until then sysfs does not know the device.
TUN = Device("tun", "/dev/net/tun", "/sys/devices/virtual/misc/tun", "misc", 10, 200)


class DeviceTable:
    """A picture of the devices at one moment; `read` takes it anew."""

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self.devices = tuple(devices)
        self._by_path = {device.path: device for device in self.devices}
        self._by_path.update({device.sysfs: device for device in self.devices})
        self._by_path.update({link: device for device in self.devices for link in device.links})

    @classmethod
    def read(cls, root: Path = Path("/")) -> DeviceTable:
        """Read the sysfs and the links below `root`. Blocking, a few milliseconds."""
        links = _links(root)
        devices: list[Device] = []
        for kind in ("char", "block"):
            with suppress(OSError):
                found = (_device(entry, root, links) for entry in (root / "sys" / "dev" / kind).iterdir())
                devices.extend(filter(None, found))
        if all(device.path != TUN.path for device in devices):
            devices.append(TUN)
        return cls(sorted(devices, key=lambda device: device.path))

    def find(self, path: str) -> Device | None:
        """Return the device known by this node path, sysfs path or link."""
        return self._by_path.get(path)

    def by_subsystem(self, subsystem: str | None) -> tuple[Device, ...]:
        """Return the devices of one subsystem, all of them for None."""
        return tuple(device for device in self.devices if subsystem is None or device.subsystem == subsystem)


def _device(entry: Path, root: Path, links: dict[str, list[str]]) -> Device | None:
    with suppress(OSError, ValueError, KeyError):
        sysfs = _below(root, entry.resolve(strict=True))
        keys = dict(line.split("=", 1) for line in (entry / "uevent").read_text().splitlines() if "=" in line)
        name = keys.get("DEVNAME")
        if name is None or sysfs.startswith(HIDDEN):
            return None
        path = f"/dev/{name}"
        subsystem = Path(str((entry / "subsystem").readlink())).name
        return Device(
            Path(sysfs).name,
            path,
            sysfs,
            subsystem,
            int(keys["MAJOR"]),
            int(keys["MINOR"]),
            tuple(sorted(links.get(path, ()))),
        )
    return None


def _links(root: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for folder in (root / "dev").glob("*/by-*"):
        with suppress(OSError):
            for link in os.scandir(folder):
                # A link that leads in circles is a RuntimeError here.
                with suppress(OSError, RuntimeError, ValueError):
                    if link.is_symlink():
                        target = _below(root, Path(link.path).resolve())
                        found.setdefault(target, []).append(_below(root, Path(link.path)))
    return found


def _below(root: Path, path: Path) -> str:
    return f"/{path.relative_to(root)}"
