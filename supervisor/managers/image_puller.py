"""Fetches published images: from the mirrors in their order, then from the registry (add-on contract §4.8).

What may pass (a broken connection, a registry that fails) is tried again with growing pauses. What stays (no such
image, a refused login, a used-up limit, a full disk) is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import attrs

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ImageInfo
from supervisor.drivers.docker.pull import PullProgress
from supervisor.drivers.docker.registry import (
    RegistryCredentials,
    credentials_for,
    mirrored,
    platform_of,
    registry_of,
)
from supervisor.drivers.registry_api import RegistryApi
from supervisor.errors import (
    DOCKER_NO_SPACE,
    DOCKERHUB_RATE_LIMIT,
    NotFound,
    SupervisorError,
    Unavailable,
)
from supervisor.jobs import Job
from supervisor.managers.docker import DockerSettings
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType

_LOGGER = logging.getLogger(__name__)

# Seconds before each further try; in all a registry that restarts gets about a minute.
PAUSES = (2.0, 8.0, 30.0)
_MOST = 99.0


@attrs.frozen
class _Source:
    """`image` is the name to pull by; `mirror` is None for the registry itself."""

    image: str
    mirror: str | None


@attrs.frozen
class _Failed:
    """Which sources are worth another try and why; `own` is the registry's own refusal, should they fail as well."""

    again: list[_Source]
    reason: SupervisorError
    own: SupervisorError | None


@attrs.frozen
class _Wanted:
    image: str
    tag: str
    arch: str

    def __str__(self) -> str:
        return f"{self.image}:{self.tag}"


class ImagePuller:
    """`pauses` are the seconds before each further try."""

    def __init__(
        self,
        engine: Engine,
        registries: RegistryApi,
        docker: DockerSettings,
        resolution: Resolution,
        *,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._engine = engine
        self._registries = registries
        self._docker = docker
        self._resolution = resolution
        self._pauses = pauses

    async def pull(self, image: str, tag: str, *, arch: str, job: Job) -> ImageInfo:
        """Make `image:tag` present for our architecture `arch`; `job` shows how far that is, in bytes.

        Raises:
            NotFound, Invalid, RateLimited: the registry does not give it, and asking again would not help.
            Unavailable: it could not be had after several tries; Internal: anything else.
        """
        wanted = _Wanted(image, tag, arch)
        mirrors = self._docker.mirrors.of(registry_of(image))
        sources = [*(_Source(mirrored(image, mirror), mirror) for mirror in mirrors), _Source(image, None)]
        follow = _Follower(job)
        # An engine that goes away meanwhile may come back; one that is away now is told at once.
        pauses = tuple(self._pauses) if self._engine.available else ()
        tries = len(pauses) + 1
        own: SupervisorError | None = None
        for attempt, pause in enumerate((*pauses, None), 1):
            result = await self._round(wanted, sources, follow, own)
            if isinstance(result, ImageInfo):
                return result
            sources, reason, own = result.again, result.reason, result.own
            if pause is None:
                break
            _LOGGER.warning("%s: try %d of %d failed, the next is in %g s: %s", wanted, attempt, tries, pause, reason)
            job.update(
                stage=f"Waiting {pause:g} s before try {attempt + 1} of {tries}",
                extra={"attempt": attempt, "attempts": tries, "reason": str(reason)},
            )
            await asyncio.sleep(pause)
        if own is not None:
            raise own
        raise Unavailable(f"{reason} ({tries} tries)" if pauses else str(reason)) from reason

    async def _round(
        self, wanted: _Wanted, sources: Sequence[_Source], follow: _Follower, own: SupervisorError | None
    ) -> ImageInfo | _Failed:
        """Try each source once; `own` is what the registry itself refused with in an earlier round.

        Raises:
            SupervisorError: another try would not help; it is the registry's own answer.
        """
        again: list[_Source] = []
        reason: SupervisorError = Unavailable(f"There is no place to get {wanted} from")
        last = reason
        for source in sources:
            try:
                return await self._from(wanted, source, follow)
            except SupervisorError as err:
                if err.key == DOCKER_NO_SPACE.key:
                    raise
                if source.mirror is not None:
                    _LOGGER.warning("%s: mirror %s does not give it: %s", wanted, source.mirror, err)
                elif err.key == DOCKERHUB_RATE_LIMIT.key:
                    self._tell_rate_limit()
                if isinstance(err, Unavailable):
                    again.append(source)
                    reason = err
                elif source.mirror is None:
                    own = err
                last = err
        # What the registry does not have, no mirror has; other refusals of it a mirror may make up for.
        if isinstance(own, NotFound):
            raise own
        if not again:
            raise own or last
        return _Failed(again, reason, own)

    async def _from(self, wanted: _Wanted, source: _Source, follow: _Follower) -> ImageInfo:
        images = self._engine.images
        credentials = credentials_for(source.image, self._docker.registries)
        sizes = await self._sizes(source, wanted, credentials)
        info = await images.pull(
            source.image,
            wanted.tag,
            arch=wanted.arch,
            credentials=credentials,
            sizes=sizes,
            progress=follow,
        )
        if source.mirror is not None:
            fetched = f"{source.image}:{wanted.tag}"
            await images.tag(fetched, str(wanted))
            await images.remove(fetched)
            _LOGGER.info("%s: fetched from mirror %s", wanted, source.mirror)
        if not info.platform.startswith(platform_of(wanted.arch)):
            _LOGGER.warning("%s: says it is made for %s, this machine runs %s", wanted, info.platform, wanted.arch)
        return info

    async def _sizes(self, source: _Source, wanted: _Wanted, login: RegistryCredentials | None) -> dict[str, int]:
        """Ask the registry for the sizes of the layers; without an answer all layers count the same."""
        try:
            return await self._registries.layer_sizes(source.image, wanted.tag, arch=wanted.arch, credentials=login)
        except SupervisorError as err:
            _LOGGER.debug("%s: the sizes of its layers are not known: %s", wanted, err)
            return {}

    def _tell_rate_limit(self) -> None:
        self._resolution.raise_issue(
            IssueType.DOCKER_RATELIMIT, ContextType.SYSTEM, suggestions=(SuggestionType.REGISTRY_LOGIN,)
        )


class _Follower:
    """Shows a pull's progress on a job. Another try begins at nothing, the bar stays where it was."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, progress: PullProgress) -> None:
        self._job.update(
            progress=max(self._job.progress, min(progress.percent, _MOST)),
            stage=progress.stage,
            extra={"current": progress.downloaded, "total": progress.total},
        )
