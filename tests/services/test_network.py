"""The manager of the network with a wireless card, before a stand-in for NetworkManager on a real bus."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio
from dbus_next import Variant

from daemon import until as happens
from stands.bus_daemon import BusDaemon
from stands.bus_service import Refusal
from stands.network_manager import ETHERNET, IP4, NAME, ROOT, WIRELESS, NetworkStand, plain
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.neighbour import Reach
from supervisor.errors import Busy, Invalid, SupervisorError, Unavailable
from supervisor.events import EventBus, HostInternetChanged
from supervisor.managers.host import Features, HostFeature
from supervisor.managers.network import Network, NetworkChanges
from supervisor.managers.network import changes as changes_module
from supervisor.managers.network import manager as manager_module
from supervisor.model.network import (
    AccessPoint,
    Interface,
    InterfaceChange,
    InterfaceType,
    IpChange,
    IpMethod,
    NameBroadcast,
    Wifi,
    WifiAuth,
    WifiChange,
    WifiMode,
)


async def until(check: Callable[[], bool]) -> None:
    await happens(check, 30)


@attrs.frozen
class House:
    stand: NetworkStand
    network: Network
    changes: NetworkChanges
    again: Callable[[], NetworkChanges]
    online: list[bool | None]

    async def join(self, *, confirm: int | None = None, **wifi: Any) -> None:
        await self.changes.update("wlan0", InterfaceChange(wifi=WifiChange(**wifi)), confirm=confirm)

    @property
    def wireless(self) -> Interface:
        return self.network.card("wlan0").interface

    @property
    def pending(self) -> str | None:
        return self.changes.pending and self.changes.pending.interface

    async def joined_and_restarted(self) -> None:
        """Leave the attic for the hall, and restart NetworkManager before that is confirmed."""
        await self.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
        await self.join(ssid="hall", confirm=600)
        await self.stand.restart()
        await until(lambda: self.network.can_be_changed)
        assert (self.pending, self.wireless.wifi and self.wireless.wifi.ssid) == ("wlan0", "hall")


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    stand = NetworkStand(daemon.address, ethernet=True)
    await stand.start()
    events, features, online = EventBus(), Features(), []
    events.subscribe(HostInternetChanged, lambda event: online.append(event.online))
    bus = SystemBus(events, daemon.address)
    await bus.start()
    network = Network(bus, events, features)
    features.provide(HostFeature.NETWORK, lambda: network.can_be_changed, title="NetworkManager", how="")
    await network.load()
    changes = NetworkChanges(bus, network, features)
    await changes.start()
    yield House(stand, network, changes, lambda: NetworkChanges(bus, network, features), online)
    await changes.stop()
    await network.stop()
    await bus.stop()
    await stand.stop()
    await daemon.stop()


async def test_a_wireless_network_is_joined_and_left_for_another(house: House) -> None:
    card = house.wireless
    assert (card.type, card.enabled, card.wifi, card.mdns) == (InterfaceType.WIRELESS, False, None, None)
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    card = house.wireless
    assert (card.enabled, card.connected) == (True, True)
    assert card.wifi == Wifi(WifiMode.INFRASTRUCTURE, WifiAuth.WPA_PSK, "attic", 70)
    assert house.stand.profile["match"]["path"].value == ["pci-0000:01:00.0"]
    # The password that is stored is used where none is given.
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK)
    assert house.stand.secret == "correct horse"
    await house.join(ssid="hall")
    assert house.wireless.wifi == Wifi(WifiMode.INFRASTRUCTURE, WifiAuth.OPEN, "hall", 70)
    assert house.stand.secret is None
    assert house.stand.history == ["kept"] * 3


async def test_a_wrong_password_changes_nothing(house: House) -> None:
    with pytest.raises(Invalid, match="Activating connection failed"):
        await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="wrong horse")
    assert (house.stand.history, house.wireless.enabled) == (["back"], False)
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    with pytest.raises(Invalid, match="Activating connection failed"):
        await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="wrong horse")
    assert house.stand.secret == "correct horse"
    assert house.wireless.connected


async def test_access_points_are_found_also_when_the_card_has_just_looked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "SCAN_SECONDS", 0.01)
    found = await house.network.scan("wlan0")
    assert found == [AccessPoint(WifiMode.INFRASTRUCTURE, "attic", "02:00:00:00:00:99", 2412, 70)]


async def test_the_internet_is_looked_for_and_told_about(house: House) -> None:
    assert house.network.online is False
    await house.network.reload()
    assert house.network.online is True
    assert house.online == [False, True]
    await house.stand.change(ROOT, NAME, ConnectivityCheckEnabled=False)
    await until(lambda: house.network.online is None)
    assert house.online == [False, True, None]


async def test_a_network_manager_that_is_too_old_is_left_alone(house: House) -> None:
    await house.stand.change(ROOT, NAME, Version="1.10.0")
    await until(lambda: not house.network.cards)
    assert not house.network.available


ATTIC = Wifi(WifiMode.INFRASTRUCTURE, WifiAuth.WPA_PSK, "attic", 70)


async def test_what_a_restarted_network_manager_forgot_is_taken_back_with_its_password(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "GUARD_SECONDS", 10)
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    await house.join(ssid="hall", confirm=1)
    await house.stand.restart()
    await until(lambda: house.pending is None and house.network.can_be_changed)
    assert (house.wireless.wifi, house.wireless.connected) == (ATTIC, True)
    assert (house.stand.secret, house.stand.history) == ("correct horse", ["kept"])


async def test_what_network_manager_put_back_itself_is_nothing_to_guard_when_it_restarts(house: House) -> None:
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    await house.join(ssid="hall", confirm=1)
    await asyncio.sleep(1)
    house.stand.time_is_up()
    await until(lambda: house.pending is None)
    await house.stand.restart()
    await until(lambda: house.network.can_be_changed)
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    assert (house.pending, house.wireless.wifi) == (None, ATTIC)


async def test_a_change_can_be_confirmed_after_network_manager_was_restarted(house: House) -> None:
    await house.joined_and_restarted()
    with pytest.raises(Busy, match="waits to be confirmed"):
        await house.join(ssid="attic")
    await house.changes.confirm()
    assert house.pending is None
    await house.changes.stop()
    assert house.wireless.wifi == Wifi(WifiMode.INFRASTRUCTURE, WifiAuth.OPEN, "hall", 70)


async def test_a_change_can_be_taken_back_after_network_manager_was_restarted(house: House) -> None:
    await house.joined_and_restarted()
    await house.changes.roll_back()
    assert (house.pending, house.wireless.wifi, house.stand.secret) == (None, ATTIC, "correct horse")


async def test_a_daemon_that_stops_takes_back_what_nobody_else_would(house: House) -> None:
    await house.joined_and_restarted()
    await house.changes.stop()
    assert (house.wireless.wifi, house.wireless.connected) == (ATTIC, True)


async def test_a_daemon_that_stops_leaves_to_network_manager_what_that_guards_also_when_it_had_guarded_another(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "GUARD_SECONDS", 10)
    await house.join(ssid="hall")
    await house.join(ssid="cellar", confirm=1)
    await house.stand.restart()
    await until(lambda: house.pending is None and house.network.can_be_changed)
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse", confirm=600)
    await house.changes.stop()
    assert (house.wireless.wifi, house.wireless.connected) == (ATTIC, True)


async def test_a_first_network_that_was_not_confirmed_is_forgotten(house: House) -> None:
    await house.join(ssid="hall", confirm=600)
    await house.stand.restart()
    await until(lambda: house.network.can_be_changed)
    await house.changes.roll_back()
    assert (house.stand.kept, house.wireless.enabled) == ({}, False)


def saved(house: House) -> list[str]:
    """The wireless networks that a machine would have after its next boot."""
    return [plain(one.profile)["802-11-wireless"]["ssid"].decode() for one in house.stand.saved.values()]


async def test_the_disk_has_the_old_settings_until_the_new_ones_are_confirmed(house: House) -> None:
    await house.join(ssid="hall", confirm=600)
    assert saved(house) == []
    await house.changes.confirm()
    assert saved(house) == ["hall"]
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse", confirm=600)
    assert saved(house) == ["hall"]
    await house.changes.roll_back()
    assert saved(house) == ["hall"]
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    assert saved(house) == ["attic"]


async def test_settings_are_removed_for_good_when_that_is_confirmed(house: House) -> None:
    await house.join(ssid="hall")
    await house.changes.update("wlan0", InterfaceChange(enabled=False), confirm=600)
    assert (house.wireless.connected, saved(house)) == (False, ["hall"])
    await house.changes.roll_back()
    assert (house.wireless.connected, saved(house)) == (True, ["hall"])
    await house.changes.update("wlan0", InterfaceChange(enabled=False), confirm=600)
    await house.changes.confirm()
    assert (house.wireless.enabled, house.stand.kept, saved(house)) == (False, {}, [])


async def test_a_daemon_that_was_restarted_knows_what_waits_to_be_confirmed(house: House) -> None:
    await house.join(ssid="hall")
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse", confirm=600)
    await house.changes.stop()
    changes = house.again()
    await changes.start()
    assert changes.pending is not None
    assert changes.pending.interface == "wlan0"
    assert 590 < changes.pending.deadline - asyncio.get_running_loop().time() <= 600
    with pytest.raises(Busy, match="waits to be confirmed"):
        await changes.update("wlan0", InterfaceChange(enabled=False))
    await changes.confirm()
    assert (changes.pending, saved(house), house.wireless.wifi) == (None, ["attic"], ATTIC)
    await changes.stop()


def static(number: int) -> InterfaceChange:
    block = IpChange(method=IpMethod.STATIC, address=(IPv4Interface(f"192.0.2.{number}/24"),))
    return InterfaceChange(ipv4=block)


async def test_an_interface_that_is_gone_while_it_is_tried_finds_its_old_settings(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    async def reach(host: str, interface: str) -> Reach:
        """There is another way to the gateway, once the interface has been pulled out."""
        asked.append((host, interface))
        if len(asked) == 4:
            house.stand.unplug(ETHERNET)
        return Reach.ANSWERS

    monkeypatch.setattr(changes_module, "reach", reach)
    await house.changes.update("eth0", static(10))
    await house.changes.update("eth0", static(11))
    with pytest.raises(Invalid, match="eth0 vanished"):
        await house.changes.update("eth0", static(12))
    assert set(asked) == {("192.0.2.1", "eth0")}
    [kept] = house.stand.kept.values()
    [saved] = house.stand.saved.values()
    for one in (kept, saved):
        assert plain(one.profile)["ipv4"]["address-data"] == [{"address": "192.0.2.11", "prefix": 24}]


async def test_what_the_disk_does_not_take_is_not_kept(house: House) -> None:
    def full(path: str) -> None:
        raise Refusal(f"{NAME}.Settings.Failed", f"failure to write {path}: No space left on device")

    await house.join(ssid="hall")
    [path] = house.stand.kept
    settings = house.stand.objects[path][f"{NAME}.Settings.Connection"]
    settings.methods["Save"] = ("", "", lambda: full(path))
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse", confirm=600)
    with pytest.raises(SupervisorError, match="No space left on device"):
        await house.changes.confirm()
    assert house.pending == "wlan0"
    await house.changes.roll_back()
    assert house.wireless.wifi == Wifi(WifiMode.INFRASTRUCTURE, WifiAuth.OPEN, "hall", 70)


async def test_a_network_manager_that_ends_in_the_middle_of_a_change_finds_the_old_settings(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "AGAIN_SECONDS", 0.1)
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    manager = house.stand.objects[ROOT][NAME]
    activate = manager.methods["ActivateConnection"]
    restarts = []

    def die(*_arguments: str) -> list[str]:
        manager.methods["ActivateConnection"] = activate
        restarts.append(asyncio.get_running_loop().create_task(house.stand.restart()))
        raise Refusal(f"{NAME}.Failed", "on my way out")

    manager.methods["ActivateConnection"] = ("ooo", "o", die)
    with pytest.raises(Unavailable):
        await house.join(ssid="hall")
    await asyncio.gather(*restarts)
    await until(lambda: house.pending is None and house.network.can_be_changed)
    assert house.wireless.wifi == ATTIC
    assert house.stand.secret == "correct horse"


async def test_a_change_that_is_set_to_work_on_after_the_answer_is_not_judged_by_the_old_settings(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "_LOOK_SECONDS", 0.01)
    stand, active = house.stand, ETHERNET.replace("Devices", "ActiveConnection")
    looks = 0

    async def reach(_host: str, _interface: str) -> Reach:
        nonlocal looks
        looks += 1
        if looks == 2:
            # Only now it begins with what it was asked for.
            stand.set(active, f"{NAME}.Connection.Active", "StateFlags", 0)
            stand.set(IP4, f"{NAME}.IP4Config", "AddressData", [])
            asyncio.get_running_loop().call_later(0.3, has_a_lease)
        return Reach.ANSWERS

    def has_a_lease() -> None:
        lease = [{"address": Variant("s", "192.0.2.99"), "prefix": Variant("u", 24)}]
        stand.set(IP4, f"{NAME}.IP4Config", "AddressData", lease)
        stand.set(active, f"{NAME}.Connection.Active", "StateFlags", 8)

    monkeypatch.setattr(changes_module, "reach", reach)
    await house.changes.update("eth0", static(10))
    await house.changes.update("eth0", InterfaceChange(ipv4=IpChange(method=IpMethod.AUTO)))
    assert house.network.card("eth0").interface.ipv4.address == (IPv4Interface("192.0.2.99/24"),)


async def test_a_vlan_is_made_with_the_settings_that_were_asked_for(house: House) -> None:
    servers = (IPv4Address("192.0.2.1"),)
    block = IpChange(
        method=IpMethod.STATIC, address=(IPv4Interface("192.0.2.30/24"),), route_metric=50, nameservers=servers
    )
    await house.changes.create_vlan("eth0", 30, InterfaceChange(ipv4=block, llmnr=NameBroadcast.OFF))
    profile = plain(house.stand.profile)
    assert profile["vlan"] == {"id": 30, "parent": "eth0"}
    assert (profile["connection"]["type"], profile["connection"]["llmnr"]) == ("vlan", 0)
    assert profile["connection"]["id"] == "Supervisor eth0.30"
    [number] = profile["ipv4"].pop("dns")
    assert socket.inet_ntoa(number.to_bytes(4, sys.byteorder)) == "192.0.2.1"
    assert profile["ipv4"] == {
        "method": "manual",
        "address-data": [{"address": "192.0.2.30", "prefix": 24}],
        "route-metric": 50,
    }
    with pytest.raises(Invalid, match="VLAN 30 already exists on interface eth0"):
        await house.changes.create_vlan("eth0", 30, InterfaceChange())
    await house.changes.create_vlan("eth0", 31, InterfaceChange())
    assert len(house.stand.kept) == 2
    with pytest.raises(Invalid, match="Ethernet"):
        await house.changes.create_vlan("wlan0", 30, InterfaceChange())


async def test_devices_of_containers_are_looked_at_once_and_change_nothing(house: House) -> None:
    stand = house.stand

    async def announce(*more: str) -> None:
        stand.calls.clear()
        stand.set(ROOT, NAME, "Devices", [WIRELESS, ETHERNET, *more])
        await until(lambda: "GetAll" in stand.calls)

    async def reads(expected: int, *more: str) -> None:
        """Announce a list of devices and see how many objects are read for it."""
        await announce(*more)
        await until(lambda: stand.calls.count("GetAll") >= expected)
        await asyncio.sleep(manager_module.SETTLE_SECONDS + manager_module.PAUSE_SECONDS)
        assert stand.calls.count("GetAll") == expected

    async def shows(*names: str) -> None:
        await until(lambda: [card.name for card in house.network.cards] == [*names])

    def plug(number: int, kind: int) -> str:
        path = f"{ROOT}/Devices/{number}"
        device = stand.served(path, f"{NAME}.Device")
        device.properties = {"Interface": ("s", f"if{number}"), "DeviceType": ("u", kind), "Managed": ("b", True)}
        return path

    # The first news may be of anything, so all is read.
    before = house.network.cards
    await announce(plug(9, 13))
    await until(lambda: house.network.cards is not before)
    await asyncio.sleep(manager_module.PAUSE_SECONDS)
    cards = house.network.cards
    veth = [plug(number, 13) for number in (10, 11, 12)]
    vanished = f"{ROOT}/Devices/99"
    await reads(2 + 3 + 1, *veth, vanished)
    # They are known to be none of ours.
    await reads(2, *reversed(veth))
    await reads(2)
    assert house.network.cards is cards, "nothing of ours was read anew"
    await announce(plug(13, 1))
    await shows("eth0", "if13", "wlan0")
    await announce()
    await shows("eth0", "wlan0")
