"""The devices of this machine, read from sysfs and udev's database (host contract §31)."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import attrs

HIDDEN = ("/sys/devices/virtual/tty/", "/sys/devices/virtual/block/", "/sys/devices/virtual/vc/")
# What udev knows of a device; named after its number, as in c188:0.
UDEV_DATA = Path("run/udev/data")
# File systems of the operating system itself bear such a label; their disks are nobody else's business.
SYSTEM_LABEL = "hassos"


@attrs.frozen
class Device:
    """A device node.

    Attributes:
        links: the symlinks that lead to it, sorted.
        attributes: its udev properties, as far as udev knows it; else what the kernel says.
        children: the sysfs paths of the devices below it, such as the partitions of a disk, sorted.
        settled: whether udev has done with it, so that nothing will be added; true where there is no udev.
    """

    name: str
    path: str
    sysfs: str
    subsystem: str
    major: int
    minor: int
    links: tuple[str, ...] = ()
    attributes: Mapping[str, str] = attrs.field(factory=dict, hash=False, repr=False)
    children: tuple[str, ...] = ()
    settled: bool = True

    @property
    def by_id(self) -> str | None:
        return next((link for link in self.links if "/by-id/" in link), None)

    @property
    def cgroup_rule(self) -> str:
        kind = "b" if self.subsystem == "block" else "c"
        return f"{kind} {self.major}:{self.minor} rwm"

    @property
    def names(self) -> frozenset[str]:
        """Everything it can be asked for by: its node, its place in sysfs, its links."""
        return frozenset((self.path, self.sysfs, *self.links))


# The module is loaded when the node is opened first; until then sysfs does not know the device.
TUN = Device(
    "tun",
    "/dev/net/tun",
    "/sys/devices/virtual/misc/tun",
    "misc",
    10,
    200,
    attributes={
        "MAJOR": "10",
        "MINOR": "200",
        "DEVNAME": "/dev/net/tun",
        "DEVPATH": "/devices/virtual/misc/tun",
        "SUBSYSTEM": "misc",
    },
)


class DeviceTable:
    """A picture of the devices at one moment; `read` takes it anew."""

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self.devices = tuple(devices)
        self._by_path = {device.path: device for device in self.devices}
        self._by_path.update({device.sysfs: device for device in self.devices})
        self._by_path.update({link: device for device in self.devices for link in device.links})

    @classmethod
    def read(cls, root: Path = Path("/")) -> DeviceTable:
        """Read the sysfs, the links and udev's database below `root`. Blocking, a few milliseconds."""
        links, with_udev = _links(root), (root / UDEV_DATA).is_dir()
        devices: list[Device] = []
        for kind in ("char", "block"):
            with suppress(OSError):
                entries = (root / "sys" / "dev" / kind).iterdir()
                found = (_device(entry, root, links, with_udev=with_udev) for entry in entries)
                devices.extend(filter(None, found))
        if all(device.path != TUN.path for device in devices):
            devices.append(TUN)
        return cls(sorted(_with_children(devices), key=lambda device: device.path))

    def find(self, path: str) -> Device | None:
        """Return the device known by this node path, sysfs path or link."""
        return self._by_path.get(path)

    def by_subsystem(self, subsystem: str | None) -> tuple[Device, ...]:
        """Return the devices of one subsystem, all of them for None."""
        return tuple(device for device in self.devices if subsystem is None or device.subsystem == subsystem)

    def of_the_system(self, device: Device) -> bool:
        """Tell whether the operating system itself lives on the device, so that nobody else may have it."""
        if device.subsystem != "block":
            return False
        found = (device, *filter(None, map(self.find, device.children)))
        return any(entry.attributes.get("ID_FS_LABEL", "").startswith(SYSTEM_LABEL) for entry in found)


def _device(entry: Path, root: Path, links: Mapping[str, list[str]], *, with_udev: bool) -> Device | None:
    with suppress(OSError, ValueError, KeyError):
        sysfs = _below(root, entry.resolve(strict=True))
        keys = dict(line.split("=", 1) for line in (entry / "uevent").read_text().splitlines() if "=" in line)
        name = keys.get("DEVNAME")
        if name is None or sysfs.startswith(HIDDEN):
            return None
        path = f"/dev/{name}"
        subsystem = Path(str((entry / "subsystem").readlink())).name
        major, minor = int(keys["MAJOR"]), int(keys["MINOR"])
        known = _udev(root / UDEV_DATA / f"{'b' if subsystem == 'block' else 'c'}{major}:{minor}")
        found = sorted({*links.get(path, ()), *known.links})
        keys.update(DEVNAME=path, DEVPATH=sysfs.removeprefix("/sys"), SUBSYSTEM=subsystem, **known.properties)
        if found:
            keys["DEVLINKS"] = " ".join(found)
        return Device(
            Path(sysfs).name,
            path,
            sysfs,
            subsystem,
            major,
            minor,
            tuple(found),
            keys,
            settled=known.there or not with_udev,
        )
    return None


@attrs.frozen
class _Known:
    """What udev's database says about one device; `there` is false while it has not come to it."""

    links: tuple[str, ...] = ()
    properties: Mapping[str, str] = attrs.field(factory=dict)
    there: bool = False


def _udev(entry: Path) -> _Known:
    try:
        lines = entry.read_text(errors="replace").splitlines()
    except OSError:
        return _Known()
    links = tuple(f"/dev/{line[2:]}" for line in lines if line.startswith("S:"))
    properties = (line[2:].partition("=") for line in lines if line.startswith("E:"))
    return _Known(links, {key: value for key, _, value in properties if key}, there=True)


def _with_children(devices: Iterable[Device]) -> Iterable[Device]:
    by_sysfs = {device.sysfs: device for device in devices}
    places = sorted(by_sysfs)
    for place, device in by_sysfs.items():
        # All places below one follow each other, and "0" is the character after "/".
        below = places[bisect_left(places, f"{place}/") : bisect_left(places, f"{place}0")]
        yield attrs.evolve(device, children=tuple(below)) if below else device


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
