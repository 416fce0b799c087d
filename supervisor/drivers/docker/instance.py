"""Telling one run of the engine from the next."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")


def engine_run(url: str) -> str | None:
    """Return a text that changes when the engine is restarted; None when that can't be told. Blocking.

    The kernel tells which process listens at the engine's socket; under socket activation that is systemd, and over
    TCP nobody, so no answer is possible there.
    """
    if not url.startswith("unix://"):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2.0)
            probe.connect(url.removeprefix("unix://"))
            pid = _CREDENTIALS.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        if pid <= 1:
            return _by_name()
        return _stamp(pid)
    except OSError:
        return None


def _stamp(pid: int) -> str:
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return f"{pid}-{fields[19]}"


def _by_name() -> str | None:
    """Find the engine's process by its pid file, for a socket that systemd holds."""
    try:
        pid = int(Path("/run/docker.pid").read_text())
        os.kill(pid, 0)
        return _stamp(pid)
    except (OSError, ValueError):
        return None
