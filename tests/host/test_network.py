"""The network of the host, changed by the daemon and looked at with ip and nmcli."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from box_traces import start_services

from box_daemon import BoxDaemon
from daemon import ROOT, until, within
from hostbox.box import Box
from hostbox.network import address

STATIC = {"method": "static", "address": ["10.99.0.50/24"], "gateway": address(0), "nameservers": [address(0)]}
# Nobody answers there.
DEAD_GATEWAY = {"method": "static", "address": ["10.99.0.51/24"], "gateway": "10.99.0.254"}
AUTO = {"method": "auto"}
# Long enough to look at what a change made before it goes back.
CONFIRM = 20
PROFILE = "Supervisor eth0"


@pytest_asyncio.fixture
async def network(host: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon in the box, whose eth0 works; afterwards it has the settings that the box was made with."""
    await until(lambda: untouched(host), 60)
    yield host
    await start_services(box)
    await host.ready()
    listed = await box.ask("nmcli", "-t", "-f", "NAME,UUID", "connection", "show")
    ours = [line.rpartition(":")[2] for line in listed.splitlines() if line.startswith("Supervisor")]
    if ours:
        await box.ask("nmcli", "connection", "delete", *ours)
    await box.ask("nmcli", "connection", "up", "default", "ifname", "eth0")
    await until(lambda: untouched(host), 60)


async def interface(host: BoxDaemon, name: str = "eth0") -> dict[str, Any]:
    return await host.get(f"/network/interface/{name}/info")


async def works(host: BoxDaemon) -> bool:
    answer = await host.ask("GET", "/network/interface/eth0/info")
    return answer.status == 200 and answer.data["ipv4"]["ready"] and bool(answer.data["ipv4"]["address"])


async def untouched(host: BoxDaemon) -> bool:
    """Whether the picture is that of the box's own settings: it follows NetworkManager a little later."""
    if not await works(host):
        return False
    eth0 = await interface(host)
    kept = (
        eth0["ipv4"]["method"],
        eth0["ipv6"]["method"],
        eth0["ipv6"]["addr_gen_mode"],
        eth0["mdns"],
        eth0["primary"],
    )
    return kept == ("auto", "auto", "eui64", "announce", True)


async def update(host: BoxDaemon, **body: Any) -> Any:
    return await host.ask("POST", "/network/interface/eth0/update", body, seconds=180)


async def addresses(box: Box, version: str = "-4") -> list[str]:
    lines = (await box.ask("ip", "-o", version, "address", "show", "dev", "eth0", "scope", "global")).splitlines()
    return [line.split()[3] for line in lines]


async def profile(box: Box, *keys: str, name: str = PROFILE) -> list[str]:
    return (await box.ask("nmcli", "-g", ",".join(keys), "connection", "show", name)).splitlines()


async def stored(box: Box) -> str:
    """What the disk has of our profile."""
    return await box.ask("cat", f"/etc/NetworkManager/system-connections/{PROFILE}.nmconnection")


async def test_the_interfaces_are_shown_as_the_host_has_them(network: BoxDaemon, box: Box) -> None:
    async def settled() -> dict[str, Any] | None:
        # Routers tell of IPv6 when they like, also between two looks.
        info = await network.get("/network/info")
        [eth0] = info["interfaces"]
        same = eth0 == await interface(network) == await interface(network, "Default")
        whole = set(await addresses(box, "-6")) <= set(eth0["ipv6"]["address"]) and address(0) in info["nameservers"]
        return info if same and whole and eth0["ipv6"]["address"] else None

    info = await until(settled, 60)
    [eth0] = info["interfaces"]
    assert (eth0["type"], eth0["enabled"], eth0["connected"], eth0["primary"]) == ("ethernet", True, True, True)
    assert eth0["mac"].lower() == await box.ask("cat", "/sys/class/net/eth0/address")
    assert eth0["ipv4"]["address"] == await addresses(box)
    assert (eth0["ipv4"]["method"], eth0["ipv4"]["gateway"]) == ("auto", address(0))
    assert eth0["ipv4"]["nameservers"] == [address(0)]
    assert (eth0["ipv6"]["method"], eth0["ipv6"]["addr_gen_mode"]) == ("auto", "eui64")
    assert (eth0["mdns"], eth0["llmnr"], eth0["wifi"], eth0["vlan"]) == ("announce", "announce", None, None)
    assert info["docker"]["gateway"] == "172.30.32.1"
    assert info["host_internet"] is None
    assert info["available"] is True
    assert "network" in (await network.get("/host/info"))["features"]


