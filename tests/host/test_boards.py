"""Boards, their lamps and firmware, and swap: asked of a stand-in for the OS agent on a real bus."""

from __future__ import annotations

import json
from typing import Any

from data_disks import issues

from box_daemon import AgentService, BoxDaemon
from contract import models
from daemon import until
from hostbox.box import Box

FIRMWARE = "/os/boards/raspberrypi/firmware"


async def answers(host: BoxDaemon, path: str) -> Any:
    """Wait until the daemon knows the agent's part that answers this."""

    async def there() -> bool:
        return (await host.ask("GET", path)).status == 200

    await until(there, 30)
    return await host.get(path)


async def forget_reboot(host: BoxDaemon) -> None:
    for issue in await issues(host, "reboot_required"):
        await host.ask("DELETE", f"/resolution/issue/{issue['uuid']}")


async def refused(host: BoxDaemon, method: str, path: str, status: int, word: str, body: Any = None) -> None:
    answer = await host.ask(method, path, body)
    assert answer.status == status, answer.body
    assert word in answer.body["message"], answer.body


async def test_lamps_of_a_green_are_switched_and_kept_for_an_agent_that_forgot(
    haos_host: BoxDaemon, haos_agent: AgentService
) -> None:
    haos_agent.start(board="Green")
    lamps = await answers(haos_host, "/os/boards/green")
    models.check(lamps, models.GREEN_LEDS, "green")
    assert lamps == {"activity_led": True, "power_led": True, "system_health_led": True}
    await haos_host.post("/os/boards/green", {"system_health_led": "off", "power_led": False})
    assert haos_agent.known()["leds"]["UserLED"] is False
    assert (await haos_host.get("/os/boards/green"))["system_health_led"] is False
    stored = json.loads((haos_host.data / "board.json").read_text())
    assert (stored["user_led"], stored["power_led"]) == (False, False)
    assert await issues(haos_host, "reboot_required") == []
    known = haos_agent.known()["leds"]
    haos_agent.start(leds={**known, "UserLED": True, "PowerLED": True, "ActivityLED": False})

    async def told() -> bool:
        leds = haos_agent.known()["leds"]
        return (leds["UserLED"], leds["PowerLED"], leds["ActivityLED"]) == (False, False, True)

    await until(told, 30)
    await haos_host.post("/os/boards/green", {"system_health_led": True, "power_led": True})
    await haos_host.get("/os/boards/green")
    await refused(haos_host, "GET", "/os/boards/yellow", 400, "Yellow board is not in use")
    await refused(haos_host, "POST", "/os/boards/yellow", 400, "Yellow board is not in use", {"disk_led": True})
    await refused(haos_host, "POST", "/os/boards/green", 400, "disk_led", {"disk_led": True})
    await refused(haos_host, "GET", FIRMWARE, 404, "Raspberry Pi 4, 5 and Yellow")


async def test_lamps_of_a_yellow_wait_for_a_reboot(haos_host: BoxDaemon, haos_agent: AgentService) -> None:
    haos_agent.start(board="Yellow")
    models.check(await answers(haos_host, "/os/boards/yellow"), models.YELLOW_LEDS, "yellow")
    await forget_reboot(haos_host)
    await haos_host.post("/os/boards/yellow", {"heartbeat_led": False})
    assert haos_agent.known()["leds"]["HeartbeatLED"] is False
    assert len(await issues(haos_host, "reboot_required")) == 1
    await haos_host.post("/os/boards/yellow", {"heartbeat_led": True})
    await refused(haos_host, "GET", "/os/boards/green", 400, "Green board is not in use")
    await forget_reboot(haos_host)


async def test_the_board_in_use_is_told_from_others(haos_host: BoxDaemon, haos_agent: AgentService) -> None:
    haos_agent.start(board="RaspberryPi4")
    await answers(haos_host, "/os/boards/raspberrypi4")
    await refused(haos_host, "GET", "/os/boards/supervised", 400, "supervised board is not in use")
    haos_agent.start(board="Supervised")
    assert await answers(haos_host, "/os/boards/supervised") == {}
    await refused(haos_host, "GET", "/os/boards/raspberrypi4", 400, "not in use")


