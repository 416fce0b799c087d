"""The daemon under measurement, and how a figure is taken and shown."""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

GATEWAY = "172.30.32.1"
BARE_PORT = 8765
NO_ENGINE = "unix:///nowhere/docker.sock"


@attrs.frozen
class Row:
    what: str
    value: str
    wanted: str = ""
    good: bool | None = None


def show(rows: Sequence[Row]) -> int:
    """Print the table; return the exit status, 1 when a figure is not what is asked."""
    width = max(len(row.what) for row in rows)
    verdicts = {True: "PASS", False: "FAIL", None: ""}
    for row in rows:
        print(f"{row.what:<{width}}  {row.value:>28}  {row.wanted:>10}  {verdicts[row.good]}".rstrip())
    return 0 if all(row.good is not False for row in rows) else 1


class Daemon:
    """The daemon under measurement. `launcher` may replace its module by something that runs it.

    `space` is what the Python is started through.
    """

    def __init__(self, folder: Path, space: list[str] | None = None) -> None:
        self.folder = folder
        self.space = space or []
        self.launcher = ["-m", "supervisor"]
        self.socket = folder / "run" / "s.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; return the seconds from exec to state running."""
        state = self.socket.parent / "state"
        state.unlink(missing_ok=True)
        began = time.perf_counter()
        command = [sys.executable, *self.launcher, "run", "--data", str(self.folder / "data")]
        command += [
            "--socket",
            str(self.socket),
            "--docker",
            os.environ.get("DOCKER_HOST", NO_ENGINE),
            "--no-builtin-remotes",
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*self.space, *command], stdout=log, stderr=log)
        while True:
            with suppress(FileNotFoundError):
                if state.read_text() == "running":
                    return time.perf_counter() - began
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.005)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    @property
    def resident(self) -> float:
        """Resident memory in MB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000  # type: ignore[index]

    @property
    def peak(self) -> float:
        """The most memory that it ever had, in MB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000  # type: ignore[index]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return dict(json.loads(self.read(method, path, body)))

    def read(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Return the body of a good answer as it came."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(head.encode() + content)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        status, _, result = answer.partition(b"\r\n\r\n")
        assert b" 200 " in status.split(b"\r\n")[0] + b" ", answer[:300]
        return result


def in_turn(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float, float]:
    """Measure both alternately; return the median ratio of the pairs and the two medians."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    ratio = statistics.median(mine / other for mine, other in pairs)
    return ratio, statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


@contextmanager
def bare(folder: Path, body: bytes, address: str = "127.0.0.1") -> Iterator[Path]:
    """Serve `body` by the bare handler, over TCP at `address` and over the Unix socket that is given back."""
    folder.mkdir(exist_ok=True)
    (folder / "body").write_bytes(body)
    path = folder / "bare.sock"
    command = [sys.executable, str(Path(__file__).parent / "bare.py"), str(folder / "body"), address, str(BARE_PORT)]
    process = subprocess.Popen([*command, str(path)])
    try:
        while not path.exists():
            assert process.poll() is None, "the bare handler did not start"
            time.sleep(0.05)
        yield path
    finally:
        process.terminate()
        process.wait(10)
        path.unlink(missing_ok=True)
