"""Whatever comes in, the documented answer goes out, and nothing is changed by what was refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from daemon import Daemon, clear, over_tcp, token_of

DEEP = b'{"options":' + b"[" * 20000 + b"]" * 20000 + b"}"
GATEWAY = "172.30.32.1"


def digest(folder: Path) -> dict[str, str]:
    """Return a picture of the state files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.json")}


@pytest.fixture
async def tiny(daemon: Daemon, docker_client: docker.APIClient) -> AsyncIterator[Daemon]:
    """A daemon with one running add-on; at the end nothing may have changed and no traceback be in the log."""
    slug = daemon.add_on("tiny", more="hassio_api: true\noptions: {word: a}\nschema: {word: str}")
    await daemon.start()
    await daemon.install(slug, start=True)
    before, info = digest(daemon.data), await daemon.get(f"/addons/{slug}/info")
    yield daemon
    assert digest(daemon.data) == before
    after = await daemon.get(f"/addons/{slug}/info")
    assert after == info
    assert "Traceback" not in daemon.log
    clear(docker_client)


BODIES = [
    ("/addons/local_tiny/options", b"{", 400, "JSON"),
    ("/addons/local_tiny/options", b"[]", 400, ""),
    ("/addons/local_tiny/options", b'"text"', 400, ""),
    ("/addons/local_tiny/options", b"\xff\xfe", 400, ""),
    ("/addons/local_tiny/options", b'{"boot": 1}', 400, "data['boot']"),
    ("/addons/local_tiny/options", b'{"nonsense": 1}', 400, "extra keys not allowed @ data['nonsense']. Got 1"),
    ("/addons/local_tiny/options", b'{"options": {"word": 1}}', 400, "word"),
    ("/addons/local_tiny/options", b'{"network": {"80": 70000}}', 400, "network"),
    ("/addons/local_tiny/options", b'{"auto_update": true, "boot": "never"}', 400, "boot"),
    ("/addons/local_tiny/options", b'{"options": {"word": NaN}}', 400, ""),
    ("/addons/local_tiny/options", b'{"options": {"word": "\\ud800"}}', 400, ""),
    ("/addons/local_tiny/options", DEEP, 400, ""),
    ("/addons/local_tiny/options", b" " * (17 * 1024 * 1024), 413, ""),
    ("/store/repositories", b"{}", 400, "required key not provided @ data['repository']. Got None"),
    ("/store/repositories", b'{"repository": "ext::sh -c touch% /tmp/x"}', 400, ""),
    ("/store/repositories", b'{"repository": "--upload-pack=touch /tmp/x"}', 400, ""),
    ("/store/repositories", b'{"repository": 7}', 400, "repository"),
    ("/supervisor/options", b'{"timezone": "Mars/Olympus"}', 400, "timezone"),
    ("/supervisor/options", b'{"logging": "loud"}', 400, "logging"),
    ("/docker/registries", b'{"../../etc": {"username": "a", "password": "b"}}', 400, ""),
    ("/docker/options", b'{"mtu": 1}', 400, "mtu"),
    ("/jobs/options", b'{"ignore_conditions": ["gravity"]}', 400, ""),
    ("/addons/nobody_here/start", b"", 404, "nobody_here"),
    ("/store/addons/nobody_here/install", b"", 404, "nobody_here"),
    ("/addons/self/start", b"", 400, ""),
]


async def test_bodies_that_make_no_sense_are_refused_by_their_documented_answers(tiny: Daemon) -> None:
    for path, body, status, text in BODIES:
        answer = await tiny.ask("POST", path, raw=body)
        assert answer.status == status, (path, body[:60], answer.status, answer.text[:300])
        if status != 413:
            assert answer.body["result"] == "error"
            assert text in answer.body["message"], (path, body[:60], answer.body["message"])


async def raw(request: bytes, *, socket: Path | None = None) -> bytes:
    """Send bytes as they are and return the status line that comes back; nothing if the connection is closed."""
    if socket is not None:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    else:
        reader, writer = await asyncio.open_connection(GATEWAY, 80)
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.readline(), 30)
    except ConnectionError:
        return b""
    finally:
        writer.close()


HOSTILE_PATHS = [
    "/addons/../supervisor/info",
    "/addons/%2e%2e/supervisor/info",
    "/addons/%252e%252e/info",
    "/addons/local_tiny%2finfo",
    "/addons//info",
    "//info",
    "/info\\",
    "/addons/%00/info",
    "/info?x=<script>alert(1)</script>",
    "/info?x=../../etc/passwd",
    "/info?q=1 union select (1)".replace(" ", "%20"),
]


@pytest.mark.parametrize("door", ["socket", "tcp"])
async def test_hostile_paths_are_refused_before_anything_else(
    tiny: Daemon, docker_client: docker.APIClient, door: str
) -> None:
    token = token_of(docker_client, "local_tiny")
    socket = tiny.socket if door == "socket" else None
    for path in HOSTILE_PATHS:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        assert (await raw(head.encode(), socket=socket)).startswith(b"HTTP/1.1 400"), path


async def test_wrong_tokens_open_nothing(tiny: Daemon, docker_client: docker.APIClient) -> None:
    token = token_of(docker_client, "local_tiny")
    assert (await over_tcp(None, "/info")).status == 401
    assert (await over_tcp("", "/info")).status in {401, 403}
    for wrong in ("x", token[:-1], token + "0", token.upper(), "0" * 112, "a" * 5000):
        assert (await over_tcp(wrong, "/info")).status == 403, wrong[:20]
    assert (await over_tcp(token, "/info")).status == 200
    assert (await over_tcp(token, "/addons")).status == 403
    assert (await over_tcp(token, "/host/reboot", method="POST")).status == 403
    assert (await over_tcp(token, "/no/such/path")).status == 403
    assert (await over_tcp(None, "/no/such/path")).status == 401
    assert (await over_tcp(token, "/addons/local_tiny/security", method="POST")).status == 403
    assert (await over_tcp(None, "/supervisor/ping")).status == 200


@pytest.mark.parametrize("door", ["socket", "tcp"])
async def test_broken_http_harms_nobody(tiny: Daemon, door: str) -> None:
    socket = tiny.socket if door == "socket" else None
    flood = b"GET /info HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"a" * 30000 + b"\r\n\r\n"
    for request in (
        flood,
        b"GET /info HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"G\x00T /info HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        answer = await raw(request, socket=socket)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 401")), answer
    # Half a request, left alone: others are served meanwhile.
    opened = await (asyncio.open_unix_connection(str(socket)) if socket else asyncio.open_connection(GATEWAY, 80))
    opened[1].write(b"POST /addons/local_tiny/options HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert (await tiny.get("/info"))["state"] == "running"
    opened[1].close()
