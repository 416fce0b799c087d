"""Gives running add-ons the devices that are plugged in (add-on contract §4.4)."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ContainerInfo
from supervisor.errors import NotFound, SupervisorError
from supervisor.events import DeviceAdded, EventBus
from supervisor.jobs import JobManager
from supervisor.managers.host import Host
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType
from supervisor.tasks import end

from .addon import Addon
from .options import AddonOptions
from .registry import AddonRegistry
from .spec import device_rules

_LOGGER = logging.getLogger(__name__)


class DeviceGranter(Protocol):
    """Who can let a running container use one more device, in place of us: the host's agent."""

    @property
    def available(self) -> bool:
        """Whether it can do that now; on the second version of control groups only that of Home Assistant OS can."""

    async def add_devices_allowed(self, container_id: str, rule: str) -> None:
        """Add a cgroup rule such as `c 188:0 rwm`.

        Raises:
            SupervisorError: it could not.
        """


class DeviceHotplug:
    """A device is for an add-on when a start of the add-on now would give it that device.

    Without an agent the kernel is asked directly, where it can be. Where it can't, an issue says that a restart is
    needed; `AddonManager` ends it when the container ends.
    """

    def __init__(
        self,
        bus: EventBus,
        jobs: JobManager,
        engine: Engine,
        host: Host,
        registry: AddonRegistry,
        options: AddonOptions,
        resolution: Resolution,
        *,
        agent: DeviceGranter | None = None,
    ) -> None:
        self._jobs = jobs
        self._engine = engine
        self._host = host
        self._registry = registry
        self._options = options
        self._resolution = resolution
        self._agent = agent
        self._tasks: set[asyncio.Task[None]] = set()
        # What a container was given while it ran, by its id; only the last container of an add-on is remembered.
        self._given: dict[str, tuple[str, frozenset[str]]] = {}
        self._unsubscribe = bus.subscribe(DeviceAdded, self._added)

    async def stop(self) -> None:
        self._unsubscribe()
        await end(self._tasks)

    def _added(self, event: DeviceAdded) -> None:
        for addon in self._registry.installed.values():
            if addon.running and self._missing(addon, frozenset()):
                task = self._jobs.begin(self._guarded(addon, event.path), name=f"device of {addon.slug}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _missing(self, addon: Addon, present: frozenset[str]) -> tuple[str, ...]:
        """Return the rules that a start of the add-on now would give it and that `present` does not cover."""
        devices = self._options.devices(addon)
        protected = addon.record.protected
        wanted = device_rules(addon.manifest, self._host.devices, protected=protected, option_devices=devices)
        return tuple(rule for rule in wanted if not _covers(present, rule))

    async def _guarded(self, addon: Addon, path: str) -> None:
        try:
            await self._give(addon, path)
        except SupervisorError as err:
            _LOGGER.error("%s: not given the new device %s: %s", addon.slug, path, err, extra={"ADDON": addon.slug})
        except Exception:
            _LOGGER.exception("%s: giving it the new device %s failed", addon.slug, path, extra={"ADDON": addon.slug})

    async def _give(self, addon: Addon, path: str) -> None:
        try:
            info = await self._engine.containers.inspect(addon.container_name)
        except NotFound:
            return
        if not info.running:
            return
        known, given = self._given.get(addon.slug, ("", frozenset()))
        if known != info.id:
            given = frozenset()
        for rule in self._missing(addon, frozenset(info.device_rules) | given):
            try:
                await self._allow(info, rule)
            except SupervisorError as err:
                self._need_restart(addon, path, err)
                return
            given |= {rule}
            self._given[addon.slug] = (info.id, given)
            _LOGGER.info("%s: may use the new device %s", addon.slug, path, extra={"ADDON": addon.slug})

    async def _allow(self, info: ContainerInfo, rule: str) -> None:
        if self._agent is not None and self._agent.available:
            await self._agent.add_devices_allowed(info.id, rule)
        else:
            await self._engine.containers.allow_device(info, rule)

    def _need_restart(self, addon: Addon, path: str, err: SupervisorError) -> None:
        _LOGGER.warning("%s: needs a restart to use the new device %s: %s", addon.slug, path, err)
        self._resolution.raise_issue(
            IssueType.DEVICE_ACCESS_MISSING,
            ContextType.ADDON,
            reference=addon.slug,
            suggestions=(SuggestionType.EXECUTE_RESTART,),
        )


def _covers(present: frozenset[str], rule: str) -> bool:
    kind, number, _ = rule.split(" ")
    return not present.isdisjoint({rule, f"{kind} {number.split(':')[0]}:* rwm", "a *:* rwm"})
