"""What the daemon finds wrong with a host, and what it does about it, seen on the host."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from box_daemon import BoxDaemon
from daemon import until
from hostbox.box import Box
from hostbox.network import bridge

BROKEN = "box-broken.service"
# Fails as long as there is no such file.
BROKEN_UNIT = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/test -e /run/mended\n"
DROP_IN = Path("run/systemd/system/supervisor.service.d/whoami.conf")
# What a host of Debian's packages lacks, and this machine besides; nothing else may be wrong with it. The box's
# NetworkManager was told not to look for the internet.
UNSUPPORTED = {"os", "os_agent", "docker_version", "connectivity_check"}
OF_THIS_KERNEL = {"apparmor"}


async def info(host: BoxDaemon) -> dict[str, Any]:
    return dict(await host.get("/resolution/info"))


async def issue(host: BoxDaemon, type_: str, reference: str | None = None) -> dict[str, Any] | None:
    for found in (await info(host))["issues"]:
        if (found["type"], found["reference"]) == (type_, reference):
            return dict(found)
    return None


async def helps(host: BoxDaemon, found: dict[str, Any]) -> dict[str, str]:
    """Return the uuids of what helps against an issue, by type."""
    suggestions = (await host.get(f"/resolution/issue/{found['uuid']}/suggestions"))["suggestions"]
    return {suggestion["type"]: suggestion["uuid"] for suggestion in suggestions}


async def state_of(box: Box, unit: str) -> str:
    return (await box.ask("systemctl", "show", "--property=ActiveState", "--value", unit)).strip()


@pytest_asyncio.fixture
async def broken(host: BoxDaemon, box: Box) -> AsyncIterator[dict[str, Any]]:
    """The issue about a unit that has failed."""
    unit = box.root / "run/systemd/system" / BROKEN
    unit.parent.mkdir(exist_ok=True, parents=True)
    try:
        unit.write_text(BROKEN_UNIT)
        await box.ask("systemctl", "daemon-reload")
        box.attempt("systemctl", "start", BROKEN)
        assert await state_of(box, BROKEN) == "failed"
        await host.post("/resolution/check/systemd_unit_failure/run")
        found = await issue(host, "systemd_unit_failed", BROKEN)
        assert found is not None
        yield found
    finally:
        (box.root / "run/mended").unlink(missing_ok=True)
        box.attempt("systemctl", "stop", BROKEN)
        box.attempt("systemctl", "reset-failed", BROKEN)
        unit.unlink()
        await box.ask("systemctl", "daemon-reload")
        await host.post("/resolution/healthcheck")


async def test_a_host_of_debian_s_packages_is_unsupported_for_what_it_lacks_alone(host: BoxDaemon) -> None:
    await host.post("/resolution/healthcheck")
    found = await info(host)
    assert set(found["unsupported"]) - OF_THIS_KERNEL == UNSUPPORTED
    assert found["unhealthy"] == []
    assert {"systemd_unit_failure", "network_interface_ipv4"} <= {check["slug"] for check in found["checks"]}


async def test_networkmanager_is_judged_anew_as_soon_as_it_looks_for_the_internet(host: BoxDaemon, box: Box) -> None:
    async def told() -> bool:
        return "connectivity_check" in (await info(host))["unsupported"]

    async def not_told() -> bool:
        return not await told()

    await host.post("/resolution/healthcheck")
    assert await told()
    more = box.root / "etc/NetworkManager/conf.d/zz-looks.conf"
    try:
        more.write_text("[connectivity]\nenabled=true\nuri=http://gateway.lan:9/\ninterval=300\n")
        await box.ask("nmcli", "general", "reload", "conf")
        await until(not_told, 30)
    finally:
        more.unlink()
        await box.ask("nmcli", "general", "reload", "conf")
    await until(told, 30)


async def test_a_unit_that_failed_is_told_and_forgotten(host: BoxDaemon, box: Box, broken: dict[str, Any]) -> None:
    suggested = await helps(host, broken)
    assert set(suggested) == {"execute_reset", "execute_restart"}
    await host.post(f"/resolution/suggestion/{suggested['execute_reset']}")
    assert await state_of(box, BROKEN) == "inactive"
    assert await issue(host, "systemd_unit_failed", BROKEN) is None


async def test_a_failure_that_was_dismissed_stays_so_until_the_unit_fails_anew(
    host: BoxDaemon, box: Box, broken: dict[str, Any]
) -> None:
    assert (await host.ask("DELETE", f"/resolution/issue/{broken['uuid']}")).status == 200
    await host.post("/resolution/healthcheck")
    assert await issue(host, "systemd_unit_failed", BROKEN) is None
    mended = box.root / "run/mended"
    mended.touch()
    await box.ask("systemctl", "restart", BROKEN)
    mended.unlink()
    box.attempt("systemctl", "restart", BROKEN)
    assert await state_of(box, BROKEN) == "failed"
    await host.post("/resolution/healthcheck")
    assert await issue(host, "systemd_unit_failed", BROKEN) is not None


async def test_a_restart_counts_when_the_unit_runs(host: BoxDaemon, box: Box, broken: dict[str, Any]) -> None:
    suggested = await helps(host, broken)
    answer = await host.ask("POST", f"/resolution/suggestion/{suggested['execute_restart']}")
    assert answer.status != 200
    assert BROKEN in answer.body["message"]
    assert await issue(host, "systemd_unit_failed", BROKEN) is not None
    (box.root / "run/mended").touch()
    await host.post(f"/resolution/suggestion/{suggested['execute_restart']}")
    assert await state_of(box, BROKEN) == "active"
    assert await issue(host, "systemd_unit_failed", BROKEN) is None


async def test_a_unit_that_was_mended_by_hand_is_no_issue(host: BoxDaemon, box: Box, broken: dict[str, Any]) -> None:
    (box.root / "run/mended").touch()
    await box.ask("systemctl", "restart", BROKEN)
    await host.post("/resolution/healthcheck")
    assert await issue(host, "systemd_unit_failed", BROKEN) is None


@pytest_asyncio.fixture
async def stopped_clock(host: BoxDaemon, box: Box) -> AsyncIterator[dict[str, Any]]:
    """The issue about time servers, which are not asked any more because they kept the clock far from the time."""
    drop_in = box.root / DROP_IN
    drop_in.parent.mkdir(exist_ok=True, parents=True)
    (box.root / "run/whoami").write_text(json.dumps({"timezone": "Europe/Berlin", "timestamp": 1.0}))
    try:
        await box.ask(
            *("systemd-run", "--quiet", "--unit=whoami", "--working-directory=/run"),
            *("python3", "-m", "http.server", "--bind", "127.0.0.1", "8099"),
        )
        await until(lambda: box.attempt("curl", "-sf", "http://127.0.0.1:8099/whoami").returncode == 0, 30)
        await box.ask("systemctl", "start", "systemd-timesyncd")
        drop_in.write_text("[Service]\nEnvironment=SUPERVISOR_WHOAMI_URL=http://127.0.0.1:8099/whoami\n")
        await box.ask("systemctl", "daemon-reload")
        await host.restart()
        await host.ready()
        yield await until(lambda: issue(host, "ntp_sync_failed"), 30, lambda: host.log)
    finally:
        drop_in.unlink(missing_ok=True)
        (box.root / "run/whoami").unlink()
        box.attempt("systemctl", "stop", "whoami")
        await box.ask("systemctl", "daemon-reload")
        await box.ask("systemctl", "start", "systemd-timesyncd")
        await host.restart()
        await host.ready()
        await host.post("/supervisor/options", {"timezone": "Etc/UTC"})


async def test_time_servers_are_asked_again(host: BoxDaemon, box: Box, stopped_clock: dict[str, Any]) -> None:
    assert await state_of(box, "systemd-timesyncd") == "inactive"
    suggested = await helps(host, stopped_clock)
    await host.post(f"/resolution/suggestion/{suggested['enable_ntp']}")
    assert await state_of(box, "systemd-timesyncd") == "active"
    assert await issue(host, "ntp_sync_failed") is None


@pytest.fixture
def stranger(box: Box) -> Iterator[str]:
    """Another machine of the box's network, which sends the box what is meant for its internal network."""
    # Names of these are those of the whole machine, on which others may run these tests, too.
    name = f"stranger{os.getpid()}"
    address = json.loads(box.run("ip", "-4", "-json", "address", "show", "eth0"))[0]["addr_info"][0]["local"]
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for words in (
            f"link add {name} type veth peer name eth0 netns {name}",
            f"link set {name} master {bridge(0)} up",
            f"-n {name} link set eth0 up",
            f"-n {name} address add 10.99.0.90/24 dev eth0",
            f"-n {name} route add 172.30.32.1/32 via {address}",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def comes_in(stranger: str) -> bool:
    reach = ("timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/172.30.32.1/80")
    code = subprocess.run(["ip", "netns", "exec", stranger, *reach], check=False).returncode
    assert code in (0, 124), "it is refused or there is no way, which says nothing"
    return code == 0


async def rules_of(box: Box, program: str, gateway: str) -> list[str]:
    rules = (await box.ask(program, "-t", "raw", "-S", "PREROUTING")).splitlines()
    return [rule.removeprefix("-A PREROUTING ") for rule in rules if gateway in rule]


async def test_the_gateway_of_the_internal_network_is_closed_to_other_machines(
    host: BoxDaemon, box: Box, stranger: str
) -> None:
    await until(lambda: not comes_in(stranger), 30)
    # Who takes the rules away opens it; the next start of the daemon sets those that are missing, in their order.
    await box.ask("iptables", "-t", "raw", "-F", "PREROUTING")
    await until(lambda: comes_in(stranger), 30)
    for take_away in ("iptables -t raw -D PREROUTING 2; ip6tables -t raw -D PREROUTING 1", "true"):
        await host.restart()
        await host.ready()
        assert not comes_in(stranger)
        for program, gateway in (("iptables", "172.30.32.1/32"), ("ip6tables", "fd0c:ac1e:2100::1/128")):
            accept, drop = f"-d {gateway} -i lo -j ACCEPT", f"-d {gateway} ! -i hassio -j DROP"
            assert await rules_of(box, program, gateway) == [accept, drop]
        await box.ask("sh", "-c", take_away)
    ping = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://172.30.32.1/supervisor/ping")
    assert await box.ask(*ping) == "200"
