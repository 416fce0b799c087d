"""Add-ons that say how to ask them are asked, and restarted when they stay silent (add-on contract §1.6, §3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from addon_house import House
from supervisor.drivers.http import HttpClient
from supervisor.events import AddonState
from supervisor.managers.addons import Addon
from supervisor.managers.addons.health import ApplicationWatchdog
from supervisor.managers.addons.options import AddonOptions
from supervisor.managers.addons.secrets import SecretsFile
from web_stand import serving

pytestmark = pytest.mark.usefixtures("no_blocking_calls")


class Page:
    """A page on loopback that answers what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.location: str | None = None
        self.asked: list[str] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        headers = {"Location": self.location} if self.location and request.path != "/well" else {}
        return web.Response(status=302 if headers else self.status, headers=headers)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    page = Page()
    async with serving(page.handle) as url:
        page.port = URL(url).port or 0
        yield page


class Stage:
    def __init__(self, house: House, dog: ApplicationWatchdog, http: HttpClient) -> None:
        self.house = house
        self.dog = dog
        self.http = http

    async def run(self, watchdog: str, *, slug: str = "local_lamp", user: Any = None, **keys: Any) -> Addon:
        addon = await self.house.install(slug, user={"watchdog": True, **(user or {})}, watchdog=watchdog, **keys)
        await self.house.runner.start(addon)
        addon.ip_address = IPv4Address("127.0.0.1")
        return addon

    @property
    def starts(self) -> int:
        return len(self.house.engine.specs)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    house = House(tmp_path)
    http = HttpClient(user_agent="test")
    await http.start()
    options = AddonOptions(SecretsFile(tmp_path / "secrets.yaml"), house.host)
    yield Stage(house, ApplicationWatchdog(house.jobs, house.registry, house.runner, options, http), http)
    await http.stop()


async def test_who_answers_is_left_alone(stage: Stage, page: Page) -> None:
    await stage.run(f"http://[HOST]:[PORT:{page.port}]/health")
    for _ in range(3):
        await stage.dog.check()
    assert (stage.starts, page.asked) == (1, ["/health"] * 3)


@pytest.mark.parametrize("status", [300, 404, 500])
async def test_the_second_miss_in_a_row_restarts(stage: Stage, page: Page, status: int) -> None:
    addon = await stage.run(f"http://[HOST]:[PORT:{page.port}]/")
    page.status = status
    await stage.dog.check()
    assert stage.starts == 1, "one miss is only remembered"
    await stage.dog.check()
    assert stage.starts == 2
    assert addon.state is AddonState.STARTED


async def test_an_answer_in_between_forgives_a_miss(stage: Stage, page: Page) -> None:
    await stage.run(f"http://[HOST]:[PORT:{page.port}]/")
    for status in (500, 200, 500, 200):
        page.status = status
        await stage.dog.check()
    assert stage.starts == 1


async def test_a_tcp_port_is_knocked_at(stage: Stage, page: Page) -> None:
    await stage.run(f"tcp://[HOST]:{page.port}")
    await stage.dog.check()
    await stage.dog.check()
    assert (stage.starts, page.asked) == (1, [])
    await stage.run("tcp://[HOST]:1", slug="local_deaf")
    await stage.dog.check()
    await stage.dog.check()
    assert stage.starts == 3, "the deaf one was started and restarted"


async def test_redirections_on_the_host_are_followed_and_others_are_a_good_answer(stage: Stage, page: Page) -> None:
    await stage.run(f"http://[HOST]:[PORT:{page.port}]/")
    for location, status, starts in (("/well", 200, 1), ("http://elsewhere.example/", 500, 1), ("/well", 500, 2)):
        page.location, page.status = location, status
        await stage.dog.check()
        await stage.dog.check()
        assert stage.starts == starts, location
    page.location = "/round"
    addon = stage.house.registry.installed["local_lamp"]
    addon.ip_address = IPv4Address("127.0.0.1")
    await stage.dog.check()
    await stage.dog.check()
    assert stage.starts == 3, "a ring of redirections is no answer"


@pytest.mark.parametrize(
    ("user", "template"),
    [
        ({"watchdog": False}, "tcp://[HOST]:1"),
        ({}, "http://[HOST]:1@elsewhere.example/"),
    ],
    ids=["switched off", "a login in disguise"],
)
async def test_who_is_not_asked(stage: Stage, user: dict[str, Any], template: str) -> None:
    await stage.run(template, user=user)
    for _ in range(3):
        await stage.dog.check()
    assert stage.starts == 1


async def test_who_was_stopped_meanwhile_stays_down(stage: Stage) -> None:
    addon = await stage.run("tcp://[HOST]:1")
    await stage.dog.check()
    await stage.house.runner.stop(addon)
    await stage.dog.check()
    assert (stage.starts, addon.state) == (1, AddonState.STOPPED)


async def test_a_busy_add_on_is_skipped(stage: Stage) -> None:
    addon = await stage.run("tcp://[HOST]:1")
    await stage.dog.check()
    async with stage.house.jobs.run("app_update", lock=addon.lock):
        await stage.dog.check()
        await stage.dog.check()
    assert stage.starts == 1


async def test_a_restart_that_fails_keeps_no_other_from_being_asked(stage: Stage, page: Page) -> None:
    await stage.run("tcp://[HOST]:1", slug="local_a")
    await stage.run(f"http://[HOST]:[PORT:{page.port}]/", slug="local_b")
    stage.house.engine.refuse = [ZeroDivisionError("strange")]
    await stage.dog.check()
    await stage.dog.check()
    assert page.asked == ["/", "/"]
    assert stage.house.registry.installed["local_b"].state is AddonState.STARTED
