"""A PulseAudio of a test's own, with devices that nobody hears."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

needs_pulse = pytest.mark.skipif(
    not (shutil.which("pulseaudio") and shutil.which("pactl")), reason="PulseAudio is not installed"
)
MODULES = (
    "module-null-sink sink_name=speaker sink_properties=device.description=Speaker",
    "module-null-sink sink_name=hdmi sink_properties=device.description=HDMI",
    "module-null-source source_name=microphone description=Microphone",
)


@attrs.define
class Pulse:
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "pulse.sock"

    @property
    def environment(self) -> dict[str, str]:
        own = {"HOME": str(self.folder), "PULSE_RUNTIME_PATH": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        return {**os.environ, **own}

    def start(self) -> None:
        loads = [f"--load={module}" for module in MODULES]
        door = f"--load=module-native-protocol-unix auth-anonymous=1 socket={self.socket}"
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm"]
        self.process = subprocess.Popen(
            [*command, *loads, door], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait(lambda: self._try("info").returncode == 0)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None
        self.socket.unlink(missing_ok=True)

    def _try(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ["pactl", "-s", f"unix:{self.socket}", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, timeout=60, check=False)

    def pactl(self, *arguments: str) -> str:
        """Ask or tell the server from outside."""
        done = self._try(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def listed(self, what: str) -> list[dict[str, Any]]:
        return list(json.loads(self.pactl("-f", "json", "list", what)))

    def named(self, what: str, name: str) -> dict[str, Any]:
        return next(one for one in self.listed(what) if one["name"] == name)

    @contextlib.contextmanager
    def application(self, tool: str, device: str) -> Iterator[None]:
        """Have a program play silence (`pacat`) or record it (`parec`)."""
        what = "sink-inputs" if tool == "pacat" else "source-outputs"
        command = [tool, "--server", f"unix:{self.socket}", "--device", device, "--client-name", f"a {tool}"]
        before = len(self.listed(what))
        with Path("/dev/zero").open("rb") as silence:
            process = subprocess.Popen(
                command, env=self.environment, stdin=silence, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        try:
            wait(lambda: len(self.listed(what)) > before)
            yield
        finally:
            process.terminate()
            process.wait(60)


def wait(check: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def pulse_server(folder: Path) -> Iterator[Pulse]:
    folder.mkdir(exist_ok=True)
    server = Pulse(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
