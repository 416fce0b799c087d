from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio
import voluptuous as vol
from aiohttp import web

from supervisor.api import server
from supervisor.api.route import LOG_TEXT, Access, Call, Raw, RawBody, Route, StreamedBody
from supervisor.const import MAX_BODY_BYTES
from supervisor.errors import ADDON_NOT_RUNNING, Failed, Internal, NotFound, Unavailable
from supervisor.events import CoreState
from toy_api import Reply, Toy, read_reply, serving, token_of


@attrs.frozen
class Thing:
    name: str
    when: str | None = None


async def ping(_call: Call) -> None:
    return None


async def thing(call: Call) -> Thing:
    return Thing(call.path["name"], call.query.get("when"))


async def echo(call: Call) -> Any:
    return {"body": call.body}


async def raw(call: Call) -> Any:
    return {"bytes": len(call.body)}


async def streamed(call: Call) -> Any:
    return {"bytes": len(await call.request.read())}


async def chunks(call: Call) -> int:
    return sum([len(chunk) async for chunk in call.request.content.iter_any()])


async def fail(call: Call) -> None:
    match call.path["how"]:
        case "known":
            raise ADDON_NOT_RUNNING(app="x")
        case "missing":
            raise NotFound("No such thing")
        case "internal":
            raise Internal("Broken") from OSError("the cause")
        case "elsewhere":
            raise Failed("smbd did not start: see journalctl -u smbd") from OSError("the cause")
        case "away":
            raise Unavailable("The engine is away")
        case _:
            raise KeyError("a secret of the house")


async def half(call: Call) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(call.request)
    await response.write(b"first half")
    raise Unavailable("the second half is missing")


async def log_lines(call: Call) -> web.StreamResponse:
    if "broken" in call.query:
        raise Unavailable("The journal is away")
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(call.request)
    await response.write(b"line\n")
    return response


SCHEMA = vol.Schema({vol.Required("name"): str, vol.Optional("force", default=False): bool, "password": str})

ROUTES = (
    Route("GET", "/supervisor/ping", Access.OPEN, ping, "Ping"),
    Route("GET", "/things/{name}", Access.ANY, thing, "A thing", returns=Thing),
    Route("POST", "/echo", Access.ANY, echo, "Echo", SCHEMA),
    Route("GET", "/echo", Access.ANY, echo, "Echo without a body", SCHEMA),
    Route("POST", "/plain", Access.ANY, echo, "A schema as a dictionary", {"a": int}),
    Route("POST", "/nothing", Access.ANY, ping, "Reads nothing"),
    Route("POST", "/raw", Access.ANY, raw, "Raw", RawBody()),
    Route("POST", "/streamed", Access.ANY, streamed, "Streamed", StreamedBody()),
    Route("POST", "/chunks", Access.ANY, chunks, "Streamed in chunks", StreamedBody()),
    Route("POST", "/fail/{how}", Access.ANY, fail, "Fail"),
    Route("GET", "/half", Access.ANY, half, "Half", returns=Raw("text/plain")),
    Route("GET", "/logs", Access.ANY, log_lines, "Logs", returns=LOG_TEXT),
    Route("GET", "/always", Access.OPEN, ping, "Answered in every state", ready=False),
)


@pytest_asyncio.fixture
async def toy(tmp_path: Path) -> AsyncIterator[Toy]:
    async with serving(ROUTES, tmp_path) as running:
        yield running


def is_error(reply: Reply, status: int) -> bool:
    return reply.status == status and reply.json["result"] == "error" and bool(reply.json["message"])


@pytest.mark.parametrize("unix", [False, True])
async def test_an_answer_comes_in_the_envelope(toy: Toy, unix: bool) -> None:
    reply = await toy.ask("GET", "/things/lamp?when=now", unix=unix)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.json == {"result": "ok", "data": {"name": "lamp", "when": "now"}}


async def test_no_data_is_an_empty_object(toy: Toy) -> None:
    assert (await toy.ask("GET", "/supervisor/ping", caller=None)).json == {"result": "ok", "data": {}}


