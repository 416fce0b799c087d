"""Drives that UDisks2 knows, plugged in and pulled out."""

from __future__ import annotations

import time
from typing import Any

from box_daemon import BoxDaemon
from daemon import until, within
from hostbox.box import Box


async def drives(host: BoxDaemon) -> list[dict[str, Any]]:
    return list((await host.get("/hardware/info"))["drives"])


async def of_device(host: BoxDaemon, device: str) -> dict[str, Any] | None:
    for drive in await drives(host):
        if any(one["device"] == device for one in drive["filesystems"]):
            return drive
    return None


async def has_disks(host: BoxDaemon) -> bool:
    return "disk" in (await host.get("/host/info"))["features"]


async def test_a_disk_that_is_plugged_in_is_shown_with_what_is_on_it(host: BoxDaemon, box: Box) -> None:
    device = box.add_disk("pictures", "64M")
    try:
        await box.ask("mkfs.ext4", "-q", "-L", "holiday", device)
        await box.ask("udevadm", "trigger", "--settle", device)

        async def named() -> dict[str, Any] | None:
            # UDisks2 tells of a file system first, and then what it is called.
            found = await of_device(host, device)
            return found if found and found["filesystems"][0]["name"] == "holiday" else None

        drive = await until(named, 30)
        assert [filesystem["mount_points"] for filesystem in drive["filesystems"]] == [[]]
        assert drive["size"] == 64 * 2**20
        await box.ask("mkdir", "-p", "/mnt/holiday")
        await box.ask("mount", device, "/mnt/holiday")

        async def mounted() -> bool:
            found = await of_device(host, device)
            return found is not None and found["filesystems"][0]["mount_points"] == ["/mnt/holiday"]

        await until(mounted, 30)
        await box.ask("umount", "/mnt/holiday")
    finally:
        box.throw_away_disk("pictures")

    async def gone() -> bool:
        return await of_device(host, device) is None

    await until(gone, 30)


async def test_without_udisks_the_answer_comes_all_the_same(host: BoxDaemon, box: Box) -> None:
    await box.ask("systemctl", "mask", "--now", "udisks2")
    try:
        began = time.monotonic()
        info = await host.get("/hardware/info")
        assert within(1.5, began)
        assert any(one["dev_path"] == "/dev/null" for one in info["devices"])
    finally:
        await box.ask("systemctl", "unmask", "udisks2")
        await box.ask("systemctl", "start", "udisks2")
    await until(lambda: has_disks(host), 30)


async def test_devices_can_be_announced_anew(host: BoxDaemon) -> None:
    answer = await host.ask("POST", "/hardware/trigger")
    assert answer.status in (200, 400), answer.text
    if answer.status == 400:
        assert "can't be asked for anew here" in answer.body["message"]


async def test_a_dead_udisks_is_started_by_a_reload(host: BoxDaemon, box: Box) -> None:
    async def has_none() -> bool:
        return not await has_disks(host)

    await box.ask("systemctl", "kill", "--signal=KILL", "udisks2")
    await until(has_none, 30)
    [advice] = [one["how"] for one in (await host.get("/host/doctor"))["findings"] if one["name"] == "Disks"]
    assert "supervisor host reload" in advice
    await host.post("/host/reload")
    await until(lambda: has_disks(host), 30)
