"""The daemon as a service of a box, and the means to look at what it did from outside."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs

from daemon import BASE, DOCKER_URL, ROOT, Daemon, until
from hostbox.box import Box
from hostbox.network import Net

STATE = Path("run/supervisor/state")
HAOS_RELEASE = """\
NAME="Home Assistant OS"
PRETTY_NAME="Home Assistant OS 16.2"
ID=haos
CPE_NAME="cpe:2.3:o:home-assistant:haos:16.2:*:production:*:*:*:green:*"
"""
DROP_IN = """\
[Unit]
# Tests start it more often than anybody else.
StartLimitIntervalSec=0

[Service]
ExecStart=
ExecStart={python} -m supervisor run --data /mnt/data/supervisor --log-format journal --no-builtin-remotes
WorkingDirectory={root}
Environment=PYTHONDONTWRITEBYTECODE=1
# The sources may lie in somebody's home or in /tmp.
ProtectHome=no
BindReadOnlyPaths={root}
"""


@attrs.define(eq=False)
class BoxDaemon(Daemon):
    """The daemon as a service of the box; `box` is what to look at for what it did."""

    box: Box = attrs.field(kw_only=True)

    @property
    def data(self) -> Path:
        return self.box.folder / "data/supervisor"

    @property
    def socket(self) -> Path:
        return self.box.root / "run/supervisor/supervisor.sock"

    @property
    def log(self) -> str:
        return self.box.run("journalctl", "-u", "supervisor", "-n", "200", "-o", "cat", "--no-pager")

    def state(self) -> str:
        try:
            return (self.box.root / STATE).read_text()
        except (OSError, AssertionError):
            # It may go down at this very moment.
            return ""

    async def start(self, *, state: str = "running") -> BoxDaemon:
        await self.box.ask("systemctl", "start", "supervisor")
        return self

    async def ready(self) -> None:
        """Wait until the daemon runs, after a boot of the box, for example."""
        await self.close_session()
        await until(lambda: self.state() == "running", 120, lambda: self.log)

    async def restart(self) -> None:
        await self.close_session()
        await self.box.ask("systemctl", "restart", "supervisor")


@attrs.define(eq=False)
class AgentService:
    """The stand-in for the OS agent in a box: see tests/stands/os_agent.py for what it knows and writes down."""

    box: Box

    @property
    def _state(self) -> Path:
        # On a disk: what was asked of it right before a reboot is looked at after that.
        return self.box.root / "mnt/data/os-agent.json"

    def start(self, **known: Any) -> None:
        """Start it anew, knowing all that it knew before and what is given now."""
        self.stop()
        before = self.known() if self._state.exists() else {}
        self._state.write_text(json.dumps({**before, **known}))
        stand = ROOT / "tests/stands/os_agent.py"
        command = (sys.executable, "-B", str(stand), "unix:path=/run/dbus/system_bus_socket", "/mnt/data/os-agent.json")
        self.box.run("systemd-run", "--quiet", "--unit=os-agent", *command)

    def stop(self) -> None:
        self.box.attempt("systemctl", "stop", "os-agent")
        self.box.attempt("systemctl", "reset-failed", "os-agent")

    def forget(self) -> None:
        self._state.unlink(missing_ok=True)

    def known(self) -> dict[str, Any]:
        return dict(json.loads(self._state.read_text()))

    @property
    def calls(self) -> list[list[Any]]:
        """What was asked of it, in order: [method, arguments...]."""
        return list(self.known().get("calls", []))


@contextmanager
def booted(name: str, disk: Path, net: Net, overlay: Path) -> Iterator[Box]:
    """Boot a box with the daemon installed, not started; it is removed afterwards."""
    with Box(disk / name, name, [net], sources(), overlay).powered() as box:
        box.run("systemd-sysusers")
        yield box


@contextmanager
def agent_of(box: Box) -> Iterator[AgentService]:
    agent = AgentService(box)
    try:
        yield agent
    finally:
        agent.stop()
        agent.forget()


@asynccontextmanager
async def daemon_of(box: Box) -> AsyncIterator[BoxDaemon]:
    """Wait for the daemon in a box, which may have been switched off, and give it."""
    daemon = BoxDaemon(Path("/nowhere"), box=box)
    if not box.running:
        await asyncio.to_thread(box.up)
    try:
        await daemon.ready()
        yield daemon
    finally:
        await daemon.close_session()


def install(tree: Path) -> Path:
    """Fill `tree` with what an installation of the daemon puts on a host."""
    shutil.copytree(ROOT / "rootfs", tree)
    unit = tree / "etc/systemd/system/supervisor.service.d"
    unit.mkdir(parents=True)
    (unit / "box.conf").write_text(DROP_IN.format(python=sys.executable, root=ROOT))
    return tree


def sources() -> list[tuple[Path, Path, bool]]:
    """What of this machine the daemon in a box runs from: the sources, the virtualenv in them, and its Python."""
    folders = [ROOT] if Path(sys.base_prefix) == Path("/usr") else [ROOT, Path(sys.base_prefix)]
    return [(folder, folder, True) for folder in folders]


def bring_base_image(box: Box) -> None:
    """Give the engine in the box the image that add-ons of tests are built on."""
    archive = box.folder / "data/base.tar"
    subprocess.run(["docker", "-H", DOCKER_URL, "save", "-o", archive, BASE], check=True, capture_output=True)
    box.run("docker", "load", "-i", "/mnt/data/base.tar")
    archive.unlink()
