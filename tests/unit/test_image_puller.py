"""What Docker Hub's limit does: no registry on this machine is called Docker Hub (add-on contract §4.8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.drivers.http import HttpClient
from supervisor.drivers.registry_api import RegistryApi
from supervisor.errors import DOCKER_NO_SPACE, DOCKERHUB_RATE_LIMIT, NotFound, RateLimited, SupervisorError, Unavailable
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

    def __init__(self, error: SupervisorError, *, at_mirrors: SupervisorError | None = None) -> None:
        self.images = self
        self.error = error
        self.at_mirrors = at_mirrors or error
        self.pulls: list[str] = []

    async def pull(self, image: str, _tag: str, **_: Any) -> None:
        self.pulls.append(image)
        raise self.error if image == "a/b" else self.at_mirrors


async def pulled(tmp_path: Path, engine: RefusingEngine, mirrors: list[str] | None = None) -> Resolution:
    bus = EventBus()
    resolution = Resolution(bus)
    settings = DockerSettings(
        StateFile(tmp_path / "docker.json", DOCKER_SCHEMA, bus),
        Mirrors(StateFile(tmp_path / "mirrors.json", MIRRORS_SCHEMA, bus)),
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


async def test_what_the_registry_does_not_have_is_not_waited_for_at_mirrors(tmp_path: Path) -> None:
    engine = RefusingEngine(NotFound("no such image"), at_mirrors=Unavailable("away"))
    await pulled(tmp_path, engine, ["m.org"])
    assert engine.pulls == ["m.org/a/b", "a/b"]


async def test_a_mirror_may_make_up_for_a_limit_but_the_limit_is_what_is_told(tmp_path: Path) -> None:
    limit = DOCKERHUB_RATE_LIMIT(dockerhub_rate_limit_url="u")
    engine = RefusingEngine(limit, at_mirrors=Unavailable("away"))
    resolution = await pulled(tmp_path, engine, ["m.org"])
    assert engine.pulls == ["m.org/a/b", "a/b", "m.org/a/b", "m.org/a/b"]
    assert [issue.type for issue in resolution.issues] == ["docker_ratelimit"]


async def test_a_mirror_that_comes_back_without_the_image_does_not_hide_the_registrys_answer(tmp_path: Path) -> None:
    class Returning(RefusingEngine):
        async def pull(self, image: str, tag: str, **more: Any) -> None:
            self.at_mirrors = NotFound("not here") if self.pulls else Unavailable("away")
            await super().pull(image, tag, **more)

    engine = Returning(DOCKERHUB_RATE_LIMIT(dockerhub_rate_limit_url="u"))
    await pulled(tmp_path, engine, ["m.org"])
    assert engine.pulls == ["m.org/a/b", "a/b", "m.org/a/b"]


async def test_an_engine_that_is_away_is_told_at_once(tmp_path: Path) -> None:
    engine = RefusingEngine(Unavailable("the Docker engine is not available"))
    engine.available = False
    await pulled(tmp_path, engine)
    assert engine.pulls == ["a/b"]