async def test_an_address_is_set_and_given_back(network: BoxDaemon, box: Box) -> None:
    answer = await update(network, ipv4={**STATIC, "route_metric": 77}, mdns="off")
    assert answer.status == 200, answer.body
    assert await addresses(box) == ["10.99.0.50/24"]
    assert "default via 10.99.0.1 dev eth0 proto static metric 77" in await box.ask("ip", "-4", "route")
    assert await profile(box, "ipv4.method", "connection.mdns", "connection.llmnr") == ["manual", "0", "2"]
    shown = await interface(network)
    assert shown["ipv4"]["address"] == ["10.99.0.50/24"]
    assert (shown["ipv4"]["method"], shown["ipv4"]["route_metric"], shown["mdns"]) == ("static", 77, "off")
    assert (shown["ipv6"]["method"], shown["llmnr"]) == ("auto", "announce")
    # The same profile again; what is not named stays as it is.
    answer = await update(network, ipv4=AUTO)
    assert answer.status == 200, answer.body
    [only] = await addresses(box)
    assert only != "10.99.0.50/24"
    assert (await interface(network))["mdns"] == "off"
    assert (await box.ask("nmcli", "-g", "NAME", "connection", "show")).split("\n").count(PROFILE) == 1


async def test_the_ways_of_ipv6(network: BoxDaemon, box: Box) -> None:
    static = {"address": ["fd99:0::50/64"], "gateway": "fd99:0::1", "nameservers": ["fd99:0::1"]}
    assert (await update(network, ipv6=static)).status == 200

    async def has_it() -> bool:
        return "fd99::50/64" in await addresses(box, "-6")

    # Only IPv4 is waited for.
    await until(has_it, 30)
    assert (await profile(box, "ipv6.method", "ipv6.dns")) == ["manual", r"fd99\:\:1"]
    privacy = {"method": "auto", "addr_gen_mode": "stable-privacy", "ip6_privacy": "enabled"}
    assert (await update(network, ipv6=privacy)).status == 200
    assert await profile(box, "ipv6.method", "ipv6.addr-gen-mode", "ipv6.ip6-privacy") == [
        "auto",
        "stable-privacy",
        "2",
    ]
    shown = (await interface(network))["ipv6"]
    assert (shown["method"], shown["addr_gen_mode"], shown["ip6_privacy"]) == ("auto", "stable-privacy", "enabled")
    assert (await update(network, ipv6={"method": "disabled"})).status == 200
    assert await profile(box, "ipv6.method") == ["link-local"]
    assert (await interface(network))["ipv6"]["method"] == "disabled"


async def test_a_gateway_is_looked_for_through_its_interface_alone(network: BoxDaemon, box: Box) -> None:
    look = (
        "import asyncio, sys; from supervisor.drivers.neighbour import reach; print(asyncio.run(reach(*sys.argv[1:])))"
    )

    async def through(name: str) -> str:
        command = (sys.executable, "-B", "-c", look, address(0), name)
        return await box.ask("env", f"PYTHONPATH={ROOT}", *command)

    assert await through("eth0") == "2"
    assert await through("docker0") != "2"
    # Where it is another one's, as in a container, any way will do.
    assert await through("wlan7") == "2"


async def test_a_gateway_that_nobody_is_at_is_taken_back(network: BoxDaemon, box: Box) -> None:
    before = await addresses(box)
    answer = await update(network, ipv4=DEAD_GATEWAY)
    assert answer.status == 400
    assert "10.99.0.254" in answer.body["message"]
    assert await addresses(box) == before
    assert (await interface(network))["ipv4"]["address"] == before
    assert "Supervisor" not in await box.ask("nmcli", "-g", "NAME", "connection", "show")
    assert (await network.get("/network/info"))["pending"] is None


