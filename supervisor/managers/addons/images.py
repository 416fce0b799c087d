"""Gets the image of an add-on: pulled from its registry, or built here (add-on contract §4.8, §4.10)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from pathlib import Path

import attrs

from supervisor.const import LABEL_ARCH, LABEL_DESCRIPTION, LABEL_NAME, LABEL_TYPE, LABEL_URL, LABEL_VERSION
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.registry import all_credentials
from supervisor.errors import (
    ADDON_BUILD_ARCH,
    ADDON_BUILD_FAILED,
    ADDON_DOCKERFILE_MISSING,
    ADDON_UNKNOWN,
    Internal,
    SupervisorError,
    Unavailable,
)
from supervisor.jobs import Job, JobManager
from supervisor.managers.docker import DockerSettings
from supervisor.managers.host import Host
from supervisor.managers.image_puller import ImagePuller
from supervisor.managers.store import StoreAddon
from supervisor.model.build import BuildConfig, read_build
from supervisor.model.machine import match_arch
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import image_name
from supervisor.state import write_atomic

_LOGGER = logging.getLogger(__name__)


@attrs.frozen
class BuildPlan:
    """Everything a local build needs; made from the add-on's files without the engine."""

    context: Path
    dockerfile: str
    tag: str
    build_args: dict[str, str]
    labels: dict[str, str]


class AddonImages:
    """`build_logs` is the folder where the log of each add-on's last build stays."""

    def __init__(
        self,
        engine: Engine,
        jobs: JobManager,
        docker: DockerSettings,
        host: Host,
        puller: ImagePuller,
        *,
        build_logs: Path,
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._docker = docker
        self._host = host
        self._puller = puller
        self._build_logs = build_logs

    def name(self, store: StoreAddon) -> str:
        """Return the image's name without tag on this machine."""
        arch = match_arch(store.manifest.arch, self._host.supported_arch) or self._host.arch
        return image_name(store.manifest.config, arch, store.repository)

    async def fetch(self, store: StoreAddon, job: Job) -> None:
        """Make the image of the store's version present on this machine; `job` shows how far that is.

        Raises:
            RateLimited, Invalid, Internal, Unavailable: the pull or the build failed.
        """
        if store.manifest.needs_build:
            await self._build(store, job)
        else:
            await self.pull(store.slug, self.name(store), store.manifest, job)

    async def pull(self, slug: str, image: str, manifest: Manifest, job: Job) -> None:
        """Pull the published image `image` of a manifest's version.

        Raises:
            RateLimited, Invalid, Internal: it can't be had.
        """
        arch = match_arch(manifest.arch, self._host.supported_arch) or self._host.arch
        async with self._jobs.run("docker_interface_install", reference=image, internal=True):
            try:
                await self._puller.pull(image, manifest.version, arch=arch, job=job)
            except (Internal, Unavailable) as err:
                if err.key is not None:
                    raise
                message = f"The image of add-on {slug} can't be fetched. {err}"
                raise Internal(message, key=ADDON_UNKNOWN.key, fields={"app": slug}) from err

    async def remove(self, references: Collection[str], *, in_use: Collection[str]) -> None:
        """Remove images that no installed add-on uses."""
        for reference in references:
            if reference not in in_use:
                await self._engine.images.remove(reference)

    async def cleanup(self, *, keep: Collection[str], names: Collection[str]) -> None:
        """Remove older versions of the named images; what is kept or in use stays."""
        try:
            await self._engine.images.cleanup(keep=keep, names=names)
        except SupervisorError as err:
            _LOGGER.warning("Old images of %s could not be removed: %s", ", ".join(sorted(names)), err)

    async def _build(self, store: StoreAddon, job: Job) -> None:
        arch = match_arch(store.manifest.arch, self._host.supported_arch)
        if arch is None:
            raise ADDON_BUILD_ARCH(
                app=store.slug,
                app_arches=", ".join(store.manifest.arch),
                system_arches=", ".join(self._host.supported_arch),
            )
        plan = await asyncio.to_thread(plan_build, store, arch, self.name(store))
        job.update(stage="Building", extra={"log": str(self._log_file(store.slug).name)})
        lines: list[str] = []
        _LOGGER.info("%s: building %s", store.slug, plan.tag)
        started = time.monotonic()
        try:
            await self._engine.images.build(
                context=plan.context,
                dockerfile=plan.dockerfile,
                tag=plan.tag,
                build_args=plan.build_args,
                labels=plan.labels,
                registries=all_credentials(self._docker.registries),
                log=lines.append,
            )
        except Internal as err:
            _LOGGER.error("%s: building failed: %s", store.slug, err, extra={"ADDON": store.slug})
            raise ADDON_BUILD_FAILED(app=store.slug) from err
        finally:
            content = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines).encode()
            await asyncio.to_thread(self._keep_log, store.slug, content)
        _LOGGER.info("%s: built in %.1f s", store.slug, time.monotonic() - started)

    def _log_file(self, slug: str) -> Path:
        return self._build_logs / f"build_{slug}.log"

    def _keep_log(self, slug: str, content: bytes) -> None:
        self._build_logs.mkdir(parents=True, exist_ok=True)
        write_atomic(self._log_file(slug), content)


def plan_build(store: StoreAddon, arch: str, image: str) -> BuildPlan:
    """Decide how an add-on is built for `arch`. Blocking.

    Raises:
        Invalid: there is no Dockerfile.
        Unsupported: the build file offers no base for this architecture.
    """
    manifest = store.manifest
    names = (f"Dockerfile.{arch}", "Dockerfile")
    dockerfile = next((name for name in names if (store.folder / name).is_file()), None)
    if dockerfile is None:
        raise ADDON_DOCKERFILE_MISSING(app=store.slug, repair_command=f"supervisor store repair {store.repository}")
    build: BuildConfig = read_build(store.folder)
    base = build.base_image(arch)
    if build.build_from is not None and base is None:
        raise ADDON_BUILD_ARCH(app=store.slug, app_arches=", ".join(build.build_from), system_arches=arch)
    return BuildPlan(
        store.folder,
        dockerfile,
        f"{image}:{manifest.version}",
        {"BUILD_VERSION": manifest.version, "BUILD_ARCH": arch, **build.args, **({"BUILD_FROM": base} if base else {})},
        _labels(manifest, arch, build),
    )


def _labels(manifest: Manifest, arch: str, build: BuildConfig) -> dict[str, str]:
    labels = {LABEL_VERSION: manifest.version, LABEL_ARCH: arch, LABEL_TYPE: "addon", **build.labels}
    for label, value in (
        (LABEL_NAME, manifest.name),
        (LABEL_DESCRIPTION, manifest.description),
        (LABEL_URL, manifest.url or ""),
    ):
        cleaned = value.replace("'", "").replace('"', "")
        if cleaned:
            labels[label] = cleaned
    return labels
