"""A file system that can stop answering: what a network mount is like whose server has died, for kernels without NFS.

    frozen_filesystem.py WHAT WHERE FLAG

mounts an empty folder on WHERE through the kernel's FUSE protocol, and goes on in the background. While the file FLAG
exists nothing is answered, and whoever looks at the mount waits in the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

HEADER = struct.Struct("=IIQQIIII")
ANSWER = struct.Struct("=IiQ")
LOOKUP, FORGET, GETATTR, STATFS, INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS = 1, 2, 3, 17, 26, 27, 28, 29, 34
BATCH_FORGET, INTERRUPT = 42, 36
SILENT = {FORGET, BATCH_FORGET, INTERRUPT}


def _init(request: bytes) -> bytes:
    major, minor, ahead, _flags = struct.unpack_from("=IIII", request)
    return struct.pack("=IIIIHHIIHHI28x", major, min(minor, 31), ahead, 0, 16, 12, 65536, 1, 0, 0, 0)


def _attributes(_request: bytes) -> bytes:
    now = int(time.time())
    attributes = struct.pack("=QQQQQQIIIIIIIIII", 1, 0, 0, now, now, now, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
    return struct.pack("=QII", 0, 0, 0) + attributes


def _space(_request: bytes) -> bytes:
    return struct.pack("=QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 100, 50, 4096, 255, 4096, 0)


WORK: dict[int, Callable[[bytes], bytes]] = {
    INIT: _init,
    GETATTR: _attributes,
    STATFS: _space,
    OPENDIR: lambda _request: struct.pack("=QII", 1, 0, 0),
    READDIR: lambda _request: b"",
    RELEASEDIR: lambda _request: b"",
    ACCESS: lambda _request: b"",
}


def mount(what: str, where: str) -> int:
    """Return the file that the kernel's requests come through."""
    channel = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={channel},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(what.encode(), where.encode(), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    return channel


def serve(channel: int, flag: Path) -> None:
    while True:
        try:
            request = os.read(channel, 1 << 20)
        except OSError as err:
            if err.errno == errno.ENODEV:
                return  # it was unmounted
            if err.errno in (errno.EINTR, errno.ENOENT):
                continue
            raise
        _, operation, number, *_ = HEADER.unpack_from(request)
        if operation in SILENT:
            continue
        while flag.exists():
            time.sleep(0.05)
        work = WORK.get(operation)
        failure = errno.ENOENT if operation == LOOKUP else errno.ENOSYS
        content = work(request[HEADER.size :]) if work else b""
        answer = ANSWER.pack(ANSWER.size + len(content), 0 if work else -failure, number) + content
        try:
            os.write(channel, answer)
        except OSError as err:
            if err.errno != errno.ENOENT:  # who asked has given up
                raise


def main(what: str, where: str, flag: str) -> None:
    channel = mount(what, where)
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    serve(channel, Path(flag))


if __name__ == "__main__":
    main(*sys.argv[1:])
