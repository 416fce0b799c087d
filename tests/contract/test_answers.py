"""Every answer has what clients require, in the types they parse."""

from __future__ import annotations

from typing import Any

import models
import pytest
from household import ROLES, Household
from openapi_spec_validator import validate

from daemon import Daemon, over_tcp

PLACES: dict[str, tuple[str, str]] = {
    "/info": (".", models.ROOT),
    "/supervisor/info": (".", models.SUPERVISOR),
    "/addons/local_default/info": (".", models.INFO),
    "/addons/local_rich/info": (".", models.INFO),
    "/addons/local_offered/info": (".", models.INFO),
    "/store/addons/local_rich": (".", models.STORE_DETAILS),
    "/store/addons/local_offered": (".", models.STORE_DETAILS),
    "/store/addons/local_offered/9.9": (".", models.STORE_DETAILS),
    "/addons/local_default/stats": (".", models.STATS),
    "/supervisor/stats": (".", models.STATS),
    "/docker/info": (".", models.DOCKER),
    "/audio/info": (".", models.AUDIO),
    "/os/info": (".", models.OS),
    "/os/datadisk/list": (".", models.DATA_DISKS),
    "/mounts": (".", models.MOUNTS),
    "/network/info": (".", models.NETWORK),
    "/docker/mirrors": (".", models.MIRRORS),
    "/host/info": (".", models.HOST),
    "/host/disks/default/usage": (".", models.DISK_USAGE),
    "/resolution/info": (".", models.RESOLUTION),
    "/store/repositories/local": (".", models.REPOSITORY),
}
LISTS: dict[str, tuple[str, str]] = {
    "/addons": ("addons", models.LISTED),
    "/store": ("addons", models.STORE),
    "/store/addons": ("addons", models.STORE),
    "/supervisor/info": ("addons", models.IN_SUPERVISOR_INFO),
}


@pytest.mark.parametrize("path", list(PLACES))
async def test_an_answer_has_every_required_key(daemon: Daemon, path: str) -> None:
    models.check(await daemon.get(path), PLACES[path][1], path)


@pytest.mark.parametrize("path", list(LISTS))
async def test_every_entry_of_a_list_has_every_required_key(daemon: Daemon, path: str) -> None:
    key, model = LISTS[path]
    entries = (await daemon.get(path))[key]
    assert len(entries) >= len(ROLES)
    for entry in entries:
        models.check(entry, model, f"{path} {entry['slug']}")


async def test_hardware_and_sound_have_every_required_key(daemon: Daemon) -> None:
    hardware = await daemon.get("/hardware/info")
    assert any(device["dev_path"] == "/dev/null" for device in hardware["devices"])
    for device in hardware["devices"]:
        models.check(device, models.DEVICE, device["dev_path"])
    for drive in hardware["drives"]:
        models.check(drive, models.DRIVE, drive["id"])
    models.check((await daemon.get("/audio/info"))["audio"], models.AUDIO_DEVICES, "audio")
    assert (await daemon.get("/hardware/audio"))["audio"] == {"input": {}, "output": {}}


async def test_every_check_is_listed_under_the_name_that_clients_know(daemon: Daemon) -> None:
    checks = (await daemon.get("/resolution/info"))["checks"]
    assert {check["slug"] for check in checks} >= models.CHECKS
    for check in checks:
        models.check(check, "slug:str enabled:bool", check["slug"])
        await daemon.post(f"/resolution/check/{check['slug']}/run")


async def test_repositories_are_a_bare_list(daemon: Daemon) -> None:
    repositories = await daemon.get("/store/repositories")
    assert {repository["slug"] for repository in repositories} >= {"core", "local", "a0d7b954", "5c53de3b", "d5369777"}
    for repository in repositories:
        models.check(repository, models.REPOSITORY, repository["slug"])


async def test_what_the_manifest_says_is_told(daemon: Daemon) -> None:
    info = await daemon.get("/addons/local_rich/info")
    assert info["network"] == {"80/tcp": 18080, "81/udp": None}
    assert info["webui"] == "http://[HOST]:18080/"
    assert info["ingress_url"] == f"{info['ingress_entry']}/"
    assert (info["uart"], info["auto_uart"]) == (True, True)
    assert info["services"] == info["services_role"] == ["mqtt:want"]
    assert info["privileged"] == ["NET_ADMIN"]
    assert info["rating"] == 6
    assert [field["name"] for field in info["schema"]] == ["word", "secret", "list", "pick", "nested"]
    assert info["state"] == "stopped"
    assert (await daemon.get("/addons/local_offered/info"))["state"] == "unknown"


async def test_the_options_of_others_are_shown_to_managers_only(household: Household) -> None:
    shown = {
        role: (await over_tcp(household.tokens[role], "/addons/local_rich/info")).data["options"]
        for role in ("default", "homeassistant", "backup", "manager", "admin")
    }
    full = {"word": "a", "secret": "b", "list": [1]}
    assert shown == {"default": {}, "homeassistant": {}, "backup": {}, "manager": full, "admin": full}


