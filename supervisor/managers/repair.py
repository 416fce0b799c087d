"""The repair of the whole system on demand: the engine's leftovers, and what is missing (add-on contract §4.8)."""

from __future__ import annotations

import logging

from supervisor.const import ADDON_CONTAINER_PREFIX, APP_CONTAINER_PREFIX
from supervisor.drivers.docker.engine import Engine
from supervisor.errors import Internal, SupervisorError
from supervisor.jobs import JobManager
from supervisor.managers.addons.images import AddonImages
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.addons.repair import AddonRepairs
from supervisor.managers.store import StoreManager
from supervisor.model.amounts import size_text

_LOGGER = logging.getLogger(__name__)

_PREFIXES = (ADDON_CONTAINER_PREFIX, APP_CONTAINER_PREFIX)
LATEST = "latest"


class SystemRepair:
    """Removes what is ours and unused, never what may be somebody's: other containers and images, volumes, networks.

    `container_name` is the daemon's own container, None when it runs straight on the machine.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: JobManager,
        store: StoreManager,
        registry: AddonRegistry,
        repairs: AddonRepairs,
        images: AddonImages,
        *,
        container_name: str | None,
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._store = store
        self._registry = registry
        self._repairs = repairs
        self._images = images
        self._container_name = container_name

    async def run(self) -> None:
        """Clear leftovers away, then bring back missing images and the daemon's own image names.

        Raises:
            Unavailable: the engine is away.
            Blocked: there is no space left, or no internet.
            Internal: not everything could be repaired; the issues tell what is left.
        """
        async with self._jobs.run("supervisor_repair", lock="supervisor_repair") as job:
            job.stage("clear")
            await self._clear()
            job.stage("images")
            failures = await self._repairs.repair_all()
            job.stage("supervisor")
            try:
                await self._retag()
            except SupervisorError as err:
                _LOGGER.error("The names of the Supervisor's image can't be repaired: %s", err)
                failures.append(err)
            if failures:
                raise Internal(f"Not everything could be repaired: {'; '.join(str(failure) for failure in failures)}")

    async def _clear(self) -> None:
        leftovers = self._engine.leftovers
        containers = await leftovers.remove_containers(self._is_leftover)
        images = await leftovers.remove_images(names=self._image_names(), keep=self._registry.images_in_use())
        freed = await leftovers.clear_build_cache()
        endpoints = await leftovers.drop_endpoints()
        for what, names in (("containers", containers), ("images", images), ("endpoints", endpoints)):
            if names:
                _LOGGER.info("Repair: removed the %s %s", what, ", ".join(names))
        if freed:
            _LOGGER.info("Repair: removed %s of build cache", size_text(freed))

    def _is_leftover(self, name: str) -> bool:
        """Tell whether a container was an add-on's that is gone; an installed one's holds how it ended."""
        return name.startswith(_PREFIXES) and self._registry.by_container(name) is None

    def _image_names(self) -> set[str]:
        """Return the repositories on the engine that are add-ons' alone."""
        names = {addon.record.image for addon in self._registry.installed.values()}
        return names | {self._images.name(addon) for addon in self._store.addons.values()}

    async def _retag(self) -> None:
        """The machine starts the daemon's container from the name `latest` of its image."""
        if self._container_name is None:
            return
        info = await self._engine.containers.inspect(self._container_name)
        repository, _, tag = info.image.rpartition(":")
        if not repository or "/" in tag:
            return
        for wanted in (tag, LATEST):
            await self._engine.images.tag(info.image_id, f"{repository}:{wanted}")
