"""How an interface was before a change, for when NetworkManager has forgotten it: a restart drops its checkpoints."""

from __future__ import annotations

import logging
from typing import Final

import attrs

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.network_manager import ActiveConnection, Profile, ProfileStore, StoredProfile
from supervisor.drivers.dbus.network_profile import SECRET_SECTIONS, Target, matches, uuid_of, with_secrets
from supervisor.drivers.dbus.network_reading import Card, Stored
from supervisor.drivers.dbus.values import plain
from supervisor.errors import SupervisorError

from .manager import Network

_LOGGER = logging.getLogger(__name__)

_ACTIVATION_SECONDS: Final = 60.0


@attrs.frozen
class Memory:
    """`profile` is what the interface had, passwords included; None where it had none. `known` are the UUIDs of all."""

    target: Target
    profile: Profile | None = attrs.field(repr=False)
    known: frozenset[str]

    @classmethod
    async def of(cls, bus: SystemBus, network: Network, card: Card) -> Memory:
        """Look at what there is now.

        Raises:
            Unavailable, Timeout: NetworkManager is away.
        """
        known = frozenset(uuid_of(stored.profile) for stored in await network.profiles())
        profile = None if card.stored is None else await _whole(bus, card.stored)
        return cls(card.target, profile, known)

    async def bring_back(self, bus: SystemBus, network: Network) -> None:
        """Write the profile as it was, remove what was made for the interface since, and use it again.

        An interface that is gone finds its profile when it returns.

        Raises:
            SupervisorError: NetworkManager is away, or refuses.
        """
        await network.refresh()
        card = next((card for card in network.cards if card.name == self.target.name), None)
        stored = {uuid_of(one.profile): one.path for one in await network.profiles() if not self._is_new(one)}
        path = await self._written(bus, stored)
        if path is not None and card is not None:
            active = await network.service.activate(path, card.device)
            await ActiveConnection(bus, active).finish(_ACTIVATION_SECONDS)
        for one in await network.profiles():
            if self._is_new(one):
                await StoredProfile(bus, one.path).delete()
        await network.refresh()

    async def _written(self, bus: SystemBus, stored: dict[str, str]) -> str | None:
        if self.profile is None:
            return None
        path = stored.get(uuid_of(self.profile))
        if path is None:
            return await ProfileStore(bus).add(self.profile)
        present = await _whole(bus, Stored(path, await StoredProfile(bus, path).read()))
        if plain(present) != plain(self.profile):
            await StoredProfile(bus, path).update(self.profile)
        return path

    def _is_new(self, stored: Stored) -> bool:
        return uuid_of(stored.profile) not in self.known and matches(stored.profile, self.target)


async def _whole(bus: SystemBus, stored: Stored) -> Profile:
    """Return a profile with its secrets, as far as NetworkManager has any and tells."""
    whole = stored.profile
    for section in SECRET_SECTIONS & stored.profile.keys():
        try:
            whole = with_secrets(whole, await StoredProfile(bus, stored.path).secrets(section))
        except SupervisorError as err:
            _LOGGER.debug("The secrets of %s are not told: %s", stored.path, err)
    return whole
