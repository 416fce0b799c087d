"""What add-ons provide to each other and announce to Home Assistant, as they do it: over TCP, with their tokens."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import attrs
import docker
import pytest

from daemon import DOCKER_URL, Answer, Daemon, token_of, until

BROKER = {"host": "core-mosquitto", "port": 1883, "username": "u", "password": "p"}


@attrs.frozen
class Guest:
    """An installed add-on with its token."""

    slug: str
    token: str

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, f"http://172.30.32.1{path}", json=body) as answer,
        ):
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, await answer.json() if is_json else None, text, answer.headers)


@pytest.fixture
async def guests(daemon: Daemon) -> AsyncIterator[dict[str, Guest]]:
    """Two providers, one that wants, one that has nothing to do with any service."""
    more = {
        "broker": "services: ['mqtt:provide']\ndiscovery: [mqtt, other]",
        "rival": "services: ['mqtt:provide']\ndiscovery: [mqtt]",
        "client": "services: ['mqtt:want']",
        "stranger": "",
    }
    client = docker.APIClient(base_url=DOCKER_URL)
    try:
        for slug, keys in more.items():
            daemon.add_on(slug, more=keys)
        await daemon.post("/store/reload")
        for slug in more:
            await daemon.install(f"local_{slug}", start=True)
        yield {slug: Guest(f"local_{slug}", token_of(client, f"local_{slug}")) for slug in more}
    finally:
        client.close()
        for slug in more:
            await daemon.ask("POST", f"/addons/local_{slug}/uninstall")
            shutil.rmtree(daemon.data / "addons" / "local" / slug, ignore_errors=True)
        await daemon.post("/store/reload")


async def test_a_service_is_provided_found_and_withdrawn(daemon: Daemon, guests: dict[str, Guest]) -> None:
    broker, client = guests["broker"], guests["client"]
    listed = {service["slug"]: service for service in (await client.ask("GET", "/services")).data["services"]}
    assert set(listed) == {"mqtt", "mysql"}
    assert listed["mqtt"] == {"slug": "mqtt", "available": False, "providers": ["local_broker", "local_rival"]}
    assert (await client.ask("GET", "/services/mqtt")).status == 400

    assert (await broker.ask("POST", "/services/mqtt", BROKER)).body == {"result": "ok", "data": {}}
    found = (await client.ask("GET", "/services/mqtt")).data
    assert found == {**BROKER, "ssl": False, "protocol": "3.1.1", "addon": "local_broker"}
    again = await broker.ask("POST", "/services/mqtt", BROKER)
    assert (again.status, again.body["error_key"]) == (409, "service_already_provided_error")
    assert again.body["extra_fields"] == {"service": "mqtt", "app": "local_broker"}

    assert (await broker.ask("DELETE", "/services/mqtt")).status == 200
    gone = await broker.ask("DELETE", "/services/mqtt")
    assert (gone.status, gone.body["error_key"]) == (404, "service_not_provided_error")


async def test_services_are_guarded(daemon: Daemon, guests: dict[str, Guest]) -> None:
    await guests["broker"].ask("POST", "/services/mqtt", BROKER)
    for who, method, path, body, status in (
        ("client", "POST", "/services/mqtt", BROKER, 403),
        ("client", "DELETE", "/services/mqtt", None, 403),
        ("rival", "DELETE", "/services/mqtt", None, 403),
        ("stranger", "GET", "/services/mqtt", None, 403),
        ("client", "GET", "/services/nosuch", None, 404),
        ("broker", "POST", "/services/mqtt", {"host": "x"}, 400),
        ("broker", "POST", "/services/mqtt", {**BROKER, "more": 1}, 400),
        ("broker", "POST", "/services/mqtt", {**BROKER, "port": 70000}, 400),
    ):
        answer = await guests[who].ask(method, path, body)
        assert (answer.status, answer.body["result"]) == (status, "error"), (who, method, path, answer.text)
        assert "p" not in answer.body["message"].split(), "no password in an error"
    for method in ("GET", "POST", "DELETE"):
        assert (await daemon.ask(method, "/services/mqtt", {})).status == 403, "an administrator is no add-on"
    assert (await guests["client"].ask("GET", "/services/mqtt")).data["host"] == "core-mosquitto"


async def test_what_an_add_on_provided_goes_with_it(daemon: Daemon, guests: dict[str, Guest]) -> None:
    await guests["broker"].ask("POST", "/services/mqtt", BROKER)
    await guests["broker"].ask("POST", "/discovery", {"service": "mqtt", "config": {"host": "x"}})
    await daemon.post("/addons/local_broker/uninstall")
    services = (await guests["client"].ask("GET", "/services")).data["services"]
    mqtt = next(service for service in services if service["slug"] == "mqtt")
    assert mqtt == {"slug": "mqtt", "available": False, "providers": ["local_rival"]}
    # Nobody is shown it any more; the file follows a moment later.
    await until(lambda: "local_broker" not in (daemon.data / "discovery.json").read_text(), 30)


async def test_announcing_the_same_again_keeps_its_name(guests: dict[str, Guest]) -> None:
    broker = guests["broker"]
    first = (await broker.ask("POST", "/discovery", {"service": "mqtt", "config": {"host": "a"}})).data["uuid"]
    assert len(first) == 32
    for config in ({"host": "a"}, {"host": "b"}):
        assert (await broker.ask("POST", "/discovery", {"service": "mqtt", "config": config})).data["uuid"] == first
    other = (await broker.ask("POST", "/discovery", {"service": "other", "config": {}})).data["uuid"]
    assert other != first


async def test_announcements_are_guarded(daemon: Daemon, guests: dict[str, Guest]) -> None:
    uuid = (await guests["broker"].ask("POST", "/discovery", {"service": "mqtt", "config": {}})).data["uuid"]
    for who, method, path, body, status in (
        ("client", "POST", "/discovery", {"service": "mqtt", "config": {}}, 403),
        ("rival", "DELETE", f"/discovery/{uuid}", None, 403),
        ("broker", "DELETE", f"/discovery/{'0' * 32}", None, 404),
        ("broker", "POST", "/discovery", {"service": "mqtt"}, 400),
        ("broker", "POST", "/discovery", {"service": "mqtt", "config": []}, 400),
    ):
        answer = await guests[who].ask(method, path, body)
        assert (answer.status, answer.body["result"]) == (status, "error"), (who, method, path, answer.text)
    assert (await guests["broker"].ask("GET", f"/discovery/{uuid}")).status == 401, "only Core reads them"
    assert (await daemon.ask("GET", "/discovery")).status == 401
    assert (await guests["broker"].ask("DELETE", f"/discovery/{uuid}")).status == 200
