"""The manager of the network with a wireless card, before a stand-in for NetworkManager on a real bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from daemon import until as happens
from stands.bus_daemon import BusDaemon
from stands.network_manager import NAME, ROOT, WirelessStand
from supervisor.drivers.dbus import SystemBus
from supervisor.errors import Invalid
from supervisor.events import EventBus, HostInternetChanged
from supervisor.managers.host import Features, HostFeature
from supervisor.managers.network import Network, NetworkChanges
from supervisor.managers.network import manager as manager_module
from supervisor.model.network import (
    AccessPoint,
    Interface,
    InterfaceChange,
    InterfaceType,
    Wifi,
    WifiAuth,
    WifiChange,
    WifiMode,
)


async def until(check: Callable[[], bool]) -> None:
    await happens(check, 10)


@attrs.frozen
class House:
    stand: WirelessStand
    network: Network
    changes: NetworkChanges
    online: list[bool | None]

    @property
    def interfaces(self) -> list[Interface]:
        return [card.interface for card in self.network.cards]

    async def join(self, **wifi: Any) -> None:
        await self.changes.update("wlan0", InterfaceChange(wifi=WifiChange(**wifi)))


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    stand = WirelessStand(daemon.address)
    await stand.start()
    events, features, online = EventBus(), Features(), []
    events.subscribe(HostInternetChanged, lambda event: online.append(event.online))
    bus = SystemBus(events, daemon.address)
    await bus.start()
    network = Network(bus, events, features)
    features.provide(HostFeature.NETWORK, lambda: network.can_be_changed, title="NetworkManager", how="")
    await network.load()
    yield House(stand, network, NetworkChanges(bus, network, features), online)
    await network.stop()
    await bus.stop()
    await stand.stop()
    await daemon.stop()


async def test_a_wireless_network_is_joined_and_left_for_another(house: House) -> None:
    [card] = house.interfaces
    assert (card.type, card.enabled, card.wifi, card.mdns) == (InterfaceType.WIRELESS, False, None, None)
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    [card] = house.interfaces
    assert (card.enabled, card.connected) == (True, True)
    assert card.wifi == Wifi(WifiMode.INFRASTRUCTURE, WifiAuth.WPA_PSK, "attic", 70)
    assert house.stand.profile["match"]["path"].value == ["pci-0000:01:00.0"]
    # The password that is stored is used where none is given.
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK)
    assert house.stand.secret == "correct horse"
    await house.join(ssid="hall")
    assert house.interfaces[0].wifi == Wifi(WifiMode.INFRASTRUCTURE, WifiAuth.OPEN, "hall", 70)
    assert house.stand.secret is None
    assert house.stand.history == ["kept"] * 3


async def test_a_wrong_password_changes_nothing(house: House) -> None:
    with pytest.raises(Invalid, match="Activating connection failed"):
        await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="wrong horse")
    assert (house.stand.history, house.interfaces[0].enabled) == (["back"], False)
    await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="correct horse")
    with pytest.raises(Invalid, match="Activating connection failed"):
        await house.join(ssid="attic", auth=WifiAuth.WPA_PSK, psk="wrong horse")
    assert house.stand.secret == "correct horse"
    assert house.interfaces[0].connected


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
    await until(lambda: not house.interfaces)
    assert not house.network.available
