"""What other systems are known to get wrong with backups (backup contract §21), done right, seen from outside."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon import Daemon, until
from supervisor.drivers.archive.cipher import StreamEncryptor
from supervisor.drivers.archive.keys import Keyring
from tarballs import tar_of

LAMP = "local_lamp"
PASSWORD = "correct horse"
MOUNTS = {
    "mounts": [
        {
            "name": "vault",
            "type": "cifs",
            "usage": "backup",
            "read_only": False,
            "server": "nas.local",
            "share": "vault",
            "username": "me",
            "password": "se,cret",
        }
    ],
    "default_backup_mount": "vault",
}


def outer(path: Path, members: dict[str, bytes]) -> None:
    path.write_bytes(tar_of(members))


def members_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


async def errors_of(daemon: Daemon, uuid: str) -> list[dict[str, Any]]:
    pending, found = [await daemon.get(f"/jobs/{uuid}")], []
    while pending:
        job = pending.pop()
        found += job["errors"]
        pending += job["child_jobs"]
    return found


async def test_local_add_ons_are_saved_and_come_back(running: Daemon) -> None:
    running.add_on("lamp")
    made = await running.post("/backups/new/partial", {"folders": ["addons/local"]})
    names = members_of(running.data / "backup" / f"{made['slug']}.tar")
    assert json.loads(names["./backup.json"])["folders"] == ["addons/local"]
    with tarfile.open(fileobj=io.BytesIO(names["addons_local.tar.gz"])) as tar:
        assert "./lamp/config.yaml" in tar.getnames()
    await asyncio.to_thread(shutil.rmtree, running.data / "addons" / "local" / "lamp")
    await running.post(f"/backups/{made['slug']}/restore/partial", {"folders": ["addons/local"]})
    assert (running.data / "addons" / "local" / "lamp" / "config.yaml").is_file()
    await running.post("/store/reload")
    assert LAMP in {addon["slug"] for addon in (await running.get("/store"))["addons"]}


@pytest.mark.parametrize("password", [None, PASSWORD], ids=["open", "encrypted"])
async def test_mounts_and_logins_come_back_from_open_and_encrypted_backups(
    daemon: Daemon, password: str | None
) -> None:
    daemon.data.mkdir(parents=True)
    (daemon.data / "mounts.json").write_text(json.dumps(MOUNTS))
    await daemon.start()
    await daemon.post("/docker/registries", {"registry.example.org": {"username": "me", "password": "hidden"}})
    body = {"folders": ["ssl"], "password": password, "location": None}
    made = await daemon.post("/backups/new/partial", body)
    content = (daemon.data / "backup" / f"{made['slug']}.tar").read_bytes()
    if password is not None:
        assert not any(secret in content for secret in (b"hidden", b"se,cret"))
    await daemon.ask("DELETE", "/docker/registries/registry.example.org")
    await daemon.end()
    for path in daemon.data.glob("*mounts.json*"):
        path.unlink()
    await daemon.start()
    await daemon.post("/docker/registries", {"other.example.org": {"username": "you", "password": "too"}})
    assert (await daemon.get("/mounts"))["mounts"] == []
    restored = await daemon.ask(
        "POST", f"/backups/{made['slug']}/restore/partial", {"folders": ["ssl"], "password": password}
    )
    assert restored.status == 200, restored.text
    mounts = await daemon.get("/mounts")
    assert [mount["name"] for mount in mounts["mounts"]] == ["vault"]
    assert mounts["default_backup_mount"] == "vault"
    assert json.loads((daemon.data / "mounts.json").read_text())["mounts"][0]["password"] == "se,cret"
    registries = await daemon.get("/docker/registries")
    assert set(registries["registries"]) == {"registry.example.org", "other.example.org"}


async def test_parts_with_another_password_fail_alone_and_are_told_from_a_wrong_password(running: Daemon) -> None:
    for folder in ("share", "ssl"):
        (running.data / folder / "note").write_text("saved")
    (running.data / "homeassistant.json").write_text('{"version": "2026.4.1"}')
    made = [
        await running.post(
            "/backups/new/partial", {"folders": ["share", "ssl"], "homeassistant": True, "password": password}
        )
        for password in (PASSWORD, "another")
    ]
    mine, other = [running.data / "backup" / f"{one['slug']}.tar" for one in made]
    strange = members_of(other)
    parts = members_of(mine)
    parts["ssl.tar.gz"] = strange["ssl.tar.gz"]
    parts["homeassistant.tar.gz"] = strange["homeassistant.tar.gz"]
    outer(mine, parts)
    other.unlink()
    await running.post("/backups/reload")
    slug = made[0]["slug"]
    for folder in ("share", "ssl"):
        (running.data / folder / "note").write_text("here")
    path = f"/backups/{slug}/restore/partial"

    wrong = await running.ask("POST", path, {"folders": ["share"], "password": "neither"})
    assert wrong.body["message"].startswith("Invalid password for backup")
    core = await running.ask("POST", path, {"homeassistant": True, "folders": ["share"], "password": PASSWORD})
    assert (core.status, "can be restored without it" in core.body["message"]) == (400, True)
    assert (running.data / "share" / "note").read_text() == "here", "it is told before anything is changed"

    partly = await running.ask("POST", path, {"folders": ["share", "ssl"], "password": PASSWORD})
    assert partly.status == 400
    assert partly.body["message"].startswith(f"An error occurred during restore of {slug}")
    assert (running.data / "share" / "note").read_text() == "saved"
    assert (running.data / "ssl" / "note").read_text() == "here"
    messages = [error["message"] for error in await errors_of(running, partly.body["job_id"])]
    assert any("another one" in message for message in messages)
    verdict = await running.post(f"/backups/{slug}/verify", {"password": PASSWORD})
    assert [problem.partition(".")[0] for problem in verdict["problems"]] == ["homeassistant", "ssl"]


@pytest.mark.parametrize("at", [9, 12, 5000], ids=["unknown version", "reserved bytes", "ciphertext"])
async def test_damage_to_what_is_encrypted_is_a_clear_error(running: Daemon, at: int) -> None:
    (running.data / "homeassistant.json").write_text('{"version": "2026.4.1"}')
    for folder in ("share", "ssl"):
        (running.data / folder / "note").write_bytes(os.urandom(20_000))
    made = await running.post("/backups/new/partial", {"folders": ["share", "ssl"], "password": PASSWORD})
    archive = running.data / "backup" / f"{made['slug']}.tar"
    parts = members_of(archive)
    assert parts["ssl.tar.gz"].startswith(b"SecureTar\x03")
    damaged = bytearray(parts["ssl.tar.gz"])
    damaged[at] ^= 0x40
    outer(archive, {**parts, "ssl.tar.gz": bytes(damaged)})
    await running.post("/backups/reload")
    before = (running.data / "ssl" / "note").read_bytes()
    answer = await running.ask(
        "POST", f"/backups/{made['slug']}/restore/partial", {"folders": ["ssl"], "password": PASSWORD}
    )
    assert answer.status == 400
    assert not answer.body["message"].startswith("Invalid password"), "a password that is right is not asked for again"
    assert {error["type"] for error in await errors_of(running, answer.body["job_id"])} == {
        "BackupInvalidError",
        "BackupError",
    }
    assert (running.data / "ssl" / "note").read_bytes() == before


async def test_what_lies_in_an_encrypted_backup_is_named_to_who_gives_its_password_alone(running: Daemon) -> None:
    device = tarfile.TarInfo("dear-diary")
    device.type = tarfile.CHRTYPE
    encryptor = StreamEncryptor(Keyring(PASSWORD))
    sealed = encryptor.update(gzip.compress(device.tobuf() + bytes(1024))) + encryptor.finish()
    date = "2026-01-01T00:00:00+00:00"
    described = {
        "slug": "0a0a0a0a",
        "type": "partial",
        "name": "n",
        "date": date,
        "protected": True,
        "folders": ["ssl"],
    }
    parts = {"ssl.tar.gz": encryptor.header + sealed, "./backup.json": json.dumps(described).encode()}
    outer(running.data / "backup" / "0a0a0a0a.tar", parts)
    await running.post("/backups/reload")
    verdict = await running.post("/backups/0a0a0a0a/verify", {"password": PASSWORD})
    assert verdict["problems"] == ["ssl.tar.gz: dear-diary: a device"]
    shown = (await running.get("/backups/0a0a0a0a/info"))["verification"][".local"]
    assert (shown["good"], shown["problems"]) == (False, ["ssl.tar.gz: Something in it: a device"])
    wish = {"folders": ["ssl"], "password": PASSWORD}
    refused = await running.ask("POST", "/backups/0a0a0a0a/restore/partial", wish)
    assert refused.status == 400
    assert any("dear-diary: a device" in str(error) for error in await errors_of(running, refused.body["job_id"]))
    # What nobody waits for is said in the log.
    wish = {"path": "ssl/sub", "password": PASSWORD, "background": True}
    await running.ask("POST", "/backups/0a0a0a0a/restore/path", wish)

    async def ended() -> bool:
        jobs = (await running.get("/jobs/history"))["jobs"]
        return any("dear-diary: a device" in str(job) for job in jobs if job["name"] == "backup_manager_restore_path")

    await until(ended, 60, lambda: running.log)
    await running.end()
    assert "Something in it: a device" in running.log
    for file in (running.folder / "log", *running.data.rglob("*")):
        assert not file.is_file() or b"dear-diary" not in file.read_bytes(), file


async def test_null_compresses_as_no_word_at_all_does(running: Daemon) -> None:
    for body, compressed in (({}, True), ({"compressed": None}, True), ({"compressed": False}, False)):
        made = await running.post("/backups/new/partial", {"folders": ["ssl"], **body})
        assert (await running.get(f"/backups/{made['slug']}/info"))["compressed"] is compressed
        names = members_of(running.data / "backup" / f"{made['slug']}.tar")
        assert ("ssl.tar.gz" in names) is compressed


async def test_an_empty_password_is_none(running: Daemon) -> None:
    made = await running.post("/backups/new/partial", {"folders": ["ssl"], "password": ""})
    assert (await running.get(f"/backups/{made['slug']}/info"))["protected"] is False
    await running.post(f"/backups/{made['slug']}/restore/partial", {"folders": ["ssl"], "password": ""})
    await running.post(f"/backups/{made['slug']}/restore/partial", {"folders": ["ssl"], "password": "superfluous"})


async def test_a_restore_needs_no_room_where_the_backup_lies(running: Daemon) -> None:
    (running.data / "share" / "random").write_bytes(os.urandom(3_000_000))
    target = running.data / "backup"
    full = ("mount", "-t", "tmpfs", "-o", "size=3300k", "none", str(target))
    await asyncio.to_thread(subprocess.run, full, check=True)
    try:
        made = await running.post("/backups/new/partial", {"folders": ["share"]})
        (running.data / "share" / "random").unlink()
        await running.post(f"/backups/{made['slug']}/restore/partial", {"folders": ["share"]})
        assert (running.data / "share" / "random").stat().st_size == 3_000_000
        assert [path.name for path in target.iterdir()] == [f"{made['slug']}.tar"]
    finally:
        await asyncio.to_thread(subprocess.run, ("umount", str(target)), check=True)


async def test_a_backup_that_came_while_nobody_looked_is_found_when_another_has_gone(running: Daemon) -> None:
    made = await running.post("/backups/new/partial", {"folders": ["ssl"]})
    folder = running.data / "backup"
    least = {"slug": "00000001", "type": "partial", "name": "new", "date": "2026-01-01T00:00:00+00:00"}
    outer(folder / "new.tar", {"./backup.json": json.dumps(least).encode()})
    (folder / f"{made['slug']}.tar").unlink()
    assert (await running.ask("GET", f"/backups/{made['slug']}/download")).status == 404
    assert [backup["slug"] for backup in (await running.get("/backups"))["backups"]] == ["00000001"]


async def test_a_backup_of_the_first_version_comes_back(running: Daemon) -> None:
    """It has another name inside, Core's files without a folder of their own, and other words in its description."""
    described = {
        "slug": "0ld0ld00",
        "name": "From long ago",
        "date": "2021-03-01T12:00:00",
        "type": "full",
        "crypto": "aes128",
        "protected": "",
        "homeassistant": {"version": "2021.2.3", "size": 12.5, "more": 1},
        "folders": ["homeassistant", "ssl"],
        "addons": [],
        "repositories": ["https://github.com/hassio-addons/repository"],
        "docker": {"registries": {}},
    }
    plain = {**described, "protected": False}
    (running.data / "homeassistant.json").write_text('{"version": "2026.4.1", "uuid": "mine"}')
    (running.data / "homeassistant" / "intruder").write_text("must go")
    core = {"./configuration.yaml": b"default_config:\n", "./.storage/auth": b"{}"}
    outer(
        running.data / "backup" / "old.tar",
        {
            "./snapshot.json": json.dumps(plain).encode(),
            "homeassistant.tar.gz": tar_of(core, compressed=True),
            "ssl.tar.gz": tar_of({"./cert": b"cert"}, compressed=True),
        },
    )
    await running.post("/backups/reload")
    info = await running.get("/backups/0ld0ld00/info")
    assert (info["folders"], info["homeassistant"]) == (["ssl"], "2021.2.3")
    answer = await running.ask(
        "POST", "/backups/0ld0ld00/restore/partial", {"folders": ["homeassistant", "ssl"], "homeassistant": False}
    )
    assert answer.status == 200, answer.text
    config = running.data / "homeassistant"
    assert sorted(path.name for path in config.iterdir()) == [".storage", "configuration.yaml"]
    assert (running.data / "ssl" / "cert").read_bytes() == b"cert"
    assert json.loads((running.data / "homeassistant.json").read_text())["uuid"] == "mine"