async def test_head_is_answered_like_get_without_the_body(toy: Toy) -> None:
    get, head = await toy.ask("GET", "/things/lamp"), await toy.ask("HEAD", "/things/lamp")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert (await toy.ask("HEAD", "/echo", body={"unknown": 1})).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("Authorization", "")], 401),
        ([("X-Supervisor-Token", ""), ("X-Hassio-Key", "")], 401),
        ([("Authorization", "Bearer {token}")], 200),
        ([("authorization", "bearer {token}")], 200),
        ([("Authorization", "{token}")], 200),
        ([("X-Supervisor-Token", "{token}")], 200),
        ([("X-Hassio-Key", "{token}")], 200),
        ([("X-Supervisor-Token", ""), ("X-Hassio-Key", "{token}")], 200),
        ([("X-Supervisor-Token", "{token}"), ("Authorization", "Basic dXNlcjpwYXNz")], 200),
        ([("X-Supervisor-Token", "wrong"), ("Authorization", "Bearer {token}")], 403),
        ([("Authorization", "Bearer")], 403),
        ([("Authorization", "Bearer  {token}")], 403),
        ([("Authorization", "Bearer {token} x")], 403),
        ([("Authorization", "Bearer\t{token}")], 403),
        ([("Authorization", "Bearer x {token}")], 403),
        ([("Authorization", "Basic {token}")], 403),
        ([("Authorization", "Token {token}")], 403),
        ([("Authorization", "BearerX {token}")], 403),
        ([("Authorization", "Bearer {token}0")], 403),
        ([("Authorization", "Bearer {token}"), ("Authorization", "Bearer {token}")], 403),
        ([("X-Supervisor-Token", "{token}"), ("X-Supervisor-Token", "")], 403),
        ([("X-Supervisor-Token", "{token}"), ("x-supervisor-token", "{token}")], 403),
        ([("Authorization", "Bearer " + "0" * 20_000)], 403),
        ([("Authorization", "Bearer \udcff")], 403),
        ([("Cookie", "token={token}")], 401),
    ],
)
async def test_only_the_exact_grammar_of_a_token_is_taken(
    toy: Toy, headers: list[tuple[str, str]], status: int
) -> None:
    filled = [(name, value.replace("{token}", token_of("core"))) for name, value in headers]
    assert (await toy.ask("GET", "/things/lamp", caller=None, headers=filled)).status == status


async def test_a_token_in_the_query_is_worth_nothing(toy: Toy) -> None:
    assert (await toy.ask("GET", f"/things/lamp?token={token_of('core')}", caller=None)).status == 401


@pytest.mark.parametrize(
    "target", ["/addons//x", "/a/../things/lamp", "/things/lamp%2fx", "/things/%252e", "//x", "/x?a=<script>"]
)
@pytest.mark.parametrize("state", [CoreState.SETUP, CoreState.RUNNING])
async def test_a_hostile_target_is_refused_before_everything_else(toy: Toy, target: str, state: CoreState) -> None:
    toy.state = state
    for unix in (False, True):
        reply = await toy.ask("GET", target, caller=None, unix=unix)
        assert (reply.status, reply.body) == (400, b"400: Bad Request")


