"""Whatever is being done, a daemon that dies there leaves nothing half-done behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import attrs
import docker
import pytest

from daemon import Daemon, clear, container_id, until

LAUNCHER = [sys.executable, str(Path(__file__).parent / "crashing_daemon.py")]
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


DEEDS = {
    deed.name: deed
    for deed in (
        Deed("install", lambda daemon: daemon.post(f"/store/addons/{SLUG}/install"), installed=False),
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


async def prepare(daemon: Daemon, deed: Deed) -> None:
    """Bring everything to where the deed makes sense, and arm the daemon."""
    armed = daemon.folder / "armed"
    daemon.launcher = LAUNCHER
    daemon.environment["CRASH_ARMED"] = str(armed)
    daemon.add_on(BYSTANDER)
    write(daemon, "1.0")
    await daemon.start()
    await daemon.install(f"local_{BYSTANDER}", start=True)
    if deed.installed:
        await daemon.install(SLUG, start=deed.started)
    if deed.name in {"update", "rollback"}:
        (daemon.data / "addons" / "data" / SLUG / "diary").write_text("old")
        write(daemon, "2.0")
        await daemon.post("/store/reload")
    if deed.name == "rollback":
        await _update(daemon)
        (daemon.data / "addons" / "data" / SLUG / "diary").write_text("new")
    armed.touch()


async def record(tmp_path: Path, deed: Deed) -> list[str]:
    """Do the deed once without a crash and return the steps that were passed."""
    await asyncio.to_thread(tmp_path.mkdir)
    daemon = Daemon(tmp_path)
    steps = tmp_path / "steps"
    try:
        daemon.environment = {"CRASH_RECORD": str(steps)}
        await prepare(daemon, deed)
        await deed.do(daemon)
        return steps.read_text().splitlines()
    finally:
        await daemon.kill()


async def crash(daemon: Daemon, deed: Deed, step: str, client: docker.APIClient) -> None:
    """Let the daemon die at `step` of the deed, start it again, and look at everything."""
    plain = daemon.launcher
    daemon.environment = {"CRASH_AT": step}
    await prepare(daemon, deed)
    bystander = container_id(client, f"local_{BYSTANDER}")
    assert bystander
    with pytest.raises((aiohttp.ClientError, AssertionError)):
        await deed.do(daemon)
    assert await daemon.ended() == -9, f"the step {step} was not passed"
    assert container_id(client, f"local_{BYSTANDER}") == bystander, "a container did not survive the daemon"

    daemon.launcher, daemon.environment = plain, {}
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
        assert deed.name in {"install", "uninstall"}
        assert not data.exists(), "data of an add-on that is not installed"
        assert container_id(client, SLUG) is None
        assert not client.images(name=f"local/amd64-addon-{SUBJECT}"), "an image of an add-on that is not installed"
        return
    info = await daemon.get(f"/addons/{SLUG}/info")
    version = info["version"]
    assert client.images(name=f"local/amd64-addon-{SUBJECT}:{version}"), "installed without an image"
    assert data.exists()
    if deed.name in {"update", "rebuild", "rollback", "restart"}:
        await until(lambda: _started(daemon), 10, lambda: "it ran before, so it should run\n" + daemon.log)
        image = client.inspect_container(f"addon_{SLUG}")["Config"]["Image"]
        assert image.endswith(f":{version}")
    if deed.name == "rollback":
        assert (data / "diary").read_text() == {"1.0": "old", "2.0": "new"}[version]
    if deed.name == "options":
        assert info["options"]["word"] in {"old", "new"}
    leftovers = {entry.name for entry in (daemon.data / "addons" / "snapshots").iterdir()}
    assert leftovers <= ({SLUG} if info["rollback_version"] else set())


async def _started(daemon: Daemon) -> bool:
    return await daemon.state_of(SLUG) == "started"


async def again(daemon: Daemon, deed: Deed, client: docker.APIClient) -> None:
    """The same can be asked for again, where it was not done already."""
    shown = {addon["slug"] for addon in (await daemon.get("/addons"))["addons"]}
    version = (await daemon.get(f"/addons/{SLUG}/info"))["version"] if SLUG in shown else None
    done = {
        "install": SLUG in shown,
        "uninstall": SLUG not in shown,
        "update": version == "2.0",
        "rollback": version == "1.0",
    }
    if not done.get(deed.name, False):
        await deed.do(daemon)
    if deed.name != "uninstall":
        await daemon.post(f"/addons/{SLUG}/start")
        assert await daemon.state_of(SLUG) == "started"
        assert container_id(client, SLUG)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", list(DEEDS))
async def test_a_daemon_killed_at_any_step_leaves_nothing_half_done(
    name: str, tmp_path: Path, docker_client: docker.APIClient
) -> None:
    deed = DEEDS[name]
    steps = await record(tmp_path / "record", deed)
    assert steps, "nothing to crash at"
    clear(docker_client)
    for number, step in enumerate(steps):
        folder = tmp_path / str(number)
        folder.mkdir()
        daemon = Daemon(folder)
        try:
            await crash(daemon, deed, step, docker_client)
        except BaseException as err:
            err.add_note(f"crashed at {step}\n{daemon.log[-3000:]}")
            raise
        finally:
            await daemon.kill()
            clear(docker_client)
