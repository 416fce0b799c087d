"""The power switch: a box of its own goes down and comes up again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from box_daemon import HAOS_RELEASE, BoxDaemon, booted, bring_base_image, daemon_of
from daemon import until
from hostbox.box import Box
from hostbox.network import Net

# Two boots, each with everything in it, on a machine that may be busy.
pytestmark = pytest.mark.timeout(600)

LAST_WORDS = "trap 'echo last words; exit 0' TERM; while :; do sleep 0.1; done"
CUTTER = "trap 'sleep 8; echo kept > /media/films/note; exit 0' TERM; while :; do sleep 0.1; done"
FILMS = {"name": "films", "type": "nfs", "usage": "media", "server": "nas", "path": "/films"}


@pytest.fixture(scope="module")
def machine(disk: Path, net: Net, overlay: Path) -> Iterator[Box]:
    with booted("power", disk, net, overlay) as box:
        bring_base_image(box)
        # So that there is time for what a test does while the machine is held up.
        patience = "[Login]\nInhibitDelayMaxSec=120\n"
        box.run("sh", "-c", "mkdir -p $1; cat >$1/box.conf", "sh", "/etc/systemd/logind.conf.d", stdin=patience)
        box.run("systemctl", "restart", "systemd-logind")
        box.run("systemctl", "enable", "--now", "supervisor")
        yield box


@pytest_asyncio.fixture
async def daemon(machine: Box) -> AsyncIterator[BoxDaemon]:
    async with daemon_of(machine) as daemon:
        yield daemon


async def add_ons(daemon: BoxDaemon) -> list[str]:
    """Have one add-on for each stage, the one that starts first first."""
    slugs = [
        daemon.add_on(f"of-{startup}", command=LAST_WORDS, more=f"startup: {startup}\nboot: auto\n")
        for startup in ("initialize", "system", "services", "application")
    ]
    await daemon.post("/store/reload")
    present = {addon["slug"] for addon in (await daemon.get("/addons"))["addons"]}
    for slug in slugs:
        if slug not in present:
            await daemon.install(slug, start=True)
    for slug in slugs:
        await until(lambda slug=slug: started(daemon, slug), 30)
    return slugs


async def started(daemon: BoxDaemon, slug: str) -> bool:
    return await daemon.state_of(slug) == "started"


async def farewells(machine: Box, boot: int) -> list[str]:
    """Return which containers said their last words in a boot, in that order."""
    lines = await machine.ask("journalctl", f"--boot={boot}", "--output=json", "MESSAGE=last words")
    return [json.loads(line)["CONTAINER_NAME"].removeprefix("addon_") for line in lines.splitlines()]


async def test_a_reboot_stops_the_add_ons_in_their_order_and_starts_them_again(daemon: BoxDaemon, machine: Box) -> None:
    slugs = await add_ons(daemon)
    boot, boots = (await machine.ask("cat", "/proc/sys/kernel/random/boot_id")).strip(), machine.state.boots
    assert (await daemon.ask("POST", "/host/reboot")).status == 200
    machine.wait_until_up(boots=boots + 1)
    await daemon.ready()
    assert (await machine.ask("cat", "/proc/sys/kernel/random/boot_id")).strip() != boot
    assert await farewells(machine, -1) == list(reversed(slugs))
    for slug in slugs:
        await until(lambda slug=slug: started(daemon, slug), 60)


async def test_a_reboot_that_nobody_told_the_daemon_of_stops_them_in_their_order_too(
    daemon: BoxDaemon, machine: Box
) -> None:
    """As somebody at the machine does it: systemd stops the daemon before the engine, and it sees why."""
    slugs = await add_ons(daemon)
    boots = machine.state.boots
    await machine.ask("systemctl", "reboot")
    await daemon.close_session()
    machine.wait_until_up(boots=boots + 1)
    await daemon.ready()
    assert await farewells(machine, -1) == list(reversed(slugs))


async def test_a_system_that_waits_for_the_daemon_goes_down_at_once_and_stops_them_in_their_order_too(
    daemon: BoxDaemon, machine: Box
) -> None:
    slugs = await add_ons(daemon)
    own = (await machine.ask("readlink", "/etc/os-release")).strip()
    release = HAOS_RELEASE.replace("16.2", "18.1")
    await machine.ask("sh", "-c", "rm /etc/os-release; cat >/etc/os-release", stdin=release)
    await machine.ask("systemctl", "try-restart", "systemd-hostnamed")
    try:
        await daemon.post("/host/reload")
        assert "haos" in (await daemon.get("/host/info"))["features"]
        boots = machine.state.boots
        assert (await daemon.ask("POST", "/host/reboot")).status == 200
        await daemon.close_session()
        machine.wait_until_up(boots=boots + 1)
        await daemon.ready()
    finally:
        await machine.ask("ln", "-sfn", own, "/etc/os-release")
        await machine.ask("systemctl", "try-restart", "systemd-hostnamed")
    assert await farewells(machine, -1) == list(reversed(slugs))
    told = ("MESSAGE=last words", "+", "UNIT=supervisor.service")
    lines = (await machine.ask("journalctl", "--boot=-1", "--output=cat", *told)).splitlines()
    stopping = next(place for place, line in enumerate(lines) if line.startswith("Stopping supervisor"))
    assert stopping < lines.index("last words"), "the daemon stops them when it is stopped itself"


async def test_network_storage_stays_until_the_add_ons_that_use_it_have_stopped(
    daemon: BoxDaemon, machine: Box
) -> None:
    # On another disk than the data, as a server's is, and on one that outlasts the boot.
    machine.shell("mkdir -p /srv/storage/nas/exports/films; ln -sfn /srv/storage /run/network-storage")
    slug = daemon.add_on("cutter", command=CUTTER, more="boot: manual\nmap: [media:rw]\ntimeout: 30\n")
    await daemon.post("/store/reload")
    try:
        await daemon.post("/mounts", FILMS)
        await daemon.install(slug, start=True)
        await until(lambda: started(daemon, slug), 30)
        boots = machine.state.boots
        await machine.ask("systemctl", "reboot")
        await daemon.close_session()
        await asyncio.to_thread(machine.wait_until_up, boots=boots + 1)
        await daemon.ready()
        note = machine.root / "srv/storage/nas/exports/films/note"
        assert note.read_text() == "kept\n"
    finally:
        await daemon.ask("POST", f"/addons/{slug}/uninstall")
        await daemon.ask("DELETE", "/mounts/films")


async def test_a_reboot_that_is_suggested_is_done(daemon: BoxDaemon, machine: Box) -> None:
    boots = machine.state.boots
    try:
        await daemon.post("/docker/options", {"mtu": 1400})
        found = await daemon.get("/resolution/info")
        assert [issue["type"] for issue in found["issues"] if issue["type"] == "reboot_required"]
        [suggestion] = [one["uuid"] for one in found["suggestions"] if one["type"] == "execute_reboot"]
        assert (await daemon.ask("POST", f"/resolution/suggestion/{suggestion}")).status == 200
        await asyncio.to_thread(machine.wait_until_up, boots=boots + 1)
        await daemon.ready()
        # The engine gives it to what joins the network; the bridge has that of its members.
        mtu = '{{index .Options "com.docker.network.driver.mtu"}}'
        assert machine.run("docker", "network", "inspect", "--format", mtu, "hassio").strip() == "1400"
    finally:
        await daemon.post("/docker/options", {"mtu": None})


async def test_a_machine_that_stays_up_after_all_has_its_add_ons_again(daemon: BoxDaemon, machine: Box) -> None:
    """logind takes the request, as it has to wait for somebody, and then systemd refuses it."""
    slugs = await add_ons(daemon)
    names = [f"addon_{slug}" for slug in slugs]
    inspect = ("docker", "inspect", "--format={{.State.StartedAt}}", *names)
    before = set((await machine.ask(*inspect)).split())
    boots = machine.state.boots
    hold = ("systemd-inhibit", "--what=shutdown", "--mode=delay", "--who=test", "sleep", "600")
    await machine.ask("systemd-run", "--quiet", "--unit=holder", *hold)

    async def held() -> bool:
        return "test" in await machine.ask("systemd-inhibit", "--list", "--no-legend", "--mode=delay")

    try:
        await until(held, 30)
        assert (await daemon.ask("POST", "/host/reboot")).status == 200
        await machine.ask("systemctl", "mask", "--runtime", "reboot.target")
        await machine.ask("systemctl", "stop", "holder")
        await until(lambda: daemon.state() == "running", 60, lambda: daemon.log)
        for slug in slugs:
            await until(lambda slug=slug: started(daemon, slug), 60)
        assert before.isdisjoint((await machine.ask(*inspect)).split()), "they were stopped"
        assert machine.state.boots == boots
    finally:
        await machine.ask("systemctl", "unmask", "--runtime", "reboot.target")
        machine.attempt("systemctl", "stop", "holder")
    assert (await daemon.ask("POST", "/host/reboot")).status == 200
    await daemon.close_session()
    await asyncio.to_thread(machine.wait_until_up, boots=boots + 1)
    await daemon.ready()


async def test_a_shutdown_switches_the_machine_off(daemon: BoxDaemon, machine: Box) -> None:
    slugs = [addon["slug"] for addon in (await daemon.get("/addons"))["addons"]]
    assert (await daemon.ask("POST", "/host/shutdown")).status == 200
    await daemon.close_session()
    await until(lambda: machine.state.ended == "power off", 60)
    machine.up()
    await daemon.ready()
    assert set(await farewells(machine, -1)) >= set(slugs)
