"""The calls of the kernel that Python has no words for."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE, SHARED = 1 << 5, 1 << 12, 1 << 14, 1 << 18, 1 << 20
STRICT = NO_SUID | NO_DEVICES | NO_EXEC

# time, mount, cgroup, UTS, IPC, process and network
ALL_NAMESPACES = 0x80 | 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP = 1, 24
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_DETACH = 2


def _checked(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(
    source: str | Path | None, target: Path | str, kind: str | None = None, flags: int = 0, options: str | None = None
) -> None:
    raw = [None if part is None else os.fsencode(part) for part in (source, target, kind, options)]
    _checked(_libc.mount(raw[0], raw[1], raw[2], ctypes.c_ulong(flags), raw[3]), f"mount on {target}")


def bind(source: str | Path, target: Path, *, read_only: bool = False) -> None:
    mount(source, target, None, BIND | RECURSIVE)
    if read_only:
        mount(None, target, None, BIND | REMOUNT | READ_ONLY)


def unmount(target: Path | str) -> None:
    _checked(_libc.umount2(os.fsencode(target), _DETACH), f"unmount {target}")


def pivot(root: Path) -> None:
    """Make `root` the root of this mount namespace, and forget the old one."""
    os.chdir(root)
    _checked(_libc.syscall(_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def leave_everything() -> None:
    """Enter new namespaces of every kind; the next child process is the first one in them."""
    _checked(_libc.unshare(ALL_NAMESPACES), "unshare")


def die_with_parent(number: int) -> None:
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def drop_capability(number: int) -> None:
    """Give up a capability for this process and for all that come of it."""
    _checked(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl")


def set_host_name(name: str) -> None:
    raw = name.encode()
    _checked(_libc.sethostname(raw, len(raw)), "sethostname")
