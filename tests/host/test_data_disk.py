"""The data disk of the Home Assistant Operating System: real disks and UDisks2, a stand-in for the OS agent."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from data_disks import EXTERNAL, OLD_EXTERNAL, Disks, boot_id, disks, has_agent, issues

from box_daemon import AgentService, BoxDaemon
from contract import models
from daemon import until
from hostbox.box import Box

__all__ = ["disks"]

pytestmark = pytest.mark.timeout(600)


async def listed(host: BoxDaemon) -> list[dict[str, Any]]:
    return list((await host.get("/os/datadisk/list"))["disks"])


async def in_list(host: BoxDaemon, name: str) -> dict[str, Any] | None:
    # By its name: UDisks2 may still take a device that was just used again for the disk before.
    return next((disk for disk in await listed(host) if disk["serial"] == name), None)


async def test_disks_of_which_nothing_is_in_use_are_listed(haos_host: BoxDaemon, disks: Disks) -> None:
    device = disks.plug("spare")
    disk = await until(lambda: in_list(haos_host, "spare"), 30)
    models.check(disk, models.DATA_DISK, "disk")
    assert disk == {
        "name": "hostbox disk (spare)",
        "vendor": "hostbox",
        "model": "disk",
        "serial": "spare",
        "size": 96 * 2**20,
        "id": "hostbox-disk-spare",
        "dev_path": device,
    }
    assert (await haos_host.get("/os/datadisk/list"))["devices"] == ["hostbox-disk-spare"], "the data is on the other"
    command = (sys.executable, "-m", "supervisor", "--socket", str(haos_host.socket), "os", "datadisk", "-o", "name")
    shown = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert (await shown.communicate())[0] == b"hostbox-disk-spare\n"
    disks.box.run("mkfs.ext4", "-q", device)
    disks.box.run("udevadm", "trigger", "--settle", device)
    disks.box.run("mount", "--mkdir", device, "/mnt/spare")

    async def gone() -> bool:
        return await in_list(haos_host, "spare") is None

    await until(gone, 30)
    disks.box.run("umount", "/mnt/spare")
    await until(lambda: in_list(haos_host, "spare"), 30)


async def refused(host: BoxDaemon, device: str, *words: str) -> None:
    answer = await host.ask("POST", "/os/datadisk/move", {"device": device})
    assert (answer.status, answer.body["result"]) == (400, "error"), answer.body
    for word in words:
        assert word in answer.body["message"], answer.body


async def test_what_would_do_harm_is_refused_and_nothing_is_touched(
    haos_host: BoxDaemon, haos_agent: AgentService, disks: Disks
) -> None:
    boot = await boot_id(disks.box)
    disks.plug("small", "64M")
    mounted = disks.plug("mounted")
    disks.box.run("mkfs.ext4", "-q", "-L", "pictures", mounted)
    disks.box.run("udevadm", "trigger", "--settle", mounted)
    await until(lambda: in_list(haos_host, "small"), 30)
    await until(lambda: in_list(haos_host, "mounted"), 30)
    disks.box.run("mount", "--mkdir", mounted, "/mnt/pictures")

    async def in_use() -> bool:
        return await in_list(haos_host, "mounted") is None

    await until(in_use, 30)
    await refused(haos_host, "hostbox-disk-nowhere", "no disk 'hostbox-disk-nowhere'")
    await refused(haos_host, "/dev/loop", "no disk")
    await refused(haos_host, "hostbox-disk-old", "already")
    await refused(haos_host, "hostbox-disk-small", "too small", "64.0 MiB")
    await refused(haos_host, mounted, "in use", "/mnt/pictures")
    disks.box.run("umount", "/mnt/pictures")
    assert disks.label(mounted) == "pictures"
    other = disks.with_data("other", label="elsewhere")
    spare = disks.plug("spare")
    await until(lambda: in_list(haos_host, "spare"), 30)
    await refused(haos_host, "hostbox-disk-spare", other, EXTERNAL, "Remove or rename it")
    assert (disks.partitions(spare), disks.label(other)) == ([], "elsewhere")
    assert [call for call in haos_agent.calls if call[0] != "ReloadDevice"] == []
    assert await boot_id(disks.box) == boot


async def test_a_move_that_fails_half_way_leaves_the_data_where_it_is(
    haos_host: BoxDaemon, haos_agent: AgentService, disks: Disks
) -> None:
    spare = disks.plug("spare")
    await until(lambda: in_list(haos_host, "spare"), 30)
    haos_agent.start(failing=["MarkDataMove"])
    await has_agent(haos_host)
    boot = await boot_id(disks.box)
    old = disks.box.run("findmnt", "-no", "SOURCE", "/mnt/old")
    await refused(haos_host, spare, f"The data stays on {old}", "MarkDataMove failed", f"What was on {spare} is gone")
    assert disks.partitions(spare) == [], "nothing is left that the system could move to"
    assert disks.partitions(old.removesuffix("p1")) == [EXTERNAL]
    assert await boot_id(disks.box) == boot
    assert await issues(haos_host, "reboot_required") == []
    haos_agent.start(failing=[])


async def test_a_disk_that_somebody_holds_without_udisks_knowing_is_not_touched(
    haos_host: BoxDaemon, disks: Disks
) -> None:
    part = disks.with_data("busy", partition="pictures", label="pictures")
    await until(lambda: in_list(haos_host, "busy"), 30)
    hold = f"import os, time; os.open({part!r}, os.O_RDWR | os.O_EXCL); print(flush=True); time.sleep(600)"
    disks.box.run("systemd-run", "--quiet", "--unit=holder", "--service-type=exec", "python3", "-c", hold)
    try:
        await until(lambda: holds(disks.box), 30)
        await refused(haos_host, "hostbox-disk-busy", "in use", "holds it for itself")
    finally:
        disks.box.run("systemctl", "stop", "holder")
    assert (disks.partitions(part.removesuffix("p1")), disks.label(part)) == (["pictures"], "pictures")
    assert disks.partitions(disks.box.run("findmnt", "-no", "SOURCE", "/mnt/old").removesuffix("p1")) == [EXTERNAL]


async def holds(box: Box) -> bool:
    return "/dev/loop" in box.attempt("sh", "-c", "ls -l /proc/$(systemctl show -P MainPID holder)/fd").stdout


async def test_the_data_is_moved_by_a_reboot_to_a_disk_that_was_made_ready(
    haos_host: BoxDaemon, haos_agent: AgentService, disks: Disks
) -> None:
    spare = disks.plug("spare", "128M")
    await until(lambda: in_list(haos_host, "spare"), 30)
    boot, boots = await boot_id(disks.box), disks.box.state.boots
    answer = await haos_host.ask("POST", "/os/datadisk/move", {"device": "hostbox-disk-spare"})
    assert answer.status == 200, answer.body
    disks.box.wait_until_up(boots=boots + 1)
    await haos_host.ready()
    assert await boot_id(disks.box) != boot
    assert haos_agent.calls[-1] == ["MarkDataMove"]
    spare, old = disks.again("spare"), disks.again("old")
    assert (disks.partitions(spare), disks.partitions(old)) == ([EXTERNAL], [OLD_EXTERNAL])
    table = json.loads(disks.box.run("sfdisk", "--json", spare))["partitiontable"]
    assert table["label"] == "gpt"
    assert table["partitions"][0]["type"] == "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
    assert table["partitions"][0]["size"] * 512 >= 125 * 2**20, "all of the disk"


async def test_an_old_agent_does_it_all_by_itself(haos_host: BoxDaemon, haos_agent: AgentService, disks: Disks) -> None:
    spare = disks.plug("spare")
    await until(lambda: in_list(haos_host, "spare"), 30)
    haos_agent.start(version="1.4.0", refusing=["ChangeDevice"], calls=[])
    await has_agent(haos_host)
    await refused(haos_host, spare, "did not accept", "The data stays on")
    haos_agent.start(refusing=[])
    await has_agent(haos_host)
    boots = disks.box.state.boots
    assert (await haos_host.ask("POST", "/os/datadisk/move", {"device": spare})).status == 200
    disks.box.wait_until_up(boots=boots + 1)
    await haos_host.ready()
    assert haos_agent.calls[-1] == ["ChangeDevice", spare]
    assert disks.partitions(disks.again("spare")) == []
    haos_agent.start(version="1.9.0")


async def test_the_data_is_wiped_by_a_reboot_when_the_agent_agrees(
    haos_host: BoxDaemon, haos_agent: AgentService, disks: Disks
) -> None:
    haos_agent.start(refusing=["ScheduleWipeDevice"])
    await has_agent(haos_host)
    boot, boots = await boot_id(disks.box), disks.box.state.boots
    answer = await haos_host.ask("POST", "/os/datadisk/wipe")
    assert answer.status == 400
    assert "did not arrange" in answer.body["message"]
    assert await boot_id(disks.box) == boot
    haos_agent.start(refusing=[])
    await has_agent(haos_host)
    assert (await haos_host.ask("POST", "/os/datadisk/wipe")).status == 200
    disks.box.wait_until_up(boots=boots + 1)
    await haos_host.ready()
    assert haos_agent.calls[-1] == ["ScheduleWipeDevice"]
