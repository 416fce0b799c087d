"""What of the Docker engine and its containers is not as it should be (add-on contract §4.1, host contract §4-6)."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ContainerInfo, EngineInfo
from supervisor.drivers.docker.registry import credentials_for
from supervisor.errors import Invalid, NotFound, SupervisorError
from supervisor.events import CoreState
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.docker import DockerSettings
from supervisor.managers.resolution import (
    Check,
    ContextType,
    Evaluation,
    Fixup,
    Fixups,
    Issue,
    IssueType,
    Resolution,
    Suggestion,
    SuggestionType,
    UnhealthyReason,
    UnsupportedReason,
)
from supervisor.model.version import is_newer

SPREAD_TARGETS: Final = ("/share", "/media")
# Programs that replace or stop containers behind our back.
MEDDLERS: Final = ("watchtower", "ouroboros", "portainer")
BUILDER_IMAGE: Final = "docker"
OWN_CONTAINERS: Final[dict[str, str]] = {
    "hassio_supervisor": "no",
    "homeassistant": "no",
    "hassio_cli": "no",
    "hassio_dns": "no",
    "hassio_audio": "no",
    "hassio_multicast": "no",
    "hassio_observer": "always",
}
_NEVER: Final = ("", "no")
MINIMUM_ENGINE: Final = "24.0.0"
STORAGE_DRIVERS: Final = ("overlay2", "overlayfs")
LOGGING_DRIVER: Final = "journald"
CGROUP_VERSIONS: Final = ("1", "2")
# What an engine that comes back may answer otherwise than before.
ENGINE_REASONS: Final = frozenset(
    {UnsupportedReason.CGROUP_VERSION, UnsupportedReason.DOCKER_CONFIGURATION, UnsupportedReason.DOCKER_VERSION}
)


class DockerConfigCheck(Check):
    """Mounts that appear below the shared folders later must show up in the containers that have these folders.

    `spreads` answers (blocking) whether the data folder lies on a mount that takes part in that; elsewhere no container
    can have it.
    """

    slug = "docker_config"
    issue = IssueType.DOCKER_CONFIG
    context = ContextType.SYSTEM
    states = frozenset({CoreState.RUNNING})

    def __init__(
        self, engine: Engine, registry: AddonRegistry, resolution: Resolution, spreads: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._resolution = resolution
        self._spreads = spreads

    async def run(self) -> None:
        await self.approve(Issue(self.issue, self.context))
        if self._open():
            self._resolution.raise_issue(self.issue, self.context, suggestions=(SuggestionType.EXECUTE_REBUILD,))

    async def approve(self, issue: Issue) -> bool:
        """Look at every container again; the issue of the system stands as long as one of theirs does."""
        affected = await self._affected()
        for known in self._open():
            if (known.context, known.reference) not in affected:
                self._resolution.withdraw(known)
        for context, reference in affected:
            self._resolution.raise_issue(
                issue.type, context, reference=reference, suggestions=(SuggestionType.EXECUTE_REBUILD,)
            )
        return bool(affected)

    def _open(self) -> list[Issue]:
        kind, summary = self.issue, self.context
        return [found for found in self._resolution.issues if found.type == kind and found.context != summary]

    async def _affected(self) -> list[tuple[ContextType, str | None]]:
        if not await asyncio.to_thread(self._spreads):
            return []
        affected: list[tuple[ContextType, str | None]] = []
        for addon in list(self._registry.installed.values()):
            targets = {folder.target for folder in addon.manifest.folders if folder.type in ("share", "media")}
            info = await _inspect(self._engine, addon.container_name) if targets else None
            if info is not None and _misses_mounts(info, targets):
                affected.append((ContextType.ADDON, addon.slug))
        core = await _inspect(self._engine, "homeassistant")
        if core is not None and _misses_mounts(core, SPREAD_TARGETS):
            affected.append((ContextType.CORE, None))
        return affected


def _misses_mounts(info: ContainerInfo, targets: Iterable[str]) -> bool:
    wanted = set(targets)
    return any(mount.target in wanted and mount.propagation != "rslave" for mount in info.mounts)


async def _inspect(engine: Engine, name: str) -> ContainerInfo | None:
    try:
        return await engine.containers.inspect(name)
    except NotFound:
        return None


class EngineEvaluation(Evaluation):
    """Judges what the engine says of itself; one that is away is judged when it is back."""

    states = frozenset({CoreState.SETUP, CoreState.STARTUP, CoreState.RUNNING})

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def unsupported(self) -> bool | None:
        info = self._engine.info
        return None if info is None else self.differs(info)

    @abstractmethod
    def differs(self, info: EngineInfo) -> bool:
        """Tell whether the engine is not as it should be."""


class EngineVersionEvaluation(EngineEvaluation):
    reason = UnsupportedReason.DOCKER_VERSION

    def differs(self, info: EngineInfo) -> bool:
        return is_newer(MINIMUM_ENGINE, info.version) is not False


class EngineDriversEvaluation(EngineEvaluation):
    reason = UnsupportedReason.DOCKER_CONFIGURATION

    def differs(self, info: EngineInfo) -> bool:
        return info.storage_driver not in STORAGE_DRIVERS or info.logging_driver != LOGGING_DRIVER


class ControlGroupsEvaluation(EngineEvaluation):
    reason = UnsupportedReason.CGROUP_VERSION

    def differs(self, info: EngineInfo) -> bool:
        return info.cgroup_version not in CGROUP_VERSIONS


class SoftwareEvaluation(Evaluation):
    """Nothing else should run on the engine; some programs even make a mess of what runs there."""

    reason = UnsupportedReason.SOFTWARE
    states = frozenset({CoreState.RUNNING})

    def __init__(self, engine: Engine, registry: AddonRegistry, resolution: Resolution) -> None:
        self._engine = engine
        self._registry = registry
        self._resolution = resolution

    async def unsupported(self) -> bool | None:
        try:
            running = await self._engine.containers.list_running()
        except SupervisorError:
            if self._engine.available:
                self._resolution.raise_issue(
                    IssueType.CORRUPT_DOCKER, ContextType.SYSTEM, suggestions=(SuggestionType.EXECUTE_REPAIR,)
                )
            return None
        self._resolution.dismiss_issue_of(IssueType.CORRUPT_DOCKER, ContextType.SYSTEM)
        ours = {addon.record.image for addon in self._registry.installed.values()} | {BUILDER_IMAGE}
        names = {
            repository_of(container.image)
            for container in running
            if container.name not in OWN_CONTAINERS and not container.image.startswith("sha256:")
        }
        foreign = names - ours
        if any(name.rpartition("/")[2].startswith(MEDDLERS) for name in foreign):
            self._resolution.add_unhealthy(UnhealthyReason.DOCKER)
        return bool(foreign)


def repository_of(image: str) -> str:
    """Return an image reference without its digest and tag; the port of a registry is no tag."""
    name = image.partition("@")[0]
    head, separator, tail = name.rpartition(":")
    return head if separator and "/" not in tail else name


class RestartPolicyEvaluation(Evaluation):
    """The engine must not start containers by itself behind our back; only the observer outlives us."""

    reason = UnsupportedReason.RESTART_POLICY
    states = frozenset({CoreState.RUNNING})

    def __init__(self, engine: Engine, registry: AddonRegistry) -> None:
        self._engine = engine
        self._registry = registry

    async def unsupported(self) -> bool:
        wanted: Mapping[str, str] = {
            **OWN_CONTAINERS,
            **{addon.container_name: "no" for addon in self._registry.installed.values()},
        }
        here = [found.name for found in await self._engine.containers.list_managed() if found.name in wanted]
        for name in here:
            info = await _inspect(self._engine, name)
            if info is None:
                continue
            policy = "no" if info.restart_policy in _NEVER else info.restart_policy
            if policy != wanted[name]:
                return True
        return False


class PrivilegedEvaluation(Evaluation):
    """In a container of its own the daemon needs all rights; straight on the machine it has them as root."""

    reason = UnsupportedReason.PRIVILEGED
    states = frozenset({CoreState.SETUP, CoreState.RUNNING})

    def __init__(self, engine: Engine, container_name: str | None) -> None:
        self._engine = engine
        self._container_name = container_name

    async def unsupported(self) -> bool | None:
        if self._container_name is None:
            return False
        if not self._engine.available:
            return None
        info = await self._engine.containers.inspect(self._container_name)
        return not (info.raw.get("HostConfig") or {}).get("Privileged")


@attrs.frozen
class DockerFixups:
    """What helps against trouble with the engine and with registries."""

    _docker: DockerSettings
    _resolution: Resolution
    _fixups: Fixups

    def fixups(self) -> list[Fixup]:
        system = ContextType.SYSTEM
        return [
            Fixup(system, SuggestionType.EXECUTE_REBUILD, self._rebuild_all),
            Fixup(system, SuggestionType.REGISTRY_LOGIN, self._logged_in),
        ]

    async def _rebuild_all(self, _suggestion: Suggestion) -> None:
        """Rebuild every container that has such an issue; the first failure is told when all were tried."""
        failures: list[SupervisorError] = []
        for found in self._resolution.suggestions:
            if found.type != SuggestionType.EXECUTE_REBUILD or found.context == ContextType.SYSTEM:
                continue
            try:
                await self._fixups.apply(found)
            except SupervisorError as err:
                failures.append(err)
        if failures:
            raise failures[0]

    async def _logged_in(self, _suggestion: Suggestion) -> None:
        """A login is a person's to give; once there is one, nothing is left to do."""
        if credentials_for("docker.io/library/any", self._docker.registries) is None:
            raise Invalid("Give the login of your Docker Hub account first: supervisor docker login docker.io")