@pytest.mark.parametrize("state", list(CoreState))
async def test_a_daemon_that_is_not_ready_names_its_state(toy: Toy, state: CoreState) -> None:
    toy.state = state
    ready = state in ("startup", "running", "freeze")
    for path, status in (("/supervisor/ping", 200), ("/things/lamp", 401), ("/nowhere", 401)):
        reply = await toy.ask("GET", path, caller=None)
        assert reply.status == status if ready else is_error(reply, 400)
        assert ready or state.value in reply.json["message"]
    assert (await toy.ask("GET", "/always", caller=None)).status == 200


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who never sends the rest of a body is not waited for as long as a real client would be."""
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.1)


async def test_a_body_goes_through_its_schema(toy: Toy) -> None:
    assert (await toy.ask("POST", "/echo", body={"name": "x"})).json["data"] == {"body": {"name": "x", "force": False}}
    assert (await toy.ask("POST", "/plain", body={"a": 1})).json["data"] == {"body": {"a": 1}}
    assert (await toy.ask("POST", "/plain")).json["data"] == {"body": {}}
    with_type = await toy.ask("POST", "/plain", body={"a": 1}, headers=[("Content-Type", "text/html")])
    assert with_type.json["data"] == {"body": {"a": 1}}


async def test_what_is_wrong_with_a_body_is_told_line_by_line(toy: Toy) -> None:
    reply = await toy.ask("POST", "/echo", body={"x": 1, "force": "no", "password": ["hunter2"]})
    assert is_error(reply, 400)
    assert reply.json["message"].splitlines() == [
        "expected bool for dictionary value @ data['force']. Got 'no'",
        "expected str for dictionary value @ data['password']. Got '***'",
        "extra keys not allowed @ data['x']. Got 1",
        "required key not provided @ data['name']. Got None",
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b'{"a":"\\ud800"}',
        b"\xff",
        b'{"a":1e400}',
    ],
)
async def test_a_body_that_is_no_plain_object_is_refused(toy: Toy, body: bytes) -> None:
    assert is_error(await toy.ask("POST", "/plain", body=body), 400)


async def test_get_ignores_a_body(toy: Toy) -> None:
    for body in (b"{}", b"{", b"[1, 2"):
        assert (await toy.ask("GET", "/things/lamp", body=body)).status == 200
        assert (await toy.ask("GET", "/echo", body=body)).json["data"] == {"body": None}


async def test_a_route_without_schema_does_not_look_at_the_body(toy: Toy) -> None:
    assert (await toy.ask("POST", "/nothing", body=b"{")).status == 200


async def test_raw_bytes_reach_the_handler_as_they_are(toy: Toy) -> None:
    assert (await toy.ask("POST", "/raw", body=b"\x00\xff{")).json["data"] == {"bytes": 3}
    assert (await toy.ask("POST", "/raw")).json["data"] == {"bytes": 0}


async def test_a_body_over_the_cap_is_refused_by_its_announced_length(short_linger: None, toy: Toy) -> None:
    head = [("Content-Length", str(MAX_BODY_BYTES + 1))]
    for path in ("/raw", "/plain"):
        reply = await toy.ask("POST", path, headers=head)
        assert (reply.status, reply.body) == (413, b"413: Request Entity Too Large")


async def test_a_body_over_the_cap_is_refused_when_it_comes_in_chunks_or_compressed(toy: Toy) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    head = f"POST /raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Supervisor-Token: {token_of('core')}\r\n".encode()
    reply = await toy.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17 + b"0\r\n\r\n")
    assert reply.status == 413
    bomb = gzip.compress(b"\0" * (MAX_BODY_BYTES + 1))
    assert (await toy.ask("POST", "/raw", body=bomb, headers=[("Content-Encoding", "gzip")])).status == 413


async def test_the_largest_body_is_taken_and_a_streamed_one_may_be_larger(toy: Toy) -> None:
    assert (await toy.ask("POST", "/raw", body=b"x" * MAX_BODY_BYTES)).json["data"] == {"bytes": MAX_BODY_BYTES}
    assert (await toy.ask("POST", "/chunks", body=b"x" * (MAX_BODY_BYTES + 1))).json["data"] == MAX_BODY_BYTES + 1


async def test_a_handler_that_buffers_a_streamed_body_is_held_to_the_cap(toy: Toy) -> None:
    assert (await toy.ask("POST", "/streamed", body=b"x" * 2_000_000)).json["data"] == {"bytes": 2_000_000}
    assert (await toy.ask("POST", "/streamed", body=b"x" * (MAX_BODY_BYTES + 1))).status == 413


async def test_a_body_that_does_not_unpack_is_a_clients_mistake(toy: Toy) -> None:
    assert is_error(await toy.ask("POST", "/plain", body=b"no gzip", headers=[("Content-Encoding", "gzip")]), 400)
    head = (
        f"POST /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Supervisor-Token: {token_of('core')}\r\n".encode()
    )
    reply = await toy.send(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
    assert reply.status == 400


async def test_a_client_that_asks_first_is_told_to_go_on(toy: Toy) -> None:
    for path in ("/raw", "/streamed"):
        reader, writer = await toy.connect()
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Supervisor-Token: {token_of('core')}\r\n"
            "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        async with asyncio.timeout(30):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await read_reply(reader)).json["data"] == {"bytes": 2}
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_never_sends_its_body_is_given_up(short_linger: None, tmp_path: Path) -> None:
    async with serving(ROUTES, tmp_path, body_seconds=0.2) as toy:
        reply = await toy.ask("POST", "/plain", headers=[("Content-Length", "10")])
        assert (reply.status, reply.body) == (408, b"408: Request Timeout")


async def test_known_failures_are_told_and_unknown_ones_are_not(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    assert (await toy.ask("POST", "/fail/known")).json == {
        "result": "error",
        "message": "Add-on x is not running",
        "error_key": "app_not_running_error",
        "extra_fields": {"app": "x"},
    }
    assert is_error(await toy.ask("POST", "/fail/missing"), 404)
    assert is_error(await toy.ask("POST", "/fail/away"), 400)
    caplog.clear()
    assert is_error(await toy.ask("POST", "/fail/internal"), 500)
    assert "the cause" in caplog.text
    caplog.clear()
    assert is_error(await toy.ask("POST", "/fail/elsewhere"), 500)
    assert "smbd did not start" in caplog.text
    assert "Traceback" not in caplog.text
    caplog.clear()
    reply = await toy.ask("POST", "/fail/unknown")
    assert (reply.status, reply.body) == (500, b"500: Internal Server Error")
    assert "a secret of the house" in caplog.text


async def test_log_routes_tell_their_errors_as_text(toy: Toy) -> None:
    assert (await toy.ask("GET", "/logs")).body == b"line\n"
    reply = await toy.ask("GET", "/logs?broken=1")
    assert (reply.status, reply.body) == (400, b"The journal is away")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


async def test_an_answer_that_breaks_in_its_middle_ends_with_the_connection(toy: Toy) -> None:
    reader, writer = await toy.connect()
    writer.write(f"GET /half HTTP/1.1\r\nHost: x\r\nX-Supervisor-Token: {token_of('core')}\r\n\r\n".encode())
    got = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(30):
            got = await reader.read()
    assert b"missing" not in got
    assert not got.endswith(b"0\r\n\r\n")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /supervisor/ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 30_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /raw HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /raw HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /raw HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_request_are_refused_without_a_word_too_many(
    toy: Toy, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reply = await toy.send(request_bytes)
    assert reply.status == 400
    assert reply.body == b"400: Bad Request"
    assert not caplog.records


async def test_long_headers_within_the_limit_are_taken(toy: Toy) -> None:
    assert (await toy.ask("GET", "/things/lamp", headers=[("X-Long", "a" * 24_000)])).status == 200
    assert (await toy.ask("GET", "/things/lamp?x=" + "a" * 24_000)).status == 200


async def test_targets_that_are_no_path_are_refused(toy: Toy) -> None:
    for method, target in (("OPTIONS", "*"), ("GET", "http://supervisor/things/lamp"), ("CONNECT", "supervisor:80")):
        assert (await toy.ask(method, target)).status == 400


async def test_one_connection_serves_many_requests_and_many_connections_at_once(toy: Toy) -> None:
    async def talk(name: str) -> None:
        reader, writer = await toy.connect()
        ask = f"GET /things/{name} HTTP/1.1\r\nHost: x\r\nX-Supervisor-Token: {token_of('plain')}\r\n\r\n".encode()
        for _ in range(20):
            writer.write(ask)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length))["data"]["name"] == name
        writer.close()
        await writer.wait_closed()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for index in range(25):
            group.create_task(talk(f"lamp{index}"))


async def test_a_slow_handler_holds_nobody_else_up(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_call: Call) -> None:
        begun.set()
        await go.wait()

    async with serving([*ROUTES, Route("GET", "/slow", Access.ANY, slow, "Slow")], tmp_path) as toy:
        waiting = asyncio.create_task(toy.ask("GET", "/slow"))
        await begun.wait()
        assert (await toy.ask("GET", "/supervisor/ping")).status == 200
        assert not waiting.done()
        go.set()
        assert (await waiting).status == 200
