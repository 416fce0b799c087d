"""A systemd-journald of a test's own: its sockets and files lie in a folder, seen as /run by itself alone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

JOURNALD = Path("/lib/systemd/systemd-journald")
CONFIGURATION = """\
[Journal]
Storage=volatile
ReadKMsg=no
Audit=no
RateLimitIntervalSec=0
ForwardToSyslog=no
"""
IN_ITS_PLACE = """\
mount --bind "$1/run" /run
mount --bind "$1/journald.conf" /etc/systemd/journald.conf
exec "$2"
"""

needs_journald = pytest.mark.skipif(
    not (JOURNALD.exists() and Path("/etc/systemd/journald.conf").exists() and os.geteuid() == 0),
    reason="systemd-journald can't be run here",
)


@attrs.define
class Journald:
    root: Path
    process: subprocess.Popen[bytes]

    @property
    def folder(self) -> Path:
        return self.root / "run" / "log" / "journal"

    def write(self, identifier: str, *messages: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.connect(str(self.root / "run/systemd/journal/socket"))
            for message in messages:
                door.send(f"MESSAGE={message}\nSYSLOG_IDENTIFIER={identifier}\nPRIORITY=6\n".encode())

    def rotate(self) -> None:
        before = len(self.files)
        self.process.send_signal(signal.SIGUSR2)
        _wait(lambda: len(self.files) > before)

    @property
    def files(self) -> list[Path]:
        return list(self.folder.rglob("*.journal"))


@contextlib.contextmanager
def journald(root: Path) -> Iterator[Journald]:
    for name in ("run/systemd/journal", "run/log/journal"):
        (root / name).mkdir(parents=True)
    (root / "journald.conf").write_text(CONFIGURATION)
    space = ["unshare", "--mount", "--propagation", "private", "bash", "-ec", IN_ITS_PLACE, "bash", root, JOURNALD]
    process = subprocess.Popen(space, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = Journald(root, process)
        _wait(lambda: found.files and (root / "run/systemd/journal/socket").exists())
        yield found
    finally:
        process.terminate()
        process.wait(60)


def _wait(check: object) -> None:
    deadline = time.monotonic() + 60
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
