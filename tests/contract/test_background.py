"""Work that clients ask to be done behind their back."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import models
import pytest

from daemon import BASE, Answer, Daemon, until

SECONDS = 5

INSTALL = "/store/addons/local_slow/install"


def slow_image() -> str:
    """Return a Dockerfile that takes its time, also when the engine has built others of the kind before."""
    return f'FROM {BASE}\nRUN sleep {SECONDS}; : {secrets.token_hex(8)}\nCMD ["sh", "-c", "sleep 600"]\n'


@pytest.fixture
async def slow(daemon: Daemon) -> AsyncIterator[Daemon]:
    """The daemon with an add-on in its store whose image takes its time."""
    daemon.add_on("slow")
    (daemon.data / "addons" / "local" / "slow" / "Dockerfile").write_text(slow_image())
    await daemon.post("/store/reload")
    try:
        yield daemon
    finally:
        await until(lambda: nothing_runs(daemon), 60)
        if await installed(daemon):
            await daemon.post("/addons/local_slow/uninstall")
        shutil.rmtree(daemon.data / "addons" / "local" / "slow")
        await daemon.post("/store/reload")


async def something_runs(daemon: Daemon) -> bool:
    return bool((await daemon.get("/jobs/info"))["jobs"])


async def nothing_runs(daemon: Daemon) -> bool:
    return not await something_runs(daemon)


async def installed(daemon: Daemon) -> bool:
    return "local_slow" in {addon["slug"] for addon in (await daemon.get("/addons"))["addons"]}


@asynccontextmanager
async def quick() -> AsyncIterator[None]:
    """Fail when what is asked inside waits for the image."""
    async with asyncio.timeout(SECONDS - 1):
        yield


async def test_an_install_in_the_background_is_answered_by_its_job(slow: Daemon) -> None:
    async with quick():
        started = await slow.post(INSTALL, {"background": True})
    assert set(started) == {"job_id"}
    job = await slow.get(f"/jobs/{started['job_id']}")
    models.check(job, models.JOB, "job")
    assert (job["uuid"], job["name"], job["reference"]) == (started["job_id"], "app_manager_install", "local_slow")
    assert (job["done"], job["errors"]) == (False, [])
    assert [listed["uuid"] for listed in (await slow.get("/jobs/info"))["jobs"]] == [job["uuid"]]
    assert (await slow.ask("DELETE", f"/jobs/{job['uuid']}")).status == 400, "what runs can't be deleted"
    await until(lambda: installed(slow), 30)


async def test_an_install_in_the_foreground_is_answered_at_its_end(slow: Daemon) -> None:
    assert await slow.post(INSTALL, {"background": False}) == {}
    assert await installed(slow)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/store/addons/nobody/install", {"background": True}, 404),
        ("/store/addons/local_rich/install", {"background": True}, 400),
        ("/store/addons/local_rich/update", {"background": True}, 400),
        ("/store/addons/local_offered/update", {"background": True}, 400),
        ("/store/addons/local_offered/install", {"background": "yes"}, 400),
        ("/store/addons/local_offered/install", {"background": None}, 400),
    ],
)
async def test_what_is_not_sound_is_refused_at_once(
    daemon: Daemon, path: str, body: dict[str, object], status: int
) -> None:
    before = (await daemon.get("/addons"))["addons"]
    answer = await daemon.ask("POST", path, body)
    assert answer.status == status, answer.text
    assert "job_id" not in answer.body
    assert (await daemon.get("/addons"))["addons"] == before


async def test_an_install_goes_on_when_the_caller_hangs_up(slow: Daemon) -> None:
    asking = asyncio.create_task(slow.ask("POST", INSTALL))
    await until(lambda: something_runs(slow), 30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not await installed(slow)
    await until(lambda: installed(slow), 30)


async def test_a_second_install_beside_the_first_is_not_made(slow: Daemon) -> None:
    async def install() -> Answer:
        return await slow.ask("POST", INSTALL)

    answers = await asyncio.gather(install(), install())
    assert sorted(answer.status for answer in answers) == [200, 400]
    assert await installed(slow)


async def test_an_update_in_the_background_is_told_by_its_older_name(slow: Daemon) -> None:
    await slow.post(INSTALL)
    folder = slow.data / "addons" / "local" / "slow"
    manifest = folder / "config.yaml"
    manifest.write_text(manifest.read_text().replace('"1.0"', '"1.1"'))
    (folder / "Dockerfile").write_text(slow_image())
    await slow.post("/store/reload")
    async with quick():
        started = await slow.post("/store/addons/local_slow/update", {"background": True})
    job = await slow.get(f"/jobs/{started['job_id']}")
    assert (job["name"], job["reference"], job["done"]) == ("addon_manager_update", "local_slow", False)
    await until(lambda: nothing_runs(slow), 30)
    assert (await slow.get("/addons/local_slow/info"))["version"] == "1.1"
