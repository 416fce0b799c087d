"""UDisks2: drives, block devices, and what is on them (host contract §21)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.declaration import (
    BOOL,
    BYTE_STRING,
    NOTHING,
    PATH,
    STRING,
    UINT64,
    VARDICT,
    Fixed,
    Property,
    Service,
    array,
    method,
)
from supervisor.drivers.dbus.interface import Interface
from supervisor.drivers.dbus.objects import ObjectTree
from supervisor.drivers.dbus.values import Variant
from supervisor.errors import NotFound, SupervisorError
from supervisor.model.drive import BlockDevice, Drive, FilesystemOnDrive, Partition

I = TypeVar("I", bound=Interface)  # noqa: E741 - an interface

UDISKS: Final = Service("org.freedesktop.UDisks2", "UDisks2", on_demand=True)
LINUX_DATA: Final = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

_ROOT: Final = "/org/freedesktop/UDisks2"
_NONE: Final = "/"  # how UDisks2 says that there is no such object
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = 253_402_300_799_999_999
# Nobody is there to be asked for a password.
_QUIET: Final = Fixed("a{sv}", {"auth.no_user_interaction": Variant("b", True)})  # noqa: FBT003 - a value on the bus
# A large disk that is slow takes its time to be wiped and looked at again.
_SLOW_SECONDS: Final = 120.0
_ALL_OF_IT: Final = 0


class DriveObject(Interface):
    service = UDISKS
    interface = "org.freedesktop.UDisks2.Drive"

    vendor = Property("Vendor", STRING)
    model = Property("Model", STRING)
    revision = Property("Revision", STRING)
    serial = Property("Serial", STRING)
    id = Property("Id", STRING)
    size = Property("Size", UINT64)
    time_detected = Property("TimeDetected", UINT64)
    connection_bus = Property("ConnectionBus", STRING)
    seat = Property("Seat", STRING)
    removable = Property("Removable", BOOL)
    ejectable = Property("Ejectable", BOOL)


class BlockObject(Interface):
    service = UDISKS
    interface = "org.freedesktop.UDisks2.Block"

    device = Property("Device", BYTE_STRING)
    symlinks = Property("Symlinks", array(BYTE_STRING))
    device_number = Property("DeviceNumber", UINT64)
    id = Property("Id", STRING)
    size = Property("Size", UINT64)
    read_only = Property("ReadOnly", BOOL)
    label = Property("IdLabel", STRING)
    hint_system = Property("HintSystem", BOOL)
    hint_ignore = Property("HintIgnore", BOOL)
    drive = Property("Drive", PATH)
    crypto_backing_device = Property("CryptoBackingDevice", PATH)
    raid_member = Property("MDRaidMember", PATH)

    format = method("Format", STRING, returns=NOTHING, fixed=(_QUIET,), seconds=_SLOW_SECONDS)


class FilesystemObject(Interface):
    service = UDISKS
    interface = "org.freedesktop.UDisks2.Filesystem"

    mount_points = Property("MountPoints", array(BYTE_STRING))
    size = Property("Size", UINT64)

    set_label = method("SetLabel", STRING, returns=NOTHING, fixed=(_QUIET,), seconds=_SLOW_SECONDS)


class SwapObject(Interface):
    service = UDISKS
    interface = "org.freedesktop.UDisks2.Swapspace"

    active = Property("Active", BOOL)


class PartitionObject(Interface):
    service = UDISKS
    interface = "org.freedesktop.UDisks2.Partition"

    name = Property("Name", STRING)
    uuid = Property("UUID", STRING)
    table = Property("Table", PATH)

    set_name = method("SetName", STRING, returns=NOTHING, fixed=(_QUIET,), seconds=_SLOW_SECONDS)
    delete = method("Delete", returns=NOTHING, fixed=(_QUIET,), seconds=_SLOW_SECONDS)


class PartitionTableObject(Interface):
    """`create_partition` takes offset and size in bytes (no size is all the space there is), type and name."""

    service = UDISKS
    interface = "org.freedesktop.UDisks2.PartitionTable"

    type = Property("Type", STRING)

    create_partition = method(
        "CreatePartition", UINT64, UINT64, STRING, STRING, returns=PATH, fixed=(_QUIET,), seconds=_SLOW_SECONDS
    )


class NvmeObject(Interface):
    """Known to UDisks2 from version 2.10."""

    service = UDISKS
    interface = "org.freedesktop.UDisks2.NVMe.Controller"

    smart_attributes = method("SmartGetAttributes", returns=VARDICT, fixed=(_QUIET,))


_INTERFACES: Final = (
    *(DriveObject, BlockObject, FilesystemObject, SwapObject),
    *(PartitionObject, PartitionTableObject, NvmeObject),
)


class DiskTree:
    """Everything that UDisks2 knows, kept current by its signals: what is asked here is answered from memory.

    Block devices and drives are called by the names that UDisks2 has for them, the `key` of what is returned here.
    """

    service = UDISKS

    def __init__(self, bus: SystemBus) -> None:
        self._tree = ObjectTree(bus, UDISKS, _ROOT, _INTERFACES)

    @property
    def available(self) -> bool:
        return self._tree.available

    @property
    def can_be_asked(self) -> bool:
        return self._tree.can_be_asked

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` after anything changed; the returned function ends that."""
        return self._tree.subscribe(lambda _paths: changed())

    async def start(self) -> None:
        """Follow UDisks2; on return what it knows was read, if it is there and answers soon."""
        await self._tree.start()

    async def close(self) -> None:
        await self._tree.close()

    async def refresh(self) -> None:
        """Read everything anew.

        Raises:
            Unavailable: UDisks2 is not there. Timeout: it does not answer.
        """
        await self._tree.refresh()

    # What there is.

    def drives(self) -> dict[str, Drive]:
        """Return the drives in the order of their names; what UDisks2 does not tell of them is empty."""
        on_drive: dict[str, list[FilesystemOnDrive]] = {}
        for path, filesystem in self._tree.of(FilesystemObject).items():
            block = self._tree.at(path, BlockObject)
            if block is not None and block.drive is not None:
                on_drive.setdefault(block.drive, []).append(_filesystem(block, filesystem))
        found = self._tree.of(DriveObject)
        return {path: _drive(found[path], on_drive.get(path, [])) for path in sorted(found)}

    def blocks(self) -> tuple[BlockDevice, ...]:
        """Return the block devices, partitions among them, in the order of their names."""
        found = self._tree.of(BlockObject)
        opened = {block.crypto_backing_device for block in found.values()}
        return tuple(self._block(path, found[path], opened=path in opened) for path in sorted(found))

    def block(self, device: str) -> BlockDevice | None:
        """Return the block device of a node below /dev, or of a link to it."""
        return next((block for block in self.blocks() if device == block.device or device in block.links), None)

    def _block(self, path: str, block: BlockObject, *, opened: bool) -> BlockDevice:
        filesystem, swap = self._tree.at(path, FilesystemObject), self._tree.at(path, SwapObject)
        partition = self._tree.at(path, PartitionObject)
        if opened or (block.raid_member or _NONE) != _NONE or (swap is not None and swap.active):
            used = True
        else:
            used = filesystem is not None and bool(filesystem.mount_points)
        return BlockDevice(
            key=path,
            device=block.device or "",
            links=tuple(block.symlinks or ()),
            number=block.device_number or 0,
            size=block.size or 0,
            read_only=block.read_only is True,
            hidden=block.hint_ignore is True,
            label=(block.label or "") if filesystem is not None else "",
            drive=None if block.drive in (None, _NONE) else block.drive,
            in_use=used,
            mount_points=tuple(filesystem.mount_points or ()) if filesystem is not None else (),
            has_table=self._tree.at(path, PartitionTableObject) is not None,
            partition=None if partition is None else Partition(partition.name or "", partition.uuid or ""),
        )

    # What is done with it. All of these raise Unavailable and Timeout when UDisks2 is away or silent, NotFound when the
    # device is gone, and what its refusal means.

    async def set_label(self, block: str, label: str) -> None:
        """Name the file system on a block device; on return it is known by that."""
        await self._there(block, FilesystemObject).set_label(label)
        known = self._tree.at(block, BlockObject)
        if known is None or known.label != label:
            # The answer may be faster than the news of what it did.
            with suppress(SupervisorError):
                await self._tree.refresh()

    async def set_partition_name(self, block: str, name: str) -> None:
        await self._there(block, PartitionObject).set_name(name)

    async def make_table(self, block: str) -> None:
        """Put an empty partition table in the place of all that is on a disk. UDisks2 refuses one that is in use."""
        await self._there(block, BlockObject).format("gpt")

    async def fill_with_partition(self, block: str, name: str) -> BlockDevice:
        """Make one partition of all the space of an empty partition table."""
        await self._read_until_there(block, PartitionTableObject)
        path = await self._there(block, PartitionTableObject).create_partition(_ALL_OF_IT, _ALL_OF_IT, LINUX_DATA, name)
        await self._read_until_there(path, PartitionObject)
        return self._block(path, self._there(path, BlockObject), opened=False)

    async def delete_partition(self, block: str) -> None:
        await self._there(block, PartitionObject).delete()

    async def percent_used(self, number: int) -> float | None:
        """Return how much of its life the NVMe drive with a block device of this number has had; None for others."""
        block = next((block for block in self.blocks() if block.number == number), None)
        controller = None if block is None or block.drive is None else self._tree.at(block.drive, NvmeObject)
        if controller is None:
            return None
        with suppress(SupervisorError):
            used = (await controller.smart_attributes()).get("percent_used")
            return min(100.0, float(used)) if isinstance(used, int) else None
        return None

    async def _read_until_there(self, path: str, kind: type[Interface]) -> None:
        """See what was just made: the answer of the call that made it may be faster than the news of it."""
        if self._tree.at(path, kind) is None:
            await self._tree.refresh()

    def _there(self, path: str, kind: type[I]) -> I:
        found = self._tree.at(path, kind)
        if found is None:
            raise NotFound(f"UDisks2 knows no {kind.interface.rpartition('.')[2]} at {path.rpartition('/')[2]}")
        return found


def _drive(drive: DriveObject, filesystems: list[FilesystemOnDrive]) -> Drive:
    return Drive(
        vendor=drive.vendor or "",
        model=drive.model or "",
        revision=drive.revision or "",
        serial=drive.serial or "",
        id=drive.id or "",
        size=max(0, drive.size or 0),
        time_detected=_EPOCH + timedelta(microseconds=max(0, min(drive.time_detected or 0, _LAST_MOMENT))),
        connection_bus=drive.connection_bus or "",
        seat=drive.seat or "",
        removable=drive.removable is True,
        ejectable=drive.ejectable is True,
        filesystems=tuple(sorted(filesystems, key=lambda filesystem: filesystem.device)),
    )


def _filesystem(block: BlockObject, filesystem: FilesystemObject) -> FilesystemOnDrive:
    return FilesystemOnDrive(
        device=block.device or "",
        id=block.id or "",
        size=filesystem.size or block.size or 0,
        name=block.label or "",
        system=block.hint_system is True,
        mount_points=tuple(filesystem.mount_points or ()),
    )
