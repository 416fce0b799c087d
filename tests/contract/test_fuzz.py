"""Random bodies, built from what the API says of itself, never make it fail."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon import Daemon

# What would end the daemon, or fetch things from elsewhere.
SPARED = {"/supervisor/restart", "/supervisor/reload", "/reload_updates", "/refresh_updates"}
# What would really be done, and leave its job behind.
SPARED |= {"/backups/new/full", "/backups/new/partial", "/backups/freeze"}
NOBODY = {
    "{addon}": "local_nobody",
    "{repository}": "ffffffff",
    "{version}": "1",
    "{uuid}": "0" * 32,
    "{service}": "mqtt",
    "{slug}": "00000000",
}
# What add-ons alone may send, or Core alone.
RESERVED = ("/services/", "/discovery")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def properties(operation: dict[str, Any]) -> list[str]:
    """Return the keys that an operation's body may have."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return list(schema.get("properties", {}))


async def test_no_body_makes_the_api_fail(daemon: Daemon) -> None:
    document = (await daemon.ask("GET", "/openapi.json")).body
    posts = {path: item["post"] for path, item in document["paths"].items() if "post" in item and path not in SPARED}
    before = (await daemon.get("/addons"))["addons"]
    for path, operation in posts.items():
        target = path
        for name, value in NOBODY.items():
            target = target.replace(name, value)
        for body in _bodies(properties(operation)):
            answer = await daemon.ask("POST", target, raw=json.dumps(body).encode())
            assert answer.status < 500, (path, body, answer.text)
            reserved = path.endswith("/sys_options") or path.startswith(RESERVED)
            allowed = {400, 403} if reserved else {200, 400, 404, 409, 413}
            assert answer.status in allowed, (path, answer.status)
    assert (await daemon.get("/addons"))["addons"] == before


def _bodies(keys: list[str]) -> list[Any]:
    """Return a handful of bodies: any JSON, and objects with the keys that the route knows."""
    found: list[Any] = []

    @settings(max_examples=12, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    @given(JSON | st.dictionaries(st.sampled_from(keys) if keys else st.text(max_size=5), JSON, max_size=3))
    def collect(body: Any) -> None:
        found.append(body)

    collect()
    return found
