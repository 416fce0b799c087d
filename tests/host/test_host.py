"""The host as the daemon shows and changes it, seen from outside the daemon."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from box_traces import LOSE_THE_BUS_FOR_GOOD, start_services

from box_daemon import AgentService, BoxDaemon
from daemon import ROOT, until, within
from hostbox.box import Box

UNITS = {"NetworkManager.service", "dbus.service", "docker.service", "pulseaudio.service", "supervisor.service"}
BUS = ("dbus.socket", "dbus.service")
MEDIA = "/mnt/data/supervisor/media"
SYSTEMD_FEATURES = {"reboot", "shutdown", "services", "hostname", "timedate", "resolved", "journal", "disk"}


@pytest_asyncio.fixture
async def settled(host: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon, with every service there; afterwards what a test took away is there again, and what it set is not."""
    yield host
    await start_services(box)
    box.attempt("systemctl", "kill", "--signal=CONT", "systemd-hostnamed")
    await box.ask("hostnamectl", "hostname", "box")
    await box.ask("timedatectl", "set-timezone", "Etc/UTC")
    await box.ask("timedatectl", "set-ntp", "yes")

    async def as_before() -> bool:
        info = await host.get("/host/info")
        set_up = (info["hostname"], info["timezone"], info["use_ntp"])
        return set_up == ("box", "Etc/UTC", True) and await features(host)

    await until(as_before, 60)


