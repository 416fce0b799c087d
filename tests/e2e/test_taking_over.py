"""A daemon comes to data and containers that another one left, and to images that are gone (add-on contract §3.6)."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from daemon import BASE, FOREVER, Daemon, container_id, over_tcp, token_of, until


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry on loopback; its host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\nhttp: {{addr: {host}}}\n"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(f"http://{host}/v2/")
        yield host
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"No registry at {url}")


def publish(client: docker.APIClient, name: str, tag: str) -> None:
    container = client.create_container(BASE, command="true")["Id"]
    client.commit(container, repository=name, tag=tag, changes=[f"CMD {json.dumps(['sh', '-c', FOREVER])}"])
    client.remove_container(container)
    for message in client.push(name, tag, stream=True, decode=True):
        assert "error" not in message, message
    client.remove_image(f"{name}:{tag}", force=True)


async def test_a_published_image_that_is_gone_at_boot_is_pulled_while_the_daemon_comes_up(
    daemon: Daemon, docker_client: docker.APIClient, registry: str
) -> None:
    image = f"{registry}/svtest/lamp"
    await asyncio.to_thread(publish, docker_client, image, "1.0")
    slug = daemon.add_on("lamp", more=f"image: {image}\nboot: auto")
    await daemon.start()
    await daemon.install(slug, start=True)
    await daemon.kill()
    docker_client.remove_container(f"addon_{slug}", force=True)
    docker_client.remove_image(f"{image}:1.0", force=True)
    configuration = daemon.data / "config.json"
    known = json.loads(configuration.read_text())
    configuration.write_text(json.dumps({**known, "last_boot_id": "another boot"}))
    try:
        await daemon.start()
        await until(lambda: _started(daemon, slug), 60, lambda: daemon.log)
        await daemon.idle()
        assert await _problems(daemon) == []

        # Gone under a stopped add-on, it is back with the next start.
        await daemon.post(f"/addons/{slug}/stop")
        docker_client.remove_image(f"{image}:1.0", force=True)
        await daemon.post(f"/addons/{slug}/start")
        assert await daemon.state_of(slug) == "started"
    finally:
        docker_client.remove_container(f"addon_{slug}", force=True)
        docker_client.remove_image(f"{image}:1.0", force=True)


async def _started(daemon: Daemon, slug: str) -> bool:
    return await daemon.state_of(slug) == "started"


async def test_what_runs_under_the_newer_names_is_taken_over_without_a_restart(
    daemon: Daemon, docker_client: docker.APIClient
) -> None:
    slug = daemon.add_on("lamp", more="hassio_api: true")
    await daemon.start()
    await daemon.install(slug, start=True)
    token, identity = token_of(docker_client, slug), container_id(docker_client, slug)
    await daemon.end()
    data = daemon.data
    stored = json.loads((data / "addons.json").read_text())
    stored["user"][slug] = {
        key: value for key, value in stored["user"][slug].items() if key not in {"access_token_sha256", "should_run"}
    }
    stored["user"][slug]["access_token"] = token
    (data / "apps.json").write_text(json.dumps(stored))
    for name in ("addons.json", ".addons.json.last-good"):
        (data / name).unlink(missing_ok=True)
    (data / "apps").mkdir()
    for name in ("core", "local", "git", "data"):
        (data / "addons" / name).rename(data / "apps" / name)
    (data / "addon_configs").rename(data / "app_configs")
    docker_client.rename(f"addon_{slug}", f"app_{slug}")

    await daemon.start()
    assert await daemon.state_of(slug) == "started"
    assert container_id(docker_client, slug) == identity
    assert (await over_tcp(token, "/addons/self/info")).data["slug"] == slug
    assert (data / "addons" / "data" / slug / "options.json").is_file()
    assert not (data / "apps").exists()
    assert await _problems(daemon) == []
    stored = json.loads((data / "addons.json").read_text())
    assert stored["user"][slug]["should_run"] is True, "it comes back when the engine is restarted under it"
    await daemon.post(f"/addons/{slug}/restart")
    assert token not in (data / "addons.json").read_text()


async def _problems(daemon: Daemon) -> list[str]:
    """Return the issues; that a new installation has no backup is none of taking over."""
    issues = (await daemon.get("/resolution/info"))["issues"]
    return [issue["type"] for issue in issues if issue["type"] != "no_current_backup"]
