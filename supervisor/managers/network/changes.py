"""Changes of interfaces. What cuts the machine off goes back by itself (host contract §27).

Before anything is changed, NetworkManager is made to remember how things are, and to go back to that on its own after a
while: it does so even when the daemon or the machine's way to it is lost. Once the change is seen to work, or somebody
confirms it, NetworkManager may forget again. Only then is it written to the disk: a machine that loses its power, or is
booted again, meanwhile has its old settings.

A NetworkManager that is restarted forgets at once. Then the daemon does it, from what it remembers itself.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv6Address
from typing import Final

import attrs

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.network_manager import (
    ActiveConnection,
    Device,
    ProfileStore,
    StoredProfile,
    understood,
)
from supervisor.drivers.dbus.network_profile import Target, changed, fresh, matches, out_of_use, uuid_of
from supervisor.drivers.dbus.network_reading import Card
from supervisor.drivers.dbus.values import plain
from supervisor.drivers.neighbour import Reach, reach
from supervisor.errors import Busy, Invalid, NotFound, SupervisorError
from supervisor.managers.host import Features, HostFeature
from supervisor.model.network import LAST_VLAN, InterfaceChange, InterfaceType, IpAddress, IpMethod
from supervisor.tasks import end

from .manager import Network
from .memory import Memory
from .pending import Pending, left_behind, settle

_LOGGER = logging.getLogger(__name__)

ACTIVATION_SECONDS: Final = 60.0
# DHCP may take its time after the activation has succeeded by IPv6 alone.
ADDRESS_SECONDS: Final = 30.0
REACH_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.5
# By then the daemon has found out whether a change works, or is no longer there to tell.
GUARD_SECONDS: Final = 240
# Between two tries to bring back what NetworkManager has forgotten, and how long that is tried.
AGAIN_SECONDS: Final = 5.0
GIVE_UP_SECONDS: Final = 600.0
STOP_SECONDS: Final = 20.0
# Its clock began to run a little before ours.
CLOCK_SECONDS: Final = 1.0


@attrs.frozen
class _Way:
    """Where an interface's gateway is, and how well it could be talked to."""

    gateway: IpAddress | None
    reach: Reach


