"""Work that clients ask to be done behind their back."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator

import attrs
import models
import pytest

from daemon import BASE, Daemon, until

INSTALL = "/store/addons/local_slow/install"


@attrs.define
class Slow:
    """The daemon with an add-on in its store whose image takes as long as the test wants.

    Making it ends when the gate is opened; `begun` is set as soon as somebody waits there.
    """

    daemon: Daemon
    port: int = 0
    begun: asyncio.Event = attrs.field(factory=asyncio.Event)
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def wait(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.begun.set()
        await self.gate.wait()
        writer.close()

    def write_image(self) -> None:
        """Describe an image that the engine has not made before, and that waits at the gate while it is made."""
        self.gate.clear()
        self.begun.clear()
        host = "$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')"
        run = f"RUN nc {host} {self.port}; : {secrets.token_hex(8)}"
        text = f'FROM {BASE}\n{run}\nCMD ["sh", "-c", "sleep 600"]\n'
        (self.daemon.data / "addons" / "local" / "slow" / "Dockerfile").write_text(text)

    async def is_made(self) -> None:
        async with asyncio.timeout(60):
            await self.begun.wait()


@pytest.fixture
async def slow(daemon: Daemon) -> AsyncIterator[Slow]:
    slow = Slow(daemon)
    server = await asyncio.start_server(slow.wait, "0.0.0.0", 0)
    slow.port = server.sockets[0].getsockname()[1]
    daemon.add_on("slow")
    slow.write_image()
    await daemon.post("/store/reload")
    try:
        yield slow
    finally:
        slow.gate.set()
        await until(lambda: nothing_runs(daemon), 60)
        server.close()
        if await installed(daemon):
            await daemon.post("/addons/local_slow/uninstall")
        shutil.rmtree(daemon.data / "addons" / "local" / "slow")
        await daemon.post("/store/reload")


async def running(daemon: Daemon, number: int) -> bool:
    return len((await daemon.get("/jobs/info"))["jobs"]) == number


async def nothing_runs(daemon: Daemon) -> bool:
    return await running(daemon, 0)


async def installed(daemon: Daemon) -> bool:
    return "local_slow" in {addon["slug"] for addon in (await daemon.get("/addons"))["addons"]}


async def test_an_install_in_the_background_is_answered_by_its_job(daemon: Daemon, slow: Slow) -> None:
    started = await daemon.post(INSTALL, {"background": True})
    assert set(started) == {"job_id"}
    job = await daemon.get(f"/jobs/{started['job_id']}")
    models.check(job, models.JOB, "job")
    assert (job["uuid"], job["name"], job["reference"]) == (started["job_id"], "app_manager_install", "local_slow")
    assert (job["done"], job["errors"]) == (False, [])
    assert [listed["uuid"] for listed in (await daemon.get("/jobs/info"))["jobs"]] == [job["uuid"]]
    assert (await daemon.ask("DELETE", f"/jobs/{job['uuid']}")).status == 400, "what runs can't be deleted"
    slow.gate.set()
    await until(lambda: installed(daemon), 60)


async def test_an_install_in_the_foreground_is_answered_at_its_end(daemon: Daemon, slow: Slow) -> None:
    asking = asyncio.create_task(daemon.post(INSTALL, {"background": False}))
    await slow.is_made()
    assert not asking.done()
    slow.gate.set()
    assert await asking == {}
    assert await installed(daemon)


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


async def test_an_install_goes_on_when_the_caller_hangs_up(daemon: Daemon, slow: Slow) -> None:
    asking = asyncio.create_task(daemon.ask("POST", INSTALL))
    await slow.is_made()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not await installed(daemon)
    slow.gate.set()
    await until(lambda: installed(daemon), 60)


async def test_a_second_install_beside_the_first_is_not_made(daemon: Daemon, slow: Slow) -> None:
    first = asyncio.create_task(daemon.ask("POST", INSTALL))
    await slow.is_made()
    second = asyncio.create_task(daemon.ask("POST", INSTALL))
    # It waits for its turn.
    await until(lambda: running(daemon, 2), 30)
    slow.gate.set()
    assert [(await first).status, (await second).status] == [200, 400]
    assert await installed(daemon)


async def test_an_update_in_the_background_is_told_by_its_older_name(daemon: Daemon, slow: Slow) -> None:
    slow.gate.set()
    await daemon.post(INSTALL)
    manifest = daemon.data / "addons" / "local" / "slow" / "config.yaml"
    manifest.write_text(manifest.read_text().replace('"1.0"', '"1.1"'))
    slow.write_image()
    await daemon.post("/store/reload")
    started = await daemon.post("/store/addons/local_slow/update", {"background": True})
    job = await daemon.get(f"/jobs/{started['job_id']}")
    assert (job["name"], job["reference"], job["done"]) == ("addon_manager_update", "local_slow", False)
    slow.gate.set()
    await until(lambda: nothing_runs(daemon), 60)
    assert (await daemon.get("/addons/local_slow/info"))["version"] == "1.1"
