"""The daemon in a box: a Debian of its own with systemd as its first process, looked at from outside."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from box_daemon import AgentService, BoxDaemon, install, sources
from hostbox import build
from hostbox.box import Box
from hostbox.network import Net


@pytest.fixture(scope="session")
def disk() -> Iterator[Path]:
    """A folder on a disk of this machine for all that the boxes keep."""
    folder = Path(tempfile.mkdtemp(prefix="supervisor-box.", dir="/var/tmp"))
    yield folder
    build.remove(folder)


@pytest.fixture(scope="session")
def net(disk: Path) -> Iterator[Net]:
    net = Net(0, disk)
    net.up()
    yield net
    net.down()


@pytest.fixture(scope="session")
def overlay(disk: Path) -> Path:
    """What an installation of the daemon puts on the host, with the sources it runs from."""
    return install(disk / "files")


@pytest.fixture(scope="session")
def box(disk: Path, net: Net, overlay: Path) -> Iterator[Box]:
    """The box of all tests; who changes it puts it back. The daemon in it has been started."""
    box = Box(disk / "box", "box", [net], sources(), overlay)
    box.up()
    box.run("systemd-sysusers")
    box.run("systemctl", "start", "supervisor")
    yield box
    box.down()


@pytest.fixture
def os_agent(box: Box) -> Iterator[AgentService]:
    """The stand-in for the OS agent as a service of the box, stopped until the test starts it."""
    agent = AgentService(box)
    yield agent
    agent.stop()
    agent.forget()


@pytest_asyncio.fixture
async def host(box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon in the box."""
    daemon = BoxDaemon(Path("/nowhere"), box=box)
    await daemon.ready()
    yield daemon
    await daemon.close_session()
