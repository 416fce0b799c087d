"""A change that waits to be confirmed. Until then its profile is NetworkManager's alone: the disk has the old one."""

from __future__ import annotations

import asyncio
import time

import attrs

from supervisor.drivers.dbus.bus import SystemBus
from supervisor.drivers.dbus.network_manager import Checkpoint, StoredProfile
from supervisor.drivers.dbus.network_profile import Target, is_ours, is_used, matches
from supervisor.errors import NotFound

from .manager import Network
from .memory import Memory


@attrs.frozen
class Pending:
    """A change that goes back by itself when nobody confirms it until `deadline`, a time of the event loop.

    Without `checkpoint` NetworkManager has forgotten about it, and the daemon takes it back. Without `memory` the
    change is that of an earlier run of the daemon, and only NetworkManager knows how things were.
    """

    target: Target
    checkpoint: str | None
    deadline: float
    memory: Memory | None = attrs.field(repr=False)

    @property
    def interface(self) -> str:
        return self.target.name


async def left_behind(bus: SystemBus, network: Network) -> Pending | None:
    """Return the change that NetworkManager guards since an earlier run of the daemon, if there is one.

    Raises:
        Unavailable, Timeout: NetworkManager is away.
    """
    for path in network.service.checkpoints or ():
        checkpoint = Checkpoint(bus, path)
        try:
            await checkpoint.refresh()
        except NotFound:
            continue
        card = next((card for card in network.cards if card.device in (checkpoint.devices or ())), None)
        if card is not None and checkpoint.created is not None and checkpoint.timeout:
            # Its clock is the one that goes on while the machine sleeps.
            passed = time.clock_gettime(time.CLOCK_BOOTTIME) - checkpoint.created / 1000
            deadline = asyncio.get_running_loop().time() + checkpoint.timeout - passed
            return Pending(card.target, path, deadline, None)
    return None


async def settle(bus: SystemBus, network: Network, target: Target) -> None:
    """Have the disk say what an interface uses; settings that were taken out of use are removed.

    Raises:
        Invalid: NetworkManager can't write them. Unavailable, Timeout: it is away.
    """
    for stored in await network.profiles():
        if not is_ours(stored.profile) or not matches(stored.profile, target):
            continue
        profile = StoredProfile(bus, stored.path)
        await profile.refresh()
        if profile.unsaved:
            await (profile.save() if is_used(stored.profile) else profile.delete())
    await network.refresh()
