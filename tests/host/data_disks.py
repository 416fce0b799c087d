"""A system whose data is on a disk of its own, and disks that are plugged in beside it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest_asyncio

from box_daemon import AgentService, BoxDaemon
from daemon import until
from hostbox.box import Box

EXTERNAL, OLD_EXTERNAL = "hassos-data-external", "hassos-data-external-old"
SIZE = "96M"


@attrs.define(eq=False)
class Disks:
    """The disks that a test plugs in; all are pulled out and erased after it."""

    box: Box
    names: list[str] = attrs.field(factory=list)

    def plug(self, name: str, size: str = SIZE) -> str:
        if name not in self.names:
            self.names.append(name)
        return self.box.add_disk(name, size)

    def again(self, name: str) -> str:
        """Plug in what a reboot has pulled out."""
        self.box.remove_disk(name)
        return self.plug(name)

    def end(self) -> None:
        for name in self.names:
            self.box.throw_away_disk(name)

    def with_data(self, name: str, *, partition: str = EXTERNAL, label: str = "hassos-data", size: str = SIZE) -> str:
        """Plug in a disk with data in a partition; return the partition's node."""
        device = self.plug(name, size)
        self.box.run("sfdisk", "-q", device, stdin=f'label: gpt\ntype=L, name="{partition}"\n')
        part = f"{device}p1"
        self.box.run("mkfs.ext4", "-q", "-L", label, part)
        self.box.run("udevadm", "trigger", "--settle", device, part)
        return part

    def partitions(self, device: str) -> list[str]:
        """Return the names of the partitions in the table that is on a disk."""
        done = self.box.attempt("sfdisk", "--json", device)
        if done.returncode:
            return []
        return [part.get("name", "") for part in json.loads(done.stdout)["partitiontable"].get("partitions", [])]

    def label(self, device: str) -> str:
        return self.box.run("blkid", "-p", "-o", "value", "-s", "LABEL", device)


@pytest_asyncio.fixture
async def disks(haos: Box, haos_agent: AgentService, haos_host: BoxDaemon) -> AsyncIterator[Disks]:
    """The disks of a system whose data is on one of them, `old`, mounted at /mnt/old."""
    disks = Disks(haos)

    async def known() -> bool:
        return bool((await haos_host.get("/os/info"))["data_disk"] == "hostbox-disk-old")

    try:
        part = disks.with_data("old")
        haos.run("mount", "--mkdir", part, "/mnt/old")
        haos_agent.start(current_device=part, calls=[])
        await until(known, 30)
        yield disks
    finally:
        haos.attempt("umount", "-l", "/mnt/old")
        disks.end()


async def issues(host: BoxDaemon, type_: str) -> list[dict[str, Any]]:
    found = (await host.get("/resolution/info"))["issues"]
    return [issue for issue in found if issue["type"] == type_]


async def boot_id(box: Box) -> str:
    return await box.ask("cat", "/proc/sys/kernel/random/boot_id")


async def has_agent(host: BoxDaemon) -> None:
    """Wait until the daemon knows an agent that was started anew."""

    async def known() -> bool:
        info = await host.get("/host/info")
        return "os_agent" in info["features"] and (await host.get("/os/info"))["data_disk"] is not None

    await until(known, 30)
