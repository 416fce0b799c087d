"""UDisks2: drives, and what is on them (host contract §21)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from supervisor.drivers.dbus.declaration import PATH, STRING, VARDICT, Property, Service, mapping, method
from supervisor.drivers.dbus.interface import Interface
from supervisor.model.drive import Drive, FilesystemOnDrive

UDISKS: Final = Service("org.freedesktop.UDisks2", "UDisks2", on_demand=True)
_DRIVE: Final = "org.freedesktop.UDisks2.Drive"
_BLOCK: Final = "org.freedesktop.UDisks2.Block"
_FILESYSTEM: Final = "org.freedesktop.UDisks2.Filesystem"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = 253_402_300_799_999_999
# Whoever asks for the drives wants an answer at once; there is another way to find them.
_SECONDS: Final = 0.5

Values = Mapping[str, Any]
Objects = Mapping[str, Mapping[str, Values]]


class DiskManager(Interface):
    """UDisks2 itself."""

    service = UDISKS
    interface = "org.freedesktop.UDisks2.Manager"
    default_path = "/org/freedesktop/UDisks2/Manager"

    version = Property("Version", STRING)


class ManagedDisks(Interface):
    """All that UDisks2 knows, in one answer."""

    service = UDISKS
    interface = "org.freedesktop.DBus.ObjectManager"
    default_path = "/org/freedesktop/UDisks2"

    managed = method("GetManagedObjects", returns=mapping(PATH, mapping(STRING, VARDICT)), seconds=_SECONDS)

    async def drives(self) -> list[Drive]:
        """Return the drives in the order of their names.

        Raises:
            Unavailable: UDisks2 is not there. Timeout: it does not answer.
        """
        return drives_of(await self.managed())


def drives_of(objects: Objects) -> list[Drive]:
    """Read the answer of UDisks2; what is missing or makes no sense becomes empty."""
    found = [
        (path, interfaces[_DRIVE]) for path, interfaces in objects.items() if isinstance(interfaces.get(_DRIVE), dict)
    ]
    return [_drive(values, _filesystems(path, objects)) for path, values in sorted(found)]


def _drive(values: Values, filesystems: tuple[FilesystemOnDrive, ...]) -> Drive:
    return Drive(
        vendor=_text(values, "Vendor"),
        model=_text(values, "Model"),
        revision=_text(values, "Revision"),
        serial=_text(values, "Serial"),
        id=_text(values, "Id"),
        size=_number(values, "Size"),
        time_detected=_EPOCH + timedelta(microseconds=min(_number(values, "TimeDetected"), _LAST_MOMENT)),
        connection_bus=_text(values, "ConnectionBus"),
        seat=_text(values, "Seat"),
        removable=values.get("Removable") is True,
        ejectable=values.get("Ejectable") is True,
        filesystems=filesystems,
    )


def _filesystems(drive: str, objects: Objects) -> tuple[FilesystemOnDrive, ...]:
    found = []
    for interfaces in objects.values():
        block, filesystem = interfaces.get(_BLOCK), interfaces.get(_FILESYSTEM)
        if block is None or filesystem is None or block.get("Drive") != drive:
            continue
        found.append(
            FilesystemOnDrive(
                device=_path(block.get("Device")),
                id=_text(block, "Id"),
                size=_number(filesystem, "Size") or _number(block, "Size"),
                name=_text(block, "IdLabel"),
                system=block.get("HintSystem") is True,
                mount_points=tuple(map(_path, filesystem.get("MountPoints") or ())),
            )
        )
    return tuple(sorted(found, key=lambda filesystem: filesystem.device))


def _text(values: Values, name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _number(values: Values, name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _path(value: Any) -> str:
    """Return the text of a path, which comes as bytes and ends with a NUL."""
    content = bytes(value) if isinstance(value, bytes | bytearray | list) else b""
    return content.split(b"\0", 1)[0].decode(errors="replace")
