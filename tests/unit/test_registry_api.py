"""The sizes of layers, asked from a registry that gives tokens (add-on contract §4.8)."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.registry import RegistryCredentials
from supervisor.drivers.http import HttpClient
from supervisor.drivers.registry_api import RegistryApi, _digest_for, _places, _realm, _sizes
from supervisor.errors import Invalid, NotFound, SupervisorError, Unavailable

LAYERS = [{"digest": f"sha256:{letter * 64}", "size": size} for letter, size in (("a", 10), ("b", 20))]
MANIFEST = {"schemaVersion": 2, "layers": LAYERS}


@attrs.define(eq=False)
class TokenRegistry:
    """A registry that answers only with a token, and its place for tokens."""

    answer: Any = attrs.field(factory=lambda: MANIFEST)
    realm: str | None = None
    login: str | None = None
    asked: list[dict[str, str]] = attrs.field(factory=list)
    address: str = ""

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer good":
            realm = self.realm or f"http://{self.address}/token"
            challenge = f'Bearer realm="{realm}",service="the registry",scope="repository:a/b:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return web.Response(body=json.dumps(self.answer).encode())

    async def token(self, request: web.Request) -> web.StreamResponse:
        self.asked.append({**request.query, "Authorization": request.headers.get("Authorization", "")})
        if self.login is not None and request.headers.get("Authorization") != self.login:
            return web.Response(status=401)
        return web.json_response({"access_token": "good"})


@pytest.fixture
async def registry() -> AsyncIterator[TokenRegistry]:
    registry = TokenRegistry()
    app = web.Application()
    app.router.add_get("/v2/a/b/manifests/{reference}", registry.manifest)
    app.router.add_get("/token", registry.token)
    async with TestServer(app) as server:
        registry.address = f"127.0.0.1:{server.port}"
        yield registry


@pytest.fixture
async def api() -> AsyncIterator[RegistryApi]:
    http = HttpClient(user_agent="Supervisor/test")
    await http.start()
    yield RegistryApi(http)
    await http.stop()


async def sizes(api: RegistryApi, registry: TokenRegistry, login: RegistryCredentials | None = None) -> dict[str, int]:
    return await api.layer_sizes(f"{registry.address}/a/b", "1", arch="amd64", credentials=login)


async def test_a_token_is_fetched_from_the_place_that_the_registry_names(api, registry):
    assert await sizes(api, registry) == {"a" * 12: 10, "b" * 12: 20}
    assert registry.asked == [{"scope": "repository:a/b:pull", "service": "the registry", "Authorization": ""}]


async def test_the_login_goes_along_to_the_place_for_tokens(api, registry):
    registry.login = "Basic " + base64.b64encode("me:pässword".encode()).decode()
    login = RegistryCredentials(registry.address, "me", "pässword")
    assert await sizes(api, registry, login)
    with pytest.raises(Invalid, match="gives no token"):
        await sizes(api, registry)


@pytest.mark.parametrize(
    "realm", ["http://example.org/token", "ftp://127.0.0.1/x", "nonsense", "http://me@127.0.0.1/x"]
)
async def test_no_login_goes_to_a_place_that_is_not_safe(api, registry, realm):
    registry.realm = realm
    with pytest.raises(Invalid):
        await sizes(api, registry, RegistryCredentials(registry.address, "me", "secret"))


@pytest.mark.parametrize("answer", [[], {}, {"layers": "x"}, {"layers": [{"digest": "x", "size": 1}]}, None])
async def test_an_answer_that_makes_no_sense_is_an_error_of_ours(api, registry, answer):
    registry.answer = answer
    with pytest.raises(SupervisorError):
        await sizes(api, registry)


async def test_a_registry_that_is_away_or_does_not_have_it(api, registry):
    with pytest.raises(Unavailable):
        await api.layer_sizes("127.0.0.1:1/a/b", "1", arch="amd64", credentials=None)
    with pytest.raises(NotFound):
        await api.layer_sizes(f"{registry.address}/a/other", "1", arch="amd64", credentials=None)
    with pytest.raises(Invalid):
        await api.layer_sizes(f"{registry.address}/a/../b", "1", arch="amd64", credentials=None)


def test_plain_http_is_for_loopback_only():
    assert [str(place.base) for place in _places("ghcr.io")] == ["https://ghcr.io"]
    assert [str(place.base) for place in _places("10.0.0.1:5000")] == ["https://10.0.0.1:5000"]
    assert all(place.verify for place in _places("127.example.org"))
    for host in ("localhost:5000", "127.0.0.1:5000", "127.0.0.9"):
        assert [(str(place.base), place.verify) for place in _places(host)] == [
            (f"https://{host}", False),
            (f"http://{host}", False),
        ]


def test_a_far_registry_may_name_secure_places_for_tokens_only():
    [place] = _places("ghcr.io")
    assert _realm("https://auth.example.org/token", place).host == "auth.example.org"
    with pytest.raises(Invalid):
        _realm("http://auth.example.org/token", place)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["digest", "size", "platform", "os", "architecture", "layers"]), inner)
    ),
)


@given(anything)
def test_strange_manifests_and_indexes_are_errors_of_ours(value):
    for read in (lambda: _sizes({"layers": value}), lambda: _digest_for([value], "linux/amd64")):
        try:
            read()
        except (Invalid, NotFound):
            continue


def test_the_entry_of_the_platform_is_chosen():
    entries = [
        {"digest": f"sha256:{letter * 64}", "platform": {"os": "linux", "architecture": name, "variant": variant}}
        for letter, name, variant in (
            ("a", "arm", "v6"),
            ("b", "arm", "v7"),
            ("c", "arm64", "v8"),
            ("d", "amd64", None),
        )
    ]
    for platform, letter in (("linux/arm/v7", "b"), ("linux/arm64", "c"), ("linux/amd64", "d")):
        assert _digest_for(entries, platform) == f"sha256:{letter * 64}"
    with pytest.raises(NotFound):
        _digest_for(entries, "linux/386")
