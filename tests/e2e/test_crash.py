"""Whatever is being done, a daemon that dies there leaves nothing half-done behind."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import attrs
import docker
import pytest

from daemon import BASE, DOCKER_URL, FOREVER, Daemon, clear, container_id, until
from stepping_house import LAUNCHER

BYSTANDER = "bystander"
SUBJECT = "subject"
SLUG = f"local_{SUBJECT}"


@attrs.frozen
class Deed:
    """Something a user asks for. `prepare` brings the add-on to where that makes sense."""

    name: str
    do: Callable[[Daemon], Awaitable[object]]
    installed: bool = True
    started: bool = False


async def _update(daemon: Daemon) -> None:
    await daemon.post(f"/store/addons/{SLUG}/update")


async def _load(daemon: Daemon) -> None:
    archive = await asyncio.to_thread(_archive, daemon.folder / "subject.tar")
    answer = await daemon.ask("POST", "/addons/load", raw=archive)
    assert answer.status == 200, answer.text


def _archive(path: Path) -> bytes:
    """Return an archive of the add-on's image, made at the first call."""
    if not path.exists():
        client = docker.APIClient(base_url=DOCKER_URL)
        name = f"local/amd64-addon-{SUBJECT}:1.0"
        lines = f'FROM {BASE}\nRUN echo loaded > /loaded\nLABEL io.hass.type=addon\nCMD ["sh", "-c", "{FOREVER}"]\n'
        for line in client.build(fileobj=io.BytesIO(lines.encode()), tag=name, rm=True, decode=True):
            assert "error" not in line, line
        path.write_bytes(b"".join(client.get_image(name)))
        client.remove_image(name, force=True)
        client.close()
    return path.read_bytes()


NEW = {"install", "load"}
DEEDS = {
    deed.name: deed
    for deed in (
        Deed("install", lambda daemon: daemon.post(f"/store/addons/{SLUG}/install"), installed=False),
        Deed("load", _load, installed=False),
        Deed("start", lambda daemon: daemon.post(f"/addons/{SLUG}/start")),
        Deed("stop", lambda daemon: daemon.post(f"/addons/{SLUG}/stop"), started=True),
        Deed("restart", lambda daemon: daemon.post(f"/addons/{SLUG}/restart"), started=True),
        Deed("options", lambda daemon: daemon.post(f"/addons/{SLUG}/options", {"options": {"word": "new"}})),
        Deed("update", _update, started=True),
        Deed("rebuild", lambda daemon: daemon.post(f"/addons/{SLUG}/rebuild"), started=True),
        Deed("rollback", lambda daemon: daemon.post(f"/addons/{SLUG}/rollback"), started=True),
        Deed("uninstall", lambda daemon: daemon.post(f"/addons/{SLUG}/uninstall"), started=True),
    )
}


def write(daemon: Daemon, version: str) -> None:
    daemon.add_on(SUBJECT, version, more="options: {word: old}\nschema: {word: str}\nmap: [addon_config:rw]")


class House:
    """A daemon that can be told where to die. It lives again after each death, with all that it had."""

    def __init__(self, folder: Path) -> None:
        self.steps = folder / "steps"
        self._armed = folder / "armed"
        environment = {"STEPS_ARMED": str(self._armed), "STEPS_RECORD": str(self.steps)}
        self.daemon = Daemon(folder, LAUNCHER, environment=environment)

    async def open(self) -> None:
        self.daemon.add_on(BYSTANDER)
        write(self.daemon, "1.0")
        await self.daemon.start()
        await self.daemon.install(f"local_{BYSTANDER}", start=True)

    def arm(self, step: str) -> None:
        """Die at this step from now on; with none, write down which steps are passed."""
        self._armed.write_text(step)

    def disarm(self) -> None:
        self._armed.unlink()

    async def prepare(self, deed: Deed) -> None:
        """Bring the add-on to where the deed makes sense."""
        daemon = self.daemon
        installed = await _version(daemon) is not None
        if installed and deed.name in {*NEW, "uninstall", "update"}:
            await daemon.post(f"/addons/{SLUG}/uninstall")
            installed = False
        if not installed and deed.name in {"update", "rollback"}:
            write(daemon, "1.0")
            await daemon.post("/store/reload")
        if not installed and deed.installed:
            await daemon.install(SLUG)
        if deed.installed:
            await daemon.post(f"/addons/{SLUG}/{'start' if deed.started else 'stop'}")
        if deed.name == "options":
            await daemon.post(f"/addons/{SLUG}/options", {"options": {"word": "old"}})
        if deed.name in {"update", "rollback"}:
            diary = daemon.data / "addons" / "data" / SLUG / "diary"
            diary.write_text("old")
            write(daemon, "2.0")
            await daemon.post("/store/reload")
        if deed.name == "rollback":
            await _update(daemon)
            diary.write_text("new")


