"""Keys of a manifest that say nothing about the container: they reach whoever asks, and change nothing inside."""

from __future__ import annotations

from typing import Any

import docker

from daemon import Daemon
from supervisor.managers.addons.spec import RT_BUDGET

SHOWN = """\
url: https://example.org/lamp
stage: experimental
homeassistant: 2024.1.0
machine: ["!raspberrypi4"]
breaking_versions: ["3.0"]
startup: services
boot: manual_only
timeout: 20
watchdog: tcp://[HOST]:[PORT:80]
ports: {"80/tcp": null, "81/udp": null}
ports_description: {"80/tcp": The page}
webui: http://[HOST]:[PORT:80]/start
ingress: true
ingress_port: 8123
ingress_entry: /ui
ingress_stream: true
panel_icon: mdi:lamp
panel_title: Light
panel_admin: false
hassio_api: true
hassio_role: backup
homeassistant_api: true
auth_api: true
services: ["mqtt:provide", "mysql:want"]
discovery: [mqtt]
backup: cold
backup_exclude: ["*.log"]
options: {level: 3}
schema: {level: "int(1,5)"}
"""


async def container(daemon: Daemon, client: docker.APIClient, slug: str) -> dict[str, Any]:
    """Return what the engine was asked for, without what differs from add-on to add-on."""
    raw = client.inspect_container(f"addon_{slug}")
    host, config = raw["HostConfig"], raw["Config"]
    own = (slug, slug.replace("_", "-"))
    host["Mounts"] = [mount for mount in host["Mounts"] if not any(name in mount["Source"] for name in own)]
    return {
        "host": host,
        "env": sorted(entry.split("=")[0] for entry in config["Env"]),
        "stdin": config["OpenStdin"],
        "labels": {key for key in config["Labels"] if not key.startswith("io.hass.")},
    }


async def test_what_clients_ask_for_is_what_the_manifest_says(running: Daemon, docker_client: docker.APIClient) -> None:
    lamp, plain = running.add_on("lamp", more=SHOWN), running.add_on("plain")
    await running.post("/store/reload")
    for slug in (lamp, plain):
        await running.install(slug, start=True)
    info = await running.get(f"/addons/{lamp}/info")
    expected = {
        "name": "Lamp",
        "slug": "local_lamp",
        "description": "made by a test",
        "version": "1.0",
        "version_latest": "1.0",
        "arch": ["aarch64", "amd64"],
        "url": "https://example.org/lamp",
        "stage": "experimental",
        "homeassistant": "2024.1.0",
        "machine": ["!raspberrypi4"],
        "startup": "services",
        "boot": "manual",
        "boot_config": "manual_only",
        "network": {"80/tcp": None, "81/udp": None},
        "network_description": {"80/tcp": "The page"},
        "webui": None,
        "ingress": True,
        "ingress_port": 8123,
        "hassio_api": True,
        "hassio_role": "backup",
        "homeassistant_api": True,
        "auth_api": True,
        "services": ["mqtt:provide", "mysql:want"],
        "discovery": ["mqtt"],
        "options": {"level": 3},
        "schema": [{"name": "level", "type": "integer", "lengthMin": 1.0, "lengthMax": 5.0, "required": True}],
        "build": True,
        "available": True,
    }
    assert {key: info[key] for key in expected} == expected
    assert info["ingress_url"].endswith("/ui")
    await running.post(f"/addons/{lamp}/options", {"network": {"80/tcp": 18080}})
    assert (await running.get(f"/addons/{lamp}/info"))["webui"] == "http://[HOST]:18080/start"
    refused = await running.ask("POST", f"/addons/{lamp}/options", {"boot": "auto"})
    assert refused.body["error_key"] == "app_boot_config_cannot_change_error"

    assert await container(running, docker_client, lamp) == await container(running, docker_client, plain)


async def test_a_manifest_for_other_machines_is_offered_but_not_installed(running: Daemon) -> None:
    for slug, more, key in (
        ("elsewhere", "machine: [yellow]", "addon_not_supported_machine_type_error"),
        ("dead", "", "addon_not_supported_architecture_error"),
    ):
        running.add_on(slug, more=more)
        if slug == "dead":
            file = running.data / "addons/local/dead/config.yaml"
            file.write_text(file.read_text().replace("[aarch64, amd64]", "[armv7, i386]"))
        await running.post("/store/reload")
        assert (await running.get(f"/store/addons/local_{slug}"))["available"] is False
        answer = await running.ask("POST", f"/store/addons/local_{slug}/install")
        assert (answer.status, answer.body["error_key"]) == (400, key)


async def test_a_deprecated_add_on_is_an_issue_where_it_is_installed(running: Daemon) -> None:
    slug = running.add_on("old", more="stage: deprecated")
    await running.post("/store/reload")
    await running.install(slug)
    await running.end()
    await running.start()
    issues = (await running.get("/resolution/info"))["issues"]
    assert ("deprecated_addon", slug) in [(issue["type"], issue["reference"]) for issue in issues]


async def test_real_time_budget_is_given_where_the_host_has_set_some_aside(
    daemon: Daemon, docker_client: docker.APIClient
) -> None:
    """The kernel here may divide real-time among groups, but nobody has given Docker's group any."""
    daemon.options.append("--cpu-rt")
    await daemon.start()
    slug = daemon.add_on("drum", more="realtime: true")
    await daemon.post("/store/reload")
    await daemon.install(slug)
    answer = await daemon.ask("POST", f"/addons/{slug}/start")
    if answer.status == 200:
        budget = docker_client.inspect_container(f"addon_{slug}")["HostConfig"]["CpuRealtimeRuntime"]
        assert budget == (190_000 if RT_BUDGET.exists() else 0)
    else:
        assert answer.body["error_key"] == "app_not_possible_here_error"
        assert ("no real-time budget" in answer.body["message"]) == RT_BUDGET.exists()
