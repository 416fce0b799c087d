"""A daemon that dies in a backup or a restore leaves no half of either, loses nothing, and all runs again."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import attrs
import docker
import pytest

from daemon import Daemon, clear, until

LAUNCHER = [sys.executable, str(Path(__file__).parent / "crashing_daemon.py")]
HOT, COLD = "local_hot", "local_cold"
MORE = {
    "hot": "map: [addon_config:rw]\noptions: {word: old}\nschema: {word: str}",
    "cold": "backup: cold",
}
PLACES = ("addons/data/local_hot/note", "addons/data/local_cold/note", "addon_configs/local_hot/note", "share/note")
PLACES += ("homeassistant/note",)


class House:
    """A daemon that can be told where to die, with one backup of a state called `saved`."""

    def __init__(self, folder: Path) -> None:
        self.steps = folder / "steps"
        self._armed = folder / "armed"
        environment = {"CRASH_ARMED": str(self._armed), "CRASH_RECORD": str(self.steps)}
        self.daemon = Daemon(folder, LAUNCHER, environment=environment)
        self.slug = ""

    async def open(self) -> None:
        for slug, more in MORE.items():
            self.daemon.add_on(slug, more=more)
        await self.daemon.start()
        for slug in (HOT, COLD):
            await self.daemon.install(slug, start=True)
        (self.daemon.data / "homeassistant.json").write_text('{"version": "2026.4.1", "port": 1}')
        self.write("saved")
        self.slug = (await self.daemon.post("/backups/new/full", {"name": "first"}))["slug"]

    def write(self, word: str) -> None:
        for place in PLACES:
            path = self.daemon.data / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(word)

    def read(self) -> set[str]:
        return {(self.daemon.data / place).read_text() for place in PLACES}

    def arm(self, step: str) -> None:
        self._armed.write_text(step)

    def disarm(self) -> None:
        self._armed.unlink()


@attrs.frozen
class Deed:
    name: str
    do: Callable[[House], Awaitable[object]]


async def _backup(house: House) -> None:
    await house.daemon.post("/backups/new/full", {"name": "second", "password": "correct horse"})


async def _restore(house: House) -> None:
    await house.daemon.post(f"/backups/{house.slug}/restore/full", {})


async def _part(house: House) -> None:
    wanted = {"addons": [HOT], "folders": ["share"], "homeassistant": True}
    await house.daemon.post(f"/backups/{house.slug}/restore/partial", wanted)


DEEDS = {deed.name: deed for deed in (Deed("backup", _backup), Deed("restore", _restore), Deed("part", _part))}


async def crash(house: House, deed: Deed, step: str) -> None:
    """Let the daemon die at `step`, start it again, and look at everything."""
    daemon = house.daemon
    house.write("present")
    listed = {backup["slug"] for backup in (await daemon.get("/backups"))["backups"]}
    house.arm(step)
    with pytest.raises((aiohttp.ClientError, AssertionError)):
        await deed.do(house)
    assert await daemon.ended() == -9, f"the step {step} was not passed"
    house.disarm()
    await daemon.start()

    info = await daemon.get("/info")
    assert info["state"] == "running"
    after = {backup["slug"] for backup in (await daemon.get("/backups"))["backups"]}
    assert listed <= after, "a backup was lost"
    for slug in after:
        body = {"password": "correct horse"}
        assert (await daemon.post(f"/backups/{slug}/verify", body))["good"], "half a backup is listed"
    names = {path.name for path in (daemon.data / "backup").iterdir()}
    assert names == {f"{slug}.tar" for slug in after}, "a half of a backup was left"
    assert not (daemon.data / "restore").exists() or not list((daemon.data / "restore").iterdir())
    assert not (daemon.data / "tmp" / "backup").exists() or not list((daemon.data / "tmp" / "backup").iterdir())
    assert house.read() <= ({"present"} if deed.name == "backup" else {"present", "saved"}), "something was lost"
    await until(lambda: _all_run(daemon), 20, lambda: "they ran before, so they should run\n" + daemon.log[-3000:])
    for slug in after - {house.slug}:
        await daemon.ask("DELETE", f"/backups/{slug}")


async def _all_run(daemon: Daemon) -> bool:
    return {await daemon.state_of(slug) for slug in (HOT, COLD)} == {"started"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(DEEDS))
async def test_a_daemon_killed_at_any_step_leaves_nothing_half_done(
    name: str, tmp_path: Path, docker_client: docker.APIClient
) -> None:
    deed, house = DEEDS[name], House(tmp_path)
    try:
        await house.open()
        house.write("present")
        house.arm("")
        await deed.do(house)
        house.disarm()
        steps = house.steps.read_text().splitlines()
        assert len(steps) > 8, steps
        for step in steps:
            try:
                await crash(house, deed, step)
            except BaseException as err:
                err.add_note(f"crashed at {step}\n{house.daemon.log[-3000:]}")
                raise
    finally:
        await house.daemon.kill()
        clear(docker_client)
