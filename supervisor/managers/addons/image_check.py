"""Makes sure that each add-on has the image it should have, made for this machine (add-on contract §3.6, §4.8)."""

from __future__ import annotations

import logging

import attrs

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ContainerInfo, ImageInfo
from supervisor.drivers.docker.registry import platform_of
from supervisor.errors import Busy, NotFound, SupervisorError, Unavailable
from supervisor.jobs import Job, JobManager
from supervisor.managers.host import Host
from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.model.machine import match_arch

from .addon import Addon
from .images import AddonImages
from .registry import AddonRegistry
from .repair import report_missing_image
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)


@attrs.define(eq=False)
class ImageCheck:
    """Looks at images that come from registries. One that was built here is built again only when somebody asks."""

    _engine: Engine
    _jobs: JobManager
    _host: Host
    _registry: AddonRegistry
    _images: AddonImages
    _runner: AddonRunner
    _resolution: Resolution

    async def check_all(self) -> None:
        """Check every installed add-on once; trouble with one keeps no other from being checked."""
        for addon in list(self._registry.installed.values()):
            if addon.manifest.needs_build:
                continue
            try:
                await self.check(addon)
            except Busy:
                _LOGGER.debug("%s: its image is not checked, somebody else is at it", addon.slug)
            except Unavailable as err:
                _LOGGER.warning("%s: its image can't be checked now: %s", addon.slug, err)
            except SupervisorError as err:
                _LOGGER.error("%s: its image can't be fetched: %s", addon.slug, err, extra={"ADDON": addon.slug})
                report_missing_image(self._resolution, addon)

    async def check(self, addon: Addon) -> None:
        """Fetch the image when it is missing or for other machines; a container made from another one is replaced.

        Raises:
            Busy: something else is being done to the add-on; Unavailable: the engine is away.
            SupervisorError: the image can't be had.
        """
        # Most often nothing is wrong; to find that out needs no lock, which would refuse what a user asks for.
        if await self._sound(addon):
            return
        async with self._jobs.run("app_check_image", reference=addon.slug, lock=addon.lock) as job:
            if self._registry.installed.get(addon.slug) is not addon:
                return
            before = await self._image(addon)
            if before is None or not self._fits(addon, before):
                await self._fetch(addon, before, job)
            await self._check_container(addon)

    async def _sound(self, addon: Addon) -> bool:
        image = await self._image(addon)
        if image is None or not self._fits(addon, image):
            return False
        container = await self._container(addon)
        return container is None or container.image_id == image.id

    async def _fetch(self, addon: Addon, before: ImageInfo | None, job: Job) -> None:
        """Pull the image; what the registry has by that name stays, whatever it is made for."""
        fault = "is not here" if before is None else f"is made for {before.platform}"
        reference = addon.record.image_reference
        _LOGGER.warning("%s: its image %s %s and is fetched", addon.slug, reference, fault, extra={"ADDON": addon.slug})
        await self._images.pull(addon.slug, addon.record.image, addon.manifest, job)
        await self._runner.attach(addon)
        self._resolution.dismiss_issue_of(IssueType.MISSING_IMAGE, ContextType.ADDON, addon.slug)

    async def _check_container(self, addon: Addon) -> None:
        container, image = await self._container(addon), await self._image(addon)
        if container is None or image is None or container.image_id == image.id:
            return
        # The same name with another image is an image that was fetched anew: the container runs the wrong one.
        _LOGGER.warning("%s: its container was made from another image and is replaced", addon.slug)
        should_run = addon.running or addon.record.should_run
        await self._runner.pause(addon)
        if not await self._used(container.image_id):
            await self._images.drop(container.image_id)
        if should_run:
            await self._runner.start(addon)

    async def _image(self, addon: Addon) -> ImageInfo | None:
        try:
            return await self._engine.images.inspect(addon.record.image_reference)
        except NotFound:
            return None

    async def _container(self, addon: Addon) -> ContainerInfo | None:
        try:
            return await self._engine.containers.inspect(addon.container_name)
        except NotFound:
            return None

    def _fits(self, addon: Addon, image: ImageInfo) -> bool:
        arch = match_arch(addon.manifest.arch, self._host.supported_arch) or self._host.arch
        return image.platform.startswith(platform_of(arch))

    async def _used(self, identity: str) -> bool:
        """Tell whether an add-on can still need the image: it has one of their names."""
        try:
            tags = (await self._engine.images.inspect(identity)).tags
        except NotFound:
            return True
        return any(tag in self._registry.images_in_use() for tag in tags)
