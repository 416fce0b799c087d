"""Builds what looks after the host's network."""

from __future__ import annotations

from functools import partial

import attrs

from supervisor.events import HostInternetChanged
from supervisor.jobs import JobCondition
from supervisor.managers.host import HostFeature
from supervisor.managers.network import Network, NetworkChanges

from .base import Base
from .host import HostParts
from .parts import Parts


@attrs.frozen(eq=False)
class NetworkParts:
    network: Network
    changes: NetworkChanges

    async def load(self) -> None:
        await self.network.load()
        await self.changes.start()

    async def stop(self) -> None:
        await self.changes.stop()
        await self.network.stop()


def build_network(base: Base, parts: Parts, host: HostParts) -> NetworkParts:
    network = Network(base.system_bus, base.bus, host.features)
    host.features.provide(
        HostFeature.NETWORK,
        lambda: network.can_be_changed,
        title="NetworkManager",
        how="Install network-manager, or start it (systemctl start NetworkManager), and leave it the interfaces: "
        "those in /etc/network/interfaces it does not touch",
    )

    async def managed() -> str | None:
        return None if network.available else "host Network Manager not available"

    async def online() -> str | None:
        return "no host internet connection" if network.online is False else None

    base.jobs.provide(JobCondition.HOST_NETWORK, managed)
    base.jobs.provide(JobCondition.INTERNET_HOST, online)

    def look_for_internet(event: HostInternetChanged) -> None:
        if event.online:
            base.jobs.spawn(partial(parts.connectivity.check, force=True))

    host.manager.also_reload(network.refresh)
    base.bus.subscribe(HostInternetChanged, look_for_internet)
    return NetworkParts(network, NetworkChanges(base.system_bus, network, host.features))
