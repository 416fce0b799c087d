"""One running daemon for all tests of this folder, with an add-on of every role."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from household import ROLES, Household, furnish

from daemon import DOCKER_URL, Daemon, clear, require_own_engine, token_of


@pytest.fixture(scope="session")
def household() -> Iterator[Household]:
    require_own_engine()
    client = docker.APIClient(base_url=DOCKER_URL)
    clear(client)
    folder = Path(tempfile.mkdtemp(prefix="svcontract-", dir="/var/tmp"))
    loop = asyncio.new_event_loop()
    daemon = Daemon(folder)
    try:
        loop.run_until_complete(furnish(daemon))
        yield Household(daemon, {role: token_of(client, f"local_{role}") for role in ROLES})
    finally:
        loop.run_until_complete(daemon.end())
        loop.close()
        clear(client)
        client.close()
        shutil.rmtree(folder)


@pytest.fixture
async def daemon(household: Household) -> Daemon:
    """The daemon, to be asked from this test's own event loop."""
    household.daemon.forget_session()
    return household.daemon


@pytest.fixture(autouse=True)
async def close_sessions(household: Household) -> object:
    yield
    await household.daemon.close_session()
