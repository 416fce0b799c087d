"""Repositories through the API and the command, on a running daemon."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import pytest_asyncio
from household import Household

from daemon import ROOT, over_tcp, until

pytestmark = pytest.mark.timeout(600)
PASSWORD = "never to be seen again"


@pytest_asyncio.fixture
async def place(household: Household, tmp_path: Path) -> AsyncIterator[str]:
    """Give a folder for a repository `box`, which is forgotten afterwards."""
    yield str(tmp_path / "repository")
    await household.daemon.ask("DELETE", "/backups/repositories/box")


async def test_a_repository_is_made_shown_checked_and_forgotten(household: Household, place: str) -> None:
    daemon = household.daemon
    body = {"name": "box", "place": place, "password": PASSWORD, "retention": {"daily": 7}}
    made = await daemon.post("/backups/repositories", body)
    assert made["place"] == place
    assert made["location"] == "repository:box"
    assert made["backups"] == 0
    assert made["retention"] == {"last": 0, "daily": 7, "weekly": 0, "monthly": 0, "yearly": 0}
    assert await daemon.get("/backups/repositories") == {"repositories": [made]}
    outcome = (await daemon.post("/backups/repositories/box/verify", {"share": 50}))["verification"]
    assert (outcome["good"], outcome["part"], outcome["parts"]) == (True, 1, 2)
    assert (await daemon.post("/backups/repositories/box/prune"))["removed"] == []
    started = await daemon.post("/backups/repositories/box/prune", {"background": True})
    assert started["job_id"]
    assert await daemon.get("/backups/repositories/box/backups") == {"backups": []}
    assert PASSWORD not in daemon.log

    async def forgotten() -> bool:
        # While it is being pruned, the answer is that somebody works with it.
        return (await daemon.ask("DELETE", "/backups/repositories/box")).status == 200

    await until(forgotten, 120)
    assert (await daemon.ask("GET", "/backups/repositories/box")).status == 404
    assert (Path(place) / "config").exists()


async def test_what_makes_no_sense_is_refused_with_a_reason(household: Household, place: str) -> None:
    daemon = household.daemon
    good = {"name": "box", "place": place, "password": PASSWORD}
    for wrong in (
        {"name": "Box"},
        {"name": "../box"},
        {"place": "ftp://host/x"},
        {"place": str(daemon.data / "share" / "x")},
        {"password": ""},
        {"access_key": "a"},
        {"retention": {"hourly": 1}},
        {"private_key": "not a key"},
        {"adopt": True},
    ):
        answer = await daemon.ask("POST", "/backups/repositories", {**good, **wrong})
        assert answer.status in (400, 404), (wrong, answer.text)
        assert answer.body["message"]
        assert PASSWORD not in answer.text
    await daemon.post("/backups/repositories", good)
    assert (await daemon.ask("POST", "/backups/repositories", good)).status == 409
    for path in ("files", "content", "files?path=../x"):
        answer = await daemon.ask("GET", f"/backups/repositories/box/backups/aaaa1111/{path}")
        assert answer.status in (400, 404), answer.text


async def test_an_add_on_can_not_have_a_repository_anywhere_on_the_machine(
    household: Household, place: str, tmp_path: Path
) -> None:
    async def add(where: str) -> int:
        headers = {"Authorization": f"Bearer {household.tokens['backup']}"}
        body = {"name": "box", "place": where, "password": PASSWORD}
        async with (
            aiohttp.ClientSession() as session,
            session.post("http://172.30.32.1/backups/repositories", json=body, headers=headers) as answer,
        ):
            return answer.status

    assert await add(str(tmp_path / "elsewhere")) == 403
    allowed = household.daemon.data / "backup" / "box"
    try:
        assert await add(str(allowed)) == 200
        assert (await over_tcp(household.tokens["backup"], "/backups/repositories/box")).status == 200
    finally:
        await household.daemon.ask("DELETE", "/backups/repositories/box")
        await asyncio.to_thread(shutil.rmtree, allowed)


async def test_the_command_makes_and_shows_a_repository(household: Household, place: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")

    async def run(*arguments: str) -> str:
        return await _command(household, *arguments)

    assert "Created" in await run(
        "repository", "add", "box", place, "--password-file", str(secret), "--keep-daily", "7", "--keep-last", "2"
    )
    assert "2 newest, 7 daily" in await run("repository", "info", "box")
    assert place in await run("repository")
    assert "good" in await run("repository", "verify", "box")
    assert "Checked    good, 20" in await run("repository", "info", "box")
    assert "Removed 0" in await run("repository", "prune", "box", "--yes")
    assert (await run("repository", "ssh-key")).startswith("ssh-ed25519 ")
    assert "Forgot" in await run("repository", "remove", "box", "--yes")


async def test_the_command_makes_changes_and_removes_a_schedule(household: Household) -> None:
    daemon = household.daemon

    async def run(*arguments: str) -> str:
        return await _command(household, "schedule", *arguments)

    given = ("--folder", "ssl", "--addon", "ALL", "--keep-daily", "7", "--location", "local")
    given += ("--time-zone", "Europe/Rome")
    # Not due while the test goes on.
    far = f"30 {(datetime.now(ZoneInfo('Europe/Rome')).hour + 12) % 24} * * *"
    assert "due next" in await run("add", "nightly", far, *given)
    assert f"{far} (Europe/Rome)" in await run("info", "nightly")
    assert "all add-ons, ssl" in await run("info", "nightly")
    assert "nightly" in await run()
    await run("change", "nightly", "--off", "--keep-last", "3")
    (shown,) = (await daemon.get("/backups/schedules"))["schedules"]
    assert (shown["enabled"], shown["next_due"], shown["retention"]["last"]) == (False, None, 3)
    assert "Made the backup" in await run("run", "nightly")
    (shown,) = (await daemon.get("/backups/schedules"))["schedules"]
    assert (await daemon.ask("DELETE", f"/backups/{shown['last_slug']}")).status == 200
    await run("remove", "nightly", "--yes")
    assert (await daemon.get("/backups/schedules"))["schedules"] == []
    assert "10 %" in await run("verification")
    assert "25 %" in await run("verification", "--share", "25", "--on")
    await run("verification", "--off")
    assert "2 newest" in await run("keep-updates", "--keep-last", "2")


async def test_a_schedule_that_makes_no_sense_is_refused(household: Household) -> None:
    for wrong in ({}, {"name": "x", "cron": "never"}, {"name": "x", "cron": "* * * * *", "time_zone": "Moon"}):
        answer = await household.daemon.ask("POST", "/backups/schedules", wrong)
        assert answer.status == 400
        assert answer.body["message"]
    assert (await household.daemon.ask("POST", "/backups/schedules/0123456789abcdef", {"name": "y"})).status == 404


async def _command(household: Household, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "supervisor", "--socket", str(household.daemon.socket), "backups", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said
    return said.decode()