async def test_a_change_to_be_confirmed_goes_back_when_nobody_does(network: BoxDaemon, box: Box) -> None:
    before = await addresses(box)
    assert (await update(network, ipv4=DEAD_GATEWAY, confirm=CONFIRM)).status == 200
    assert await addresses(box) == ["10.99.0.51/24"]
    pending = (await network.get("/network/info"))["pending"]
    assert pending["interface"] == "eth0"
    assert 0 <= pending["seconds"] <= CONFIRM
    assert (await update(network, ipv4=AUTO)).status == 400

    async def back() -> bool:
        return await addresses(box) == before

    await until(back, 60)
    await until(lambda: works(network), 30)
    assert (await network.get("/network/info"))["pending"] is None
    assert (await network.ask("POST", "/network/confirm")).status == 400


async def test_a_change_goes_back_also_when_the_daemon_has_died(network: BoxDaemon, box: Box) -> None:
    before = await addresses(box)
    assert (await update(network, ipv4=DEAD_GATEWAY, confirm=CONFIRM)).status == 200
    assert await addresses(box) == ["10.99.0.51/24"]
    await box.ask("systemctl", "kill", "--signal=KILL", "supervisor")

    async def back() -> bool:
        return await addresses(box) == before

    await until(back, 60)
    await box.ask("systemctl", "restart", "supervisor")
    await network.ready()


async def test_a_restarted_network_manager_does_not_leave_an_unconfirmed_change(network: BoxDaemon, box: Box) -> None:
    before = await addresses(box)
    assert (await update(network, ipv4=DEAD_GATEWAY, confirm=CONFIRM)).status == 200
    await box.ask("systemctl", "restart", "NetworkManager")
    await until(lambda: works(network), 30)
    assert await addresses(box) == ["10.99.0.51/24"]
    pending = (await network.get("/network/info"))["pending"]
    assert (pending["interface"], 0 <= pending["seconds"] <= CONFIRM) == ("eth0", True)

    async def back() -> bool:
        return await addresses(box) == before and (await network.get("/network/info"))["pending"] is None

    await until(back, 60)
    assert PROFILE not in (await box.ask("nmcli", "-g", "NAME", "connection", "show")).split("\n")


async def test_a_boot_ends_a_change_that_nobody_has_confirmed(network: BoxDaemon, box: Box) -> None:
    assert (await update(network, ipv4=STATIC)).status == 200
    assert (await update(network, ipv4=DEAD_GATEWAY, confirm=600)).status == 200
    assert await addresses(box) == ["10.99.0.51/24"]
    boots = box.state.boots
    await box.ask("systemctl", "reboot")
    await asyncio.to_thread(box.wait_until_up, boots=boots + 1)
    await box.ask("systemctl", "start", "supervisor")
    await network.ready()
    await until(lambda: works(network), 30)
    assert await addresses(box) == ["10.99.0.50/24"]
    assert await profile(box, "ipv4.gateway") == [address(0)]


async def test_a_restarted_daemon_still_takes_the_confirmation(network: BoxDaemon, box: Box) -> None:
    assert (await update(network, ipv4=STATIC, confirm=300)).status == 200
    await network.restart()
    await network.ready()
    pending = (await network.get("/network/info"))["pending"]
    assert (pending["interface"], 0 < pending["seconds"] <= 300) == ("eth0", True)
    assert (await update(network, ipv4=AUTO)).status == 400
    await network.post("/network/confirm")
    assert "address1=10.99.0.50/24" in await stored(box)


async def test_a_change_that_is_confirmed_stays(network: BoxDaemon, box: Box) -> None:
    assert (await update(network, ipv4=STATIC, confirm=CONFIRM)).status == 200
    await network.post("/network/confirm")
    assert (await network.get("/network/info"))["pending"] is None
    await asyncio.sleep(CONFIRM + 1)
    assert await addresses(box) == ["10.99.0.50/24"]
    assert "address1=10.99.0.50/24" in await stored(box)


async def test_a_change_is_taken_back_on_demand(network: BoxDaemon, box: Box) -> None:
    before = await addresses(box)
    assert (await update(network, ipv4=STATIC, confirm=600)).status == 200
    await network.post("/network/rollback")
    assert (await network.get("/network/info"))["pending"] is None

    async def back() -> bool:
        return await addresses(box) == before

    await until(back, 60)