async def test_checking_options_never_fails_and_never_stores(daemon: Daemon) -> None:
    path = "/addons/local_rich/options/validate"
    for body, valid in (
        ({"word": "x", "secret": "", "list": [], "nested": []}, True),
        ({"word": 1}, False),
        (7, False),
    ):
        verdict = await daemon.post(path, body)
        models.check(verdict, models.VERDICT, path)
        assert verdict["valid"] is valid
        assert bool(verdict["message"]) is not valid
    assert (await daemon.get("/addons/local_rich/info"))["options"]["word"] == "a"


async def test_jobs_have_the_keys_that_clients_wait_for(daemon: Daemon) -> None:
    info = await daemon.get("/jobs/info")
    assert (info["ignore_conditions"], info["jobs"]) == ([], [])
    await daemon.ask("POST", "/store/addons/local_rich/install")
    for job in (await daemon.get("/jobs/history"))["jobs"]:
        models.check(job, models.JOB, "job")
        for error in job["errors"]:
            models.check(error, models.JOB_ERROR, "job error")
    assert (await daemon.ask("GET", f"/jobs/{'0' * 32}")).status == 404


async def test_backups_have_the_keys_that_clients_read(daemon: Daemon) -> None:
    wanted = {"name": "A", "addons": ["local_rich"], "folders": ["ssl"], "extra": {"by": "test"}}
    made = await daemon.post("/backups/new/partial", wanted)
    assert set(made) == {"slug", "job_id"}
    job = await daemon.get(f"/jobs/{made['job_id']}")
    models.check(job, models.JOB, "job")
    assert (job["name"], job["reference"]) == ("backup_manager_partial_backup", made["slug"])
    for path in ("/backups", "/backups/info"):
        (entry,) = [one for one in (await daemon.get(path))["backups"] if one["slug"] == made["slug"]]
        models.check(entry, models.BACKUP, path)
        models.check(entry["content"], models.BACKUP_CONTENT, "content")
        models.check(entry["location_attributes"][".local"], models.BACKUP_COPY, "location_attributes")
        assert (entry["location"], entry["locations"]) == (None, [None])
    assert (await daemon.get("/backups/info"))["days_until_stale"] == 30
    details = await daemon.get(f"/backups/{made['slug']}/info")
    models.check(details, models.BACKUP_DETAILS, "details")
    models.check(details["addons"][0], models.BACKUP_ADDON, "add-on")
    assert details["extra"] == {"by": "test"}
    assert (await daemon.ask("DELETE", f"/backups/{made['slug']}")).status == 200
    assert (await daemon.ask("DELETE", f"/backups/{made['slug']}")).status == 404
    assert (await daemon.ask("DELETE", f"/jobs/{made['job_id']}")).status == 200


async def test_the_envelope_is_the_same_everywhere(daemon: Daemon) -> None:
    ok = await daemon.ask("POST", "/jobs/reset")
    assert (ok.status, ok.body) == (200, {"result": "ok", "data": {}})
    with_body = await daemon.ask("GET", "/info", {})
    assert with_body.status == 200, "a body sent along with GET is ignored"
    missing = await daemon.ask("GET", "/store/addons/nobody")
    assert missing.status == 404
    assert missing.body["error_key"] == "store_app_not_found_error"
    assert missing.body["extra_fields"] == {"app": "nobody"}
    unknown = await daemon.ask("GET", "/no/such/thing")
    assert (unknown.status, unknown.text) == (404, "404: Not Found")
    wrong_method = await daemon.ask("DELETE", "/info")
    assert wrong_method.status == 405
    assert (await daemon.ask("HEAD", "/info")).status == 200
    assert (await daemon.ask("GET", "/addons/")).status == 404, "a slash at the end is another path"


async def test_texts_and_pictures_answer_as_user_interfaces_expect(daemon: Daemon) -> None:
    for path in ("/addons/local_rich/changelog", "/store/addons/local_rich/documentation", "/store/addons/x/changelog"):
        answer = await daemon.ask("GET", path)
        assert answer.status == 200, path
        assert answer.text
    assert (await daemon.ask("GET", "/addons/local_rich/icon")).status == 400
    assert (await daemon.ask("GET", "/addons/nobody/icon")).status == 404
    log = await daemon.ask("GET", "/addons/local_default/logs?lines=1")
    assert log.status == 200
    own = await daemon.ask("GET", "/supervisor/logs")
    assert "supervisor." in own.text, "the names of modules are in every line"


async def test_the_document_describes_the_whole_api(daemon: Daemon) -> None:
    document: dict[str, Any] = (await daemon.ask("GET", "/openapi.json")).body
    validate(document)
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            assert operation["responses"], (method, path)
            if method == "post" and "requestBody" in operation:
                for content in operation["requestBody"]["content"].values():
                    assert "schema" in content, path
    assert (await daemon.ask("GET", "/docs")).status == 200
