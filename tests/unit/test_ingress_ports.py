"""Add-ons that leave the port of their page open get one of their own (add-on contract §3.9)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from addon_house import House
from supervisor.managers import ingress as module
from supervisor.managers.ingress import INGRESS_SCHEMA, IngressManager
from supervisor.model.manifest_schema import DYNAMIC_INGRESS_PORTS

pytestmark = pytest.mark.usefixtures("no_blocking_calls")

DYNAMIC = {"ingress": True, "ingress_port": 0}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def stored(house: House) -> dict[str, int]:
    ports: dict[str, int] = json.loads((house.paths.root / "ingress.json").read_text())["ports"]
    return ports


async def test_a_fixed_port_is_the_manifests_and_none_is_none(house: House) -> None:
    assert (await house.install("local_plain")).ingress_port is None
    assert (await house.install("local_page", ingress=True)).ingress_port == 8099
    assert (await house.install("local_other", ingress=True, ingress_port=3000)).ingress_port == 3000
    assert not (house.paths.root / "ingress.json").exists(), "nothing was chosen"


async def test_an_open_port_is_chosen_once_and_kept_until_the_add_on_goes(house: House) -> None:
    lamp = await house.install("local_lamp", **DYNAMIC)
    assert lamp.ingress_port in DYNAMIC_INGRESS_PORTS
    assert stored(house) == {"local_lamp": lamp.ingress_port}

    again = House(house.paths.root)
    await again.ingress.load()
    await again.registry.load()
    assert again.registry.installed["local_lamp"].ingress_port == lamp.ingress_port
    await again.registry.remove("local_lamp")
    assert stored(again) == {}


async def test_a_version_with_a_fixed_port_changes_it(house: House) -> None:
    lamp = await house.install("local_lamp", **DYNAMIC)
    fixed = (await house.install("local_fixed", ingress=True, ingress_port=4000)).manifest
    await house.registry.change(lamp, manifest=fixed)
    assert lamp.ingress_port == 4000


async def test_no_two_add_ons_share_a_port(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DYNAMIC_INGRESS_PORTS", range(62000, 62008))
    addons = await asyncio.gather(*(house.install(f"local_a{number}", **DYNAMIC) for number in range(8)))
    assert {addon.ingress_port for addon in addons} == set(range(62000, 62008))


async def test_a_port_that_somebody_listens_on_is_not_chosen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        taken = server.sockets[0].getsockname()[1]
        free = taken + 1 if taken < 65000 else taken - 1
        monkeypatch.setattr(module, "DYNAMIC_INGRESS_PORTS", (taken, free))
        for _ in range(5):
            assert (await house.install("local_lamp", **DYNAMIC)).ingress_port == free
            await house.registry.remove("local_lamp")


async def test_sessions_of_an_existing_installation_stay_in_the_file(tmp_path: Path) -> None:
    house = House(tmp_path)
    before = {
        "session": {"a" * 128: 1e9},
        "session_data": {"a" * 128: {"user": {"id": "x"}}},
        "ports": {"core_a": 62001, "core_b": 62001},
    }
    (tmp_path / "ingress.json").write_text(json.dumps(before))
    await house.ingress.load()
    await house.install("local_lamp", **DYNAMIC)
    after = json.loads((tmp_path / "ingress.json").read_text())
    assert (after["session"], after["session_data"]) == (before["session"], before["session_data"])
    assert after["ports"]["core_a"] == 62001
    assert "core_b" not in after["ports"], "one port can't be two add-ons'"


async def test_ports_outside_of_the_file_s_rules_make_it_unreadable_not_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "ingress.json").write_text('{"ports": {"core_a": 99999999}}')
    house = House(tmp_path)
    await house.ingress.load()
    assert (await house.install("core_a", **DYNAMIC)).ingress_port in DYNAMIC_INGRESS_PORTS


def test_the_manager_s_file_is_checked() -> None:
    assert INGRESS_SCHEMA({"ports": {"a": 1}, "else": 1}) == {"session": {}, "session_data": {}, "ports": {"a": 1}}
    assert IngressManager.__init__.__kwdefaults__ == {"gateway": "172.30.32.1"}