async def test_firmware_is_shown_and_updated_unless_it_is_blocked(
    haos_host: BoxDaemon, haos_agent: AgentService
) -> None:
    haos_agent.start(board="RaspberryPi5", calls=[])
    firmware = await answers(haos_host, FIRMWARE)
    models.check(firmware, models.RPI_FIRMWARE, "firmware")
    assert (firmware["current_version"], firmware["update_available"], firmware["blocked_reason"]) == (
        "1700000000",
        True,
        None,
    )
    await forget_reboot(haos_host)
    await haos_host.post(f"{FIRMWARE}/update")
    assert ["Update"] in haos_agent.calls
    jobs = [job["name"] for job in (await haos_host.get("/jobs/history"))["jobs"]]
    assert "os_manager_update_raspberrypi_firmware" in jobs
    assert len(await issues(haos_host, "reboot_required")) == 1
    await forget_reboot(haos_host)

    blocked = {**haos_agent.known()["firmware"], "UpdateBlocked": True, "BlockedReason": "booted by network"}
    haos_agent.start(firmware=blocked)

    async def is_blocked() -> bool:
        answer = await haos_host.ask("GET", FIRMWARE)
        return answer.status == 200 and answer.body["data"]["update_blocked"] is True

    async def told() -> bool:
        return len(await issues(haos_host, "rpi_firmware_update_blocked")) == 1

    await until(is_blocked, 30)
    await until(told, 30)
    haos_agent.start(calls=[])
    await until(is_blocked, 30)
    await refused(haos_host, "POST", f"{FIRMWARE}/update", 400, "booted by network")
    assert ["Update"] not in haos_agent.calls

    haos_agent.start(firmware={**blocked, "UpdateBlocked": False, "BlockedReason": ""})

    async def is_free() -> bool:
        return not await is_blocked()

    await until(is_free, 30)
    await answers(haos_host, FIRMWARE)

    async def forgotten() -> bool:
        return not await issues(haos_host, "rpi_firmware_update_blocked")

    await until(forgotten, 30)


async def test_an_agent_that_does_not_know_about_firmware_is_too_old(
    haos_host: BoxDaemon, haos_agent: AgentService
) -> None:
    haos_agent.start(board="Yellow", version="1.8.1")
    await answers(haos_host, "/os/boards/yellow")
    await refused(haos_host, "GET", FIRMWARE, 404, "1.9.0")
    await refused(haos_host, "POST", f"{FIRMWARE}/update", 404, "1.9.0")


async def test_docker_gets_another_storage_driver_with_the_next_boot(
    haos: Box, haos_host: BoxDaemon, haos_agent: AgentService
) -> None:
    haos_agent.start(board="Green", calls=[])
    await answers(haos_host, "/os/boards/green")
    path, body = "/docker/migrate-storage-driver", {"storage_driver": "overlayfs"}
    await refused(haos_host, "POST", path, 404, "17.0", body)
    await forget_reboot(haos_host)
    try:
        haos.run("sed", "-i", "s/16[.]2/17.0/", "/etc/os-release")
        haos.run("systemctl", "try-restart", "systemd-hostnamed")
        await haos_host.post("/host/reload")
        await haos_host.post(path, body)
        assert ["MigrateDockerStorageDriver", "overlayfs"] in haos_agent.calls
        assert len(await issues(haos_host, "reboot_required")) == 1
    finally:
        haos.run("sed", "-i", "s/17[.]0/16.2/", "/etc/os-release")
        haos.run("systemctl", "try-restart", "systemd-hostnamed")
        await haos_host.post("/host/reload")
    await forget_reboot(haos_host)


async def test_swap_is_set_for_the_next_boot(haos_host: BoxDaemon, haos_agent: AgentService) -> None:
    haos_agent.start(board="Supervised", swap_size="1G", swappiness=60)

    async def known() -> bool:
        return bool((await haos_host.get("/os/config/swap"))["swap_size"] == "1G")

    await until(known, 30)
    swap = await haos_host.get("/os/config/swap")
    models.check(swap, models.SWAP, "swap")
    assert swap["swappiness"] == 60
    await forget_reboot(haos_host)
    await haos_host.post("/os/config/swap", {"swap_size": "1G", "swappiness": 60})
    assert await issues(haos_host, "reboot_required") == [], "nothing has changed"
    await haos_host.post("/os/config/swap", {"swap_size": "512mib", "swappiness": 10})
    assert await haos_host.get("/os/config/swap") == {"swap_size": "512mib", "swappiness": 10}
    kept = haos_agent.known()
    assert (kept["swap_size"], kept["swappiness"]) == ("512mib", 10)
    assert len(await issues(haos_host, "reboot_required")) == 1
    for body in ({"swap_size": "much"}, {"swap_size": 5}, {"swappiness": 201}, {"swappiness": True}, {"swap": 1}):
        await refused(haos_host, "POST", "/os/config/swap", 400, "", body)
    await forget_reboot(haos_host)
    haos_agent.stop()

    async def unknown() -> bool:
        return await haos_host.get("/os/config/swap") == {"swap_size": None, "swappiness": None}

    await until(unknown, 30)
    await refused(haos_host, "POST", "/os/config/swap", 400, "OS agent", {"swappiness": 20})
