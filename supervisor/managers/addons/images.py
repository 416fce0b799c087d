"""Gets the image of an add-on: pulled from its registry, or built here (add-on contract §4.8, §4.10)."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import attrs

from supervisor.const import LABEL_ARCH, LABEL_DESCRIPTION, LABEL_NAME, LABEL_TYPE, LABEL_URL, LABEL_VERSION
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.image_archive import ArchivedImage, ImageArchive
from supervisor.drivers.docker.registry import (
    all_credentials,
    check_reference,
    mirrored,
    platform_of,
    registry_of,
    split_reference,
)
from supervisor.errors import (
    ADDON_BUILD_ARCH,
    ADDON_BUILD_FAILED,
    ADDON_DOCKERFILE_MISSING,
    ADDON_UNKNOWN,
    Conflict,
    Internal,
    Invalid,
    NotFound,
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
_SLUG = re.compile(r"[-_.A-Za-z0-9]{1,128}")


@attrs.frozen
class BuildPlan:
    """Everything a local build needs; made from the add-on's files without the engine."""

    context: Path
    dockerfile: str
    tag: str
    build_args: dict[str, str]
    labels: dict[str, str]


@attrs.define(eq=False)
class BuildOutput:
    """The last part of what a build says, at most `limit` characters of it."""

    limit: int = 2 * 1024 * 1024
    _lines: deque[str] = attrs.field(factory=deque)
    _size: int = 0
    _cut: bool = False

    def add(self, line: str) -> None:
        line = line.removesuffix("\n")[: self.limit]
        self._lines.append(line)
        self._size += len(line) + 1
        while self._size > self.limit + 1:
            self._size -= len(self._lines.popleft()) + 1
            self._cut = True

    @property
    def text(self) -> str:
        first = ["(the beginning is left out)"] if self._cut else []
        return "".join(f"{line}\n" for line in (*first, *self._lines))


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
        return self.name_of(store.manifest, store.repository)

    async def fetch(self, store: StoreAddon, job: Job) -> None:
        """Make the image of the store's version present on this machine; `job` shows how far that is.

        Raises:
            RateLimited, Invalid, Internal, Unavailable: the pull or the build failed.
        """
        if store.manifest.needs_build:
            await self._build(store, job)
        else:
            await self.pull(store.slug, self.name(store), store.manifest, job)

    def name_of(self, manifest: Manifest, repository: str) -> str:
        """Return the image's name without tag on this machine, for a manifest that no store has to know."""
        arch = match_arch(manifest.arch, self._host.supported_arch) or self._host.arch
        return image_name(manifest.config, arch, repository)

    async def pull(self, slug: str, image: str, manifest: Manifest, job: Job) -> None:
        """Pull the published image of a manifest's version; `job` shows how far that is.

        Raises:
            RateLimited, Invalid, NotFound, Internal: it can't be had.
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

    async def present(self, reference: str) -> bool:
        return await self._engine.images.exists(reference)

    async def load(
        self, store: StoreAddon, file: BinaryIO, archive: ImageArchive, image: ArchivedImage, job: Job
    ) -> None:
        """Make an image of an archive the image of the store's version; `job` shows how far that is.

        Raises:
            Invalid: the engine refuses it, or it turns out to be for other machines.
        """
        reference = f"{self.name(store)}:{store.manifest.version}"
        arch = match_arch(store.manifest.arch, self._host.supported_arch) or self._host.arch
        async with self._jobs.run("docker_app_import_image", reference=reference, internal=True):
            job.stage("Loading")
            info = await self._engine.images.load_single(
                file, archive, image, reference, progress=lambda percent: job.update(progress=min(percent, 99.0))
            )
            if not info.platform.startswith(platform_of(arch)):
                await self.drop(reference)
                raise Invalid(f"{reference} is made for {info.platform}, this machine runs {arch}")
        _LOGGER.info("%s: loaded %s from an archive", store.slug, reference, extra={"ADDON": store.slug})

    async def remove(self, references: Collection[str], *, in_use: Collection[str]) -> None:
        """Remove images that no installed add-on uses, and no container of somebody else."""
        for reference in references:
            if reference in in_use:
                continue
            name, tag = split_reference(reference)
            # A pull that was cut off may have left the name that the image has at a mirror.
            for known in (name, *self._at_mirrors(name)):
                await self.drop(f"{known}:{tag}")

    async def drop(self, reference: str) -> None:
        """Remove one image, by name or id, unless a container was made from it: that of another daemon, perhaps."""
        try:
            check_reference(reference)
        except Invalid:
            # No engine has it; an older daemon may have written it down all the same.
            return
        try:
            await self._engine.images.remove(reference)
        except Conflict as err:
            _LOGGER.info("Image %s stays: %s", reference, err)

    async def cleanup(self, *, keep: Collection[str], names: Collection[str]) -> None:
        """Remove older versions of the named images; what is kept or in use stays."""
        everywhere = {known for name in names for known in (name, *self._at_mirrors(name))}
        try:
            await self._engine.images.cleanup(keep=keep, names=everywhere)
        except SupervisorError as err:
            _LOGGER.warning("Old images of %s could not be removed: %s", ", ".join(sorted(names)), err)

    def _at_mirrors(self, name: str) -> list[str]:
        return [mirrored(name, mirror) for mirror in self._docker.mirrors.of(registry_of(name))]

    async def _build(self, store: StoreAddon, job: Job) -> None:
        arch = match_arch(store.manifest.arch, self._host.supported_arch)
        if arch is None:
            raise ADDON_BUILD_ARCH(
                app=store.slug,
                app_arches=", ".join(store.manifest.arch),
                system_arches=", ".join(self._host.supported_arch),
            )
        plan = await asyncio.to_thread(plan_build, store, arch, self.name(store))
        await self._fetch_base(plan, arch, job)
        job.update(stage="Building", extra={"log": str(self._log_file(store.slug).name)})
        output = BuildOutput()
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
                log=output.add,
            )
        except Internal as err:
            # What the engine gives as the reason is not in the output; the rest of the message is its end.
            output.add(str(err).partition("\n")[0])
            _LOGGER.error("%s: building failed: %s", store.slug, err, extra={"ADDON": store.slug})
            raise ADDON_BUILD_FAILED(app=store.slug) from err
        finally:
            await asyncio.to_thread(self._keep_log, store.slug, output.text.encode())
        _LOGGER.info("%s: built in %.1f s", store.slug, time.monotonic() - started)

    async def _fetch_base(self, plan: BuildPlan, arch: str, job: Job) -> None:
        """Get the base image from a mirror where its registry has some; the engine's builder knows of none."""
        base, tag = split_reference(plan.build_args.get("BUILD_FROM", ""))
        if not base or not self._docker.mirrors.of(registry_of(base)):
            return
        try:
            if not await self._engine.images.exists(f"{base}:{tag}"):
                await self._puller.pull(base, tag, arch=arch, job=job)
        except SupervisorError as err:
            _LOGGER.warning("%s: its base image is left to the engine: %s", plan.tag, err)

    async def build_log(self, slug: str) -> str:
        """Return the log of the add-on's last build, well or badly ended.

        Raises:
            NotFound: it was not built here yet.
        """
        content = await asyncio.to_thread(_content, self._log_file(slug)) if _SLUG.fullmatch(slug) else None
        if content is None:
            raise NotFound(f"Add-on {slug} was not built here yet")
        return content.decode(errors="replace")

    def _log_file(self, slug: str) -> Path:
        return self._build_logs / f"build_{slug}.log"

    def _keep_log(self, slug: str, content: bytes) -> None:
        try:
            self._build_logs.mkdir(parents=True, exist_ok=True)
            write_atomic(self._log_file(slug), content)
        except OSError as err:
            # The image is made all the same, or is not for another reason.
            _LOGGER.warning("%s: the log of its build can't be kept: %s", slug, err.strerror or err)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


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
