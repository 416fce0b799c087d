"""Drives as the kernel knows them, for machines on which nobody else does."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from supervisor.drivers.sysfs import Device, DeviceTable
from supervisor.errors import Unsupported
from supervisor.model.drive import Drive, FilesystemOnDrive

_SECTOR: Final = 512
_PAGE_LIMIT: Final = 4096
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
_SEAT: Final = "seat0"  # the one of the machine itself; more than one is a matter of its login manager


def read_drives(table: DeviceTable, root: Path = Path("/")) -> list[Drive]:
    """Return the drives in the order of their names. Blocking, a few milliseconds.

    When a drive was found the kernel does not tell: the boot has to do.
    """
    mounts, boot = _mounts(root), _boot_time(root)
    found = []
    for disk in table.by_subsystem("block"):
        folder = root / disk.sysfs.lstrip("/")
        # Loops, memory and the like have no hardware behind them; partitions have, but are no drives.
        if not (folder / "device").exists() or (folder / "partition").exists():
            continue
        parts = [disk, *filter(None, map(table.find, disk.children))]
        filesystems = tuple(filter(None, (_filesystem(part, root, mounts) for part in parts)))
        found.append(_drive(disk, folder, boot, filesystems))
    return found


def ask_for_events(root: Path = Path("/")) -> None:
    """Have the kernel announce every device with a node once more, as if it had changed. Blocking.

    Raises:
        Unsupported: the kernel's files can't be written here.
    """
    refused: OSError | None = None
    told = 0
    for kind in ("block", "char"):
        with suppress(FileNotFoundError):
            for entry in (root / "sys" / "dev" / kind).iterdir():
                try:
                    (entry / "uevent").write_text("change")
                    told += 1
                except FileNotFoundError:  # gone meanwhile
                    continue
                except OSError as err:
                    refused = err
    if refused is not None and not told:
        raise Unsupported(f"The devices can't be asked for anew here: {refused.strerror}") from refused


def is_claimed(device: str) -> bool:
    """Tell whether a mount, a volume, an array or a program has a disk or a part of it for itself. Blocking.

    False also where the disk can't be opened: then nobody here can tell.
    """
    try:
        opened = os.open(device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        return err.errno == errno.EBUSY
    os.close(opened)
    return False


def _drive(disk: Device, folder: Path, boot: datetime, filesystems: tuple[FilesystemOnDrive, ...]) -> Drive:
    hardware = folder / "device"
    removable = _word(folder / "removable") == "1"
    attributes, vendor = disk.attributes, _word(hardware / "vendor")
    by_id = Path(disk.by_id).name if disk.by_id else ""
    return Drive(
        vendor="" if vendor.startswith("0x") else vendor,  # a number is no name
        model=_word(hardware / "model") or attributes.get("ID_MODEL", "").replace("_", " "),
        revision=_word(hardware / "rev") or _word(hardware / "firmware_rev") or attributes.get("ID_REVISION", ""),
        serial=_word(hardware / "serial") or attributes.get("ID_SERIAL_SHORT", "") or _word(folder / "serial"),
        id=by_id,
        size=_number(folder / "size") * _SECTOR,
        time_detected=boot,
        connection_bus=_bus(disk),
        seat=_SEAT,
        removable=removable,
        ejectable=removable,
        filesystems=filesystems,
    )


def _bus(disk: Device) -> str:
    """Return how it is connected, in the words of UDisks2: what is built in has none."""
    if disk.attributes.get("ID_BUS") == "usb" or "/usb" in disk.sysfs:
        return "usb"
    return "sdio" if "/mmc_host/" in disk.sysfs else ""


def _filesystem(part: Device, root: Path, mounts: dict[str, list[str]]) -> FilesystemOnDrive | None:
    mounted = mounts.get(f"{part.major}:{part.minor}", [])
    attributes = part.attributes
    if attributes.get("ID_FS_USAGE") != "filesystem" and not mounted:
        return None
    uuid = attributes.get("ID_FS_UUID")
    folder = root / part.sysfs.lstrip("/")
    return FilesystemOnDrive(
        device=part.path,
        id=f"by-uuid-{uuid}" if uuid else part.name,
        size=_number(folder / "size") * _SECTOR,
        name=attributes.get("ID_FS_LABEL", ""),
        # The kernel has no word for it; what can't be pulled out belongs to the machine.
        system=_bus(part) == "",
        mount_points=tuple(mounted),
    )


def _mounts(root: Path) -> dict[str, list[str]]:
    """Return the mount points of each device number, in the order of mounting."""
    found: dict[str, list[str]] = {}
    with suppress(OSError):
        for line in (root / "proc/self/mountinfo").read_bytes().splitlines():
            fields = line.split(b" ")
            if len(fields) > 4 and fields[3] == b"/":
                point = _ESCAPED.sub(lambda code: bytes([int(code[1], 8) & 0xFF]), fields[4])
                found.setdefault(fields[2].decode(), []).append(os.fsdecode(point))
    return found


def _boot_time(root: Path) -> datetime:
    with suppress(OSError, ValueError):
        match = re.search(r"^btime (\d{1,11})$", (root / "proc/stat").read_text(), re.MULTILINE)
        if match:
            return datetime.fromtimestamp(int(match[1]), UTC)
    return datetime.fromtimestamp(0, UTC)


def _word(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return file.read(_PAGE_LIMIT).decode(errors="replace").strip("\0\n ")
    return ""


def _number(path: Path) -> int:
    word = _word(path)
    return int(word) if word.isascii() and word.isdigit() else 0
