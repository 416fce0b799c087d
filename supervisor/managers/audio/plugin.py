"""The container that a sound server may run in; on most machines the server is the machine's own."""

from __future__ import annotations

from typing import Final

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ContainerInfo, Stats
from supervisor.errors import Invalid, NotFound, Unavailable, Unsupported
from supervisor.managers.updater import Updater
from supervisor.model.version import is_newer

CONTAINER: Final = "hassio_audio"
_VERSION: Final = "io.hass.version"


class AudioPlugin:
    """Looks after `hassio_audio` where there is one; everything else says that there is none."""

    def __init__(self, engine: Engine, updater: Updater) -> None:
        self._engine = engine
        self._updater = updater

    @property
    def latest(self) -> str | None:
        return self._updater.versions.plugins.get("audio")

    async def version(self) -> str | None:
        """Return the version of the container, None where there is none or the engine is away."""
        try:
            return (await self._find()).labels.get(_VERSION)
        except Unavailable:
            return None

    def update_available(self, version: str | None) -> bool:
        latest = self.latest
        return version is not None and latest is not None and is_newer(latest, version) is True

    async def stats(self) -> Stats:
        """Return what the container uses of the machine.

        Raises:
            Unavailable: there is no such container, or the engine is away.
        """
        return await self._engine.containers.stats((await self._find()).name)

    async def restart(self) -> None:
        """Stop and start the container.

        Raises:
            Unavailable: there is no such container, or the engine is away.
        """
        info = await self._find()
        await self._engine.containers.stop(info.name, remove=False)
        await self._engine.containers.start(info.name)

    async def update(self, version: str | None) -> None:
        """Refuse an update with the reason: what brought the container along has to replace it.

        Raises:
            Invalid: this version is in use already.
            Unavailable: there is no such container, or the engine is away.
            Unsupported: it was not installed by us.
        """
        current = (await self._find()).labels.get(_VERSION)
        wanted = version or self.latest
        if wanted is None or wanted == current:
            raise Invalid(f"Version {current} of the audio plugin is in use already")
        raise Unsupported("The audio plugin was not installed by the Supervisor: update it where it comes from")

    async def _find(self) -> ContainerInfo:
        try:
            return await self._engine.containers.inspect(CONTAINER)
        except NotFound as err:
            raise Unavailable("There is no audio plugin: sound goes through the machine's own sound server") from err
