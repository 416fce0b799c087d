"""What Docker Hub's limit does: no registry on this machine is called Docker Hub (add-on contract §4.8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.drivers.http import HttpClient
from supervisor.drivers.registry_api import RegistryApi
from supervisor.errors import DOCKER_NO_SPACE, DOCKERHUB_RATE_LIMIT, RateLimited, SupervisorError, Unavailable
from supervisor.events import EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.docker import DOCKER_SCHEMA, DockerSettings
from supervisor.managers.image_puller import ImagePuller
from supervisor.managers.mirrors import MIRRORS_SCHEMA, Mirrors
from supervisor.managers.resolution import Resolution
from supervisor.state import StateFile


class RefusingEngine:
    """An engine whose every pull ends with `error`."""

    available = True

    def __init__(self, error: SupervisorError) -> None:
        self.images = self
        self.error = error
        self.pulls: list[str] = []

    async def pull(self, image: str, _tag: str, **_: Any) -> None:
        self.pulls.append(image)
        raise self.error


async def pulled(tmp_path: Path, engine: RefusingEngine, mirrors: list[str] | None = None) -> Resolution:
    bus = EventBus()
    resolution = Resolution(bus)
    settings = DockerSettings(
        StateFile(tmp_path / "docker.json", DOCKER_SCHEMA, bus),
        Mirrors(StateFile(tmp_path / "mirrors.json", MIRRORS_SCHEMA, bus)),
        engine,  # type: ignore[arg-type] - not asked
        resolution,
    )
    if mirrors:
        await settings.mirrors.set({"docker.io": mirrors})
    # A client that is not started answers nothing: the sizes stay unknown, which fails no pull.
    api = RegistryApi(HttpClient(user_agent="test"))
    puller = ImagePuller(engine, api, settings, resolution, pauses=(0.0, 0.0))  # type: ignore[arg-type] - pulls alone
    jobs = JobManager(bus, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, bus))
    with pytest.raises(type(engine.error)):
        async with jobs.run("a_pull") as job:
            await puller.pull("a/b", "1", arch="amd64", job=job)
    return resolution


async def test_docker_hubs_limit_is_an_issue_that_suggests_a_login(tmp_path: Path) -> None:
    engine = RefusingEngine(DOCKERHUB_RATE_LIMIT(dockerhub_rate_limit_url="u"))
    assert isinstance(engine.error, RateLimited)
    resolution = await pulled(tmp_path, engine)
    [issue] = resolution.issues
    assert issue.type == "docker_ratelimit"
    assert [found.type for found in resolution.suggestions_for(issue)] == ["registry_login"]
    assert engine.pulls == ["a/b"]


async def test_a_full_disk_ends_it_at_once_even_with_mirrors_left(tmp_path: Path) -> None:
    engine = RefusingEngine(DOCKER_NO_SPACE())
    await pulled(tmp_path, engine, ["m.org", "n.org"])
    assert engine.pulls == ["m.org/a/b"]


async def test_every_round_asks_the_mirrors_first(tmp_path: Path) -> None:
    engine = RefusingEngine(Unavailable("away"))
    await pulled(tmp_path, engine, ["m.org"])
    assert engine.pulls == ["m.org/a/b", "a/b"] * 3


async def test_an_engine_that_is_away_is_told_at_once(tmp_path: Path) -> None:
    engine = RefusingEngine(Unavailable("the Docker engine is not available"))
    engine.available = False
    await pulled(tmp_path, engine)
    assert engine.pulls == ["a/b"]