async def test_settings_of_its_own_are_removed_by_disabling(network: BoxDaemon, box: Box) -> None:
    answer = await update(network, ipv4=STATIC)
    assert answer.status == 200, answer.body
    assert (await update(network, enabled=False, confirm=600)).status == 200

    async def without() -> bool:
        return "10.99.0.50/24" not in await addresses(box)

    await until(without, 30)
    await network.post("/network/rollback")

    async def back() -> bool:
        return await works(network) and await addresses(box) == ["10.99.0.50/24"]

    await until(back, 40)
    assert (await update(network, enabled=False)).status == 200
    assert PROFILE not in (await box.ask("nmcli", "-g", "NAME", "connection", "show")).split("\n")


async def test_what_makes_no_sense_changes_nothing(network: BoxDaemon, box: Box) -> None:
    before = await box.ask("nmcli", "-g", "NAME,UUID", "connection", "show")
    for body in (
        {},
        {"confirm": 60},
        {"ipv4": {"method": "static"}},
        {"ipv4": {"address": ["10.99.0.50/24"], "gateway": "10.99.0.50"}},
        {"ipv4": {"address": ["fd99::1/64"]}},
        {"ipv4": {"address": ["0.0.0.0/24"]}},
        {"ipv4": {"address": ["127.0.0.1/8"]}},
        {"ipv4": {"address": ["10.99.0.50/0"]}},
        {"ipv4": {"address": ["172.30.32.1/23"]}, "confirm": 60},
        {"ipv6": {"address": ["ff02::1/64"]}},
        {"wifi": {"ssid": "attic"}},
        {"ipv4": AUTO, "confirm": 1},
    ):
        answer = await network.ask("POST", "/network/interface/eth0/update", body)
        assert answer.status == 400, (body, answer.body)
    assert (await network.ask("POST", "/network/interface/eth7/update", {"ipv4": AUTO})).status == 404
    assert (await network.ask("GET", "/network/interface/eth7/info")).status == 404
    assert (await network.ask("GET", "/network/interface/eth0/accesspoints")).status == 400
    assert await box.ask("nmcli", "-g", "NAME,UUID", "connection", "show") == before


async def test_a_vlan_gets_a_profile_and_only_one(network: BoxDaemon, box: Box) -> None:
    path = "/network/interface/eth0/vlan"
    block = {"address": ["10.98.0.1/24"], "method": "static"}
    await network.post(f"{path}/30", {"ipv4": block, "mdns": "resolve"})
    settings = await profile(
        box, "connection.type", "vlan.id", "vlan.parent", "ipv4.addresses", "ipv6.method", name="Supervisor eth0.30"
    )
    assert settings == ["vlan", "30", "eth0", "10.98.0.1/24", "auto"]
    again = await network.ask("POST", f"{path}/30", {"ipv4": block})
    assert (again.status, again.body["message"]) == (400, "VLAN 30 already exists on interface eth0")
    for number in ("-1", "4095", "many"):
        assert (await network.ask("POST", f"{path}/{number}", {})).status == 400


async def test_a_change_made_by_others_is_seen(network: BoxDaemon, box: Box) -> None:
    await box.ask("ip", "address", "add", "10.99.0.77/24", "dev", "eth0")

    async def seen() -> bool:
        return "10.99.0.77/24" in (await interface(network))["ipv4"]["address"]

    async def forgotten() -> bool:
        return not await seen()

    try:
        await until(seen, 30)
    finally:
        await box.ask("ip", "address", "delete", "10.99.0.77/24", "dev", "eth0")
    await until(forgotten, 30)


async def test_network_manager_goes_away_and_comes_back(network: BoxDaemon, box: Box) -> None:
    async def gone() -> bool:
        began = time.monotonic()
        info = await network.get("/network/info")
        assert within(1, began)
        return info["interfaces"] == [] and info["available"] is False

    await box.ask("systemctl", "stop", "NetworkManager")
    await until(gone, 30)
    answer = await update(network, ipv4=AUTO)
    assert answer.status == 400
    assert "NetworkManager" in answer.body["message"]
    assert "network" not in (await network.get("/host/info"))["features"]
    await network.post("/network/reload")
    await box.ask("systemctl", "start", "NetworkManager")
    await until(lambda: works(network), 30)
    await box.ask("systemctl", "restart", "NetworkManager")
    await until(lambda: works(network), 30)
    assert (await update(network, mdns="resolve")).status == 200
    assert (await interface(network))["mdns"] == "resolve"
