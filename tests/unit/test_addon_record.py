"""`addons.json` as existing installations have it, and the registry that writes it (add-on contract §3.11)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from supervisor.api.caller import CallerKind
from supervisor.api.callers import Callers
from supervisor.drivers.git import Git
from supervisor.errors import Invalid, NotFound
from supervisor.events import AddonTokenChanged, EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.addons.record import AddonRecord, addons_schema
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.host import Host
from supervisor.managers.ingress import INGRESS_SCHEMA, IngressManager
from supervisor.managers.resolution import Resolution
from supervisor.managers.store import STORE_SCHEMA, StoreManager
from supervisor.model.manifest import AddonBoot
from supervisor.paths import DataPaths
from supervisor.state import StateFile

TOKEN = "0123456789abcdef" * 7


def system(slug: str, **keys: Any) -> dict[str, Any]:
    return {
        "name": slug.title(),
        "version": "2.0.1",
        "slug": slug,
        "description": "Does things",
        "arch": ["amd64", "aarch64"],
        "image": f"ghcr.io/example/{{arch}}-{slug}",
        "startup": "services",
        "boot": "auto",
        "ports": {"1883/tcp": 1883},
        "map": [{"type": "ssl", "read_only": True}],
        "options": {"level": "info", "users": []},
        "schema": {"level": "list(info|debug)", "users": [{"name": "str"}]},
        "location": "/data/addons/git/abcdef01/thing",
        "repository": "abcdef01",
        "translations": {"en": {"configuration": {"level": {"name": "Level"}}}},
        **keys,
    }


def existing() -> dict[str, Any]:
    """Return a file as it lies on an existing installation, with keys that came and went over the years."""
    return {
        "user": {
            "abcdef01_broker": {
                "version": "2.0.1",
                "image": "ghcr.io/example/amd64-broker",
                "options": {"level": "debug", "users": [{"name": "anna"}]},
                "uuid": "11" * 16,
                "access_token": TOKEN,
                "ingress_token": "aZ0_-" * 8 + "abc",
                "auto_update": True,
                "watchdog": True,
                "boot": "manual",
                "protected": False,
                "ingress_panel": True,
                "system_managed": False,
                "system_managed_config_entry": None,
                "network": {"1883/tcp": 11883},
                "audio_input": None,
                "audio_output": "alsa_output.0",
                "codenotary": "gone",
                "last_seen": 12,
            },
            "abcdef01_plain": {"version": "2.0.1", "options": {}},
        },
        "system": {"abcdef01_broker": system("broker"), "abcdef01_plain": system("plain")},
        "history": {},
    }


class Stage:
    """A registry over a real state file."""

    def __init__(self, root: Path) -> None:
        self.bus = EventBus()
        self.paths = DataPaths(root, root)
        self.file = root / "addons.json"
        jobs = JobManager(self.bus, StateFile(root / "jobs.json", JOBS_SCHEMA, self.bus))
        store = StoreManager(
            paths=self.paths,
            state=StateFile(root / "store.json", STORE_SCHEMA, self.bus),
            git=Git(root / "git"),
            jobs=jobs,
            resolution=Resolution(self.bus),
            bus=self.bus,
            with_builtin_remotes=False,
        )
        state = StateFile(self.file, addons_schema, self.bus)
        ingress = IngressManager(StateFile(root / "ingress.json", INGRESS_SCHEMA, self.bus), gateway="127.0.0.1")
        self.registry = AddonRegistry(state, self.bus, Host(data=root, machine=None), store, ingress)

    @property
    def stored(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found


async def loaded(root: Path, content: dict[str, Any] | None = None) -> Stage:
    stage = Stage(root)
    if content is not None:
        stage.file.write_text(json.dumps(content))
    await stage.registry.load()
    return stage


async def test_the_file_of_an_existing_installation_loads(tmp_path: Path) -> None:
    stage = await loaded(tmp_path, existing())
    addon = stage.registry.get("abcdef01_broker")
    record = addon.record
    assert (record.version, record.image_reference) == ("2.0.1", "ghcr.io/example/amd64-broker:2.0.1")
    assert (record.uuid, record.ingress_token) == ("11" * 16, "aZ0_-" * 8 + "abc")
    assert (record.auto_update, record.watchdog, record.protected, record.ingress_panel) == (True, True, False, True)
    assert (addon.boot, addon.ports) == (AddonBoot.MANUAL, {"1883/tcp": 11883})
    assert record.options == {"level": "debug", "users": [{"name": "anna"}]}
    assert record.audio_output == "alsa_output.0"
    assert record.translations["en"]["configuration"]["level"]["name"] == "Level"
    assert addon.manifest.options == {"level": "info", "users": []}


async def test_an_entry_without_an_image_gets_the_name_that_its_manifest_means_here(tmp_path: Path) -> None:
    stage = await loaded(tmp_path, existing())
    arch = Host(data=tmp_path, machine=None).arch
    record = stage.registry.get("abcdef01_plain").record
    assert record.image == f"ghcr.io/example/{arch}-plain"
    assert (record.token_hash, record.should_run, record.boot) == (None, False, None)


async def test_a_loaded_file_is_written_back_without_loss_and_loads_again_the_same(tmp_path: Path) -> None:
    stage = await loaded(tmp_path, existing())
    broker = stage.registry.get("abcdef01_broker")
    await stage.registry.change(broker, watchdog=False)
    before, after = existing()["user"]["abcdef01_broker"], stage.stored["user"]["abcdef01_broker"]
    kept = {
        key: value
        for key, value in before.items()
        if key not in {"watchdog", "access_token", "codenotary", "last_seen", "audio_input"}
    }
    assert {key: after[key] for key in kept} == kept
    assert after["watchdog"] is False
    assert "last_seen" not in after
    assert "location" not in stage.stored["system"]["abcdef01_broker"]
    assert stage.stored["system"]["abcdef01_broker"]["repository"] == "abcdef01"
    assert stage.file.stat().st_mode & 0o777 == 0o600
    again = await loaded(tmp_path)
    for slug, addon in stage.registry.installed.items():
        assert again.registry.get(slug).record == addon.record


async def test_an_old_plain_token_stays_valid_and_is_kept_as_a_hash_only(tmp_path: Path) -> None:
    stage = await loaded(tmp_path, existing())
    broker = stage.registry.get("abcdef01_broker")
    await stage.registry.change(broker, watchdog=False)
    assert TOKEN not in "".join(path.read_text() for path in (stage.file,))
    assert stage.stored["user"]["abcdef01_broker"]["access_token_sha256"] == hashlib.sha256(TOKEN.encode()).hexdigest()

    class Addons:
        registry = stage.registry

    callers = Callers(Addons(), stage.bus)  # type: ignore[arg-type] - it asks for the registry alone
    stage.bus.publish(AddonTokenChanged("abcdef01_broker"))
    caller = callers.by_token(TOKEN)
    assert caller is not None
    assert (caller.kind, caller.slug) == (CallerKind.ADDON, "abcdef01_broker")
    await stage.registry.remove("abcdef01_broker")
    assert callers.by_token(TOKEN) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data["user"]["abcdef01_plain"].pop("version"),
        lambda data: data["user"]["abcdef01_plain"].update(boot="sometimes"),
        lambda data: data["user"]["abcdef01_plain"].update(network={"http": 1}),
        lambda data: data["user"]["abcdef01_plain"].update(access_token="short"),
        lambda data: data["system"].pop("abcdef01_plain"),
        lambda data: data["system"]["abcdef01_plain"].pop("name"),
        lambda data: data["system"]["abcdef01_plain"].pop("repository"),
        lambda data: data["system"]["abcdef01_plain"].update(arch="amd64"),
    ],
)
async def test_one_bad_entry_is_told_and_does_not_take_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    data = existing()
    damage(data)
    with caplog.at_level(logging.CRITICAL):
        stage = await loaded(tmp_path, data)
    assert list(stage.registry.installed) == ["abcdef01_broker"]
    assert "abcdef01_plain" in caplog.text


@pytest.mark.parametrize("content", [{}, {"user": {}}, {"system": {}, "user": {}}])
async def test_an_empty_file_means_nothing_is_installed(tmp_path: Path, content: dict[str, Any]) -> None:
    assert not (await loaded(tmp_path, content)).registry.installed


async def test_changes_of_different_add_ons_at_once_all_reach_the_disk(tmp_path: Path) -> None:
    stage = await loaded(tmp_path, existing())
    broker, plain = (stage.registry.get(slug) for slug in ("abcdef01_broker", "abcdef01_plain"))
    await asyncio.gather(
        stage.registry.change(broker, token_hash="a" * 64),
        stage.registry.change(plain, token_hash="b" * 64),
        stage.registry.change(plain, options={"level": "debug"}),
    )
    users = stage.stored["user"]
    assert users["abcdef01_broker"]["access_token_sha256"] == "a" * 64
    assert users["abcdef01_plain"]["access_token_sha256"] == "b" * 64
    assert users["abcdef01_plain"]["options"] == {"level": "debug"}
    assert plain.record.token_hash == "b" * 64


async def test_a_change_that_makes_no_sense_is_refused_instead_of_dropping_the_entry(tmp_path: Path) -> None:
    stage = await loaded(tmp_path, existing())
    broker = stage.registry.get("abcdef01_broker")
    with pytest.raises(Invalid, match="abcdef01_broker"):
        await stage.registry.change(broker, boot="sometimes")
    assert broker.record.boot == "manual"
    assert stage.stored == existing()


async def test_who_is_not_installed_is_not_found(tmp_path: Path) -> None:
    stage = await loaded(tmp_path, existing())
    with pytest.raises(NotFound):
        stage.registry.get("abcdef01_other")
    await stage.registry.remove("abcdef01_other")


async def test_an_added_record_is_there_after_a_restart(tmp_path: Path) -> None:
    stage = await loaded(tmp_path, existing())
    plain = stage.registry.get("abcdef01_plain").record
    fresh = AddonRecord("abcdef01_new", plain.repository, plain.manifest, {}, "2.0.1", "example/new")
    await stage.registry.add(fresh)
    again = (await loaded(tmp_path)).registry
    assert again.get("abcdef01_new").record == fresh
    assert again.images_in_use(without="abcdef01_new") == {
        "ghcr.io/example/amd64-broker:2.0.1",
        plain.image_reference,
    }
