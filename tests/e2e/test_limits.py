"""Limits as a user sets them, through the API of a running daemon and with the command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import aiohttp
import docker

from daemon import ROOT, Daemon, container_id, token_of, until

MB = 1024 * 1024
NONE = {"memory": None, "cpus": None, "pids": None, "shm": None}


async def command(daemon: Daemon, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "supervisor",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "SUPERVISOR_SOCKET": str(daemon.socket)},
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_limits_are_set_shown_kept_and_taken_away(running: Daemon, docker_client: docker.APIClient) -> None:
    slug = running.add_on("eater")
    await running.post("/store/reload")
    await running.install(slug, start=True)
    info = f"/addons/{slug}/info"
    assert (await running.get(info))["limits"] == NONE
    first = container_id(docker_client, slug)

    await running.post(f"/addons/{slug}/options", {"limits": {"memory": "64M", "cpus": 0.5, "shm": "16M"}})
    shown = await running.get(info)
    assert shown["limits"] == {"memory": 64 * MB, "cpus": 0.5, "pids": None, "shm": 16 * MB}
    assert shown["limits_pending"] == ["shm"]
    host = docker_client.inspect_container(f"addon_{slug}")["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (64 * MB, 64 * MB, 500_000_000)
    assert container_id(docker_client, slug) == first

    await running.kill()
    await running.start()
    assert (await running.get(info))["limits"] == shown["limits"]
    assert (await running.get(info))["limits_pending"] == ["shm"]
    await running.post(f"/addons/{slug}/restart")
    assert (await running.get(info))["limits_pending"] == []
    host = docker_client.inspect_container(f"addon_{slug}")["HostConfig"]
    assert (host["Memory"], host["ShmSize"]) == (64 * MB, 16 * MB)

    await running.post(f"/addons/{slug}/options", {"limits": {"cpus": None}})
    assert (await running.get(info))["limits"]["cpus"] is None
    await running.post(f"/addons/{slug}/options", {"limits": None})
    assert (await running.get(info))["limits"] == NONE


async def test_what_can_t_be_is_refused_and_nothing_is_stored(running: Daemon) -> None:
    slug = running.add_on("eater")
    await running.post("/store/reload")
    await running.install(slug)
    for limits, words in (
        ({"memory": "1M"}, "16.0 MiB is the least"),
        ({"memory": "900T"}, "this machine has"),
        ({"memory": "lots"}, "such as 512M or 1.5G"),
        ({"disk": 1}, "extra keys not allowed"),
        (7, "expected a dictionary"),
    ):
        answer = await running.ask("POST", f"/addons/{slug}/options", {"watchdog": True, "limits": limits})
        assert answer.status == 400
        assert words in answer.body["message"], answer.text
    info = await running.get(f"/addons/{slug}/info")
    assert (info["limits"], info["watchdog"]) == (NONE, False)


async def test_an_add_on_can_t_lift_its_own_limits(running: Daemon, docker_client: docker.APIClient) -> None:
    slug = running.add_on("eater")
    await running.post("/store/reload")
    await running.install(slug, start=True)
    await running.post(f"/addons/{slug}/options", {"limits": {"memory": "64M"}})
    headers = {"Authorization": f"Bearer {token_of(docker_client, slug)}"}
    url = "http://172.30.32.1/addons/self/options"
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(url, json={"limits": None}) as answer:
            assert answer.status == 403
        async with session.post(url, json={"watchdog": True}) as answer:
            assert answer.status == 200
    info = await running.get(f"/addons/{slug}/info")
    assert (info["limits"]["memory"], info["watchdog"]) == (64 * MB, True)


async def test_the_command_sets_limits_and_says_who_was_killed(running: Daemon) -> None:
    slug = running.add_on("eater", command="read line; exec tail /dev/zero", more="stdin: true\ninit: false")
    await running.post("/store/reload")
    await running.install(slug, start=True)
    code, out, err = await command(running, "addons", "limits", slug, "--memory", "64M", "--shm", "16M")
    assert code == 0, err
    assert "shm counts from its next start" in out + err
    code, out, _ = await command(running, "addons", "limits", slug)
    assert [line.split() for line in out.splitlines()] == [
        ["LIMIT", "VALUE", "COUNTS"],
        ["memory", "64.0", "MiB", "now"],
        ["cpus", "-", "-"],
        ["pids", "-", "-"],
        ["shm", "16.0", "MiB", "from", "its", "next", "start"],
    ]
    code, _, err = await command(running, "addons", "limits", slug, "--memory", "1M")
    assert code != 0
    assert "16.0 MiB is the least" in err

    await running.ask("POST", f"/addons/{slug}/stdin", raw=b"eat")

    # The engine may tell why only after it has told that.
    async def explained() -> Any:
        info = await running.get(f"/addons/{slug}/info")
        return (info["state"], info["last_error"]) == ("error", "killed: out of memory (limit 64.0 MiB)")

    await until(explained, 30, lambda: running.log)
    await until(lambda: f"{slug}: killed: out of memory (limit 64.0 MiB)" in running.log, 30, lambda: running.log)
    _, out, _ = await command(running, "addons", "info", slug)
    assert "killed: out of memory (limit 64.0 MiB)" in out
    assert await _issues(running) == [("addon_out_of_memory", slug)]
    code, out, _ = await command(running, "addons", "limits", slug, "--reset", "-o", "json")
    assert code == 0
    assert json.loads((await command(running, "addons", "limits", slug, "-o", "json"))[1]) == NONE
    assert await _issues(running) == [], "with other limits it may work"


async def _issues(daemon: Daemon) -> list[tuple[str, str]]:
    found = (await daemon.get("/resolution/info"))["issues"]
    return [(issue["type"], issue["reference"]) for issue in found if issue["type"] != "no_current_backup"]