class NetworkChanges:
    def __init__(self, bus: SystemBus, network: Network, features: Features) -> None:
        self._bus = bus
        self._network = network
        self._features = features
        self._changing = asyncio.Lock()
        self._pending: Pending | None = None
        # Whether NetworkManager went away since the present change began.
        self._forgotten = False
        self._guard: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None

    async def start(self) -> None:
        """Watch for a NetworkManager that forgets what it was to take back, and take up what an earlier run left."""
        self._unsubscribe = self._network.service.subscribe(self._service_changed)
        try:
            self._pending = await left_behind(self._bus, self._network)
        except SupervisorError as err:
            _LOGGER.warning("Whether a change of the network waits to be confirmed is not known: %s", err.message)
        if self._pending is not None:
            _LOGGER.warning("A change of %s waits to be confirmed since before this start", self._pending.interface)

    async def stop(self) -> None:
        """Take back at once what nobody else would: a daemon that ends guards nothing."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        pending = self._pending
        await self._end_guard()
        if pending is not None and pending.checkpoint is None:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._bring_back(pending)
            except (SupervisorError, TimeoutError) as err:
                _LOGGER.error("%s keeps settings that nobody confirmed: %s", pending.interface, err)

    @property
    def pending(self) -> Pending | None:
        """The change that waits to be confirmed, None when there is none, or it was put back."""
        pending = self._pending
        if pending is None or pending.checkpoint is None:
            return pending
        return pending if pending.checkpoint in (self._network.service.checkpoints or ()) else None

    def _service_changed(self, _names: frozenset[str]) -> None:
        pending = self._pending
        if self._network.service.available:
            if pending is not None and self._was_put_back(pending):
                self._pending = None
            return
        self._forgotten = True
        if pending is None or pending.checkpoint is None:
            return
        if pending.memory is None:
            self._pending = None
            _LOGGER.error(
                "%s keeps settings that nobody confirmed until the next boot: NetworkManager is gone, and the daemon "
                "was started too late to know the old ones",
                pending.interface,
            )
        else:
            _LOGGER.warning(
                "%s: NetworkManager is gone, and with it what it was to take back; the daemon does that itself, unless "
                "the change is confirmed",
                pending.interface,
            )
            self._guard_by_ourselves(attrs.evolve(pending, checkpoint=None))

    def _was_put_back(self, pending: Pending) -> bool:
        """Tell whether NetworkManager has done what it was to do: nobody has to guard that any more."""
        if pending.checkpoint is None or pending.checkpoint in (self._network.service.checkpoints or ()):
            return False
        # Before its time it is one that NetworkManager has not told of yet.
        return asyncio.get_running_loop().time() >= pending.deadline - CLOCK_SECONDS

    def _guard_by_ourselves(self, pending: Pending) -> None:
        self._pending = pending
        self._guard = asyncio.get_running_loop().create_task(self._take_back_later(pending), name="network guard")

    async def _take_back_later(self, pending: Pending) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, pending.deadline - loop.time()))
        given_up = loop.time() + GIVE_UP_SECONDS
        level = logging.WARNING
        while loop.time() < given_up:
            try:
                async with self._changing:
                    await self._bring_back(pending)
            except SupervisorError as err:
                _LOGGER.log(level, "%s did not get its old settings yet: %s", pending.interface, err.message)
                level = logging.DEBUG
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return
        self._pending = None
        _LOGGER.error("%s keeps settings that nobody confirmed", pending.interface)

    async def _bring_back(self, pending: Pending) -> None:
        self._features.require(HostFeature.NETWORK)
        if pending.memory is not None:
            await pending.memory.bring_back(self._bus, self._network)
        self._pending = None
        _LOGGER.info("%s has its old settings again", pending.interface)

    async def _end_guard(self) -> None:
        guard, self._guard = self._guard, None
        await end([guard])

    async def update(self, name: str, change: InterfaceChange, *, confirm: int | None = None) -> None:
        """Change an interface; on return it works.

        With `confirm` it goes back after that many seconds unless `confirm()` is called.

        Raises:
            NotFound: no such interface. Invalid: the settings can't work, or did not: the old ones are there again.
            Busy: another change waits to be confirmed. Unsupported, Unavailable, Timeout: NetworkManager is away.
        """
        self._features.require(HostFeature.NETWORK)
        change.check()
        async with self._alone():
            card = self._network.card(name)
            if change.wifi is not None and card.interface.type is not InterfaceType.WIRELESS:
                raise Invalid(f"Interface {card.name} is not a wireless one")
            await self._change(card, change, confirm)
        _LOGGER.info("%s has new settings", card.name, extra={"NETWORK_INTERFACE": card.name})

    async def create_vlan(self, name: str, vlan: int, change: InterfaceChange) -> None:
        """Make a VLAN on an Ethernet interface. NetworkManager brings it up as soon as it can.

        Raises:
            NotFound: no such interface. Invalid: it is no Ethernet interface, the number can't be one, or is taken.
            Unsupported, Unavailable, Timeout: NetworkManager is away.
        """
        self._features.require(HostFeature.NETWORK)
        change.check()
        if vlan > LAST_VLAN:
            raise Invalid(f"VLANs have numbers from 0 to {LAST_VLAN}")
        async with self._alone():
            card = self._network.card(name)
            if card.interface.type is not InterfaceType.ETHERNET:
                raise Invalid(f"VLANs are made on Ethernet interfaces, and {card.name} is none")
            parent = uuid_of(card.stored.profile) if card.stored and card.own else card.name
            target = Target(f"{card.name}.{vlan}", InterfaceType.VLAN, vlan_id=vlan, parent=parent)
            parents = {parent, card.name, uuid_of(card.stored.profile) if card.stored else parent}
            for stored in await self._network.profiles():
                if any(matches(stored.profile, attrs.evolve(target, parent=one)) for one in parents):
                    raise Invalid(f"VLAN {vlan} already exists on interface {card.name}")
            profile = changed({}, target, change, uuid=str(uuid.uuid4()), version=self._version)
            await understood(ProfileStore(self._bus).add(profile), target.name)
            await self._network.refresh()
        _LOGGER.info("%s was made", target.name, extra={"NETWORK_INTERFACE": target.name})

    async def confirm(self) -> None:
        """Keep the change that waits for it.

        Raises:
            Invalid: there is none. Unavailable, Timeout: NetworkManager is away.
        """
        async with self._changing:
            pending = self._waiting()
            await settle(self._bus, self._network, pending.target)
            await self._end_guard()
            try:
                if pending.checkpoint is not None:
                    await self._network.service.destroy_checkpoint(pending.checkpoint)
            except Invalid as err:
                raise Invalid(_TOO_LATE.format(pending.interface)) from err
            finally:
                self._pending = None
        _LOGGER.info("%s keeps its new settings", pending.interface)

    async def roll_back(self) -> None:
        """Take back the change that waits to be confirmed, now. Errors as for `confirm`."""
        async with self._changing:
            pending = self._waiting()
            if pending.checkpoint is None:
                await self._bring_back(pending)
                await self._end_guard()
                return
            self._pending = None
            await self._network.service.roll_back(pending.checkpoint)
            await self._network.refresh()
        _LOGGER.info("%s has its old settings again", pending.interface)

    def _waiting(self) -> Pending:
        pending = self.pending
        if pending is None:
            raise Invalid("No change of the network waits to be confirmed; one that waited too long has gone back")
        return pending

    @property
    def _version(self) -> tuple[int, ...]:
        return self._network.service.version_number

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        async with self._changing:
            await self._network.refresh()
            pending = self.pending
            if pending is not None:
                raise Busy(
                    f"A change of {pending.interface} waits to be confirmed: POST /network/confirm keeps it, "
                    "POST /network/rollback takes it back"
                )
            yield

    async def _change(self, card: Card, change: InterfaceChange, confirm: int | None) -> None:
        service = self._network.service
        memory = await Memory.of(self._bus, self._network, card)
        self._forgotten = False
        checkpoint = await service.create_checkpoint([card.device], GUARD_SECONDS)
        try:
            await self._try(card, change, prove=confirm is None)
            if confirm is None:
                await settle(self._bus, self._network, card.target)
            else:
                await service.extend_checkpoint(checkpoint, confirm)
        except SupervisorError as err:
            await self._go_back(card, checkpoint, err, memory)
            raise
        if confirm is None:
            await service.destroy_checkpoint(checkpoint)
        else:
            deadline = asyncio.get_running_loop().time() + confirm
            self._pending = Pending(card.target, checkpoint, deadline, memory)

    async def _go_back(self, card: Card, checkpoint: str, error: SupervisorError, memory: Memory) -> None:
        _LOGGER.warning("%s gets its old settings again: %s", card.name, error.message)
        try:
            await self._network.service.roll_back(checkpoint)
            if not await self._until_restored(card):
                # NetworkManager gives an interface that is gone nothing back.
                await memory.bring_back(self._bus, self._network)
        except SupervisorError as err:
            if self._forgotten:
                now = asyncio.get_running_loop().time()
                self._guard_by_ourselves(Pending(card.target, None, now, memory))
            else:
                _LOGGER.warning("%s: NetworkManager does so by itself in some minutes: %s", card.name, err.message)

    async def _until_restored(self, old: Card) -> bool:
        """Wait until the interface works as it did, since NetworkManager only begins with that when it is told.

        False tells that there is no such interface any more.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ADDRESS_SECONDS
        while loop.time() < deadline:
            await self._network.refresh()
            card = next((card for card in self._network.cards if card.name == old.name), None)
            if card is None:
                return False
            if _is_restored(card, old):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    # One change.

    async def _try(self, card: Card, change: InterfaceChange, *, prove: bool) -> None:
        if change.enabled is False:
            await self._disable(card)
            await self._network.refresh()
            return
        before = await self._way(card) if prove else None
        await self._write(card, change)
        if before is None:
            await self._network.refresh()
        else:
            await self._prove(card, before)

    async def _disable(self, card: Card) -> None:
        if card.stored is None:
            return
        others = [one.name for one in self._network.cards if one.stored and one.stored.path == card.stored.path]
        others.remove(card.name)
        if others:
            raise Invalid(
                f"The settings of {card.name} are those of {', '.join(others)}, too: give {card.name} some of its own "
                "first, such as the method disabled for ipv4 and ipv6"
            )
        stored = StoredProfile(self._bus, card.stored.path)
        await stored.update_unsaved(out_of_use(await stored.read(), card.target))
        if card.active is not None:
            await self._network.service.deactivate(card.active)

    async def _write(self, card: Card, change: InterfaceChange) -> None:
        service = self._network.service
        if card.stored is None or not card.own:
            base = fresh(card.stored.profile) if card.stored else {}
            profile = changed(base, card.target, change, uuid=str(uuid.uuid4()), version=self._version)
            path = await understood(ProfileStore(self._bus).add_unsaved(profile), card.name)
            await self._finish(await service.activate(path, card.device))
            return
        stored = StoredProfile(self._bus, card.stored.path)
        before = await stored.read()
        profile = changed(before, card.target, change, uuid=uuid_of(before), version=self._version)
        await understood(stored.update_unsaved(profile), card.name)
        new_key = change.wifi is not None and change.wifi.psk is not None
        if not new_key and card.interface.connected and plain(await stored.read()) != plain(before):
            try:
                await Device(self._bus, card.device).reapply()
            except SupervisorError as err:
                _LOGGER.debug("%s has to be activated anew: %s", card.name, err)
            else:
                return
        await self._finish(await service.activate(card.stored.path, card.device))

    async def _finish(self, active: str) -> None:
        if not await ActiveConnection(self._bus, active).finish(ACTIVATION_SECONDS):
            raise Invalid("Activating connection failed, check connection settings.")

    # Whether it works.

    async def _way(self, card: Card) -> _Way:
        """Look whether the gateway can be talked to, as long as the interface is as it was."""
        gateway = _gateway(card)
        if gateway is None or not card.interface.connected:
            return _Way(None, Reach.NOBODY)
        return _Way(gateway, await reach(_host(gateway, card.name), card.name))

    async def _prove(self, old: Card, before: _Way) -> None:
        deadline = asyncio.get_running_loop().time() + ADDRESS_SECONDS
        while True:
            card = await self._with_address(old, deadline)
            await self._prove_gateway(card, before)
            # NetworkManager may answer before it sets to work: then all this was seen of the old settings. And without
            # its interface the gateway was reached another way.
            now = await self._current(old)
            if _has_address(now, old) and _gateway(now) == _gateway(card):
                return

    async def _with_address(self, old: Card, deadline: float) -> Card:
        while not _has_address(card := await self._current(old), old):
            if asyncio.get_running_loop().time() > deadline:
                raise Invalid(
                    f"{old.name} got no IPv4 address within {ADDRESS_SECONDS:g} s, and has its old settings again"
                )
            await asyncio.sleep(_LOOK_SECONDS)
        return card

    async def _prove_gateway(self, card: Card, before: _Way) -> None:
        loop = asyncio.get_running_loop()
        gateway = _gateway(card)
        if gateway is None or before.gateway is None:
            return
        # Another gateway may be more silent than the old one, but it has to be there.
        wanted = before.reach if gateway == before.gateway else min(before.reach, Reach.SILENT)
        deadline = loop.time() + REACH_SECONDS
        while await reach(_host(gateway, card.name), card.name) < wanted:
            if loop.time() > deadline:
                raise Invalid(
                    f"With the new settings of {card.name} the gateway {gateway} can't be reached; it has its old ones "
                    "again. To try them all the same, send confirm (a number of seconds) and confirm them in time"
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _current(self, card: Card) -> Card:
        await self._network.refresh()
        try:
            return self._network.card(card.name)
        except NotFound:
            raise Invalid(f"{card.name} vanished when its settings were changed") from None


_TOO_LATE: Final = "The change of {} has gone back already"


def _gateway(card: Card) -> IpAddress | None:
    return card.interface.ipv4.gateway or card.interface.ipv6.gateway


def _has_address(card: Card, old: Card) -> bool:
    """Whether IPv4 works as far as it did and still should."""
    now, before = card.interface.ipv4, old.interface.ipv4
    return now.method is IpMethod.DISABLED or not before.address or (now.ready and bool(now.address))


def _is_restored(card: Card, old: Card) -> bool:
    profiles = [one.stored and one.stored.path for one in (card, old)]
    return (
        profiles[0] == profiles[1]
        and card.interface.connected == old.interface.connected
        and set(card.interface.ipv4.address) >= set(old.interface.ipv4.address)
    )


def _host(address: IpAddress, interface: str) -> str:
    if isinstance(address, IPv6Address) and address.is_link_local:
        return f"{address}%{interface}"
    return str(address)
