"""The daemon as a user starts it, on a real engine. Every test gets a data folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from daemon import DOCKER_URL, Daemon, clear, require_own_engine


@pytest.fixture(scope="session", autouse=True)
def own_engine() -> None:
    require_own_engine()


@pytest.fixture(scope="session")
def docker_client(own_engine: None) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=DOCKER_URL)
    clear(client)
    yield client
    clear(client)
    client.close()


@pytest.fixture
async def daemon(tmp_path: Path, docker_client: docker.APIClient) -> AsyncIterator[Daemon]:
    """A daemon that is not started yet."""
    one = Daemon(tmp_path)
    try:
        yield one
        await one.kill()
    finally:
        clear(docker_client)


@pytest.fixture
async def running(daemon: Daemon) -> Daemon:
    return await daemon.start()