async def test_what_is_sent_and_taken_in_takes_no_memory_of_its_size(running: Daemon, tmp_path: Path) -> None:
    with (running.data / "share" / "large").open("wb") as file:
        file.truncate(400_000_000)
    wish = {"folders": ["share"], "compressed": False}
    made = (await running.ask("POST", "/backups/new/partial", wish, seconds=240)).data
    assert running.process is not None
    process = Path("/proc") / str(running.process.pid)
    before = peak(process)
    copy = tmp_path / "copy.tar"
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(running.socket))) as session:
        async with session.get(f"http://supervisor/backups/{made['slug']}/download") as answer:
            with copy.open("wb") as file:
                async for piece in answer.content.iter_chunked(1_000_000):
                    file.write(piece)
        await running.ask("DELETE", f"/backups/{made['slug']}")
        with copy.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("file", file, filename="x")
            params = [("location", ""), ("filename", "taken-in.tar")]
            async with session.post("http://supervisor/backups/new/upload", data=form, params=params) as answer:
                assert (await answer.json())["data"] == {"slug": made["slug"]}
    assert (running.data / "backup" / "taken-in.tar").stat().st_size == copy.stat().st_size > 400_000_000
    assert peak(process) - before < 40_000_000


def peak(process: Path) -> int:
    """Return the most memory that a process has had, in bytes."""
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def test_progress_and_stages_are_told_in_the_words_of_the_contract(running: Daemon) -> None:
    slug = running.add_on("lamp")
    await running.post("/store/reload")
    await running.install(slug)
    size = 2 * 1024**3
    with (running.data / "share" / "large").open("wb") as file:
        file.truncate(size)
    started = await running.post("/backups/new/full", {"background": True})
    seen: list[dict[str, Any]] = []

    async def ended() -> bool:
        seen.append(await running.get(f"/jobs/{started['job_id']}"))
        return bool(seen[-1]["done"])

    await until(ended, 200, lambda: running.log)
    stages = list(dict.fromkeys(job["stage"] for job in seen))
    known = ["addon_repositories", "home_assistant", "addons", "folders", "supervisor_config", "finishing_file"]
    assert [stage for stage in known if stage in stages] == stages, "in this order, and no others"
    assert seen[-1]["stage"] == "finishing_file"
    told = [job["extra"] for job in seen if job["extra"]]
    assert len({extra["current"] for extra in told}) > 1
    assert all(0 <= extra["current"] <= extra["total"] for extra in told)
    assert size < told[-1]["total"] < size + 10_000_000
    children = {child["name"] for child in seen[-1]["child_jobs"]}
    assert {"backup_store_apps", "backup_store_folders"} <= children
