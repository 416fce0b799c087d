"""Network storage, mounted by the box's own systemd; only the servers are stand-ins (see tests/stands)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
import pytest_asyncio

from box_daemon import BoxDaemon
from daemon import until, within
from hostbox.box import Box

STORAGE = "/run/network-storage"
DATA = "/mnt/data/supervisor"
NFS = {"name": "films", "type": "nfs", "usage": "media", "server": "nas", "path": "/films"}
CIFS = {"name": "vault", "type": "cifs", "usage": "backup", "server": "nas", "share": "vault"}
LOGIN = {"username": "me", "password": "se,cret =1"}


@attrs.frozen
class Servers:
    """The servers of the stand-in."""

    box: Box

    async def shell(self, script: str) -> str:
        return await self.box.ask("sh", "-euc", script)

    async def export(self, server: str, share: str) -> None:
        await self.shell(f"mkdir -p {STORAGE}/{server}/exports/{share}; touch {STORAGE}/asked")

    async def asked(self) -> list[str]:
        return (await self.shell(f"cat {STORAGE}/asked")).splitlines()

    async def mounted(self, path: str) -> dict[str, Any] | None:
        """What findmnt of the box says of a folder."""
        text = await self.shell(f"findmnt --json --mountpoint {path} || true")
        return json.loads(text)["filesystems"][-1] if text else None

    async def unit(self, path: str, *properties: str) -> list[str]:
        unit = (await self.box.ask("systemd-escape", "--path", "--suffix=mount", path)).strip()
        shown = await self.box.ask("systemctl", "show", unit, *(f"--property={name}" for name in properties))
        values = dict(line.split("=", 1) for line in shown.splitlines())
        return [values[name] for name in properties]


@pytest_asyncio.fixture
async def servers(host: BoxDaemon, box: Box) -> AsyncIterator[Servers]:
    servers = Servers(box)
    try:
        await servers.export("nas", "films")
        await servers.export("nas", "vault")
        yield servers
    finally:
        await servers.shell(f"rm -f {STORAGE}/*/dead {STORAGE}/*/hanging {STORAGE}/*/login")
        # The test may have stopped or killed it.
        await host.start()
        await host.ready()
        await _clean(host)
        await servers.shell(f"rm -rf {STORAGE} {DATA}/media/* {DATA}/share/* {DATA}/ssl/* {DATA}/films")


async def _clean(host: BoxDaemon) -> None:
    """Remove what a test has made on the daemon, whatever became of the test."""
    for backup in (await host.get("/backups"))["backups"]:
        await host.ask("DELETE", f"/backups/{backup['slug']}")
    for repository in (await host.get("/backups/repositories"))["repositories"]:
        await host.ask("DELETE", f"/backups/repositories/{repository['name']}")
    for mount in (await host.get("/mounts"))["mounts"]:
        await host.ask("DELETE", f"/mounts/{mount['name']}")
    assert (await host.get("/mounts")) == {"default_backup_mount": None, "mounts": []}


async def issues(host: BoxDaemon) -> list[tuple[str, str]]:
    found = (await host.get("/resolution/info"))["issues"]
    return [(issue["type"], issue["reference"]) for issue in found if issue["context"] == "mount"]


async def test_a_mount_for_media_is_mounted_and_given_to_add_ons(host: BoxDaemon, servers: Servers) -> None:
    await servers.shell(f"echo blue > {STORAGE}/nas/exports/films/one")
    await host.post("/mounts", {**NFS, "port": "2049", "read_only": True, "unknown": 1})
    [mount] = (await host.get("/mounts"))["mounts"]
    assert mount == {**NFS, "port": 2049, "read_only": True, "state": "active", "user_path": "/media/films"}
    for path in (f"{DATA}/mounts/films", f"{DATA}/media/films"):
        assert await servers.shell(f"cat {path}/one") == "blue"
        assert "ro" in (await servers.mounted(path))["options"].split(",")
    described = await servers.unit(f"{DATA}/mounts/films", "Description", "TimeoutUSec", "Transient")
    assert described == ["Supervisor nfs mount: films", "35s", "yes"]
    file = await servers.shell("cat /run/systemd/transient/*-mounts-films.mount")
    assert {"What=nas:/films", "Type=nfs"} < set(file.splitlines())
    [asked] = await servers.asked()
    assert asked == f"mount.nfs nas:/films {DATA}/mounts/films ro,port=2049,softerr,timeo=100,retrans=2"
    usage = await host.get("/host/disks/films/usage")
    assert (usage["id"], usage["label"], usage["total_bytes"] > 0) == ("films", "films", True)

    job = await host.post("/backups/new/partial", {"folders": ["media"], "location": None})
    saved = await servers.shell(f"cd {DATA}/backup; tar -xOf *.tar --wildcards '*media.tar.gz' | tar -tz")
    assert "one" not in saved, "what lies on a server is the server's to keep"
    await host.ask("DELETE", f"/backups/{job['slug']}")

    await host.ask("DELETE", "/mounts/films")
    for path in (f"{DATA}/mounts/films", f"{DATA}/media/films"):
        assert await servers.mounted(path) is None
        assert not (host.data / Path(path).relative_to(DATA)).exists()
    assert (await host.ask("GET", "/host/disks/films/usage")).body["error_key"] == "mount_not_found_error"


async def test_a_mount_for_backups_is_a_location_of_backups(host: BoxDaemon, servers: Servers) -> None:
    await servers.shell(f"printf 'username=me\\npassword=se,cret =1' > {STORAGE}/nas/login")
    refused = await host.ask("POST", "/mounts", {**CIFS, **LOGIN, "password": "wrong"})
    assert (refused.status, "did not succeed" in refused.body["message"]) == (400, True)
    assert (await host.get("/mounts"))["mounts"] == []
    assert not (host.data / ".mounts_credentials/vault").exists()
    assert await servers.mounted(f"{DATA}/mounts/vault") is None
    await host.post("/mounts", {**CIFS, **LOGIN, "name": "other"})
    assert (await host.ask("DELETE", "/mounts/other")).status == 200
    assert await servers.shell(f"grep -rlF 'cret =1' {DATA}/*.json {DATA}/.[a-z]* || true") == ""

    await host.post("/mounts", {**CIFS, **LOGIN, "version": "2.0"})
    listed = await host.get("/mounts")
    assert listed["default_backup_mount"] == "vault"
    assert listed["mounts"] == [{**CIFS, "version": "2.0", "read_only": False, "state": "active", "user_path": None}]
    asked = (await servers.asked())[-1]
    assert asked.endswith(
        f"noserverino,soft,echo_interval=10,retrans=0,vers=2.0,credentials={DATA}/.mounts_credentials/vault"
    )
    secret = await servers.shell(f"stat -c '%a %U' {DATA}/.mounts_credentials {DATA}/.mounts_credentials/vault")
    assert secret.splitlines() == ["700 root", "600 root"]
    assert "cret" not in await servers.shell("cat /run/systemd/transient/*vault*")

    job = await host.post("/backups/new/partial", {"folders": ["ssl"], "name": "far"})
    archives = await servers.shell(f"ls {STORAGE}/nas/exports/vault")
    assert archives.endswith(".tar")
    backup = await host.get(f"/backups/{job['slug']}/info")
    assert backup["locations"] == ["vault"]

    await servers.shell(f"touch {STORAGE}/nas/dead; umount {DATA}/mounts/vault")
    down = await host.ask("POST", "/backups/new/partial", {"folders": ["ssl"]})
    assert (down.status, down.body["error_key"]) == (400, "backup_mount_down")
    assert (await host.ask("POST", "/mounts/vault/reload")).status == 400
    assert await issues(host) == [("mount_failed", "vault")]
    assert (await host.ask("GET", f"/backups/{job['slug']}/info")).status == 404
    assert (await host.ask("GET", "/host/disks/vault/usage")).body["error_key"] == "mount_usage_not_active_error"
    await servers.shell(f"rm {STORAGE}/nas/dead")
    suggestions = (await host.get("/resolution/info"))["suggestions"]
    assert {one["type"] for one in suggestions if one["context"] == "mount"} == {"execute_reload", "execute_remove"}
    reload = next(one for one in suggestions if one["type"] == "execute_reload" and one["context"] == "mount")
    await host.post(f"/resolution/suggestion/{reload['uuid']}")
    assert await issues(host) == []
    assert (await host.get(f"/backups/{job['slug']}/info"))["locations"] == ["vault"]
    await host.ask("DELETE", f"/backups/{job['slug']}")


async def test_while_a_server_is_away_add_ons_can_not_fill_this_disk_instead(
    host: BoxDaemon, servers: Servers, box: Box
) -> None:
    await host.post("/mounts", {**NFS, "usage": "share"})
    await servers.shell(f"touch {DATA}/share/films/mine {STORAGE}/nas/dead")
    # Somebody holds the folder open, as add-ons do.
    hold = f"cd {DATA}/share/films && exec sleep 600"
    await box.ask("systemd-run", "--quiet", "--unit=holder", "sh", "-c", hold)
    try:
        await servers.shell(f"umount -l {DATA}/mounts/films")
        assert (await host.ask("POST", "/mounts/films/reload")).status == 400
        refused = await servers.shell(f"touch {DATA}/share/films/two 2>&1 || true")
        assert "Read-only" in refused
        assert await servers.shell(f"ls {DATA}/share/films") == ""
        await servers.shell(f"rm {STORAGE}/nas/dead")
        await host.post("/mounts/films/reload")
        assert await servers.shell(f"ls {DATA}/share/films") == "mine"
        await servers.shell(f"touch {DATA}/share/films/two")
    finally:
        await box.ask("systemctl", "stop", "holder")


async def test_mounts_come_back_with_the_daemon(host: BoxDaemon, servers: Servers, box: Box) -> None:
    await host.post("/mounts", NFS)
    before = len(await servers.asked())
    await host.restart()
    await host.ready()
    [mount] = (await host.get("/mounts"))["mounts"]
    assert (mount["state"], len(await servers.asked())) == ("active", before)
    await box.ask("systemctl", "stop", "supervisor")
    await servers.shell(f"umount {DATA}/media/films {DATA}/mounts/films")
    await host.close_session()
    await host.start()
    await host.ready()

    async def back() -> bool:
        return await servers.mounted(f"{DATA}/media/films") is not None

    await until(back, 40)


async def test_a_daemon_that_is_killed_while_it_mounts_leaves_nothing(
    host: BoxDaemon, servers: Servers, box: Box
) -> None:
    await servers.shell(f"touch {STORAGE}/nas/hanging")
    creating = asyncio.create_task(host.ask("POST", "/mounts", {**CIFS, **LOGIN, "usage": "media"}))
    unit = "mnt-data-supervisor-mounts-vault.mount"

    async def state() -> str:
        return await box.ask("systemctl", "show", "--property=ActiveState", "--value", unit)

    async def mounting() -> bool:
        return await state() == "activating"

    await until(mounting, 40)
    # It begins again when the test has seen what was left.
    await servers.shell("systemctl kill --signal=KILL supervisor; systemctl stop supervisor")
    with pytest.raises(aiohttp.ClientError):
        await creating
    await servers.shell(f"rm {STORAGE}/nas/hanging")

    async def done() -> bool:
        return await state() == "active"

    await until(done, 40)
    await host.close_session()
    await host.start()
    await host.ready()

    async def gone() -> bool:
        if await servers.mounted(f"{DATA}/mounts/vault") is not None or await state() != "inactive":
            return False
        return not (host.data / ".mounts_credentials/vault").exists()

    await until(gone, 40)
    assert (await host.get("/mounts"))["mounts"] == []


async def test_a_server_that_says_nothing_holds_nobody_else(host: BoxDaemon, servers: Servers) -> None:
    await servers.shell(f"touch {STORAGE}/nas/hanging")
    creating = asyncio.create_task(host.ask("POST", "/mounts", NFS))
    for path in ("/mounts", "/host/info", "/backups", "/mounts"):
        await asyncio.sleep(0.3)
        began = time.monotonic()
        await host.get(path)
        assert within(1, began)
    assert not creating.done()
    await servers.shell(f"rm {STORAGE}/nas/hanging")
    assert (await creating).status == 200


async def test_a_change_that_fails_brings_the_earlier_mount_back(host: BoxDaemon, servers: Servers) -> None:
    await host.post("/mounts", NFS)
    assert (await host.ask("PUT", "/mounts/films", {**NFS, "server": "nowhere"})).status == 400
    assert (await host.ask("PUT", "/mounts/films", {**NFS, "name": "other"})).status == 400
    assert (await host.ask("PUT", "/mounts/other", {**NFS, "name": "other"})).status == 404

    async def back() -> bool:
        [mount] = (await host.get("/mounts"))["mounts"]
        return (mount["server"], mount["state"]) == ("nas", "active")

    await until(back, 40)
    await servers.export("nas", "more")
    changed = {key: value for key, value in NFS.items() if key != "name"} | {"path": "/more", "usage": "share"}
    assert (await host.ask("PUT", "/mounts/films", changed)).status == 200
    assert await servers.mounted(f"{DATA}/media/films") is None
    assert (await servers.mounted(f"{DATA}/share/films"))["source"].endswith("exports/more]")


async def test_local_data_in_the_way_are_kept(host: BoxDaemon, servers: Servers) -> None:
    await servers.shell(f"mkdir {DATA}/media/films; echo red > {DATA}/media/films/local")
    refused = await host.ask("POST", "/mounts", NFS)
    assert (refused.status, refused.body["error_key"]) == (400, "mount_target_not_empty_error")
    assert refused.body["extra_fields"] == {"name": "films", "path": f"{DATA}/media/films"}
    await servers.shell(f"mv {DATA}/media/films {DATA}/films")
    await host.post("/mounts", NFS)
    await servers.shell(f"cd {DATA}; umount media/films mounts/films; mkdir -p media/films; mv films/local media/films")
    assert (await host.ask("POST", "/mounts/films/reload")).body["error_key"] == "mount_target_not_empty_error"
    suggestions = (await host.get("/resolution/info"))["suggestions"]
    move = next(one for one in suggestions if one["context"] == "mount")
    assert move["type"] == "move_local_data", "what helps comes first"
    await host.post(f"/resolution/suggestion/{move['uuid']}")
    assert await servers.shell(f"cat {DATA}/media/films_local_recovery/local") == "red"
    assert await servers.mounted(f"{DATA}/media/films") is not None
    assert await issues(host) == []
    await servers.shell(f"rm -r {DATA}/media/films_local_recovery {DATA}/films")


async def test_mounts_come_back_from_a_backup_with_a_repository_on_one_of_them(
    host: BoxDaemon, servers: Servers
) -> None:
    await servers.shell(f"printf 'username=me\\npassword=se,cret =1' > {STORAGE}/nas/login")
    await servers.export("other", "films")
    await host.post("/mounts", {**CIFS, **LOGIN})
    await host.post("/mounts", {**NFS, "server": "other"})
    await servers.shell(f"echo saved > {DATA}/ssl/note")
    body = {"name": "box", "place": "mount:vault/kept", "password": "battery staple"}
    await host.post("/backups/repositories", body)
    kept = await host.post("/backups/new/partial", {"folders": ["ssl"], "location": "repository:box"})
    made = await host.post("/backups/new/partial", {"folders": ["ssl"], "location": None, "password": "secret"})
    assert "config" in await servers.shell(f"ls {STORAGE}/nas/exports/vault/kept")
    for name in ("vault", "films"):
        await host.ask("DELETE", f"/mounts/{name}")
    assert (await host.get("/mounts")) == {"default_backup_mount": None, "mounts": []}
    down = await host.ask("POST", "/backups/new/partial", {"folders": ["ssl"], "location": "repository:box"})
    assert down.status == 400, down.text
    assert await servers.shell(f"ls -A {DATA}/mounts") == "", "nothing is written where a share should be"

    await servers.shell(f"echo here > {DATA}/ssl/note")
    path = f"/backups/{made['slug']}/restore/partial"
    restored = await host.ask("POST", path, {"folders": ["ssl"], "password": "secret"})
    assert restored.status == 200, restored.text
    assert await servers.shell(f"cat {DATA}/ssl/note") == "saved"

    async def active() -> bool:
        mounts = (await host.get("/mounts"))["mounts"]
        return [mount["state"] for mount in mounts] == ["active", "active"]

    async def given() -> bool:
        # A mount is there before add-ons get it.
        return await servers.mounted(f"{DATA}/media/films") is not None

    await until(active, 40)
    await until(given, 40)
    assert (await host.get("/mounts"))["default_backup_mount"] == "vault"

    await servers.shell(f"echo here > {DATA}/ssl/note")
    await host.post(f"/backups/{kept['slug']}/restore/partial", {"folders": ["ssl"]})
    assert await servers.shell(f"cat {DATA}/ssl/note") == "saved"
    await host.ask("DELETE", "/backups/repositories/box")
    await host.ask("DELETE", f"/backups/{made['slug']}")
    await servers.shell(f"rm {DATA}/ssl/note")
