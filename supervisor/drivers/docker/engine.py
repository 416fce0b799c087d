"""The engine as the rest of the daemon sees it."""

from __future__ import annotations

from pathlib import Path

from supervisor.drivers.docker.containers import Containers
from supervisor.drivers.docker.images import Images
from supervisor.drivers.docker.leftovers import Leftovers
from supervisor.drivers.docker.link import Link
from supervisor.drivers.docker.model import EngineInfo
from supervisor.drivers.docker.network import InternalNetwork, NetworkSettings
from supervisor.drivers.docker.watch import Watch
from supervisor.events import EventBus


class Engine:
    """The connection to the Docker engine of this machine and what can be done with it.

    Publishes `EngineAvailabilityChanged` when the engine comes or goes, and `ContainerStateChanged` for containers of
    ours: from the engine's events, and for all of them again after each reconnection.

    Args:
        url: `unix:///run/docker.sock`.
        network: the internal network's names and addresses.
        cid_files: the folder of the containers' id files, as we see it; a container's file goes when it is removed.
        workers: threads for questions, and as many for changes.
        timeout: seconds for the answer to a question; changes get five times that.
    """

    def __init__(
        self,
        url: str,
        bus: EventBus,
        *,
        network: NetworkSettings | None = None,
        cid_files: Path | None = None,
        workers: int = 16,
        timeout: float = 60.0,
    ) -> None:
        settings = network or NetworkSettings()
        self._link = Link(url, workers=workers, timeout=timeout)
        self.containers = Containers(self._link, network_name=settings.name, cid_files=cid_files)
        self.images = Images(self._link)
        self.network = InternalNetwork(self._link, settings)
        self.leftovers = Leftovers(self._link, settings)
        self._watch = Watch(self._link, self.containers, bus)

    @property
    def available(self) -> bool:
        """Whether the engine answers; while it does not, every call raises Unavailable at once."""
        return self._watch.available

    @property
    def info(self) -> EngineInfo | None:
        """About the engine, as it was when we last connected; None before that."""
        return self._link.info

    async def start(self) -> None:
        """Connect. Never fails: an engine that is away is tried again until it is there."""
        self._link.open()
        await self._watch.start()

    async def stop(self) -> None:
        """End every call and every thread. Containers are not touched."""
        await self._watch.stop()
        await self._link.close()
