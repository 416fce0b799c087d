"""A small disk that a test fills, breaks and pulls out: a file system in a file."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import attrs

_BLOCK = 4096
_BLOCK_OF = 1  # FIBMAP
_GO_DOWN = 0x8004587D  # FS_IOC_SHUTDOWN
_WITHOUT_LOG = 2
_MOVE_EXTENT = 0xC028660F  # EXT4_IOC_MOVE_EXT


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def engine_process(url: str) -> int:
    """Return who answers at the socket of an engine."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(url.removeprefix("unix://"))
        return int(struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def fail_command(place: Path) -> str:
    """Return the shell command after which nothing of the file system at `place` can be read or written any more."""
    arguments = f'os.open("{place}", os.O_RDONLY), {_GO_DOWN}, bytes([{_WITHOUT_LOG}, 0, 0, 0])'
    return f"{sys.executable} -c 'import fcntl, os; fcntl.ioctl({arguments})'"


@attrs.define(eq=False)
class LoopDisk:
    """`image` holds what is on it, `place` is where it is mounted: here, and for the engine if it shall see it."""

    image: Path
    place: Path
    engine: int | None = None
    _device: str = ""

    def make(self, size: int) -> LoopDisk:
        with self.image.open("wb") as file:
            file.truncate(size)
        run("mkfs.ext4", "-q", "-b", "4096", "-m", "0", str(self.image))
        return self

    def mount(self, options: str = "rw") -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        self._device = run("losetup", "--find", "--show", str(self.image)).strip()
        for where in self._spaces:
            run(*where, "mount", "-o", options, self._device, str(self.place))

    def unmount(self) -> None:
        if self.place.is_mount():
            for where in self._spaces:
                run(*where, "umount", str(self.place))
        if self._device:
            run("losetup", "--detach", self._device)
            self._device = ""

    @property
    def _spaces(self) -> list[list[str]]:
        """What goes before a command to run it here, and where the engine is."""
        return [[], *([["nsenter", f"--target={self.engine}", "--mount"]] if self.engine else [])]

    def spoil(self, path: Path, offset: int, size: int) -> None:
        """Let a part of a file be unreadable and nothing else, as on a disk that begins to die. Both in bytes.

        The part is moved behind all that is on the disk, which then ends there.
        """
        first, count = offset // _BLOCK, size // _BLOCK
        with path.open("r+b") as file, ExitStack() as donors:
            os.fsync(file.fileno())
            last = max(_place_of(file.fileno(), number) for number in range(path.stat().st_size // _BLOCK))
            place = 0
            while place < last:
                donor = donors.enter_context(tempfile.TemporaryFile(dir=self.place))
                donor.write(bytes(count * _BLOCK))
                donor.flush()
                os.fsync(donor.fileno())
                place = _place_of(donor.fileno(), 0)
            fcntl.ioctl(file, _MOVE_EXTENT, struct.pack("IIQQQQ", 0, donor.fileno(), first, 0, count, 0))
            os.fsync(file.fileno())
            assert _place_of(file.fileno(), first) == place
        self.unmount()
        run("cp", "--sparse=always", str(self.image), str(self._whole))
        # Nothing may be written to what is behind the end: the disk would grow.
        self.mount("ro")
        os.truncate(self.image, place * _BLOCK)

    @property
    def _whole(self) -> Path:
        return self.image.with_suffix(".whole")

    def heal(self) -> None:
        """Let all be readable again."""
        self.unmount()
        self._whole.replace(self.image)
        self.mount()

    @property
    def fill_command(self) -> str:
        """The shell command that leaves no room on it."""
        at = self.place
        most = f"fallocate -l $(($(stat -f -c %a {at}) * 4096 - 1048576)) {at}/filler || true"
        return f"{most}; dd if=/dev/zero of={at}/filler2 bs=4k 2>/dev/null || true"

    def come_back(self) -> None:
        """Be there again with what had reached it."""
        self.unmount()
        self.mount()

    def make_room(self) -> None:
        for name in ("filler", "filler2"):
            (self.place / name).unlink(missing_ok=True)


def _place_of(descriptor: int, number: int) -> int:
    """Return which block of the disk a block of a file is."""
    return int(struct.unpack("i", fcntl.ioctl(descriptor, _BLOCK_OF, struct.pack("i", number)))[0])