@pytest_asyncio.fixture
async def without_bus(settled: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon, whose bus the test takes away; afterwards the services that can't do without are restarted."""
    yield settled
    await box.ask("systemctl", "unmask", "--runtime", *BUS)
    await box.ask("systemctl", "start", *BUS)
    await box.ask("systemctl", "restart", *LOSE_THE_BUS_FOR_GOOD)


async def features(host: BoxDaemon) -> bool:
    return set((await host.get("/host/info"))["features"]) >= SYSTEMD_FEATURES


async def quickly(host: BoxDaemon, path: str = "/host/info") -> dict:
    """Ask and see that the answer comes within a second."""
    began = time.monotonic()
    answer = await host.get(path)
    assert within(1, began)
    return answer


async def test_what_the_services_tell_is_shown(host: BoxDaemon, box: Box) -> None:
    info = await host.get("/host/info")
    told = json.loads(await box.ask("hostnamectl", "--json=short"))
    assert {key: info[key] for key in ("hostname", "chassis", "deployment", "kernel", "operating_system")} == {
        "hostname": told["StaticHostname"],
        "chassis": told["Chassis"],
        "deployment": told["Deployment"],
        "kernel": told["KernelRelease"],
        "operating_system": told["OperatingSystemPrettyName"],
    }
    assert set(info["features"]) >= SYSTEMD_FEATURES
    assert info["virtualization"] == "container-other"
    assert (info["broadcast_llmnr"], info["broadcast_mdns"]) == (True, True)
    assert info["startup_time"] > 0
    finished = await box.ask("systemctl", "show", "--property=FinishTimestamp", "--timestamp=us+utc", "--value")
    assert finished.removesuffix(" UTC").endswith(f"{info['boot_timestamp'] % 1_000_000:06d}")
    assert info["disk_total"] > 0

    async def told_of_the_space() -> bool:
        # A look that is old starts a new one, whose answer is the next one's; others write to this disk, too.
        total, free = map(int, (await box.ask("stat", "-f", "-c", "%b %a", "/mnt/data")).split())
        info = await host.get("/host/info")
        return abs(info["disk_free"] / info["disk_total"] - free / total) < 0.05

    await until(told_of_the_space, 30)


async def test_the_host_name_is_set(settled: BoxDaemon, box: Box) -> None:
    await settled.post("/host/options", {"hostname": "attic"})
    assert await box.ask("hostnamectl", "hostname") == "attic"
    assert (await settled.get("/host/info"))["hostname"] == "attic"
    assert (await settled.get("/info"))["hostname"] == "attic"
    await box.ask("hostnamectl", "hostname", "box")

    async def known() -> bool:
        return (await settled.get("/host/info"))["hostname"] == "box"

    await until(known, 30)


@pytest.mark.parametrize("name", ["", "not a name", "under_score", "x" * 65, "-", "a\0b", "\ud800"])
async def test_a_name_that_no_host_can_have_is_refused(host: BoxDaemon, box: Box, name: str) -> None:
    answer = await host.ask("POST", "/host/options", {"hostname": name})
    assert answer.status == 400
    if name.isprintable():
        assert answer.body["error_key"] == "host_invalid_hostname"
        assert answer.body["extra_fields"] == {"hostname": name}
    assert await box.ask("hostnamectl", "hostname") == "box"
    assert await features(host)


async def test_the_clock_is_set_up(settled: BoxDaemon, box: Box) -> None:
    async def timesyncd() -> bool:
        return await box.ask("timedatectl", "show", "--property=NTP", "--value") == "yes"

    async def shown() -> bool:
        info = await settled.get("/host/info")
        return (info["timezone"], info["use_ntp"]) == ("Europe/Berlin", False)

    await settled.post("/host/options", {"timezone": "Europe/Berlin", "use_ntp": False})
    assert await box.ask("timedatectl", "show", "--property=Timezone", "--value") == "Europe/Berlin"
    # timedated answers when it has told systemd, which takes its time.
    await until(shown, 30)
    assert not await timesyncd()
    await settled.post("/host/options", {"timezone": "Etc/UTC", "use_ntp": True})
    await until(timesyncd, 30)


async def test_the_time_zone_of_the_settings_is_the_host_s(settled: BoxDaemon, box: Box) -> None:
    try:
        await settled.post("/supervisor/options", {"timezone": "Asia/Tokyo"})
        assert await box.ask("timedatectl", "show", "--property=Timezone", "--value") == "Asia/Tokyo"
    finally:
        await settled.post("/supervisor/options", {"timezone": "Etc/UTC"})


async def test_a_host_that_does_not_take_the_time_zone_is_no_failure_of_the_settings(
    settled: BoxDaemon, box: Box
) -> None:
    """Home Assistant sets it at each of its starts, and older versions of its operating system can't write it."""
    await box.ask("systemctl", "mask", "--runtime", "--now", "systemd-timedated")
    try:
        await settled.post("/supervisor/options", {"timezone": "Asia/Tokyo"})
        assert (await settled.get("/supervisor/info"))["timezone"] == "Asia/Tokyo"
        assert (await box.ask("readlink", "/etc/localtime")).endswith("/Etc/UTC")
        refused = await settled.ask("POST", "/host/options", {"timezone": "Asia/Tokyo"})
        assert refused.status == 400, "who asks for just that is told"
    finally:
        await box.ask("systemctl", "unmask", "--runtime", "systemd-timedated")
    await settled.post("/supervisor/options", {"timezone": "Etc/UTC"})
    assert (await settled.ask("POST", "/host/options", {"timezone": "Etc/UTC"})).status == 200


async def test_services_are_listed_as_systemd_has_them(host: BoxDaemon, box: Box) -> None:
    async def told() -> set[str]:
        units = json.loads(await box.ask("systemctl", "list-units", "--type=service", "--all", "--output=json"))
        return {unit["unit"] for unit in units if unit["load"] == "loaded"}

    async def agreed() -> dict[str, Any]:
        # Services that nobody asks anything end, and systemd forgets them: at any time, also between two looks.
        before = await told()
        found = {entry["name"]: entry for entry in (await host.get("/host/services"))["services"]}
        return found if before == set(found) == await told() else {}

    listed = await until(agreed, 30)
    assert listed["supervisor.service"]["state"] == "active"
    assert set(listed["supervisor.service"]) == {"name", "description", "state"}


async def test_a_service_is_stopped_started_restarted_and_reloaded(settled: BoxDaemon, box: Box) -> None:
    async def state() -> str:
        return await box.ask("systemctl", "show", "--property=ActiveState", "--value", "pulseaudio")

    async def process() -> str:
        return await box.ask("systemctl", "show", "--property=MainPID", "--value", "pulseaudio")

    await settled.post("/host/service/pulseaudio/stop")
    assert await state() == "inactive"
    await settled.post("/host/service/pulseaudio.service/start")
    assert await state() == "active"
    before = await process()
    await settled.post("/host/service/pulseaudio/restart")
    assert await process() not in ("0", before)
    before = await process()
    await settled.post("/host/service/pulseaudio/reload")
    assert await process() not in ("0", before)


@pytest.mark.parametrize(
    "service",
    [
        "docker",
        "dbus",
        "NetworkManager",
        "debug-shell",
        "systemd-journald",
        "supervisor",
        "dbus-org.freedesktop.login1",
    ],
)
async def test_a_service_that_carries_the_daemon_is_not_touched(host: BoxDaemon, box: Box, service: str) -> None:
    before = await box.ask("systemctl", "show", "--property=ActiveState,MainPID", service)
    for action in ("stop", "restart", "reload"):
        answer = await host.ask("POST", f"/host/service/{service}/{action}")
        assert answer.status == 403
    assert await box.ask("systemctl", "show", "--property=ActiveState,MainPID", service) == before


@pytest.mark.parametrize("service", ["nftables", "firewalld", "netfilter-persistent", "connman"])
async def test_a_service_whose_end_cuts_the_networks_of_add_ons_off_is_not_touched(
    host: BoxDaemon, box: Box, service: str
) -> None:
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
    file = f"/run/systemd/system/{service}.service"
    script = f"cat >{file} && systemctl daemon-reload && systemctl start {service}"
    await box.ask("sh", "-c", script, stdin=unit)
    try:
        answer = await host.ask("POST", f"/host/service/{service}/stop")
        assert (answer.status, "supervisor host services rules" in answer.body["message"]) == (403, True)
        assert await box.ask("systemctl", "is-active", service) == "active"
    finally:
        await box.ask("sh", "-c", f"systemctl stop {service}; rm {file}; systemctl daemon-reload")


async def test_an_alias_does_not_open_what_its_own_name_keeps_shut(host: BoxDaemon) -> None:
    rules = await host.get("/host/service/rules")
    try:
        await host.post("/host/service/rules", {"refused": ["systemd-resolved"]})
        answer = await host.ask("POST", "/host/service/dbus-org.freedesktop.resolve1/stop")
        assert answer.status == 403
    finally:
        await host.post("/host/service/rules", rules)


async def test_the_administrator_decides_which_services_may_be_touched(settled: BoxDaemon, box: Box) -> None:
    rules = await settled.get("/host/service/rules")
    try:
        await settled.post("/host/service/rules", {"allowed": ["systemd-timesyncd"], "refused": []})
        await settled.post("/host/service/systemd-timesyncd/restart")
        assert (await settled.ask("POST", "/host/service/pulseaudio/restart")).status == 403
    finally:
        await settled.post("/host/service/rules", rules)
    assert (await settled.ask("POST", "/host/service/systemd-timesyncd/restart")).status == 403


async def test_a_service_that_is_not_there_or_fails_is_said_to(host: BoxDaemon, box: Box) -> None:
    assert (await host.ask("POST", "/host/service/no-such-thing/start")).status == 404
    assert (await host.ask("POST", "/host/service/a%20b/start")).status == 400
    unit = "[Service]\nType=oneshot\nExecStart=/bin/false\n"
    await box.ask("sh", "-c", "cat >/run/systemd/system/broken.service && systemctl daemon-reload", stdin=unit)
    try:
        answer = await host.ask("POST", "/host/service/broken/start")
        assert answer.status == 500
        assert "journalctl -u broken.service" in answer.body["message"]
    finally:
        forget = "systemctl reset-failed broken; rm /run/systemd/system/broken.service; systemctl daemon-reload"
        await box.ask("sh", "-c", forget)


async def test_no_service_takes_one_that_may_not_be_touched_with_it(host: BoxDaemon, box: Box) -> None:
    units = "cd /run/systemd/system && cat > {}.service && systemctl daemon-reload"
    sleeper = "[Service]\nExecStart=/bin/sleep 1000\n"
    await box.ask("sh", "-c", units.format("enemy"), stdin=f"[Unit]\nConflicts=docker.service\n{sleeper}")
    await box.ask("sh", "-c", units.format("ground"), stdin=sleeper)
    await box.ask("sh", "-c", units.format("middle"), stdin=f"[Unit]\nBindsTo=ground.service\n{sleeper}")
    await box.ask("sh", "-c", units.format("dbus-top"), stdin=f"[Unit]\nRequires=middle.service\n{sleeper}")
    docker = ("systemctl", "show", "--property=MainPID,ActiveState", "docker")
    before = await box.ask(*docker)
    try:
        for action in ("start", "restart", "reload"):
            answer = await host.ask("POST", f"/host/service/enemy/{action}")
            assert (answer.status, "ends docker.service" in answer.body["message"]) == (403, True)
        assert await box.ask(*docker) == before
        await host.post("/host/service/ground/start")
        await host.post("/host/service/middle/start")
        await host.post("/host/service/ground/restart")
        await host.post("/host/service/middle/start")
        await box.ask("systemctl", "start", "dbus-top")
        for action in ("stop", "restart", "reload"):
            answer = await host.ask("POST", f"/host/service/ground/{action}")
            assert (answer.status, "ends dbus-top.service" in answer.body["message"]) == (403, True)
        await box.ask("systemctl", "stop", "dbus-top")
        await host.post("/host/service/ground/stop")

        async def ended() -> bool:
            return await box.ask("systemctl", "show", "--property=ActiveState", "--value", "middle") == "inactive"

        # It has a job of its own.
        await until(ended, 30)
    finally:
        await box.ask(
            "sh",
            "-c",
            "cd /run/systemd/system; for one in enemy ground middle dbus-top; do systemctl stop $one; rm $one.*; done",
        )
        await box.ask("systemctl", "daemon-reload")


@pytest_asyncio.fixture
async def media(host: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon with something in its media, and a mount there; afterwards there is nothing."""
    try:
        await box.ask(
            "sh",
            "-euc",
            f"""
            cd {MEDIA}
            mkdir -p films/old far && dd if=/dev/zero of=films/old/one bs=1M count=7 2>/dev/null
            ln -f films/old/one films/again && ln -sf /var/lib/docker link
            mount -t tmpfs tmpfs far && dd if=/dev/zero of=far/big bs=1M count=20 2>/dev/null
            """,
        )
        yield host
    finally:
        await box.ask("sh", "-c", f"umount {MEDIA}/far; rm -r {MEDIA}/*")


async def test_the_data_folder_is_measured_and_mounts_in_it_are_not(media: BoxDaemon) -> None:
    root = await media.get("/host/disks/default/usage?max_depth=3")
    assert [child["id"] for child in root["children"]] == [
        *("system", "addons_data", "addons_config", "media", "share", "backup", "ssl", "homeassistant")
    ]
    found = next(child for child in root["children"] if child["id"] == "media")
    assert 7 << 20 <= found["used_bytes"] < 8 << 20
    assert [child["id"] for child in found["children"]] == ["films"]
    assert [child["id"] for child in found["children"][0]["children"]] == ["old"]
    assert root["used_bytes"] == sum(child["used_bytes"] for child in root["children"])
    shallow = await media.get("/host/disks/default/usage?max_depth=many")
    assert all("children" not in child for child in shallow["children"])
    assert (await media.ask("GET", "/host/disks/nothing/usage")).status == 404


async def test_a_restarted_bus_is_found_again(without_bus: BoxDaemon, box: Box) -> None:
    host = without_bus
    await box.ask("systemctl", "kill", "--signal=KILL", "dbus")

    async def came_back() -> bool:
        return set((await quickly(host))["features"]) >= SYSTEMD_FEATURES - {"resolved"}

    await until(came_back, 30)

    async def takes_a_name() -> bool:
        # What was there may still have been that of before: nobody had noticed yet.
        return (await host.ask("POST", "/host/options", {"hostname": "after"})).status == 200

    await until(takes_a_name, 30)
    assert await box.ask("hostnamectl", "hostname") == "after"
    await host.post("/host/options", {"hostname": "box"})
    await box.ask("systemctl", "restart", "systemd-resolved")
    await until(lambda: features(host), 30)


async def test_without_a_bus_the_answers_go_on_and_say_what_is_missing(without_bus: BoxDaemon, box: Box) -> None:
    settled = without_bus
    # Else whatever needs it starts it again, and then the machine really boots.
    await box.ask("systemctl", "mask", "--runtime", *BUS)
    await box.ask("systemctl", "stop", *BUS)

    async def gone() -> bool:
        return not set((await quickly(settled))["features"]) & {"hostname", "services", "reboot"}

    await until(gone, 30)
    info = await quickly(settled)
    assert (info["hostname"], info["chassis"]) == ("box", None)
    for path, body in (("/host/options", {"hostname": "x"}), ("/host/reboot", None)):
        began = time.monotonic()
        answer = await settled.ask("POST", path, body)
        assert (answer.status, within(1, began)) == (400, True)
        assert "D-Bus connection available" in answer.body["message"]
    assert (await settled.ask("GET", "/host/services")).status == 400


async def test_a_stopped_service_takes_its_feature_along_and_brings_it_back(settled: BoxDaemon, box: Box) -> None:
    await box.ask("systemctl", "stop", "systemd-resolved")

    async def gone() -> bool:
        return "resolved" not in (await quickly(settled))["features"]

    await until(gone, 30)
    info = await quickly(settled)
    assert (info["broadcast_llmnr"], info["llmnr_hostname"]) == (None, None)
    findings = (await quickly(settled, "/host/doctor"))["findings"]
    found = next(finding for finding in findings if finding["name"] == "Name resolution")
    assert (found["condition"], "systemd-resolved" in found["how"]) == ("missing", True)
    await box.ask("systemctl", "start", "systemd-resolved")

    async def back() -> bool:
        return (await quickly(settled))["broadcast_llmnr"] is True

    await until(back, 30)


async def test_a_service_that_ends_when_idle_is_no_loss(settled: BoxDaemon, box: Box) -> None:
    await box.ask("systemctl", "stop", "systemd-hostnamed", "systemd-timedated")
    await asyncio.sleep(0.2)
    info = await quickly(settled)
    assert set(info["features"]) >= SYSTEMD_FEATURES
    assert info["chassis"] == "embedded"
    await settled.post("/host/reload")


async def test_a_service_that_hangs_costs_its_own_requests_their_time_and_no_other(
    settled: BoxDaemon, box: Box
) -> None:
    await settled.post("/host/reload")
    await box.ask("systemctl", "kill", "--signal=STOP", "systemd-hostnamed")
    naming = asyncio.create_task(settled.ask("POST", "/host/options", {"hostname": "slow"}, seconds=30))
    await asyncio.sleep(0.2)
    assert (await quickly(settled))["hostname"] == "box"
    answer = await naming
    assert (answer.status, "did not answer" in answer.body["message"]) == (400, True)


async def test_the_doctor_tells_what_works(host: BoxDaemon) -> None:
    findings = {finding["name"]: finding for finding in (await host.get("/host/doctor"))["findings"]}
    for name in ("Docker", "D-Bus", "Space", "Reboot", "Services of the host", "Clock", "Journal"):
        assert findings[name]["condition"] == "ok", findings[name]


async def test_the_os_agent_is_found_when_it_comes_and_missed_when_it_goes(
    settled: BoxDaemon, os_agent: AgentService
) -> None:
    async def gone() -> bool:
        return "os_agent" not in (await quickly(settled))["features"]

    # There may have been one in the test before.
    await until(gone, 30)
    assert (await settled.get("/host/info"))["agent_version"] is None
    os_agent.start(version="1.7.2")

    async def known() -> bool:
        # Each of its objects is read for itself.
        info = await quickly(settled)
        told = (info["agent_version"], info["apparmor_version"])
        return "os_agent" in info["features"] and told == ("1.7.2", "3.1.7")

    await until(known, 30)
    os_agent.stop()
    await until(gone, 30)


async def test_both_libraries_say_the_same_of_the_real_services(settled: BoxDaemon, box: Box) -> None:
    program = Path(__file__).with_name("read_services.py")
    told = {}
    for library in ("dbus-next", "dbus-fast"):
        text = await box.ask("env", f"PYTHONPATH={ROOT}", sys.executable, "-B", str(program), library)
        told[library] = json.loads(text)
        assert told[library].pop("library") == library
        # Others come and go between the two.
        told[library]["units"] = sorted(set(told[library]["units"]) & UNITS)
    assert told["dbus-next"] == told["dbus-fast"]
    found = told["dbus-fast"]
    assert (found["hostname"], found["chassis"], found["can_reboot"]) == ("box", "embedded", "yes")
    assert set(found["units"]) == UNITS
    assert (found["restarted"], found["llmnr"], "10.99.0.1" in found["servers"]) == ("done", "yes", True)
