"""An engine that a test may stop, kill and hang, in a network and with mounts of its own.

What the tests start here are no children of theirs: the engine comes and goes in the middle of a test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from daemon import ROOT, clear

# The network is new, so /sys must be as well: it shows the network that it was mounted in.
HOLDER = """
set -e
ip link set lo up
groups=$(mktemp -d)
mount --rbind /sys/fs/cgroup "$groups"
mount -t sysfs sysfs /sys
mount --rbind "$groups" /sys/fs/cgroup
umount -R -l "$groups"
rmdir "$groups"
echo ready
exec sleep infinity
"""


class TroubleEngine:
    """`inside` goes before a command that shall run in the engine's network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/docker.sock"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", HOLDER], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    @property
    def inside(self) -> list[str]:
        return ["nsenter", f"--target={self._holder.pid}", "--net", "--mount"]

    @property
    def pid(self) -> int:
        return int((self.folder / "docker.pid").read_text())

    def start(self) -> None:
        arguments = [
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/docker.pid",
            f"--host={self.url}",
        ]
        with (self.folder / "dockerd.log").open("ab") as log:
            subprocess.run(
                ["setsid", "--fork", *self.inside, "dockerd", *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "dockerd.log").read_text()[-2000:]
            time.sleep(0.05)

    def answers(self) -> bool:
        question = ["curl", "-sf", "--max-time", "10", "--unix-socket", f"{self.folder}/docker.sock", "http://x/_ping"]
        return subprocess.run(question, check=False, capture_output=True).returncode == 0

    def send(self, number: signal.Signals) -> None:
        """Send the engine a signal; one that does not run misses nothing."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the engine a signal and wait for its end."""
        with contextlib.suppress(FileNotFoundError):
            pid = self.pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + 60
            while lives(pid):
                assert time.monotonic() < deadline, "dockerd does not end"
                time.sleep(0.05)
        (self.folder / "docker.pid").unlink(missing_ok=True)
        # containerd dies with its parent; where nobody reaps it, the next dockerd would take the dead one for running.
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def mend(self) -> None:
        """Have it run with nothing of an add-on on it, whatever was done to it."""
        self.send(signal.SIGCONT)
        if not self.answers():
            self.stop()
            self.start()
        client = docker.APIClient(base_url=self.url)
        clear(client)
        client.close()

    def make_base_image(self) -> None:
        environment = {**os.environ, "DOCKER_HOST": self.url}
        subprocess.run([ROOT / "script" / "base-image"], check=True, env=environment, capture_output=True)

    def clear(self) -> None:
        """End everything; the namespaces take network and mounts with them."""
        self.send(signal.SIGCONT)
        if self.answers():
            client = docker.APIClient(base_url=self.url)
            for container in client.containers(all=True):
                client.remove_container(container["Id"], force=True)
            client.close()
        self.stop()
        self._end_shims()
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        shutil.rmtree(self.folder)

    def _end_shims(self) -> None:
        """End what a killed engine left running: the guardians of its containers name our folder."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes()
                if words.startswith(b"/usr/bin/containerd-shim") and f"{self.folder}/".encode() in words:
                    children = (process / "task" / process.name / "children").read_text().split()
                    for pid in (process.name, *children):
                        os.kill(int(pid), signal.SIGKILL)


def lives(pid: int) -> bool:
    """Whether the process runs; one that is dead and not reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@contextlib.contextmanager
def running() -> Iterator[TroubleEngine]:
    """Have one with the base image for a while; nothing of it is left afterwards."""
    if os.geteuid() != 0:
        pytest.fail("these tests need root: they start an engine")
    one = TroubleEngine(Path(tempfile.mkdtemp(prefix="supervisor-engine.", dir="/var/tmp")))
    try:
        one.start()
        one.make_base_image()
        yield one
    finally:
        one.clear()
