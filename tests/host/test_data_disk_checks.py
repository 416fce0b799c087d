"""Disks that the system could take for the one with its data: noticed when they are plugged in, and what helps."""

from __future__ import annotations

import time
from typing import Any

import pytest
from data_disks import Disks, boot_id, disks, has_agent, issues

from box_daemon import AgentService, BoxDaemon
from daemon import until, within
from hostbox.box import Box

__all__ = ["disks"]

pytestmark = pytest.mark.timeout(600)
NOTICED_SECONDS = 5


async def about(host: BoxDaemon, type_: str, device: str) -> dict[str, Any] | None:
    return next((issue for issue in await issues(host, type_) if issue["reference"] == device), None)


async def suggestion(host: BoxDaemon, issue: dict[str, Any], type_: str) -> str:
    found = await host.get(f"/resolution/issue/{issue['uuid']}/suggestions")
    assert {one["type"] for one in found["suggestions"]} == {"adopt_data_disk", "rename_data_disk"}
    return next(str(one["uuid"]) for one in found["suggestions"] if one["type"] == type_)


async def noticed(host: BoxDaemon, type_: str, device: str) -> dict[str, Any]:
    began = time.monotonic()
    found: dict[str, Any] = await until(lambda: about(host, type_, device), 30)
    assert within(NOTICED_SECONDS, began)
    return found


async def test_a_second_disk_with_data_is_noticed_at_once_and_renamed(haos_host: BoxDaemon, disks: Disks) -> None:
    second = disks.with_data("second", partition="data")
    issue = await noticed(haos_host, "multiple_data_disks", second)
    assert len(await issues(haos_host, "multiple_data_disks")) == 1, "the one with the data is none"
    await haos_host.post(f"/resolution/suggestion/{await suggestion(haos_host, issue, 'rename_data_disk')}")
    assert disks.label(second) == "hassos-data-old"
    assert await issues(haos_host, "multiple_data_disks") == []
    assert disks.label(disks.box.run("findmnt", "-no", "SOURCE", "/mnt/old")) == "hassos-data"


async def test_a_disabled_disk_is_no_matter_when_it_is_pulled_out(haos_host: BoxDaemon, disks: Disks) -> None:
    disabled = disks.with_data("disabled", partition="data", label="hassos-data-dis")
    await noticed(haos_host, "disabled_data_disk", disabled)
    other = disks.with_data("another", partition="data", label="hassos-data-dis")
    await noticed(haos_host, "disabled_data_disk", other)
    disks.box.remove_disk("disabled")
    began = time.monotonic()

    async def gone() -> bool:
        return await about(haos_host, "disabled_data_disk", disabled) is None

    await until(gone, 30)
    assert within(NOTICED_SECONDS, began)
    assert await about(haos_host, "disabled_data_disk", other)


async def test_a_check_that_is_switched_off_does_not_look(haos_host: BoxDaemon, disks: Disks) -> None:
    await haos_host.post("/resolution/check/disabled_data_disk/options", {"enabled": False})
    try:
        disabled = disks.with_data("disabled", partition="data", label="hassos-data-dis")
        second = disks.with_data("second", partition="data")
        await noticed(haos_host, "multiple_data_disks", second)
        assert await about(haos_host, "disabled_data_disk", disabled) is None
    finally:
        await haos_host.post("/resolution/check/disabled_data_disk/options", {"enabled": True})


async def test_a_disabled_disk_is_adopted_by_a_reboot(
    haos: Box, haos_host: BoxDaemon, haos_agent: AgentService, disks: Disks
) -> None:
    disabled = disks.with_data("disabled", partition="data", label="hassos-data-dis")
    issue = await noticed(haos_host, "disabled_data_disk", disabled)
    boot, boots = await boot_id(haos), haos.state.boots
    uuid = await suggestion(haos_host, issue, "adopt_data_disk")
    assert (await haos_host.ask("POST", f"/resolution/suggestion/{uuid}")).status == 200
    haos.wait_until_up(boots=boots + 1)
    await haos_host.ready()
    assert await boot_id(haos) != boot
    adopted, old = disks.again("disabled"), disks.again("old")
    assert (disks.label(f"{adopted}p1"), disks.label(f"{old}p1")) == ("hassos-data", "hassos-data-old")


async def test_a_machine_that_can_not_be_rebooted_says_that_it_has_to_be(
    haos: Box, haos_host: BoxDaemon, disks: Disks
) -> None:
    disabled = disks.with_data("disabled", partition="data", label="hassos-data-dis")
    issue = await noticed(haos_host, "disabled_data_disk", disabled)
    boot = await boot_id(haos)
    current = haos.run("findmnt", "-no", "SOURCE", "/mnt/old")
    haos.run("systemctl", "mask", "--runtime", "reboot.target")
    try:
        uuid = await suggestion(haos_host, issue, "adopt_data_disk")
        assert (await haos_host.ask("POST", f"/resolution/suggestion/{uuid}")).status == 200
        await until(lambda: running(haos_host), 30)
        assert await boot_id(haos) == boot
        assert (disks.label(disabled), disks.label(current)) == ("hassos-data", "hassos-data-old")
        (needed,) = await issues(haos_host, "reboot_required")
        found = await haos_host.get(f"/resolution/issue/{needed['uuid']}/suggestions")
        assert [one["type"] for one in found["suggestions"]] == ["execute_reboot"]
        await haos_host.ask("DELETE", f"/resolution/issue/{needed['uuid']}")
    finally:
        haos.run("systemctl", "unmask", "--runtime", "reboot.target")


async def running(host: BoxDaemon) -> bool:
    return bool((await host.get("/info"))["state"] == "running")


async def test_a_system_that_is_installed_twice_is_not_healthy(
    haos: Box, haos_host: BoxDaemon, haos_agent: AgentService, disks: Disks
) -> None:
    disks.with_data("first", partition="hassos-boot", label="one")
    disks.with_data("twin", partition="hassos-boot", label="two")
    await haos_host.restart()
    await haos_host.ready()
    try:
        assert len(await issues(haos_host, "duplicate_os_installation")) == 1
        assert "duplicate_os_installation" in (await haos_host.get("/resolution/info"))["unhealthy"]
        await has_agent(haos_host)
        answer = await haos_host.ask("POST", "/os/datadisk/wipe")
        assert answer.status == 400
        assert "not healthy - duplicate_os_installation" in answer.body["message"]
    finally:
        haos.remove_disk("twin")
        await haos_host.restart()
        await haos_host.ready()
    assert await issues(haos_host, "duplicate_os_installation") == []
