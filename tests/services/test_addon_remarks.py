"""Whose manifests are remarked on in the log, and how often (add-on contract §1.4)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from test_store_manager import Store, manifest
from upstream_repository import Upstream

from supervisor.managers.addons.record import addons_schema
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.addons.remarks import ManifestRemarks
from supervisor.managers.host import Host
from supervisor.managers.ingress import INGRESS_SCHEMA, IngressManager
from supervisor.model.repository import repository_slug
from supervisor.state import StateFile


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = await asyncio.to_thread(Store, tmp_path / "data")
    await made.restart()
    yield made
    await made.stop()


async def remarks(store: Store, installed: str) -> ManifestRemarks:
    """The remarks of a system on which that add-on is installed."""
    bus, root = store.bus, store.paths.root
    system = {
        "name": "One", "version": "1.0", "slug": "one", "description": "d", "arch": ["amd64"], "image": "x/y",
        "repository": installed.split("_", maxsplit=1)[0],
    }  # fmt: skip
    user = {"version": "1.0", "options": {}, "image": "x/y"}
    (root / "addons.json").write_text(json.dumps({"user": {installed: user}, "system": {installed: system}}))
    ingress = IngressManager(StateFile(root / "ingress.json", INGRESS_SCHEMA, bus), gateway="127.0.0.1")
    state = StateFile(root / "addons.json", addons_schema, bus)
    registry = AddonRegistry(state, bus, Host(data=root, machine=None), store.manager, ingress)
    await registry.load()
    return ManifestRemarks(bus, store.manager, registry)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [message for message in found if "no effect" in message]


async def test_an_installed_add_on_of_a_stranger_is_remarked_on_once_for_each_change(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = Upstream(tmp_path / "upstream")
    more = "advanced: true\n"
    upstream.commit(
        {
            "repository.yaml": "name: x\n",
            "one/config.yaml": manifest("one") + more,
            "two/config.yaml": manifest("two") + more,
        }
    )
    slug = (await store.manager.add_repository(upstream.url)).slug
    assert warnings(caplog) == []
    await (await remarks(store, f"{slug}_one")).begin()
    assert warnings(caplog) == [f"{slug}_one: 'advanced' has no effect any more"]
    upstream.commit({"two/config.yaml": manifest("two", "2.0") + more})
    await store.manager.reload()
    assert len(warnings(caplog)) == 1
    upstream.commit({"one/config.yaml": manifest("one", "2.0") + more})
    await store.manager.reload()
    assert len(warnings(caplog)) == 2


async def test_built_in_repositories_get_no_advice_unless_a_developer_asks(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({"repository.yaml": "name: x\n", "one/config.yaml": manifest("one") + "advanced: true\n"})
    slug = repository_slug(upstream.url)
    store.builtin = {"local": "local", upstream.url: slug}
    await store.restart()
    await store.settled()
    await (await remarks(store, f"{slug}_one")).begin()
    assert f"{slug}_one" in store.manager.addons
    assert warnings(caplog) == []
    store.loud = True
    await store.restart()
    assert warnings(caplog) == [f"Add-on {slug}_one: 'advanced' has no effect any more"]
