"""What goes wrong is told, and suggestions do what they suggest (API contract §2.21, add-on contract §3.5, §4.8)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from daemon import BASE, Daemon, container_id, until

PORT = 18931


async def issues(daemon: Daemon, type_: str) -> list[dict[str, Any]]:
    return [found for found in (await daemon.get("/resolution/info"))["issues"] if found["type"] == type_]


async def suggestion(daemon: Daemon, type_: str, reference: str | None) -> str:
    found = (await daemon.get("/resolution/info"))["suggestions"]
    return next(str(one["uuid"]) for one in found if (one["type"], one["reference"]) == (type_, reference))


async def image_of(daemon: Daemon, client: docker.APIClient, slug: str) -> str:
    arch = (await daemon.get("/info"))["arch"]
    name = f"local/{arch}-addon-{slug.removeprefix('local_')}:1.0"
    assert client.images(name=name), name
    return name


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", PORT))
        taken.listen()
        yield PORT


async def test_a_taken_port_is_cleared_and_the_add_on_starts_without_it(daemon: Daemon, taken_port: int) -> None:
    slug = daemon.add_on("lamp", more=f'ports: {{"80/tcp": {taken_port}, "81/tcp": null}}')
    await daemon.start()
    await daemon.install(slug)
    refused = await daemon.ask("POST", f"/addons/{slug}/start")
    assert (refused.status, refused.body["error_key"]) == (400, "app_port_conflict")
    assert refused.body["extra_fields"]["port"] == taken_port
    (issue,) = await issues(daemon, "app_port_conflict")
    helps = (await daemon.get(f"/resolution/issue/{issue['uuid']}/suggestions"))["suggestions"]
    assert [(one["type"], one["auto"]) for one in helps] == [("clear_port_config", False), ("execute_start", False)]

    again = await daemon.ask("POST", f"/resolution/suggestion/{helps[1]['uuid']}")
    assert (again.status, again.body["error_key"]) == (400, "app_port_conflict"), "nobody freed the port"
    assert await issues(daemon, "app_port_conflict") == [issue]
    await daemon.post(f"/resolution/suggestion/{helps[0]['uuid']}")
    info = await daemon.get(f"/addons/{slug}/info")
    assert (info["state"], info["network"]) == ("started", {"80/tcp": None, "81/tcp": None})
    assert await issues(daemon, "app_port_conflict") == []
    left = {one["type"] for one in (await daemon.get("/resolution/info"))["suggestions"]}
    assert left <= {"create_full_backup"}


async def test_an_image_that_vanished_is_built_again_by_itself(daemon: Daemon, docker_client: docker.APIClient) -> None:
    slug = daemon.add_on("lamp")
    await daemon.start()
    await daemon.install(slug)
    image = await image_of(daemon, docker_client, slug)
    await daemon.end()
    docker_client.remove_image(image, force=True)
    await daemon.start()
    await until(lambda: docker_client.images(name=image), 60, lambda: daemon.log)
    await until(lambda: _gone(daemon, "missing_image"), 30, lambda: daemon.log)
    assert await daemon.state_of(slug) == "stopped"
    await daemon.post(f"/addons/{slug}/start")


async def _gone(daemon: Daemon, type_: str) -> bool:
    return not await issues(daemon, type_)


async def test_a_failed_boot_can_be_left_for_good(daemon: Daemon) -> None:
    slug = daemon.add_on("lamp", command="exit 3", more="boot: auto")
    await daemon.start()
    await daemon.install(slug)
    await daemon.end()
    configuration = daemon.data / "config.json"
    known = json.loads(configuration.read_text())
    configuration.write_text(json.dumps({**known, "last_boot_id": "another boot"}))
    await daemon.start()
    (issue,) = await issues(daemon, "boot_fail")
    assert issue["reference"] == slug
    failed = await daemon.ask("POST", f"/resolution/suggestion/{await suggestion(daemon, 'execute_start', slug)}")
    assert failed.status == 500
    assert "did not stay" in failed.body["message"]
    await daemon.post(f"/resolution/suggestion/{await suggestion(daemon, 'disable_boot', slug)}")
    assert (await daemon.get(f"/addons/{slug}/info"))["boot"] == "manual"
    assert await issues(daemon, "boot_fail") == []


async def test_an_uninstalled_add_on_leaves_no_issue(daemon: Daemon) -> None:
    slug = daemon.add_on("lamp", more="stage: deprecated")
    await daemon.start()
    await daemon.install(slug)
    await daemon.post("/resolution/healthcheck")
    (issue,) = await issues(daemon, "deprecated_addon")
    assert issue["reference"] == slug
    await daemon.post(f"/resolution/suggestion/{await suggestion(daemon, 'execute_remove', slug)}")
    assert await daemon.get("/addons") == {"addons": []}
    info = await daemon.get("/resolution/info")
    assert {issue["type"] for issue in info["issues"]} <= {"no_current_backup"}
    assert {suggestion["type"] for suggestion in info["suggestions"]} <= {"create_full_backup"}


async def test_a_check_is_switched_off_for_good(running: Daemon) -> None:
    daemon = running
    checks = {check["slug"]: check["enabled"] for check in (await daemon.get("/resolution/info"))["checks"]}
    assert {"addon_pwned", "deprecated_addon", "detached_addon_removed", "docker_config", "free_space"} <= set(checks)
    assert all(checks.values())
    await daemon.post("/resolution/check/app_pwned/options", {"enabled": False})
    await daemon.post("/resolution/check/addon_pwned/options", {})
    await daemon.post("/resolution/check/free_space/run")
    await daemon.end()
    assert json.loads((daemon.data / "resolution.json").read_text()) == {"checks": {"addon_pwned": {"enabled": False}}}
    await daemon.start()
    checks = {check["slug"]: check["enabled"] for check in (await daemon.get("/resolution/info"))["checks"]}
    assert [slug for slug, enabled in checks.items() if not enabled] == ["addon_pwned"]


async def test_a_repair_brings_images_back_and_takes_nothing_of_strangers(
    running: Daemon, docker_client: docker.APIClient
) -> None:
    daemon, client = running, docker_client
    slug = daemon.add_on("lamp")
    await daemon.post("/store/reload")
    await daemon.install(slug)
    image = await image_of(daemon, client, slug)
    client.remove_image(image, force=True)
    theirs = client.create_container(BASE, command="true", name="svtest_strangers")["Id"]
    orphan = client.create_container(BASE, command="true", name="addon_local_gone", labels=["supervisor_managed"])["Id"]
    client.tag(BASE, "svtest/strangers", "1")
    older = f"{image.rpartition(':')[0]}:0.9"
    made = client.create_container(BASE, command="true")["Id"]
    client.commit(made, repository=older.rpartition(":")[0], tag="0.9")
    dangling = client.commit(made)["Id"]
    client.remove_container(made)
    volume = client.create_volume("svtest_strangers")["Name"]
    try:
        await daemon.post("/supervisor/repair")
        assert client.images(name=image), daemon.log
        assert await daemon.state_of(slug) == "stopped"
        left = {container["Id"] for container in client.containers(all=True)}
        assert theirs in left
        assert orphan not in left
        assert client.images(name="svtest/strangers:1")
        assert not client.images(name=older)
        assert dangling not in {found["Id"] for found in client.images(all=True)}
        assert client.inspect_volume(volume)
    finally:
        client.remove_container(theirs)
        client.remove_image("svtest/strangers:1")
        client.remove_volume(volume)


async def test_a_repair_that_can_t_help_says_so_and_takes_no_add_on_away(
    running: Daemon, docker_client: docker.APIClient
) -> None:
    daemon = running
    slug = daemon.add_on("lamp")
    await daemon.post("/store/reload")
    await daemon.install(slug)
    docker_client.remove_image(await image_of(daemon, docker_client, slug), force=True)
    daemon.add_on("lamp", "2.0")
    await daemon.post("/store/reload")
    answer = await daemon.ask("POST", "/supervisor/repair")
    assert answer.status == 500
    assert "Update the add-on" in answer.body["message"]
    assert [addon["slug"] for addon in (await daemon.get("/addons"))["addons"]] == [slug]
    (issue,) = await issues(daemon, "missing_image")
    assert issue["reference"] == slug


async def test_add_ons_of_the_first_stage_start_with_every_daemon(
    daemon: Daemon, docker_client: docker.APIClient
) -> None:
    first = daemon.add_on("first", more="startup: initialize\nboot: auto")
    other = daemon.add_on("other", more="boot: auto")
    await daemon.start()
    for slug in (first, other):
        await daemon.install(slug)
        assert await daemon.state_of(slug) == "stopped"
    await daemon.end()
    await daemon.start()
    assert await daemon.state_of(first) == "started"
    assert await daemon.state_of(other) == "stopped"
    running = container_id(docker_client, first)
    await daemon.end()
    await daemon.start()
    assert container_id(docker_client, first) == running


async def test_programs_that_meddle_make_the_system_unhealthy(running: Daemon, docker_client: docker.APIClient) -> None:
    daemon, client = running, docker_client
    client.tag(BASE, "registry.example.org:5000/tools/portainer-ce", "2")
    container = client.create_container("registry.example.org:5000/tools/portainer-ce:2", command="sleep 100")["Id"]
    try:
        client.start(container)
        await daemon.post("/resolution/healthcheck")
        info = await daemon.get("/resolution/info")
        assert "software" in info["unsupported"]
        assert info["unhealthy"] == ["docker"]
    finally:
        client.remove_container(container, force=True)
        client.remove_image("registry.example.org:5000/tools/portainer-ce:2")
    await asyncio.sleep(0)
    await daemon.post("/resolution/healthcheck")
    info = await daemon.get("/resolution/info")
    assert "software" not in info["unsupported"]
    assert info["unhealthy"] == ["docker"], "until the daemon starts again"


async def test_what_crashed_while_no_daemon_ran_is_brought_back_where_somebody_wants_that(
    daemon: Daemon, docker_client: docker.APIClient
) -> None:
    watched, left = daemon.add_on("watched"), daemon.add_on("left")
    await daemon.start()
    for slug in (watched, left):
        await daemon.install(slug, start=True)
    await daemon.post(f"/addons/{watched}/options", {"watchdog": True})
    await daemon.kill()
    for slug in (watched, left):
        docker_client.kill(f"addon_{slug}")
    await daemon.start()
    await until(lambda: _is(daemon, watched, "started"), 30, lambda: daemon.log)
    assert await daemon.state_of(left) == "error"


async def _is(daemon: Daemon, slug: str, state: str) -> bool:
    return await daemon.state_of(slug) == state
