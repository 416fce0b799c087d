"""Single files of backups, asked of a whole daemon."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import Any

import pytest
from test_backup_hostility import linked, rewrite

from daemon import Daemon, until

PASSWORD = "grüße, geheim"


@pytest.fixture
async def house(daemon: Daemon) -> Daemon:
    slug = daemon.add_on("lamp")
    await daemon.start()
    await daemon.install(slug)
    photos = daemon.data / "share" / "photos"
    photos.mkdir(parents=True)
    (photos / "cat").write_text("meow")
    (daemon.data / "addons" / "data" / slug / "note").write_text("saved")
    return daemon


async def backup(house: Daemon, **more: Any) -> str:
    made = await house.post("/backups/new/partial", {"addons": ["local_lamp"], "folders": ["share"], **more})
    return str(made["slug"])


@pytest.mark.parametrize("password", [None, PASSWORD])
async def test_files_of_an_archive_are_listed_read_and_put_back(house: Daemon, password: str | None) -> None:
    secret: dict[str, Any] = {"password": password} if password else {}
    slug = await backup(house, **secret)
    one = f"/backups/{slug}"
    indexes = house.data / "backup_indexes"
    made = set(indexes.iterdir())
    assert len(made) == 2
    parts = [entry["path"] for entry in (await house.get(f"{one}/files"))["entries"]]
    assert parts == ["local_lamp", "share"]
    found = (await house.post(f"{one}/files", {"path": "share/photos", **secret}))["entries"]
    assert [(entry["path"], entry["kind"], entry["size_bytes"]) for entry in found] == [("share/photos/cat", "file", 4)]
    content = await house.ask("POST", f"{one}/content", {"path": "local_lamp/data/note", **secret})
    assert content.text == "saved"
    photos = house.data / "share" / "photos"
    (photos / "cat").write_text("woof")
    (photos / "new").write_text("since then")
    await house.post(f"{one}/restore/path", {"path": "share/photos/cat", **secret})
    assert (photos / "cat").read_text() == "meow"
    assert (photos / "new").read_text() == "since then"
    await house.post(f"{one}/restore/path", {"path": "share/photos", **secret})
    assert [path.name for path in photos.iterdir()] == ["cat"]
    for path in ("share/gone", "gone/x"):
        for method, what in (("POST", "files"), ("POST", "content"), ("POST", "restore/path")):
            refused = await house.ask(method, f"{one}/{what}", {"path": path, **secret})
            known = path == "gone/x" and what == "restore/path"
            assert refused.status == (400 if known else 404), (path, what, refused.text)
    for whole in ("share", "local_lamp/data", "local_lamp/addon.json"):
        assert (await house.ask("POST", f"{one}/restore/path", {"path": whole, **secret})).status == 400
    for bad in ("", "../x", "share/../../x"):
        assert (await house.ask("POST", f"{one}/restore/path", {"path": bad, **secret})).status == 400
    if password:
        for wrong in ({}, {"password": "another"}):
            for what in ("files", "content", "restore/path"):
                refused = await house.ask("POST", f"{one}/{what}", {"path": "share/photos", **wrong})
                assert refused.status == 400
                assert "Invalid password" in refused.text
    else:
        assert (await house.get(f"{one}/files?path=share/photos"))["entries"] == found
        assert (await house.ask("GET", f"{one}/content?path=share/photos/cat")).text == "meow"
    room = house.data / "tmp" / "backup"
    assert not room.exists() or list(room.iterdir()) == []
    # Nothing of this needed another index than those that were made with the backup, and they go with it.
    assert set(indexes.iterdir()) == made
    assert (await house.ask("DELETE", one)).status == 200
    assert list(indexes.iterdir()) == []


async def test_a_missing_path_is_told_by_the_job_with_its_key(house: Daemon) -> None:
    slug = await backup(house)
    started = await house.post(f"/backups/{slug}/restore/path", {"path": "share/gone", "background": True})

    async def ended() -> list[dict[str, Any]]:
        return [job for job in (await house.get("/jobs/history"))["jobs"] if job["uuid"] == started["job_id"]]

    (job,) = await until(ended, 60, lambda: house.log)
    assert {error["error_key"] for error in job["errors"]} == {"backup_path_not_found_error"}


async def test_a_link_in_a_strangers_archive_is_put_back_as_a_link_and_never_followed(house: Daemon) -> None:
    slug = await backup(house)
    outside = house.data / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    archive = house.data / "backup" / f"{slug}.tar"
    await asyncio.to_thread(rewrite, archive, "share.tar.gz", linked("photos", outside))
    await house.post("/backups/reload")
    # Out of a shared folder no link leads: it is left out, as in a restore.
    for what in ("files", "content", "restore/path"):
        refused = await house.ask("POST", f"/backups/{slug}/{what}", {"path": "share/photos"})
        assert refused.status == 404, refused.text
    assert (house.data / "share" / "photos" / "cat").read_text() == "meow"
    assert [path.name for path in outside.iterdir()] == ["mine"]


async def test_a_folder_comes_as_a_tar_archive_under_its_own_name(house: Daemon) -> None:
    slug = await backup(house)
    content = await house.ask("GET", f"/backups/{slug}/content?path=share")
    with tarfile.open(fileobj=io.BytesIO(content.text.encode("latin-1", "replace"))) as tar:
        assert sorted(tar.getnames()) == ["share", "share/photos", "share/photos/cat"]
