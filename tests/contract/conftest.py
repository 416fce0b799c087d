"""One running daemon for all tests of this folder, with an add-on of every role."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest
from household import ROLES, Household, furnish
from shared_state import put_back, settings, things

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


@pytest.fixture(autouse=True)
async def no_trace(household: Household) -> AsyncIterator[None]:
    """Put back what a test sets on the daemon that all share; fail it when it leaves anything else."""
    daemon = household.daemon
    # From now on it is asked from this test's own event loop.
    daemon.forget_session()
    set_before, before = await settings(daemon), await things(daemon)
    yield
    await put_back(daemon, set_before)
    deadline = time.monotonic() + 15
    while (now := await things(daemon)) != before and time.monotonic() < deadline:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.1)
    await daemon.close_session()
    changed = {key: (value, now[key]) for key, value in before.items() if now[key] != value}
    assert not changed, f"the test leaves traces, before and after: {changed}"


@pytest.fixture
async def daemon(household: Household) -> Daemon:
    return household.daemon
