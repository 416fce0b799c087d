"""A machine without systemd, D-Bus and all that comes with them: the daemon runs, and says what it lacks."""

from __future__ import annotations

import time
from typing import Any

import models
import pytest

from daemon import Daemon, within


async def test_what_is_known_without_any_service_is_shown(daemon: Daemon) -> None:
    info = await daemon.get("/host/info")
    assert info["hostname"]
    assert info["kernel"]
    assert info["disk_total"] >= info["disk_free"] > 0
    unknown = ("chassis", "deployment", "cpe", "virtualization", "use_ntp", "startup_time", "broadcast_mdns")
    assert [info[key] for key in unknown] == [None] * len(unknown)
    assert not set(info["features"]) & {"reboot", "shutdown", "services", "hostname", "timedate", "resolved"}
    assert (await daemon.get("/info"))["features"] == info["features"]


async def test_what_can_not_be_done_is_refused_at_once_with_what_is_missing(daemon: Daemon) -> None:
    for path, body in (
        ("/host/options", {"hostname": "attic"}),
        ("/host/options", {"use_ntp": True}),
        ("/host/reboot", None),
        ("/host/shutdown", None),
        ("/host/service/ssh/restart", None),
    ):
        began = time.monotonic()
        answer = await daemon.ask("POST", path, body)
        assert (answer.status, within(1, began)) == (400, True), path
        assert "D-Bus connection available" in answer.body["message"]
    assert (await daemon.ask("GET", "/host/services")).status == 400
    await daemon.post("/host/reload")
    for zone, level in (("Europe/Berlin", "warning"), ("Asia/Tokyo", "info")):
        await daemon.post("/supervisor/options", {"timezone": zone, "logging": level})
        info = await daemon.get("/info")
        assert (info["timezone"], info["logging"]) == (zone, level)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/os/update", None),
        ("/os/update", {"version": "16.1", "background": True}),
        ("/os/config/sync", None),
        ("/os/boot-slot", {"boot_slot": "B"}),
    ],
)
async def test_another_operating_system_than_home_assistant_s_is_left_alone(
    daemon: Daemon, path: str, body: Any
) -> None:
    answer = await daemon.ask("POST", path, body)
    assert answer.status == 400
    assert answer.body["message"].endswith("blocked from execution, no Home Assistant OS available")
    info = await daemon.get("/os/info")
    assert (info["version"], info["version_latest"], info["update_available"]) == (None, None, False)
    assert (info["boot"], info["boot_slots"]) == (None, {})


@pytest.mark.parametrize("body", [None, {}, {"boot_slot": "C"}, {"boot_slot": None}, {"boot_slot": "a"}])
async def test_only_a_and_b_are_boot_slots(daemon: Daemon, body: Any) -> None:
    answer = await daemon.ask("POST", "/os/boot-slot", body)
    assert answer.status == 400
    assert "boot_slot" in answer.body["message"]


async def test_what_only_the_home_assistant_operating_system_has_is_refused_without_it(daemon: Daemon) -> None:
    assert await daemon.get("/os/datadisk/list") == {"devices": [], "disks": []}
    for method, path, body, status, word in (
        ("POST", "/os/datadisk/move", {"device": "/dev/sdb"}, 400, "no Home Assistant OS available"),
        ("POST", "/os/datadisk/wipe", None, 400, "no Home Assistant OS available"),
        ("GET", "/os/boards/green", None, 400, "Green board is not in use"),
        ("POST", "/os/boards/green", {"power_led": False}, 400, "Green board is not in use"),
        ("GET", "/os/boards/yellow", None, 400, "Yellow board is not in use"),
        ("POST", "/os/boards/yellow", {"power_led": False}, 400, "Yellow board is not in use"),
        ("GET", "/os/boards/generic-x86-64", None, 400, "generic-x86-64 board is not in use"),
        ("GET", "/os/boards/raspberrypi/firmware", None, 404, "Raspberry Pi"),
        ("POST", "/os/boards/raspberrypi/firmware/update", None, 404, "Raspberry Pi"),
        ("GET", "/os/config/swap", None, 404, "15.0"),
        ("POST", "/os/config/swap", {"swappiness": 1}, 404, "15.0"),
        ("POST", "/docker/migrate-storage-driver", {"storage_driver": "overlayfs"}, 404, "17.0"),
        ("POST", "/docker/migrate-storage-driver", {"storage_driver": "btrfs"}, 400, "storage_driver"),
    ):
        answer = await daemon.ask(method, path, body)
        assert (answer.status, answer.body["result"]) == (status, "error"), path
        assert word in answer.body["message"], path


