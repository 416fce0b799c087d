"""A real Docker engine, a real registry and a tiny image for the tests of this folder.

With `DOCKER_HOST` the tests use that engine, else they start one for the session.
Everything they make is removed at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest
from addon_stage import SLUG, STAYS, MakeImage
from engine_stage import (
    BASE_IMAGE,
    NETWORK,
    PrivateEngine,
    Registry,
    Things,
    answers,
    clear,
    client_of,
    root_filesystem,
    serve_registry,
)

from addon_house import House
from supervisor.drivers.docker.engine import Engine
from supervisor.events import EventBus


@contextlib.contextmanager
def private() -> Iterator[PrivateEngine]:
    """Have an engine of one's own, of which nothing is left."""
    own = PrivateEngine(Path(tempfile.mkdtemp(prefix="svtest-", dir="/var/tmp")))
    try:
        own.start()
        yield own
    finally:
        own.clear()


@pytest.fixture(scope="session")
def docker_url() -> Iterator[str]:
    """The engine all tests of the session use."""
    given = os.environ.get("DOCKER_HOST")
    if given is not None and answers(given):
        yield given
        return
    with private() as own:
        yield own.url


@pytest.fixture(scope="session")
def docker_client(docker_url: str) -> Iterator[docker.APIClient]:
    """The bare SDK, to arrange what the driver under test then meets, and to look at what it did."""
    client = client_of(docker_url)
    clear(client)
    yield client
    clear(client)
    client.close()


@pytest.fixture(scope="session")
def base_image(docker_client: docker.APIClient) -> str:
    """A tiny image with a shell, made without any registry."""
    repository, tag = BASE_IMAGE.split(":")
    docker_client.import_image_from_data(
        root_filesystem(), repository=repository, tag=tag, changes=['CMD ["sh"]', "ENV PATH=/bin"]
    )
    return BASE_IMAGE


@pytest.fixture(scope="session")
def registry(docker_client: docker.APIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serve_registry(tmp_path_factory.mktemp("registry"), docker_client, None) as served:
        yield served


@pytest.fixture(scope="session")
def auth_registry(docker_client: docker.APIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a login."""
    login = ("someone", secrets.token_urlsafe(12))
    with serve_registry(tmp_path_factory.mktemp("auth-registry"), docker_client, login) as served:
        yield served


@pytest.fixture(autouse=True)
def no_trace(nothing_left_behind: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Take away what a test made on the engine that all share, and see that all else is as it was."""
    if "docker_client" not in request.fixturenames:
        yield
        return
    client = request.getfixturevalue("docker_client")
    before = Things.of(client)
    yield
    before.restore(client)
    assert Things.of(client) == before, "the test changed what is for all"


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
async def engine(docker_url: str, docker_client: docker.APIClient, bus: EventBus) -> AsyncIterator[Engine]:
    """The driver, connected."""
    engine = Engine(docker_url, bus, network=NETWORK)
    try:
        await engine.start()
        assert engine.available
        yield engine
    finally:
        await engine.stop()


@pytest.fixture
async def network(engine: Engine) -> None:
    """The internal network of the tests is there."""
    await engine.network.ensure()


@pytest.fixture
def private_engine() -> Iterator[PrivateEngine]:
    """An engine that a test may kill."""
    with private() as own:
        yield own


@pytest.fixture
def make_image(docker_client: docker.APIClient, base_image: str) -> MakeImage:
    """Make the image of an add-on that runs a shell command."""

    def make(command: str = STAYS, *, slug: str = SLUG, changes: tuple[str, ...] = ()) -> None:
        container = docker_client.create_container(base_image, command="true")
        cmd = f"CMD {json.dumps(['sh', '-c', command])}"
        docker_client.commit(container, repository=f"local/{slug}", tag="1", changes=[cmd, *changes])
        docker_client.remove_container(container)

    return make


@pytest.fixture
def house(tmp_path: Path, engine: Engine, network: None, bus: EventBus) -> House:
    """A house on the engine."""
    house = House(tmp_path, bus=bus, engine=engine)
    house.paths.create()
    return house
