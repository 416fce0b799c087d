"""One running daemon for all tests of this folder, with an add-on of every role."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import docker
import pytest

from daemon import DOCKER_URL, Daemon, clear, token_of

ROLES = {
    "plain": "",
    "default": "hassio_api: true",
    "homeassistant": "hassio_api: true\nhassio_role: homeassistant",
    "backup": "hassio_api: true\nhassio_role: backup",
    "manager": "hassio_api: true\nhassio_role: manager",
    "admin": "hassio_api: true\nhassio_role: admin",
}
RICH = """\
url: https://example.org/
webui: http://[HOST]:[PORT:80]/
ports: {"80/tcp": 18080, "81/udp": null}
ports_description: {"80/tcp": The page}
ingress: true
uart: true
audio: false
services: ["mqtt:want"]
discovery: [mqtt]
options: {word: a, secret: b, list: [1]}
schema: {word: str, secret: password, list: [int], "pick": "list(a|b)?", nested: [{x: "bool?"}]}
map: [share:rw, {type: ssl}]
privileged: [NET_ADMIN]
"""


@attrs.frozen
class Household:
    """`tokens` by role; everything here lives as long as the session."""

    daemon: Daemon
    tokens: dict[str, str]


@pytest.fixture(scope="session")
def household() -> Iterator[Household]:
    client = docker.APIClient(base_url=DOCKER_URL)
    clear(client)
    folder = Path(tempfile.mkdtemp(prefix="svcontract-", dir="/var/tmp"))
    loop = asyncio.new_event_loop()
    daemon = Daemon(folder)
    try:
        loop.run_until_complete(_furnish(daemon))
        yield Household(daemon, {role: token_of(client, f"local_{role}") for role in ROLES})
    finally:
        loop.run_until_complete(daemon.end())
        loop.close()
        clear(client)
        client.close()
        shutil.rmtree(folder)


async def _furnish(daemon: Daemon) -> None:
    for role, more in ROLES.items():
        daemon.add_on(role, more=f"stdin: true\n{more}")
    daemon.add_on("rich", more=RICH)
    daemon.add_on("offered", more=RICH)
    await daemon.start()
    for role in ROLES:
        await daemon.install(f"local_{role}", start=True)
    await daemon.install("local_rich")
    await daemon.close_session()


@pytest.fixture
async def daemon(household: Household) -> Daemon:
    """The daemon, to be asked from this test's own event loop."""
    household.daemon.forget_session()
    return household.daemon


@pytest.fixture(autouse=True)
async def close_sessions(household: Household) -> object:
    yield
    await household.daemon.close_session()
