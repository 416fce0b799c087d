"""The devices of this machine, read from sysfs (host contract §31)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import attrs

SYS_DEV = Path("/sys/dev")
DEV = Path("/dev")
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


class DeviceTable:
    """A picture of the devices at one moment; `read` takes it anew."""

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self.devices = tuple(devices)
        self._by_path = {device.path: device for device in self.devices}
        self._by_path.update({device.sysfs: device for device in self.devices})
        self._by_path.update({link: device for device in self.devices for link in device.links})

    @classmethod
    def read(cls) -> DeviceTable:
        """Read sysfs. Blocking, a few milliseconds."""
        links = _links()
        devices: list[Device] = []
        for kind in ("char", "block"):
            with suppress(OSError):
                devices.extend(filter(None, (_device(entry, links) for entry in (SYS_DEV / kind).iterdir())))
        return cls(sorted(devices, key=lambda device: device.path))

    def find(self, path: str) -> Device | None:
        """Return the device known by this node path, sysfs path or link."""
        return self._by_path.get(path)

    def by_subsystem(self, subsystem: str | None) -> tuple[Device, ...]:
        """Return the devices of one subsystem, all of them for None."""
        return tuple(device for device in self.devices if subsystem is None or device.subsystem == subsystem)


def _device(entry: Path, links: dict[str, list[str]]) -> Device | None:
    with suppress(OSError, ValueError):
        sysfs = str(entry.resolve(strict=True))
        keys = dict(line.split("=", 1) for line in (entry / "uevent").read_text().splitlines() if "=" in line)
        name = keys.get("DEVNAME")
        if name is None or (sysfs.startswith(HIDDEN) and name != "net/tun"):
            return None
        path = str(DEV / name)
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


def _links() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for root in DEV.glob("*/by-*"):
        with suppress(OSError):
            for link in os.scandir(root):
                if link.is_symlink():
                    found.setdefault(str(Path(link.path).resolve()), []).append(link.path)
    return found
