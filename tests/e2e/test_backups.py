"""Backups as users make and need them, on a real engine."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest

from daemon import Daemon, container_id, until
from file_trees import described, fill

HOT, COLD = "local_hot", "local_cold"
PASSWORD = "correct horse"
HOT_MORE = """\
options: {word: old}
schema: {word: str}
map: [addon_config:rw, share:rw]
backup_pre: "sh -c 'echo before >> /data/hooks'"
backup_post: "sh -c 'echo after >> /data/hooks'"
backup_exclude: ["cache/*"]
"""


@pytest.fixture
async def house(daemon: Daemon) -> Daemon:
    """Two running add-ons, one saved hot and one cold, with data, configuration and shared folders."""
    daemon.add_on("hot", more=HOT_MORE)
    daemon.add_on("cold", more="backup: cold\nbackup_exclude: []")
    await daemon.start()
    for slug in (HOT, COLD):
        await daemon.install(slug, start=True)
        fill(daemon.data / "addons" / "data" / slug, slug)
    await daemon.post(f"/addons/{HOT}/options", {"options": {"word": "chosen"}})
    fill(daemon.data / "addon_configs" / HOT, "config")
    (daemon.data / "addons" / "data" / HOT / "cache").mkdir()
    (daemon.data / "addons" / "data" / HOT / "cache" / "waste").write_text("waste")
    for folder in ("share", "ssl", "media", "homeassistant"):
        fill(daemon.data / folder, folder)
    (daemon.data / "homeassistant.json").write_text('{"version": "2026.4.1", "port": 8123, "watchdog": true}')
    (daemon.data / "homeassistant" / "home-assistant_v2.db").write_text("database")
    (daemon.data / "homeassistant" / "home-assistant.log").write_text("noise")
    return daemon


def folders(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """Return what is in the folders that backups hold, without what each start writes anew."""
    data = daemon.data
    found = {
        name: described(data / name)
        for name in ("share", "ssl", "media", "homeassistant", "addon_configs", "addons/local")
    }
    for slug in (HOT, COLD):
        inside = described(data / "addons" / "data" / slug)
        inside.pop("options.json", None)
        inside.pop("hooks", None)
        found[slug] = {name: value for name, value in inside.items() if not name.startswith("cache")}
    return found


def destroy(daemon: Daemon) -> None:
    for name in ("share", "ssl", "media", "homeassistant", "addon_configs"):
        for path in (daemon.data / name).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if name != "addon_configs":
            (daemon.data / name / "intruder").write_text("must go")


async def job_of(daemon: Daemon, uuid: str) -> Any:
    return await daemon.get(f"/jobs/{uuid}")


@pytest.mark.parametrize("password", [None, PASSWORD], ids=["open", "encrypted"])
@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
async def test_everything_comes_back_after_everything_was_destroyed(
    house: Daemon, docker_client: docker.APIClient, password: str | None, *, compressed: bool
) -> None:
    before = folders(house)
    made = await house.post("/backups/new/full", {"name": "All", "password": password, "compressed": compressed})
    slug = made["slug"]
    job = await job_of(house, made["job_id"])
    assert (job["reference"], job["done"], job["errors"], job["progress"]) == (slug, True, [], 100)
    info = await house.get(f"/backups/{slug}/info")
    assert (info["protected"], info["compressed"], info["type"]) == (password is not None, compressed, "full")
    assert {addon["slug"] for addon in info["addons"]} == {HOT, COLD}
    assert sorted(info["folders"]) == ["addons/local", "media", "share", "ssl"]
    assert info["homeassistant"] == "2026.4.1"
    assert (house.data / "addons" / "data" / HOT / "hooks").read_text() == "before\nafter\n"
    assert await house.state_of(COLD) == "started"

    for addon in (HOT, COLD):
        await house.post(f"/addons/{addon}/uninstall", {"remove_config": True})
    destroy(house)
    house.add_on("later")
    await house.post("/store/reload")
    await house.install("local_later")

    wrong = await house.ask("POST", f"/backups/{slug}/restore/full", {"password": "wrong"})
    if password is not None:
        assert wrong.status == 400
        assert wrong.body["message"].startswith("Invalid password for backup")
    restored = await house.ask("POST", f"/backups/{slug}/restore/full", {"password": password}, seconds=120)
    assert restored.status == 200, (restored.text, house.log)
    after = folders(house)
    noise = "home-assistant.log"
    assert noise not in after["homeassistant"]
    before["homeassistant"].pop(noise)
    for name in before:
        if name != "addons/local":
            assert after[name] == before[name], name
    assert {path: value[0] for path, value in after["addons/local"].items()} == {
        path: value[0] for path, value in before["addons/local"].items()
    }
    assert (await house.get(f"/addons/{HOT}/info"))["options"] == {"word": "chosen"}
    for addon in (HOT, COLD):
        assert await house.state_of(addon) == "started"
        assert container_id(docker_client, addon) is not None
    assert (await house.ask("GET", "/addons/local_later/info")).body["data"]["version"] is None, "not in the backup"
    assert (await house.get("/info"))["state"] == "running"
    assert list((house.data / "restore").iterdir()) == []


async def test_a_part_is_saved_and_restored_alone(house: Daemon) -> None:
    made = await house.post("/backups/new/partial", {"addons": [HOT, "local_unknown"], "folders": ["ssl"]})
    info = await house.get(f"/backups/{made['slug']}/info")
    assert [addon["slug"] for addon in info["addons"]] == [HOT]
    assert (info["folders"], info["homeassistant"]) == (["ssl"], None)
    share = described(house.data / "share")
    (house.data / "ssl" / "text").write_text("changed")
    (house.data / "ssl" / "new").write_text("new")
    (house.data / "addons" / "data" / HOT / "text").write_text("changed")
    refused = await house.ask("POST", f"/backups/{made['slug']}/restore/full", {})
    assert (refused.status, "only a partial backup" in refused.body["message"]) == (400, True)
    await house.post(f"/backups/{made['slug']}/restore/partial", {"folders": ["ssl"]})
    assert (house.data / "ssl" / "text").read_text().startswith("ssl\n")
    assert not (house.data / "ssl" / "new").exists()
    assert (house.data / "addons" / "data" / HOT / "text").read_text() == "changed"
    await house.post(f"/backups/{made['slug']}/restore/partial", {"addons": [HOT]})
    assert (house.data / "addons" / "data" / HOT / "text").read_text().startswith(HOT)
    assert await house.state_of(HOT) == "started"
    assert described(house.data / "share") == share
    lacking = await house.ask(
        "POST", f"/backups/{made['slug']}/restore/partial", {"folders": ["media"], "addons": [HOT]}
    )
    assert lacking.status == 400
    job = await job_of(house, lacking.body["job_id"])
    assert "media" in str(job["child_jobs"])


async def test_a_database_left_out_is_not_touched_by_a_restore(house: Daemon) -> None:
    made = await house.post("/backups/new/partial", {"homeassistant": True, "homeassistant_exclude_database": True})
    config = house.data / "homeassistant"
    (config / "home-assistant_v2.db").write_text("newer database")
    (config / "text").write_text("changed")
    (house.data / "homeassistant.json").write_text('{"version": "2026.4.1", "port": 1, "uuid": "mine"}')
    await house.post(f"/backups/{made['slug']}/restore/partial", {"homeassistant": True})
    assert (config / "home-assistant_v2.db").read_text() == "newer database"
    assert (config / "text").read_text().startswith("homeassistant")
    settings = (house.data / "homeassistant.json").read_text()
    assert '"port": 8123' in settings
    assert '"uuid": "mine"' in settings


async def test_a_backup_travels_by_download_and_upload(house: Daemon, tmp_path: Path) -> None:
    made = await house.post("/backups/new/partial", {"name": "Früh um 5!", "folders": ["share"], "password": PASSWORD})
    slug = made["slug"]
    path = house.data / "backup" / f"{slug}.tar"
    whole = path.read_bytes()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(house.socket))) as session:
        url = f"http://supervisor/backups/{slug}/download"
        async with session.get(url) as answer:
            assert await answer.read() == whole
            assert answer.headers["Content-Type"] == "application/tar"
            assert 'filename="Fr_h_um_5_.tar"' in answer.headers["Content-Disposition"]
        async with session.get(url, headers={"Range": "bytes=100-299"}) as answer:
            assert (answer.status, await answer.read()) == (206, whole[100:300])
            tag = answer.headers["ETag"]
        for asked, known, status in (("100-299", tag, 206), ("100-299", '"other"', 200), ("0-9,50-59", tag, 200)):
            async with session.get(url, headers={"Range": f"bytes={asked}", "If-Range": known}) as answer:
                assert answer.status == status, (asked, known)
                assert await answer.read() == (whole[100:300] if status == 206 else whole)
        await house.ask("DELETE", f"/backups/{slug}")
        assert not path.exists()
        assert (await house.ask("GET", f"/backups/{slug}/info")).status == 404

        upload = "http://supervisor/backups/new/upload"
        form = aiohttp.FormData()
        form.add_field("whatever", io.BytesIO(whole), filename="x", content_type="application/tar")
        async with session.post(upload, data=form, params={"filename": "named.tar"}) as answer:
            assert (await answer.json())["data"] == {"slug": slug}
        assert (house.data / "backup" / "named.tar").read_bytes() == whole
        for bad in (b"no archive", whole[:5000], b""):
            form = aiohttp.FormData()
            form.add_field("file", io.BytesIO(bad), filename="x")
            async with session.post(upload, data=form) as answer:
                assert answer.status == 400, bad[:10]
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(whole), filename="x")
        async with session.post(upload, data=form, params={"filename": "../evil.tar"}) as answer:
            assert answer.status == 400
        async with session.post(upload, data=b"raw") as answer:
            assert answer.status == 400
    assert sorted(p.name for p in (house.data / "backup").iterdir()) == ["named.tar"]
    (house.data / "backup" / "named.tar").unlink()
    assert (await house.ask("GET", f"/backups/{slug}/download")).status == 404
    assert (await house.ask("GET", f"/backups/{slug}/info")).status == 404


async def test_a_backup_is_checked_without_being_restored(house: Daemon) -> None:
    made = await house.post("/backups/new/partial", {"addons": [COLD], "folders": ["share"], "password": PASSWORD})
    slug = made["slug"]
    wrong = await house.ask("POST", f"/backups/{slug}/verify", {"password": "wrong"})
    assert wrong.body["message"].startswith("Invalid password for backup")
    good = await house.post(f"/backups/{slug}/verify", {"password": PASSWORD})
    assert (good["good"], good["problems"]) == (True, [])
    assert good["files"] >= 6
    path = house.data / "backup" / f"{slug}.tar"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    bad = await house.post(f"/backups/{slug}/verify", {"password": PASSWORD})
    assert (bad["good"], len(bad["problems"])) == (False, 1)
    shown = (await house.get(f"/backups/{slug}/info"))["verification"][".local"]
    assert shown["good"] is False
    await house.end()
    await house.start()
    assert (await house.get(f"/backups/{slug}/info"))["verification"][".local"] == shown


async def test_freezing_stops_cold_add_ons_and_ends_by_itself(house: Daemon) -> None:
    await house.post("/backups/freeze", {"timeout": 600})
    assert (await house.get("/info"))["state"] == "freeze"
    assert await house.state_of(COLD) == "stopped"
    busy = await house.ask("POST", "/backups/new/full", {})
    assert (busy.status, "not running" in busy.body["message"]) == (400, True)
    await house.post("/backups/thaw")
    assert (await house.get("/info"))["state"] == "running"
    assert await house.state_of(COLD) == "started"
    assert (await house.ask("POST", "/backups/thaw")).status == 400
    await house.post("/backups/freeze", {"timeout": 1})

    async def awake() -> bool:
        return (await house.get("/info"))["state"] == "running" and await house.state_of(COLD) == "started"

    await until(awake, 60, lambda: house.log)


async def test_what_is_frozen_when_the_daemon_dies_runs_again_at_its_next_start(house: Daemon) -> None:
    await house.post("/backups/freeze")
    assert await house.state_of(COLD) == "stopped"
    await house.kill()
    await house.start()

    hooks = house.data / "addons" / "data" / HOT / "hooks"

    async def awake() -> bool:
        return await house.state_of(COLD) == "started" and hooks.read_text() == "before\nafter\n"

    await until(awake, 60, lambda: house.log)


async def test_a_cancelled_backup_leaves_nothing_and_all_runs_again(house: Daemon) -> None:
    with (house.data / "share" / "huge").open("wb") as file:
        file.truncate(300 * 1024**3)
    started = await house.post("/backups/new/full", {"background": True})

    async def saving() -> bool:
        return "folders" in str((await job_of(house, started["job_id"]))["stage"])

    await until(saving, 60, lambda: house.log)
    job = await job_of(house, started["job_id"])
    await until(lambda: _moves(house, started["job_id"]), 60, lambda: house.log)
    assert job["reference"]
    await house.post(f"/jobs/{started['job_id']}/cancel")

    async def ended() -> bool:
        return (await house.get("/info"))["state"] == "running"

    await until(ended, 60, lambda: house.log)
    assert list((house.data / "backup").iterdir()) == []
    assert (await house.get("/backups")) == {"backups": []}
    assert await house.state_of(COLD) == "started"


async def _moves(daemon: Daemon, uuid: str) -> bool:
    extra = (await job_of(daemon, uuid))["extra"] or {}
    return extra.get("current", 0) > 10_000_000


async def test_an_add_on_whose_command_fails_costs_only_itself(daemon: Daemon) -> None:
    daemon.add_on("bad", more="backup_pre: \"sh -c 'exit 3'\"")
    daemon.add_on("good")
    await daemon.start()
    for slug in ("local_bad", "local_good"):
        await daemon.install(slug, start=True)
    made = await daemon.post("/backups/new/partial", {"addons": "ALL"})
    info = await daemon.get(f"/backups/{made['slug']}/info")
    assert [addon["slug"] for addon in info["addons"]] == ["local_good"]
    job = await job_of(daemon, made["job_id"])
    assert job["errors"] == []
    apps = next(child for child in job["child_jobs"] if child["name"] == "backup_store_apps")
    assert apps["errors"][0]["error_key"] == "app_pre_post_backup_command_returned_error"
    assert apps["errors"][0]["type"] == "AppPrePostBackupCommandReturnedError"
    with tarfile.open(daemon.data / "backup" / f"{made['slug']}.tar") as tar:
        assert "local_bad.tar.gz" not in tar.getnames(), "no half of it stays in the file"


async def test_an_add_on_whose_image_is_gone_is_saved_without_it_and_built_again_by_a_restore(
    daemon: Daemon, docker_client: docker.APIClient
) -> None:
    slug = daemon.add_on("lamp")
    await daemon.start()
    await daemon.install(slug)
    data = daemon.data / "addons" / "data" / slug
    (data / "kept").write_text("kept")
    image = f"local/{(await daemon.get('/info'))['arch']}-addon-lamp:1.0"
    docker_client.remove_image(image, force=True)
    made = await daemon.post("/backups/new/partial", {"addons": [slug]})
    info = await daemon.get(f"/backups/{made['slug']}/info")
    assert [(addon["slug"], addon["imageless"]) for addon in info["addons"]] == [(slug, True)]
    job = await job_of(daemon, made["job_id"])
    assert f"The image of {slug} is gone" in str(job["child_jobs"])
    with tarfile.open(daemon.data / "backup" / f"{made['slug']}.tar") as outer:
        inner = outer.extractfile(f"{slug}.tar.gz")
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as tar:
            names = {name.removeprefix("./") for name in tar.getnames()}
    assert {"addon.json", "data/kept"} <= names
    assert "image.tar" not in names

    await daemon.post(f"/addons/{slug}/uninstall")
    assert docker_client.images(name=image) == []
    await daemon.post(f"/backups/{made['slug']}/restore/partial", {"addons": [slug]})
    assert docker_client.images(name=image)
    assert (data / "kept").read_text() == "kept"
    await daemon.post(f"/addons/{slug}/start")
    assert await daemon.state_of(slug) == "started"


async def test_patterns_of_the_user_are_left_out_and_the_preview_knows(house: Daemon) -> None:
    before = await house.post("/backups/preview", {"addons": [HOT]})
    await house.post("/backups/excludes", {HOT: ["data/sub/random", "*.none"]})
    assert await house.get("/backups/excludes") == {"excludes": {HOT: ["data/sub/random", "*.none"]}}
    after = await house.post("/backups/preview", {"addons": [HOT]})
    assert before["size"] - after["size"] == 1_200_000
    assert (await house.ask("POST", "/backups/excludes", {HOT: ["../x"]})).status == 400
    made = await house.post("/backups/new/partial", {"addons": [HOT], "compressed": False})
    with (
        tarfile.open(house.data / "backup" / f"{made['slug']}.tar") as outer,
        tarfile.open(fileobj=outer.extractfile(f"{HOT}.tar")) as inner,
    ):
        names = inner.getnames()
    assert "data/sub/random" not in names
    assert "config/sub/random" in names
    assert "data/cache/waste" not in names
    assert "data/cache" in names


async def test_names_and_places_that_make_no_sense_are_refused(house: Daemon) -> None:
    for body, status in (
        ({"filename": "../x.tar"}, 400),
        ({"filename": "x.zip"}, 400),
        ({"location": "nowhere"}, 404),
        ({"location": ".cloud_backup"}, 403),
        ({"location": []}, 400),
        ({"addons": ["a", "a"]}, 400),
        ({"folders": ["etc"]}, 400),
        ({"unknown": 1}, 400),
    ):
        answer = await house.ask("POST", "/backups/new/partial", body)
        assert answer.status == status, (body, answer.text)
    made = await house.post("/backups/new/partial", {"filename": "mine.tar", "folders": ["ssl"]})
    content = (house.data / "backup" / "mine.tar").read_bytes()
    again = await house.ask("POST", "/backups/new/partial", {"filename": "mine.tar", "folders": ["ssl"]})
    assert (again.status, "left alone" in again.body["message"]) == (400, True)
    assert (house.data / "backup" / "mine.tar").read_bytes() == content
    assert [backup["slug"] for backup in (await house.get("/backups"))["backups"]] == [made["slug"]]


async def test_an_update_can_be_asked_to_save_the_old_version_first(daemon: Daemon) -> None:
    slug = daemon.add_on("lamp", "1.0")
    await daemon.start()
    await daemon.install(slug, start=True)
    (daemon.data / "addons" / "data" / slug / "note").write_text("old")
    daemon.add_on("lamp", "2.0")
    await daemon.post("/store/reload")
    await daemon.post(f"/store/addons/{slug}/update", {"backup": True})
    assert (await daemon.get(f"/addons/{slug}/info"))["version"] == "2.0"
    (backup,) = (await daemon.get("/backups"))["backups"]
    assert (backup["name"], backup["content"]["addons"]) == (f"addon_{slug}_1.0", [slug])
    (daemon.data / "addons" / "data" / slug / "note").write_text("new")
    await daemon.post(f"/backups/{backup['slug']}/restore/partial", {"addons": [slug]})
    assert (await daemon.get(f"/addons/{slug}/info"))["version"] == "1.0"
    assert (daemon.data / "addons" / "data" / slug / "note").read_text() == "old"
    assert await daemon.state_of(slug) == "started"


async def test_a_full_disk_leaves_no_half_and_spares_what_is_there(house: Daemon) -> None:
    made = await house.post("/backups/new/partial", {"folders": ["ssl"]})
    target = house.data / "backup"
    kept = (target / f"{made['slug']}.tar").read_bytes()
    small = ("mount", "-t", "tmpfs", "-o", "size=3m", "none", str(target))
    await asyncio.to_thread(subprocess.run, small, check=True)
    try:
        (target / f"{made['slug']}.tar").write_bytes(kept)
        await house.post("/backups/reload")
        full = await house.ask("POST", "/backups/new/full", {})
        assert (full.status, "No space left" in full.body["message"]) == (400, True)
        job = await job_of(house, full.body["job_id"])
        assert job["errors"][0]["type"] == "BackupFatalIOError"
        assert [path.name for path in target.iterdir()] == [f"{made['slug']}.tar"]
        assert (await house.post(f"/backups/{made['slug']}/verify"))["good"]
        assert [backup["slug"] for backup in (await house.get("/backups"))["backups"]] == [made["slug"]]
        assert (await house.get("/info"))["state"] == "running"
        assert await house.state_of(COLD) == "started"
    finally:
        await asyncio.to_thread(subprocess.run, ("umount", str(target)), check=True)


async def test_a_backup_that_is_removed_while_all_is_stopped_for_it_is_restored_all_the_same(daemon: Daemon) -> None:
    slug = daemon.add_on("slow", command="trap 'sleep 5; exit 0' TERM; while :; do sleep 0.1; done")
    await daemon.start()
    await daemon.install(slug, start=True)
    note = daemon.data / "addons" / "data" / slug / "note"
    note.write_text("saved")
    made = await daemon.post("/backups/new/full")
    note.write_text("lost")
    restoring = asyncio.create_task(daemon.ask("POST", f"/backups/{made['slug']}/restore/full", {}))
    await until(lambda: (daemon.socket.parent / "state").read_text() == "freeze", 60)
    # It was opened before as well, for its password; by now only the restore does.
    archive = daemon.data / "backup" / f"{made['slug']}.tar"
    await until(lambda: _has_open(daemon, archive), 60, lambda: daemon.log)
    removed = await daemon.ask("DELETE", f"/backups/{made['slug']}")
    restored = await restoring
    assert (removed.status, restored.status) == (200, 200), restored.text
    assert note.read_text() == "saved"
    assert await daemon.state_of(slug) == "started"


def _has_open(daemon: Daemon, file: Path) -> bool:
    assert daemon.process is not None
    for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if link.readlink() == file:
                return True
    return False
