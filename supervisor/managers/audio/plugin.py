"""The container that a sound server may run in; on most machines the server is the machine's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ContainerInfo, Stats
from supervisor.drivers.docker.registry import split_reference
from supervisor.errors import Invalid, NotFound, SupervisorError, Unavailable
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.managers.image_puller import ImagePuller
from supervisor.managers.updater import Updater
from supervisor.model.version import is_newer

from .container import CONTAINER, PluginPlace, plugin_spec

_LOGGER = logging.getLogger(__name__)

_VERSION: Final = "io.hass.version"
_LOCK: Final = f"container_{CONTAINER}"
_UPDATE_CONDITIONS: Final = (
    JobCondition.FREE_SPACE,
    JobCondition.HEALTHY,
    JobCondition.INTERNET_HOST,
    JobCondition.SUPERVISOR_UPDATED,
    JobCondition.ARCHITECTURE_SUPPORTED,
)


class AudioPlugin:
    """Looks after `hassio_audio` where there is one; everything else says that there is none.

    `place` tells what the machine has for it now, and may block.
    """

    def __init__(
        self,
        engine: Engine,
        updater: Updater,
        puller: ImagePuller,
        jobs: JobManager,
        *,
        arch: str,
        place: Callable[[], PluginPlace],
    ) -> None:
        self._engine = engine
        self._updater = updater
        self._puller = puller
        self._jobs = jobs
        self._arch = arch
        self._place = place

    @property
    def latest(self) -> str | None:
        return self._updater.versions.plugins.get("audio")

    async def version(self) -> str | None:
        """Return the version of the container, None where there is none or the engine is away."""
        try:
            return _version(await self._find())
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
            Unavailable: there is no such container, or the engine is away. Busy: it is being updated.
        """
        async with self._jobs.run("plugin_audio_restart", lock=_LOCK):
            info = await self._find()
            await self._engine.containers.stop(info.name, remove=False)
            await self._engine.containers.start(info.name)

    async def update(self, version: str | None) -> None:
        """Replace the container by one of `version`, or of the newest; when that does not start, the old one does.

        An image that is here already, as one that was loaded from a file, is used as it is.

        Raises:
            Invalid: this version is in use already, or none is known. NotFound: there is no such version.
            Blocked: what an update needs is missing. Busy: the container is being worked on.
            Unavailable: there is no such container, its image can't be had, or the engine is away.
            Internal: the engine does not start the new one.
        """
        async with self._jobs.run("plugin_audio_update", conditions=_UPDATE_CONDITIONS, lock=_LOCK) as job:
            info = await self._find()
            wanted = version or self.latest
            if wanted is None:
                raise Invalid("No version of the audio plugin is known: name one, or try again when there is internet")
            if wanted == _version(info):
                raise Invalid(f"Version {wanted} of the audio plugin is in use already")
            job.validated()
            repository = self._repository(info)
            await self._fetch(repository, wanted, job)
            job.stage("container")
            await self._replace(info, f"{repository}:{wanted}")
            await self._clean_up(info)
        _LOGGER.info("The audio plugin has version %s now", wanted)

    def _repository(self, info: ContainerInfo) -> str:
        """Return where its images are: where the version file says, else where the present one is from."""
        template = self._updater.image("audio")
        return split_reference(info.image)[0] if template is None else template.replace("{arch}", self._arch)

    async def _fetch(self, repository: str, version: str, job: Job) -> None:
        if not await self._engine.images.exists(f"{repository}:{version}"):
            job.stage("image")
            await self._puller.pull(repository, version, arch=self._arch, job=job)

    async def _replace(self, old: ContainerInfo, image: str) -> None:
        place = await asyncio.to_thread(self._place)
        try:
            await self._engine.containers.run(plugin_spec(image, place))
        except SupervisorError:
            _LOGGER.warning("The audio plugin does not start as %s and goes back to %s", image, old.image)
            await self._engine.containers.run(plugin_spec(old.image, place))
            raise

    async def _clean_up(self, old: ContainerInfo) -> None:
        try:
            await self._engine.images.remove(old.image)
        except SupervisorError as err:
            _LOGGER.debug("The image of the old audio plugin stays: %s", err)

    async def _find(self) -> ContainerInfo:
        try:
            return await self._engine.containers.inspect(CONTAINER)
        except NotFound as err:
            raise Unavailable("There is no audio plugin: sound goes through the machine's own sound server") from err


def _version(info: ContainerInfo) -> str | None:
    return info.labels.get(_VERSION) or split_reference(info.image)[1]
