from __future__ import annotations

import enum
import json
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio
import voluptuous as vol
from awesomeversion import AwesomeVersion
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from supervisor.api.docs import with_documentation
from supervisor.api.openapi import describe_body, document
from supervisor.api.route import LOG_TEXT, MARKDOWN, PNG, Access, Call, RawBody, Route, StreamedBody
from supervisor.events import AddonState, CoreState
from supervisor.model import validators
from toy_api import Toy, serving


@attrs.frozen
class Port:
    number: int
    description: str | None = None


@attrs.frozen
class Thing:
    slug: str
    state: AddonState
    version: AwesomeVersion | None
    folder: Path
    address: IPv4Address
    when: datetime
    ports: Mapping[str, Port]
    options: dict[str, Any]
    tags: tuple[str, ...] = ()


THING = Thing(
    "x",
    AddonState.STARTED,
    AwesomeVersion("1.2"),
    Path("/data"),
    IPv4Address("172.30.32.2"),
    datetime(2026, 1, 1, tzinfo=UTC),
    {"80/tcp": Port(80)},
    {"a": [1, None]},
)


class Boot(enum.StrEnum):
    AUTO = "auto"
    MANUAL = "manual"


OPTIONS = vol.Schema(
    {
        vol.Required("name"): validators.text,
        vol.Optional("boot"): validators.one_of(Boot),
        vol.Optional("auto_update", default=False): validators.lenient_bool,
        vol.Optional("network"): vol.Any(None, validators.network_ports),
        vol.Optional("options"): vol.Maybe(dict),
        vol.Optional("locations"): validators.unique_list(str),
        vol.Optional("version"): validators.version,
        vol.Optional("timeout"): vol.All(validators.strict_int, vol.Range(min=1)),
    }
)


async def one(_call: Call) -> Thing:
    return THING


async def many(_call: Call) -> list[Thing]:
    return [THING]


async def named(_call: Call) -> dict[str, list[Thing]]:
    return {"things": [THING]}


async def nothing(_call: Call) -> None:
    return None


ROUTES = (
    Route("GET", "/things/{thing}/info", Access.ALL, one, "One", returns=Thing),
    Route("GET", "/things", Access.MANAGER, many, "Many", returns=list[Thing]),
    Route("GET", "/named", Access.ANY, named, "Named", returns=dict[str, list[Thing]]),
    Route("POST", "/addons/{addon}/options", Access.MANAGER, nothing, "Options", OPTIONS, own=True),
    Route("POST", "/addons/{addon}/stdin", Access.MANAGER, nothing, "Raw", RawBody(), own=True),
    Route("POST", "/upload", Access.BACKUP, nothing, "Stream", StreamedBody("multipart/form-data")),
    Route("GET", "/logs", Access.MANAGER, nothing, "Logs", returns=LOG_TEXT, query={"lines": "How many lines"}),
    Route("GET", "/things/{thing}/icon", Access.OPEN, nothing, "Icon", returns=PNG),
    Route("GET", "/things/{thing}/changelog", Access.MANAGER, nothing, "Changelog", returns=MARKDOWN),
    Route("GET", "/core/api/{path...}", Access.OPEN, nothing, "Proxy"),
    Route("GET", "/core/{thing}", Access.CORE_HANDLER, nothing, "Core's own", description="At length."),
)


@pytest_asyncio.fixture
async def toy(tmp_path: Path) -> AsyncIterator[Toy]:
    async with serving(with_documentation(ROUTES), tmp_path) as running:
        yield running


def test_the_document_is_valid_openapi() -> None:
    validate(document(with_documentation(ROUTES)))
    validate(document(()))


async def test_the_served_document_describes_every_route_and_needs_no_token(toy: Toy) -> None:
    for state in (CoreState.RUNNING, CoreState.SETUP):
        toy.state = state
        reply = await toy.ask("GET", "/openapi.json", caller=None)
        assert reply.status == 200
        validate(reply.json)
        declared = {(route.method.lower(), route.path.replace("...", "")) for route in with_documentation(ROUTES)}
        assert {(method, path) for path, item in reply.json["paths"].items() for method in item} == declared


def operation(method: str, path: str) -> Any:
    return document(ROUTES)["paths"][path][method]


def test_who_may_call_is_part_of_the_document() -> None:
    options = operation("post", "/addons/{addon}/options")
    assert (options["x-access"], options["x-own"]) == ("manager", True)
    assert options["security"]
    icon = operation("get", "/things/{thing}/icon")
    assert (icon["x-access"], icon["x-own"], icon["security"]) == ("open", False, [])


def test_names_in_paths_and_queries_become_parameters() -> None:
    assert [item["name"] for item in operation("get", "/core/api/{path}")["parameters"]] == ["path"]
    assert [item["name"] for item in operation("get", "/logs")["parameters"]] == ["lines"]


@pytest.mark.parametrize("path", ["/things/x/info", "/things", "/named"])
async def test_answers_are_what_the_document_says(toy: Toy, path: str) -> None:
    spec = document(ROUTES)
    item = spec["paths"][path.replace("/x/", "/{thing}/")]["get"]
    schema = item["responses"]["200"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator({**schema, "components": spec["components"]})
    answer = (await toy.ask("GET", path)).json
    validator.validate(answer)
    answer["data"] = json.loads(json.dumps(answer["data"]).replace('"started"', '"unheard of"'))
    assert not validator.is_valid(answer)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "x", "boot": "auto", "auto_update": "on", "network": {"80/tcp": None, "81": "8081"}},
        {"name": "x", "network": None, "options": None, "version": None},
        {"name": "x", "options": {"deep": [{}]}, "locations": ["a", "b"], "version": 1.5, "timeout": 1},
    ],
)
def test_a_body_that_is_taken_fits_the_document(body: Any) -> None:
    OPTIONS(body)
    Draft202012Validator(describe_body(OPTIONS)).validate(body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": 1},
        {"name": None},
        {"name": "x", "boot": "never"},
        {"name": "x", "auto_update": "maybe"},
        {"name": "x", "network": {"80/tcp": 70_000}},
        {"name": "x", "locations": ["a", "a"]},
        {"name": "x", "timeout": 0},
        {"name": "x", "timeout": "1"},
        {"name": "x", "unknown": 1},
    ],
)
def test_a_body_that_is_refused_does_not_fit_the_document(body: Any) -> None:
    with pytest.raises(vol.Invalid):
        OPTIONS(body)
    assert not Draft202012Validator(describe_body(OPTIONS)).is_valid(body)


def test_every_validator_of_ours_is_described() -> None:
    for name in ("text", "strict_bool", "strict_int", "lenient_int", "lenient_float", "version", "port", "url"):
        schema = describe_body({"x": getattr(validators, name)})
        assert not Draft202012Validator(schema).is_valid({"x": [{}]}), name
    assert describe_body(vol.Schema({"a": int}, extra=vol.REMOVE_EXTRA)).get("additionalProperties") is not False


async def test_the_page_needs_nothing_from_elsewhere(toy: Toy) -> None:
    page = await toy.ask("GET", "/docs", caller=None)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert (await toy.ask("GET", "/docs/", caller=None)).body == page.body
    links = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(links) == 4
    for link in links:
        assert link.startswith("/docs/")
        reply = await toy.ask("GET", link, caller=None)
        assert reply.status == 200
        assert reply.body
        assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_no_other_file_of_the_page_is_served(toy: Toy) -> None:
    for name in ("index.html", "swagger-ui.js", "..", "swagger-ui.css/", "oauth2-redirect.html"):
        assert (await toy.ask("GET", f"/docs/{name}", caller=None)).status in (400, 401)