async def test_the_network_is_that_of_docker_alone_and_changes_are_refused(daemon: Daemon) -> None:
    info = await daemon.get("/network/info")
    models.check(info["docker"], models.DOCKER_NETWORK, "docker")
    assert (info["interfaces"], info["available"], info["host_internet"]) == ([], False, None)
    await daemon.post("/network/reload")
    for path in ("eth0/update", "eth0/vlan/30"):
        answer = await daemon.ask("POST", f"/network/interface/{path}", {"ipv4": {"method": "auto"}})
        assert answer.status == 400, path
        assert "Install network-manager" in answer.body["message"]
    assert (await daemon.ask("GET", "/network/interface/eth0/info")).status == 404
    assert (await daemon.ask("POST", "/network/confirm")).status == 400


async def quickly(daemon: Daemon, path: str) -> dict[str, Any]:
    began = time.monotonic()
    answer = await daemon.get(path)
    assert within(1, began), path
    return dict(answer)


async def test_every_part_of_the_host_says_what_is_known_and_that_no_more_is(daemon: Daemon) -> None:
    system = await quickly(daemon, "/os/info")
    models.check(system, models.OS, "os")
    unknown = ("version", "version_latest", "version_pending", "board", "boot", "data_disk")
    assert [system[key] for key in unknown] == [None] * len(unknown)
    assert (system["update_available"], system["boot_slots"]) == (False, {})
    sound = await quickly(daemon, "/audio/info")
    assert (sound["available"], sound["version"], sound["update_available"]) == (False, None, False)
    assert set(map(len, sound["audio"].values())) == {0}
    assert (await quickly(daemon, "/hardware/audio")) == {"audio": {"input": {}, "output": {}}}
    assert "/dev/null" in {device["dev_path"] for device in (await quickly(daemon, "/hardware/info"))["devices"]}
    assert await quickly(daemon, "/mounts") == {"default_backup_mount": None, "mounts": []}
    assert (await quickly(daemon, "/network/info"))["supervisor_internet"] in (True, False)


async def test_what_needs_a_part_that_is_missing_says_so(daemon: Daemon) -> None:
    mount = {"name": "nas", "type": "nfs", "usage": "media", "server": "nas", "path": "/films"}
    for path, body, text in (
        ("/mounts", mount, "mounting not supported"),
        ("/audio/reload", None, "sound server"),
        ("/audio/volume/output", {"index": 0, "volume": 1}, "sound server"),
        ("/audio/restart", None, "no audio plugin"),
    ):
        answer = await daemon.ask("POST", path, body)
        assert (answer.status, text in answer.body["message"]) == (400, True), (path, answer.body)
    assert (await daemon.ask("GET", "/audio/stats")).status == 400
    has_journal = "journal" in (await daemon.get("/host/info"))["features"]
    for path in ("/host/logs", "/host/logs/boots", "/host/logs/identifiers"):
        assert (await daemon.ask("GET", path)).status == (200 if has_journal else 400), path


async def test_the_doctor_names_what_is_missing_and_how_to_get_it(daemon: Daemon) -> None:
    findings = {finding["name"]: finding for finding in (await daemon.get("/host/doctor"))["findings"]}
    assert findings["Docker"]["condition"] == "ok"
    for name in ("D-Bus", "Reboot", "Services of the host", "Clock", "Name resolution"):
        assert findings[name]["condition"] == "missing", name
        assert findings[name]["how"], name
    gateway = findings["Internal network"]
    assert (gateway["condition"], "systemd" in gateway["how"]) == ("limited", True)


async def test_a_bus_that_is_not_there_is_said_once(daemon: Daemon) -> None:
    assert daemon.log.count("The system bus is not running") == 1


async def test_what_the_machine_lacks_makes_it_unsupported_and_keeps_nothing_from_working(daemon: Daemon) -> None:
    await daemon.post("/resolution/healthcheck")
    info = await daemon.get("/resolution/info")
    assert set(info["unsupported"]) >= {"os", "os_agent", "systemd", "systemd_resolved", "network_manager"}
    assert "connectivity_check" not in info["unsupported"], "nobody was told not to look"
    assert info["unhealthy"] == []
