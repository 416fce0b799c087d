"""What is looked at before a restore begins, and what it does with the part of Home Assistant Core."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from test_backup_defects import members_of, outer
from test_store import Author

from daemon import Daemon

PASSWORD = "correct horse"
SETTINGS = {
    "version": "2026.4.1",
    "uuid": "of the old machine",
    "access_token": "abc",
    "port": 8124,
    "ssl": True,
    "watchdog": False,
    "refresh_token": "fresh",
    "audio_output": None,
    "boot": False,
    "backups_exclude_database": True,
}
TAKEN_OVER = {"port": 8124, "ssl": True, "watchdog": False, "refresh_token": "fresh", "audio_output": None}


@pytest.fixture
async def house(daemon: Daemon) -> Daemon:
    """A configuration of Core with what is saved and what is not."""
    config = daemon.data / "homeassistant"
    for path in (
        "configuration.yaml", "home-assistant_v2.db", "home-assistant_v2.db-wal", "home-assistant_v2.db-shm",
        "home-assistant.log", "home-assistant.log.1", "deep/home-assistant.log", "deep/home-assistant_v2.db",
        "deep/__pycache__/x.pyc", "tts/voice.mp3", "backups/old.tar", "backups/deep/kept.tar", ".storage/auth",
        ".storage/auth.corrupt.1", ".cache/x",
    ):  # fmt: skip
        (config / path).parent.mkdir(parents=True, exist_ok=True)
        (config / path).write_text(path)
    (daemon.data / "homeassistant.json").write_text(json.dumps(SETTINGS))
    for folder in ("ssl", "share"):
        (daemon.data / folder).mkdir(exist_ok=True)
        (daemon.data / folder / "note").write_text("saved")
    await daemon.start()
    return daemon


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


SAVED = {"configuration.yaml", "deep/home-assistant.log", "deep/home-assistant_v2.db", "backups/deep/kept.tar",
         ".storage/auth"}  # fmt: skip
EMPTY = {"deep/__pycache__", "tts", ".cache"}
DATABASE = {"home-assistant_v2.db", "home-assistant_v2.db-wal"}


@pytest.mark.parametrize("excluded", [True, False, None])
async def test_cores_part_holds_what_the_contract_says_and_comes_back_on_a_new_machine(
    house: Daemon, *, excluded: bool | None
) -> None:
    body: dict[str, Any] = {"homeassistant": True, "folders": ["ssl"]}
    if excluded is not None:
        body["homeassistant_exclude_database"] = excluded
    made = await house.post("/backups/new/partial", body)
    without = excluded is not False
    info = await house.get(f"/backups/{made['slug']}/info")
    assert (info["homeassistant"], info["homeassistant_exclude_database"]) == ("2026.4.1", without)
    (listed,) = (await house.get("/backups"))["backups"]
    assert listed["content"] == {"homeassistant": True, "addons": [], "folders": ["ssl"]}
    archive = house.data / "backup" / f"{made['slug']}.tar"
    members = members_of(archive)
    assert list(members) == ["homeassistant.tar.gz", "ssl.tar.gz", "./backup.json"]
    described = json.loads(members["./backup.json"])["homeassistant"]
    assert (described["version"], described["exclude_database"]) == ("2026.4.1", without)
    assert described["size"] >= 0
    (house.data / "core.tar.gz").write_bytes(members["homeassistant.tar.gz"])
    with tarfile.open(house.data / "core.tar.gz") as tar:
        inside = {member.name: member for member in tar}
        assert json.load(tar.extractfile("./homeassistant.json")) == SETTINGS  # type: ignore[arg-type]
    assert (list(inside)[:3], inside["./homeassistant.json"].mode) == ([".", "./homeassistant.json", "data"], 0o600)
    files = {name.removeprefix("data/") for name, one in inside.items() if one.isreg() and name.startswith("data/")}
    assert files == SAVED | (set() if without else DATABASE)
    assert {f"data/{name}" for name in EMPTY} <= inside.keys(), "folders stay, empty as they are"

    config = house.data / "homeassistant"
    for name in names_in(config):
        (config / name).unlink()
    (config / "home-assistant_v2.db").write_text("of the new machine")
    (config / "intruder").write_text("must go")
    (house.data / "homeassistant.json").unlink()
    await house.post(f"/backups/{made['slug']}/restore/partial", {"homeassistant": True})
    assert names_in(config) == SAVED | ({"home-assistant_v2.db"} if without else DATABASE)
    database = (config / "home-assistant_v2.db").read_text()
    assert database == ("of the new machine" if without else "home-assistant_v2.db")
    assert json.loads((house.data / "homeassistant.json").read_text()) == TAKEN_OVER
    assert list((house.data / "restore").iterdir()) == []


async def test_what_is_wrong_is_told_in_the_order_of_the_contract(house: Daemon) -> None:
    made = await house.post("/backups/new/partial", {"folders": ["ssl"], "password": PASSWORD})
    archive = house.data / "backup" / f"{made['slug']}.tar"
    members = members_of(archive)
    described = json.loads(members["./backup.json"])
    outer(archive, {**members, "./backup.json": json.dumps({**described, "supervisor_version": "2999.1.0"}).encode()})
    await house.post("/backups/reload")
    (house.data / "ssl" / "note").write_text("here")

    async def refused(kind: str, **body: Any) -> str:
        answer = await house.ask("POST", f"/backups/{made['slug']}/restore/{kind}", body)
        assert answer.status == 400
        return str(answer.body["message"])

    everything: dict[str, Any] = {"homeassistant": True, "folders": ["ssl"]}
    assert await refused("full", location=".cloud") == f"{made['slug']} is only a partial backup!"
    assert "does not exist in nas" in await refused("partial", location="nas", **everything)
    assert (await refused("partial", **everything)).startswith("Invalid password for backup")
    assert "No Home Assistant Core data" in await refused("partial", password=PASSWORD, **everything)
    assert "Must update supervisor first" in await refused("partial", password=PASSWORD, folders=["ssl"])
    assert (house.data / "ssl" / "note").read_text() == "here"
    assert (await house.get("/info"))["state"] == "running"


async def test_a_part_of_core_that_is_spoiled_ends_the_restore_and_nothing_after_it_is_touched(house: Daemon) -> None:
    made = await house.post("/backups/new/full", {})
    archive = house.data / "backup" / f"{made['slug']}.tar"
    members = members_of(archive)
    spoiled = bytearray(members["homeassistant.tar.gz"])
    spoiled[len(spoiled) // 2] ^= 0xFF
    outer(archive, {**members, "homeassistant.tar.gz": bytes(spoiled)})
    slug = house.add_on("later")
    await house.post("/store/reload")
    await house.install(slug)
    await house.post("/backups/reload")
    before = names_in(house.data / "homeassistant")
    (house.data / "ssl" / "note").write_text("here")
    answer = await house.ask("POST", f"/backups/{made['slug']}/restore/full", {})
    assert answer.status == 400
    assert names_in(house.data / "homeassistant") == before
    assert json.loads((house.data / "homeassistant.json").read_text()) == SETTINGS
    assert (house.data / "ssl" / "note").read_text() == "saved", "folders come before it"
    assert (await house.get(f"/addons/{slug}/info"))["version"], "others are removed after it"
    job = await house.get(f"/jobs/{answer.body['job_id']}")
    assert job["stage"] == "home_assistant"


async def test_what_lies_in_cores_own_folder_is_shown_to_nobody_and_touched_by_core_alone(house: Daemon) -> None:
    made = await house.post("/backups/new/partial", {"folders": ["ssl"]})
    slug = made["slug"]
    place = house.data / "core" / "backup" / f"{slug}.tar"
    (house.data / "backup" / f"{slug}.tar").rename(place)
    await house.post("/backups/reload")
    assert (await house.get("/backups"))["backups"] == []
    assert (await house.get("/backups/info"))["backups"] == []
    info = await house.get(f"/backups/{slug}/info")
    assert (info["location"], info["locations"]) == (".cloud_backup", [".cloud_backup"])
    for method, path, body in (
        ("POST", f"/backups/{slug}/restore/partial", {"folders": ["ssl"]}),
        ("POST", f"/backups/{slug}/restore/full", {"location": ".cloud_backup"}),
        ("POST", f"/backups/{slug}/verify", {}),
        ("GET", f"/backups/{slug}/download", None),
        ("GET", f"/backups/{slug}/download?location=.cloud_backup", None),
        ("DELETE", f"/backups/{slug}", None),
        ("DELETE", f"/backups/{slug}", {"location": ".local"}),
        ("DELETE", f"/backups/{slug}", {"location": [None, ".cloud_backup"]}),
        ("POST", "/backups/new/partial", {"folders": ["ssl"], "location": [None, ".cloud_backup"]}),
        ("POST", "/backups/new/upload?location=.cloud_backup", None),
    ):
        answer = await house.ask(method, path, body)
        assert (answer.status, answer.body["message"]) == (
            403, "Location .cloud_backup is only available for Home Assistant",
        ), (method, path, body)  # fmt: skip
    assert place.exists()
    assert list((house.data / "backup").iterdir()) == []


async def test_repositories_come_back_and_a_full_restore_removes_those_that_came_since(
    house: Daemon, tmp_path: Path
) -> None:
    first, second = Author(tmp_path / "first"), Author(tmp_path / "second")
    slug = house.add_on("lamp")
    await house.post("/store/reload")
    await house.install(slug)
    await house.post("/store/repositories", {"repository": first.url})
    made = await house.post("/backups/new/full", {})
    assert (await house.get(f"/backups/{made['slug']}/info"))["repositories"] == [first.url]

    async def sources() -> dict[str, str]:
        return {one["source"]: one["slug"] for one in await house.get("/store/repositories")}

    assert (await house.ask("DELETE", f"/store/repositories/{(await sources())[first.url]}")).status == 200
    await house.post("/store/repositories", {"repository": second.url})
    await house.post(f"/backups/{made['slug']}/restore/partial", {"folders": ["ssl"]})
    assert first.url not in await sources(), "a folder needs none"
    await house.post(f"/backups/{made['slug']}/restore/partial", {"addons": [slug]})
    assert {first.url, second.url} <= (await sources()).keys()
    await house.post(f"/backups/{made['slug']}/restore/full")
    assert first.url in await sources()
    assert second.url not in await sources()


async def test_an_add_on_that_no_repository_knows_any_more_comes_back_from_its_own_image(house: Daemon) -> None:
    slug = house.add_on("lamp")
    await house.post("/store/reload")
    await house.install(slug, start=True)
    (house.data / "addons" / "data" / slug / "note").write_text("mine")
    made = await house.post("/backups/new/partial", {"addons": [slug]})
    await house.post(f"/addons/{slug}/uninstall", {"remove_config": True})
    shutil.rmtree(house.data / "addons" / "local" / "lamp")
    await house.post("/store/reload")
    assert (await house.ask("GET", f"/addons/{slug}/info")).status == 404
    restored = await house.post(f"/backups/{made['slug']}/restore/partial", {"addons": [slug]})
    assert (await house.get(f"/jobs/{restored['job_id']}"))["errors"] == []
    info = await house.get(f"/addons/{slug}/info")
    assert (info["state"], info["detached"], info["version"]) == ("started", True, "1.0")
    assert (house.data / "addons" / "data" / slug / "note").read_text() == "mine"
