"""A daemon to which something happens at a step of its work, with add-ons and folders to be saved and restored."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from daemon import DOCKER_URL, Answer, Daemon, until

LAUNCHER = [sys.executable, str(Path(__file__).parent / "stepping_daemon.py")]
HOT, COLD = "local_hot", "local_cold"
MORE = {
    "hot": "map: [addon_config:rw]\noptions: {word: old}\nschema: {word: str}",
    "cold": "backup: cold",
}
# The folders of each item: what of one item is restored, is restored together.
ITEMS = {
    HOT: ("addons/data/local_hot", "addon_configs/local_hot"),
    COLD: ("addons/data/local_cold",),
    "share": ("share",),
    "homeassistant": ("homeassistant",),
}
PASSWORD = "correct horse"
LARGE = 40_000


class House:
    """A daemon that can be told what shall happen at a step, with one backup of a state called `saved`."""

    def __init__(
        self,
        folder: Path,
        *,
        inside: tuple[str, ...] = (),
        docker_url: str = DOCKER_URL,
        daemon: Daemon | None = None,
    ) -> None:
        """`inside` goes before the command of the daemon; `daemon` is one that runs like that already."""
        self.steps = folder / "steps"
        self._armed = folder / "armed"
        environment = {"STEPS_ARMED": str(self._armed), "STEPS_RECORD": str(self.steps)}
        launcher = [*inside, *LAUNCHER]
        self.daemon = daemon or Daemon(folder, launcher, docker_url=docker_url, environment=environment)
        self.slug = ""
        # Where backups go, as a part of the wish for one; without any to where the daemon likes.
        self.place: dict[str, Any] = {}

    async def open(self) -> None:
        """Have all that a backup holds, and the first backup."""
        for slug, more in MORE.items():
            self.daemon.add_on(slug, more=more)
        if self.daemon.process is None:
            await self.daemon.start()
        await self.daemon.post("/store/reload")
        for slug in (HOT, COLD):
            await self.daemon.install(slug, start=True)
        (self.daemon.data / "homeassistant.json").write_text('{"version": "2026.4.1", "port": 1}')
        self.write("saved")
        self.slug = (await self.daemon.post("/backups/new/full", {"name": "first", **self.place}))["slug"]

    def write(self, word: str) -> None:
        for place in (place for places in ITEMS.values() for place in places):
            folder = self.daemon.data / place
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "note").write_text(word)
            (folder / "large").write_text(word * LARGE)

    def read(self) -> dict[str, str]:
        """Return which state each item is in; one that is half in another fails."""
        return {item: self._state(places) for item, places in ITEMS.items()}

    def _state(self, places: tuple[str, ...]) -> str:
        found = {(self.daemon.data / place / "note").read_text() for place in places}
        assert len(found) == 1, f"{places} are of different times: {found}"
        (word,) = found
        for place in places:
            assert (self.daemon.data / place / "large").read_text() == word * LARGE, f"{place} is half of each"
        return word

    def arm(self, step: str, command: str = "") -> None:
        self._armed.write_text(f"{step}\n{command}" if command else step)

    def disarm(self) -> None:
        self._armed.unlink()

    @property
    def done(self) -> bool:
        """Whether the step that a command was for was passed."""
        return self.steps.exists() and self.steps.read_text().endswith("done\n")

    async def at(self, step: str, command: str, deed: Deed) -> Answer:
        """Run a shell command when the deed comes to a step; return what came of the deed."""
        self.steps.unlink(missing_ok=True)
        self.arm(step, command)
        try:
            answer = await deed.do(self)
        finally:
            self.disarm()
        assert self.done, f"the step {step} was not passed"
        return answer

    async def dies_at(self, step: str, deed: Deed) -> None:
        """Let the daemon die when the deed comes to a step, and start it again."""
        self.arm(step)
        with pytest.raises(aiohttp.ClientError):
            await deed.do(self)
        assert await self.daemon.ended() == -9, f"the step {step} was not passed"
        self.disarm()
        await self.daemon.start()

    async def all_run(self) -> bool:
        return {await self.daemon.state_of(slug) for slug in (HOT, COLD)} == {"started"}

    async def lists(self, slug: str) -> bool:
        return slug in {backup["slug"] for backup in (await self.daemon.get("/backups"))["backups"]}

    async def look(self) -> set[str]:
        """See that nothing is left half done; return the slugs of what is listed."""
        daemon = self.daemon
        assert (await daemon.get("/info"))["state"] == "running"
        listed = {backup["slug"] for backup in (await daemon.get("/backups"))["backups"]}
        assert self.slug in listed, "a backup was lost"
        for slug in listed:
            assert (await daemon.post(f"/backups/{slug}/verify", {"password": PASSWORD}))["good"], "half is listed"
        for folder in ("restore", "tmp/backup"):
            path = daemon.data / folder
            assert not path.exists() or not list(path.iterdir()), f"something is left in {folder}"
        why = "they ran before, so they should run\n"
        await until(self.all_run, 60, lambda: why + daemon.log[-3000:])
        return listed

    async def problems(self, job_id: str) -> str:
        """Return all that a job and those in it say went wrong."""
        return str(_errors(await self.daemon.get(f"/jobs/{job_id}")))

    async def remove_others(self) -> None:
        """Remove all backups but the first."""
        for backup in (await self.daemon.get("/backups"))["backups"]:
            if backup["slug"] != self.slug:
                await self.daemon.ask("DELETE", f"/backups/{backup['slug']}")


def _errors(job: dict[str, Any]) -> list[str]:
    own = [str(error["message"]) for error in job["errors"]]
    return own + [message for child in job["child_jobs"] for message in _errors(child)]


@attrs.frozen
class Deed:
    name: str
    do: Callable[[House], Awaitable[Answer]]


async def _backup(house: House) -> Answer:
    wanted = {"name": "second", "password": PASSWORD, **house.place}
    return await house.daemon.ask("POST", "/backups/new/full", wanted)


async def _restore(house: House) -> Answer:
    return await house.daemon.ask("POST", f"/backups/{house.slug}/restore/full", {})


async def _part(house: House) -> Answer:
    wanted = {"addons": [HOT], "folders": ["share"], "homeassistant": True}
    return await house.daemon.ask("POST", f"/backups/{house.slug}/restore/partial", wanted)


BACKUP, RESTORE, PART = Deed("backup", _backup), Deed("restore", _restore), Deed("part", _part)
DEEDS = {deed.name: deed for deed in (BACKUP, RESTORE, PART)}
