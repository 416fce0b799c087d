"""Runs the command as people do: in this process, as a process of its own, and on a terminal."""

from __future__ import annotations

import io
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from cli_daemon import FakeDaemon
from supervisor.cli.app import main

CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("SUPERVISOR", "NO_COLOR", "COLUMNS"))}


@attrs.frozen
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    folder = Path(tempfile.mkdtemp(prefix="cli-"))  # a socket's path must stay short
    fake = FakeDaemon()
    fake.start(folder)
    yield fake
    fake.stop()
    shutil.rmtree(folder)


class Input(io.TextIOWrapper):
    def __init__(self, content: bytes, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def command(
    daemon: FakeDaemon, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run the command against the fake daemon, in this process."""
    for name in list(os.environ):
        if name.startswith("SUPERVISOR") or name == "NO_COLOR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("SUPERVISOR_SOCKET", str(daemon.socket))

    def run(*arguments: str, stdin: bytes = b"", terminal: bool = False) -> Result:
        monkeypatch.setattr(sys, "stdin", Input(stdin, terminal=terminal))
        code = main(lambda _: 0, arguments)
        captured = capfd.readouterr()
        return Result(int(code), captured.out, captured.err)

    return run


def process(
    daemon: FakeDaemon, *arguments: str, env: dict[str, str] | None = None, stdout: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor", *arguments],
        env={**CLEAN, "SUPERVISOR_SOCKET": str(daemon.socket), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE if stdout == subprocess.PIPE else stdout,
    )


def on_terminal(
    daemon: FakeDaemon,
    *arguments: str,
    env: dict[str, str] | None = None,
    interrupt_after: bytes | None = None,
    columns: int = 100,
) -> tuple[int, str]:
    """Run the command on a terminal of its own; return its exit code and all that it wrote there."""
    outer, inner = pty.openpty()
    started = process(
        daemon, *arguments, env={"TERM": "xterm-256color", "COLUMNS": str(columns), **(env or {})}, stdout=inner
    )
    os.close(inner)
    written, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([outer], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(outer, 65536)
        except OSError:
            break
        if not piece:
            break
        written += piece
        if interrupt_after is not None and interrupt_after in written:
            started.send_signal(signal.SIGINT)
            interrupt_after = None
    os.close(outer)
    return started.wait(60), written.decode()
