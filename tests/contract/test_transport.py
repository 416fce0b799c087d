"""How answers travel: methods, headers, content types, the envelope and the texts without one."""

from __future__ import annotations

import aiohttp
import pytest
from household import Household

from daemon import Daemon, over_tcp

GATEWAY = "http://172.30.32.1"
JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/info",
        "/addons",
        "/addons/local_rich/info",
        "/store/repositories",
        "/addons/local_default/logs",
        "/addons/local_rich/changelog",
        "/openapi.json",
        "/addons/nobody/info",
    ],
)
async def test_what_answers_get_answers_head_without_a_body(daemon: Daemon, path: str) -> None:
    get, head = await daemon.ask("GET", path), await daemon.ask("HEAD", path)
    assert (head.status, head.text) == (get.status, "")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/info", {"GET", "HEAD"}),
        ("GET", "/store/reload", {"POST"}),
        ("PUT", "/docker/registries", {"GET", "HEAD", "POST"}),
        ("POST", "/docker/registries/x", {"DELETE"}),
        ("POST", "/jobs/" + "0" * 32, {"GET", "HEAD", "DELETE"}),
    ],
)
async def test_another_method_is_refused_with_those_that_there_are(
    daemon: Daemon, method: str, path: str, allowed: set[str]
) -> None:
    answer = await daemon.ask(method, path)
    assert (answer.status, answer.text) == (405, "405: Method Not Allowed")
    assert answer.headers["Content-Type"] == TEXT
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == allowed


async def test_plain_refusals_are_text_of_code_and_reason(household: Household) -> None:
    for token, path, text in (
        (None, "/info", "401: Unauthorized"),
        ("0" * 112, "/info", "403: Forbidden"),
        (household.tokens["default"], "/addons", "403: Forbidden"),
        (household.tokens["admin"], "/nowhere", "404: Not Found"),
        (household.tokens["admin"], "/info?x=../../x", "400: Bad Request"),
    ):
        answer = await over_tcp(token, path)
        assert (f"{answer.status}", answer.text) == (text[:3], text)
        assert answer.headers["Content-Type"] == TEXT


async def test_failures_of_handlers_come_in_the_envelope_with_a_message(daemon: Daemon) -> None:
    for method, path, status in (
        ("GET", "/addons/nobody/info", 404),
        ("POST", "/addons/nobody/start", 404),
        ("POST", "/addons/local_offered/start", 400),
        ("GET", "/addons/local_rich/stats", 400),
        ("POST", "/addons/local_rich/stdin", 400),
        ("GET", "/addons/local_rich/options/config", 403),
        ("GET", "/addons/self/info", 400),
        ("DELETE", "/docker/registries/nowhere", 404),
        ("DELETE", "/store/repositories/core", 400),
        ("POST", "/store/repositories/local/repair", 400),
        ("GET", f"/resolution/issue/{'0' * 32}/suggestions", 404),
        ("DELETE", f"/resolution/suggestion/{'0' * 32}", 404),
        ("POST", f"/resolution/suggestion/{'0' * 32}", 404),
        ("POST", "/resolution/check/nothing/run", 404),
        ("POST", "/resolution/check/nothing/options", 404),
    ):
        answer = await daemon.ask(method, path)
        assert answer.status == status, (method, path, answer.text)
        assert answer.headers["Content-Type"] == JSON
        assert answer.body["result"] == "error"
        assert answer.body["message"]
        assert set(answer.body) <= {"result", "message", "error_key", "extra_fields"}


async def test_success_always_has_data(daemon: Daemon) -> None:
    """Clients read `data` without looking whether it is there: null or an absent key would break them."""
    for method, path, body in (
        ("POST", "/jobs/reset", None),
        ("POST", "/addons/local_rich/options", {}),
        ("GET", "/store/addons/local_rich/availability", None),
        ("GET", "/supervisor/ping", None),
    ):
        answer = await daemon.ask(method, path, body)
        assert (answer.status, answer.body) == (200, {"result": "ok", "data": {}}), path
        assert answer.headers["Content-Type"] == JSON


async def test_an_error_of_the_catalogue_has_its_key_and_fields(daemon: Daemon) -> None:
    rich = {"app": "Rich", "slug": "local_rich"}
    for method, path, key, fields in (
        ("POST", "/store/addons/local_rich/install", "app_already_installed_error", rich),
        ("POST", "/store/addons/local_rich/update", "app_no_update_available_error", rich),
        ("GET", "/addons/local_rich/stats", "app_not_running_error", {"app": "local_rich"}),
        ("GET", f"/resolution/issue/{'0' * 32}/suggestions", "resolution_issue_not_found_error", {"uuid": "0" * 32}),
        ("POST", "/resolution/check/nothing/run", "resolution_check_not_found_error", {"check": "nothing"}),
        ("GET", "/store/addons/nobody", "store_app_not_found_error", {"app": "nobody"}),
    ):
        answer = await daemon.ask(method, path)
        assert answer.body["error_key"] == key, answer.text
        assert answer.body["extra_fields"] == fields


async def test_the_type_of_a_request_does_not_matter(household: Household) -> None:
    url = f"{GATEWAY}/addons/local_rich/options"
    async with aiohttp.ClientSession() as session:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
            headers = {"Authorization": f"Bearer {household.tokens['manager']}", "Content-Type": kind}
            async with session.post(url, headers=headers, data=b'{"watchdog": false}') as answer:
                assert answer.status == 200, kind


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "{}"},
        {"X-Supervisor-Token": "{}"},
        {"X-Hassio-Key": "{}"},
        {"X-Supervisor-Token": "{}", "Authorization": "Basic dTpw"},
    ],
)
async def test_a_token_may_come_in_any_of_its_headers(household: Household, headers: dict[str, str]) -> None:
    filled = {name: value.format(household.tokens["default"]) for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.get(f"{GATEWAY}/info", headers=filled) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic {}"},
        {"Authorization": "Bearer  {}"},
        {"Authorization": "Bearer {} x"},
        {"Authorization": "Bearer {},{}"},
        {"X-Supervisor-Token": "wrong", "Authorization": "Bearer {}"},
        {"Cookie": "token={}"},
    ],
)
async def test_a_token_anywhere_else_is_none(household: Household, headers: dict[str, str]) -> None:
    token = household.tokens["default"]
    filled = {name: value.replace("{}", token) for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.get(f"{GATEWAY}/info", headers=filled) as answer:
        assert answer.status in {401, 403}


async def test_logs_are_text_also_when_they_fail(daemon: Daemon) -> None:
    for path, status in (
        ("/addons/local_default/logs", 200),
        ("/supervisor/logs", 200),
        ("/addons/nobody/logs", 404),
    ):
        answer = await daemon.ask("GET", path)
        assert answer.status == status, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain"), path


async def test_pictures_that_are_not_there_fail_in_bytes(daemon: Daemon) -> None:
    for path, status in (("/addons/local_rich/icon", 400), ("/store/addons/nobody/logo", 404)):
        answer = await daemon.ask("GET", path)
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/octet-stream"


async def test_texts_that_are_not_there_are_sentences(daemon: Daemon) -> None:
    for path in ("/addons/local_rich/changelog", "/store/addons/nobody/documentation"):
        answer = await daemon.ask("GET", path)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == TEXT
        assert answer.text