async def _version(daemon: Daemon) -> str | None:
    """Return the installed version; None when the add-on is not installed."""
    shown = {addon["slug"]: addon["version"] for addon in (await daemon.get("/addons"))["addons"]}
    return shown.get(SLUG)


async def record(house: House, deed: Deed) -> list[str]:
    """Do the deed once without a crash and return the steps that were passed."""
    await house.prepare(deed)
    house.arm("")
    await deed.do(house.daemon)
    house.disarm()
    return house.steps.read_text().splitlines()


async def crash(house: House, deed: Deed, step: str, client: docker.APIClient) -> None:
    """Let the daemon die at `step` of the deed, start it again, and look at everything."""
    daemon = house.daemon
    await house.prepare(deed)
    bystander = container_id(client, f"local_{BYSTANDER}")
    assert bystander
    house.arm(step)
    with pytest.raises((aiohttp.ClientError, AssertionError)):
        await deed.do(daemon)
    assert await daemon.ended() == -9, f"the step {step} was not passed"
    assert container_id(client, f"local_{BYSTANDER}") == bystander, "a container did not survive the daemon"

    house.disarm()
    await daemon.start()
    assert container_id(client, f"local_{BYSTANDER}") == bystander, "the next start touched a container"
    assert await daemon.state_of(f"local_{BYSTANDER}") == "started"
    assert (await daemon.get("/resolution/info"))["unhealthy"] == []
    await inspect(daemon, deed, client)
    await again(daemon, deed, client)


async def inspect(daemon: Daemon, deed: Deed, client: docker.APIClient) -> None:
    """What is shown must be true, and what is not shown must not be there."""
    shown = {addon["slug"] for addon in (await daemon.get("/addons"))["addons"]}
    data = daemon.data / "addons" / "data" / SLUG
    if SLUG not in shown:
        assert deed.name in {*NEW, "uninstall"}
        assert not data.exists(), "data of an add-on that is not installed"
        assert container_id(client, SLUG) is None
        assert not images(client), "an image of an add-on that is not installed"
        return
    info = await daemon.get(f"/addons/{SLUG}/info")
    version = info["version"]
    assert version in images(client), "installed without an image"
    assert images(client) <= {version, info["rollback_version"]}, "an image that nobody needs"
    assert data.exists()
    if deed.name in {"update", "rebuild", "rollback", "restart"}:
        await until(lambda: _started(daemon), 30, lambda: "it ran before, so it should run\n" + daemon.log)
        image = client.inspect_container(f"addon_{SLUG}")["Config"]["Image"]
        assert image.endswith(f":{version}")
    if deed.name == "rollback":
        assert (data / "diary").read_text() == {"1.0": "old", "2.0": "new"}[version]
    if deed.name == "options":
        assert info["options"]["word"] in {"old", "new"}
    leftovers = {entry.name for entry in (daemon.data / "addons" / "snapshots").iterdir()}
    assert leftovers <= ({SLUG} if info["rollback_version"] else set())


def images(client: docker.APIClient) -> set[str]:
    """Return the versions of the add-on whose image is there."""
    found = client.images(name=f"local/amd64-addon-{SUBJECT}")
    return {tag.rpartition(":")[2] for image in found for tag in image["RepoTags"]}


async def _started(daemon: Daemon) -> bool:
    return await daemon.state_of(SLUG) == "started"


async def again(daemon: Daemon, deed: Deed, client: docker.APIClient) -> None:
    """The same can be asked for again, where it was not done already."""
    version = await _version(daemon)
    done = {
        "install": version is not None,
        "load": version is not None,
        "uninstall": version is None,
        "update": version == "2.0",
        "rollback": version == "1.0",
    }
    if not done.get(deed.name, False):
        await deed.do(daemon)
    if deed.name != "uninstall":
        await daemon.post(f"/addons/{SLUG}/start")
        assert await daemon.state_of(SLUG) == "started"
        assert container_id(client, SLUG)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(DEEDS))
async def test_a_daemon_killed_at_any_step_leaves_nothing_half_done(
    name: str, tmp_path: Path, docker_client: docker.APIClient
) -> None:
    deed = DEEDS[name]
    house = House(tmp_path)
    try:
        await house.open()
        steps = await record(house, deed)
        assert steps, "nothing to crash at"
        for step in steps:
            try:
                await crash(house, deed, step, docker_client)
            except BaseException as err:
                err.add_note(f"crashed at {step}\n{house.daemon.log[-3000:]}")
                raise
    finally:
        await house.daemon.kill()
        clear(docker_client)
