"""The AppArmor profile of an add-on, from install to uninstall; kept, for nobody here loads it into a kernel."""

from __future__ import annotations

import json

import docker
import pytest

from daemon import Daemon, until

PROFILE = """\
#include <tunables/global>

profile lamp /usr/bin/lamp flags=(attach_disconnected) {
  #include <abstractions/base>
  file,
}
"""


@pytest.fixture
async def lamp(running: Daemon) -> Daemon:
    running.add_on("lamp")
    (running.data / "addons/local/lamp/apparmor.txt").write_text(PROFILE)
    await running.post("/store/reload")
    return running


async def version(daemon: Daemon, number: str, profile: str | None) -> None:
    """Publish another version of the add-on."""
    daemon.add_on("lamp", number)
    file = daemon.data / "addons/local/lamp/apparmor.txt"
    if profile is None:
        file.unlink()
    else:
        file.write_text(profile)
    await daemon.post("/store/reload")


async def test_a_profile_is_stored_under_the_slug_and_goes_with_the_add_on(
    lamp: Daemon, docker_client: docker.APIClient
) -> None:
    stored = lamp.data / "apparmor/local_lamp"
    before = await lamp.get("/addons/local_lamp/info")
    assert (before["apparmor"], before["rating"]) == ("default", 5)
    await lamp.install("local_lamp", start=True)
    wanted = PROFILE.replace("profile lamp /usr/bin/lamp flags", "profile local_lamp flags")
    assert stored.read_text() == wanted
    info = await lamp.get("/addons/local_lamp/info")
    assert (info["apparmor"], info["rating"]) == ("profile", 6)
    options = docker_client.inspect_container("addon_local_lamp")["HostConfig"]["SecurityOpt"]
    assert options == ["seccomp=unconfined", "apparmor=unconfined"], "nobody here loads profiles"

    await version(lamp, "2.0", None)
    await lamp.post("/store/addons/local_lamp/update")
    assert not stored.exists()
    assert (await lamp.get("/addons/local_lamp/info"))["apparmor"] == "default"
    await lamp.post("/addons/local_lamp/rollback")
    assert stored.read_text() == wanted, "the earlier version has its profile again"

    await lamp.post("/addons/local_lamp/uninstall")
    assert not stored.exists()


async def test_a_crash_between_record_and_profile_is_mended(lamp: Daemon) -> None:
    await lamp.install("local_lamp", start=True)
    await lamp.kill()
    stored = lamp.data / "apparmor/local_lamp"
    wanted = stored.read_text()
    stored.write_text("profile local_lamp {\n  # of another version\n}\n")
    images = ["local/amd64-addon-lamp:1.0"]
    intent = {"action": "update", "images": images, "was_running": True}
    (lamp.data / "intents.json").write_text(json.dumps({"intents": {"local_lamp": intent}}))
    await lamp.start()
    await until(lambda: stored.read_text() == wanted, 30, lambda: lamp.log)
    assert await lamp.state_of("local_lamp") == "started"


async def test_an_installation_with_a_bad_profile_fails_and_leaves_nothing(
    lamp: Daemon, docker_client: docker.APIClient
) -> None:
    file = lamp.data / "addons/local/lamp/apparmor.txt"
    for bad in ("", "profile a {\n}\nprofile b {\n}\n", "profile a {\n}\n/usr/bin/dockerd {\n}\n"):
        file.write_text(bad)
        answer = await lamp.ask("POST", "/store/addons/local_lamp/install")
        assert (answer.status, answer.body["error_key"]) == (400, "app_apparmor_profile_invalid_error")
        assert await lamp.get("/addons") == {"addons": []}
        assert not (lamp.data / "addons/data/local_lamp").exists()
        assert not (lamp.data / "apparmor/local_lamp").exists()
        assert not docker_client.images(name="local/amd64-addon-lamp")


async def test_an_update_to_a_bad_profile_leaves_the_old_version_running(lamp: Daemon) -> None:
    await lamp.install("local_lamp", start=True)
    await version(lamp, "2.0", "nonsense")
    answer = await lamp.ask("POST", "/store/addons/local_lamp/update")
    assert answer.body["error_key"] == "app_apparmor_profile_invalid_error"
    info = await lamp.get("/addons/local_lamp/info")
    assert (info["state"], info["version"], info["apparmor"]) == ("started", "1.0", "profile")


async def test_a_failed_build_leaves_neither_data_nor_profile(lamp: Daemon) -> None:
    (lamp.data / "addons/local/lamp/Dockerfile").write_text("FROM local/there-is-no-such-image:1\n")
    answer = await lamp.ask("POST", "/store/addons/local_lamp/install")
    assert answer.status != 200
    assert not (lamp.data / "addons/data/local_lamp").exists()
    assert not (lamp.data / "apparmor/local_lamp").exists()
    assert await lamp.get("/addons") == {"addons": []}
