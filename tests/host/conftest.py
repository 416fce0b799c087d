"""The daemon in a box: a Debian of its own with systemd as its first process, looked at from outside."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from box_traces import Traces
from data_disks import issues

from box_daemon import HAOS_RELEASE, AgentService, BoxDaemon, agent_of, booted, daemon_of, install
from hostbox import build
from hostbox.box import Box
from hostbox.network import Net


@pytest.fixture(scope="session")
def disk() -> Iterator[Path]:
    """A folder on a disk of this machine for all that the boxes keep."""
    folder = Path(tempfile.mkdtemp(prefix="supervisor-box.", dir="/var/tmp"))
    try:
        yield folder
    finally:
        build.remove(folder)


@pytest.fixture(scope="session")
def net(disk: Path) -> Iterator[Net]:
    net = Net(0, disk)
    try:
        net.up()
        yield net
    finally:
        net.down()


@pytest.fixture(scope="session")
def overlay(disk: Path) -> Path:
    """What an installation of the daemon puts on the host, with the sources it runs from."""
    return install(disk / "files")


@pytest.fixture(scope="session")
def box(disk: Path, net: Net, overlay: Path) -> Iterator[Box]:
    """The box of all tests; who changes it puts it back. The daemon in it has been started."""
    with booted("box", disk, net, overlay) as box:
        box.run("systemctl", "start", "supervisor")
        yield box


@pytest.fixture(scope="session")
def haos(disk: Path, net: Net, overlay: Path) -> Iterator[Box]:
    """A box of its own that says it is the Home Assistant Operating System, for what is only done on that."""
    with booted("haos-disks", disk, net, overlay) as box:
        box.run("rm", "-f", "/etc/os-release")
        box.run("sh", "-c", "cat >/etc/os-release", stdin=HAOS_RELEASE)
        box.run("systemctl", "try-restart", "systemd-hostnamed")
        box.run("systemctl", "enable", "--now", "supervisor")
        yield box


@pytest.fixture(scope="session")
def seen() -> Traces:
    return Traces()


@pytest.fixture(autouse=True)
def no_trace(request: pytest.FixtureRequest, seen: Traces) -> Iterator[None]:
    """Fail a test that leaves traces in a box that others share with it."""
    shared = [request.getfixturevalue(name) for name in ("box", "haos") if name in request.fixturenames]
    for box in shared:
        seen.begin(box)
    yield
    left = "\n".join(filter(None, (seen.end(box) for box in shared)))
    assert not left, f"the test leaves traces:\n{left}"


@pytest.fixture
def os_agent(box: Box) -> Iterator[AgentService]:
    """The stand-in for the OS agent as a service of the box, stopped until the test starts it."""
    with agent_of(box) as agent:
        yield agent


@pytest.fixture
def haos_agent(haos: Box) -> Iterator[AgentService]:
    """The stand-in for the OS agent on that system, stopped until the test starts it."""
    with agent_of(haos) as agent:
        yield agent


@pytest_asyncio.fixture
async def host(box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon in the box."""
    async with daemon_of(box) as daemon:
        yield daemon


@pytest_asyncio.fixture
async def haos_host(haos: Box) -> AsyncIterator[BoxDaemon]:
    async with daemon_of(haos) as daemon:
        yield daemon
        await daemon.ready()
        for issue in await issues(daemon, "reboot_required"):
            await daemon.ask("DELETE", f"/resolution/issue/{issue['uuid']}")
