"""Add-ons that nobody would write on purpose, and folders that somebody tampered with."""

from __future__ import annotations

import json
from pathlib import Path

import docker

from daemon import Daemon, until


def _intents(daemon: Daemon) -> object:
    return json.loads((daemon.data / "intents.json").read_text())["intents"]


async def test_a_version_that_can_be_no_tag_is_refused_and_leaves_nothing(daemon: Daemon) -> None:
    slug = daemon.add_on("odd", "../../etc")
    # As a daemon wrote it that noticed only afterwards.
    old = {"action": "install", "images": ["local/amd64-addon-old:../../etc"]}
    daemon.data.mkdir(exist_ok=True)
    (daemon.data / "intents.json").write_text(json.dumps({"intents": {"local_old": old}}))
    await daemon.start()
    await until(lambda: _intents(daemon) == {}, 30, lambda: daemon.log)
    answer = await daemon.ask("POST", f"/store/addons/{slug}/install")
    assert (answer.status, answer.body["message"]) == (400, "'local/amd64-addon-odd:../../etc' is no image reference")
    assert _intents(daemon) == {}
    assert await daemon.get("/addons") == {"addons": []}
    assert not (daemon.data / "addons" / "data" / slug).exists()


async def test_an_add_on_goes_although_its_folders_are_something_else(
    daemon: Daemon, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    slug = daemon.add_on("odd", more="map: [addon_config:rw]")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    snapshots = daemon.data / "addons" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / "file").touch()
    (snapshots / "link").symlink_to(precious)
    await daemon.start()
    assert list(snapshots.iterdir()) == []
    await daemon.install(slug)
    public = daemon.data / "addon_configs" / slug
    public.parent.mkdir(exist_ok=True)
    public.symlink_to(precious)
    await daemon.post(f"/addons/{slug}/uninstall", {"remove_config": True})
    assert not public.is_symlink()
    assert (precious / "file").exists()
    assert not docker_client.images(name="local/amd64-addon-odd")


async def test_a_very_long_slug_can_be_started(daemon: Daemon, docker_client: docker.APIClient) -> None:
    slug = daemon.add_on("b" * 100)
    await daemon.start()
    await daemon.install(slug, start=True)
    hostname = (await daemon.get(f"/addons/{slug}/info"))["hostname"]
    assert docker_client.inspect_container(f"addon_{slug}")["Config"]["Hostname"] == hostname
    await daemon.post(f"/addons/{slug}/uninstall")
