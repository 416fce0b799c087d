"""Endpoints that a crashed engine left behind: today's engines clear them away, older ones refuse the start."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
import requests
from docker.errors import APIError

from supervisor.drivers.docker.lifecycle import start
from supervisor.drivers.docker.network import _attach


class OldEngine:
    """Remembers what it was asked; `stale` is the name that a lost container left on the network."""

    def __init__(self, *, stale: str | None = None) -> None:
        self.stale = stale
        self.asked: list[tuple[Any, ...]] = []

    def inspect_container(self, name: str) -> dict[str, Any]:
        return {"Id": f"id-of-{name}"}

    def inspect_network(self, _name: str) -> dict[str, Any]:
        if self.stale is None:
            return {"Containers": {}}
        return {"Containers": {"lost": {"Name": self.stale, "IPv4Address": "172.30.33.9/23"}}}

    def start(self, name: str) -> None:
        if self.stale == name:
            response = requests.Response()
            response.status_code = 403
            text = f"endpoint with name {name} already exists in network hassio"
            raise APIError("403", response=response, explanation=text)
        self.asked.append(("start", name))

    def disconnect_container_from_network(self, name: str, network: str, *, force: bool) -> None:
        self.asked.append(("disconnect", name, network, force))
        self.stale = None

    def connect_container_to_network(self, identity: str, network: str, **settings: Any) -> None:
        self.asked.append(("connect", identity, network, settings))


@pytest.mark.parametrize("network", ["hassio", "host"])
def test_a_start_drops_the_endpoint_that_has_the_containers_name(network: str) -> None:
    engine = OldEngine(stale="addon_x")
    start(engine, "addon_x", network)  # type: ignore[arg-type] - as much of an engine as is asked
    assert engine.asked == [("disconnect", "addon_x", network, True), ("start", "addon_x")]


def test_another_refusal_of_a_start_drops_nothing() -> None:
    engine = OldEngine(stale="addon_x")
    engine.start = lambda _name: (_ for _ in ()).throw(APIError("no", explanation="no such thing"))  # type: ignore[method-assign]
    with pytest.raises(APIError):
        start(engine, "addon_x", "hassio")  # type: ignore[arg-type] - as above
    assert engine.asked == []


def test_attaching_drops_the_endpoint_of_a_lost_container_of_that_name_only() -> None:
    engine = OldEngine(stale="addon_x")
    _attach(engine, "hassio", "addon_x", ("x",), IPv4Address("172.30.33.9"))  # type: ignore[arg-type] - as above
    wanted = {"ipv4_address": "172.30.33.9", "aliases": ["x"]}
    assert engine.asked == [
        ("disconnect", "addon_x", "hassio", True),
        ("connect", "id-of-addon_x", "hassio", wanted),
    ]
    other = OldEngine(stale="addon_y")
    _attach(other, "hassio", "addon_x", (), None)  # type: ignore[arg-type] - as above
    assert [asked[0] for asked in other.asked] == ["connect"]
