"""The picture of the network, kept current by what NetworkManager announces (host contract §19, §26)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.network_manager import (
    CONNECTED_TO_INTERNET,
    OLDEST,
    ROOT,
    NetworkManager,
    ProfileStore,
    follow_changes,
)
from supervisor.drivers.dbus.network_reading import Card, Reading, Stored
from supervisor.errors import Invalid, NotFound, SupervisorError
from supervisor.events import EventBus, HostInternetChanged
from supervisor.managers.host import Features, HostFeature
from supervisor.model.network import AccessPoint, InterfaceType, IpAddress
from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)

DEFAULT: Final = "default"
# News come in swarms: they are waited for, and one look answers for all of them.
SETTLE_SECONDS: Final = 0.1
PAUSE_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 2.0
SCAN_SECONDS: Final = 5.0
# News about a container that came or went; the devices tell whether they are more than that.
_OF_CONTAINERS: Final = frozenset({"Devices", "AllDevices"})


class Network:
    """Reading it asks nobody. It is empty while NetworkManager is away, and fills when it is there again."""

    def __init__(self, bus: SystemBus, events: EventBus, features: Features) -> None:
        self._bus = bus
        self._events = events
        self._features = features
        self.service = NetworkManager(bus)
        self._reading = Reading(bus, self.service)
        # Both are replaced as a whole when anything in them changes, and never altered.
        self.cards: tuple[Card, ...] = ()
        self.nameservers: tuple[IpAddress, ...] = ()
        self._online: bool | None = None
        self._news = asyncio.Event()
        self._all_may_differ = True
        self._looking = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._ends: list[Callable[[], None]] = []

    async def load(self) -> None:
        """Follow NetworkManager; on return the interfaces were read, if it is there."""
        await self.service.start()
        self._ends = [
            self.service.subscribe(self._service_changed),
            await follow_changes(self._bus, self._object_changed),
        ]
        try:
            await self.refresh()
        except SupervisorError as err:
            _LOGGER.warning("Network: %s", err.message)
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="network")

    async def stop(self) -> None:
        for forget in self._ends:
            forget()
        self._ends.clear()
        keeper, self._keeper = self._keeper, None
        await end([keeper])
        await self.service.close()

    # What is known.

    @property
    def available(self) -> bool:
        """Whether NetworkManager is there, in a version that is new enough."""
        return self.service.available and self.service.version_number >= OLDEST

    @property
    def can_be_changed(self) -> bool:
        return self.available and bool(self.cards)

    @property
    def online(self) -> bool | None:
        """Whether the host reaches the internet, None where it does not look."""
        if not self.available or not self.service.check_enabled:
            return None
        return self.service.connectivity == CONNECTED_TO_INTERNET

    def card(self, name: str) -> Card:
        """Return an interface by its name; `default` is the one that leads to the internet.

        Raises:
            NotFound: there is none.
        """
        wants_primary = name.lower() == DEFAULT
        for card in self.cards:
            if card.interface.primary if wants_primary else card.name == name:
                return card
        if wants_primary:
            raise NotFound("No interface of this host leads to the internet at present")
        raise NotFound(f"No interface {name} that NetworkManager looks after")

    # What is asked.

    async def reload(self) -> None:
        """Have NetworkManager read its files and look for the internet, and read everything anew.

        Without NetworkManager there is nothing to read.
        """
        if not self.available:
            return
        await ProfileStore(self._bus).reload()
        if self.service.check_enabled:
            await self.service.check_connectivity()
        await self.refresh()

    async def refresh(self) -> None:
        """Read everything now.

        Raises:
            Unavailable, Timeout: NetworkManager went away meanwhile, or does not answer.
        """
        async with self._looking:
            if self.service.available:
                await self.service.refresh()
            await self._look()

    async def profiles(self) -> list[Stored]:
        """Read all profiles that NetworkManager keeps."""
        return await self._reading.profiles()

    async def scan(self, name: str) -> list[AccessPoint]:
        """Look for access points, which takes some seconds, and return them, the strongest first.

        Raises:
            NotFound: no such interface. Invalid: it is none for wireless networks.
            Unsupported, Unavailable: NetworkManager is away.
        """
        self._features.require(HostFeature.NETWORK)
        card = self.card(name)
        if card.interface.type is not InterfaceType.WIRELESS:
            raise Invalid(f"Interface {card.name} is not a wireless one")
        await self._reading.scan(card.device)
        await asyncio.sleep(SCAN_SECONDS)
        return await self._reading.access_points(card.device)

    # Keeping it current.

    def _service_changed(self, names: frozenset[str]) -> None:
        if not self.service.available:
            self.cards, self.nameservers = (), ()
            self._reading.forget()
        self._judge_internet()
        self._expect(everything=not names <= _OF_CONTAINERS)

    def _object_changed(self, path: str) -> None:
        if path != ROOT and not self._reading.is_stranger(path):
            self._expect(everything=True)

    def _expect(self, *, everything: bool) -> None:
        self._all_may_differ = self._all_may_differ or everything
        self._news.set()

    async def _keep(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._news.clear()
            try:
                async with self._looking:
                    await self._look_where_needed()
            except SupervisorError as err:
                _LOGGER.debug("Network: %s", err)
                if self.service.available:
                    await asyncio.sleep(RETRY_SECONDS)
                    self._expect(everything=True)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _look_where_needed(self) -> None:
        everything, self._all_may_differ = self._all_may_differ, False
        if everything or await self._reading.news(card.device for card in self.cards):
            await self._look()

    async def _look(self) -> None:
        if not self.available:
            self.cards, self.nameservers = (), ()
            return
        cards, servers = await asyncio.gather(self._reading.cards(), self._reading.local_nameservers())
        if not self.service.available:
            return
        self._tell_apart(cards)
        self.cards, self.nameservers = tuple(cards), tuple(servers)
        self._judge_internet()

    def _tell_apart(self, cards: list[Card]) -> None:
        before = {card.name: card.interface.connected for card in self.cards}
        for card in cards:
            if before.get(card.name) != card.interface.connected:
                state = "connected" if card.interface.connected else "not connected"
                _LOGGER.info("%s: %s", card.name, state, extra={"NETWORK_INTERFACE": card.name})

    def _judge_internet(self) -> None:
        online = self.online
        if online != self._online:
            self._online = online
            self._events.publish(HostInternetChanged(online=online))
