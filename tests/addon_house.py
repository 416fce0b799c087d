"""Installed add-ons and all that is around them, real except for the Docker engine where none is given."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import attrs

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ContainerInfo, ImageInfo, container_info, image_info
from supervisor.drivers.docker.spec import ContainerSpec, engine_config
from supervisor.drivers.git import Git
from supervisor.drivers.sysfs import DeviceTable
from supervisor.errors import DOCKER_PORT_CONFLICT, Internal, NotFound
from supervisor.events import ContainerState, ContainerStateChanged, EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.addons import Addon, LogKeeper, Surroundings
from supervisor.managers.addons.boot import AddonBooter
from supervisor.managers.addons.limit_keeper import LimitKeeper
from supervisor.managers.addons.memory import MemoryReports
from supervisor.managers.addons.options import AddonOptions
from supervisor.managers.addons.record import AddonRecord, addons_schema
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.addons.runner import AddonRunner
from supervisor.managers.addons.secrets import SecretsFile
from supervisor.managers.host import Host
from supervisor.managers.ingress import INGRESS_SCHEMA, IngressManager
from supervisor.managers.resolution import Resolution
from supervisor.managers.store import STORE_SCHEMA, StoreManager
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import validate_manifest
from supervisor.paths import DataPaths
from supervisor.state import StateFile


class Table:
    """What the runner uses of an engine. `refuse` are errors that the next starts end with, one each."""

    def __init__(self, bus: EventBus) -> None:
        self.containers = self
        self.images = Images()
        self.specs: list[ContainerSpec] = []
        self.refuse: list[Exception] = []
        self.crash: list[int] = []
        self.present: dict[str, dict[str, Any]] = {}
        self._bus = bus
        self._ids = itertools.count(1)

    async def run(self, spec: ContainerSpec) -> ContainerInfo:
        await asyncio.sleep(0)
        host_config = engine_config(spec)["HostConfig"]
        if self.refuse:
            raise self.refuse.pop(0)
        self.specs.append(spec)
        self.present[spec.name] = {
            "Id": f"id{next(self._ids)}",
            "Name": f"/{spec.name}",
            "State": {"Status": "running", "Running": True, "ExitCode": 0},
            "HostConfig": host_config,
            "NetworkSettings": {"Networks": {"hassio": {"IPAddress": "172.30.33.5"}}},
        }
        info = await self.inspect(spec.name)
        self.tell(spec.name, ContainerState.RUNNING)
        if self.crash:
            self.end(spec.name, self.crash.pop(0))
        return info

    async def inspect(self, name: str) -> ContainerInfo:
        await asyncio.sleep(0)
        if name not in self.present:
            raise NotFound(f"There is no container {name}")
        return container_info(self.present[name], network_name="hassio")

    async def stop(self, name: str, *, grace: int, remove: bool) -> None:
        await asyncio.sleep(0)
        if name in self.present and self.present[name]["State"]["Running"]:
            self.end(name, 143)

    async def remove(self, name: str) -> None:
        await asyncio.sleep(0)
        self.present.pop(name, None)

    def end(self, name: str, code: int) -> None:
        self.present[name]["State"] = {"Status": "exited", "Running": False, "ExitCode": code}
        self.tell(name, ContainerState.FAILED if code else ContainerState.STOPPED, code)

    def tell(self, name: str, state: ContainerState, code: int | None = None) -> None:
        self._bus.publish(ContainerStateChanged(name, self.present[name]["Id"], state, 0.0, code))


class Images:
    def __init__(self) -> None:
        self.missing: set[str] = set()

    async def inspect(self, reference: str) -> ImageInfo:
        await asyncio.sleep(0)
        if reference in self.missing:
            raise NotFound(f"There is no image {reference}")
        return image_info({"Id": reference})

    async def exists(self, reference: str) -> bool:
        await asyncio.sleep(0)
        return reference not in self.missing


class House:
    def __init__(self, root: Path, *, bus: EventBus | None = None, engine: Engine | None = None) -> None:
        self.bus = bus or EventBus()
        self.paths = DataPaths(root, root)
        for folder in (self.paths.tmp, self.paths.audio):
            folder.mkdir(parents=True, exist_ok=True)
        self.engine: Any = engine or Table(self.bus)
        self.resolution = Resolution(self.bus)
        self.jobs = JobManager(self.bus, self.state_file("jobs.json", JOBS_SCHEMA))
        self.host = Host(data=root, machine=None)
        store = StoreManager(
            paths=self.paths,
            state=self.state_file("store.json", STORE_SCHEMA),
            git=Git(root / "git"),
            jobs=self.jobs,
            resolution=self.resolution,
            bus=self.bus,
            with_builtin_remotes=False,
        )
        self.store = store
        self.ingress = IngressManager(self.state_file("ingress.json", INGRESS_SCHEMA), gateway="127.0.0.1")
        self.registry = AddonRegistry(
            self.state_file("addons.json", addons_schema), self.bus, self.host, store, self.ingress
        )
        self.kept_logs: list[str] = []
        # What of the surroundings a test wants otherwise.
        self.around: dict[str, Any] = {}
        self.runner = AddonRunner(
            self.engine,
            self.jobs,
            self.bus,
            self.resolution,
            AddonOptions(SecretsFile(self.paths.homeassistant / "secrets.yaml"), self.host),
            LogKeeper(self._keep, self._keep),
            registry=self.registry,
            limits=LimitKeeper(self.engine, self.host),
            surroundings=lambda: attrs.evolve(
                Surroundings(self.paths, DeviceTable(), IPv4Address("172.30.32.2"), "UTC"), **self.around
            ),
        )
        self.memory = MemoryReports(self.bus, self.registry, self.resolution)
        self.booter = AddonBooter(self.registry, self.runner, self.resolution)
        self.bus.subscribe(ContainerStateChanged, self._container_changed)

    def state_file(self, name: str, schema: Callable[[Any], Any]) -> StateFile:
        return StateFile(self.paths.root / name, schema, self.bus)

    async def install(self, slug: str = "local_lamp", *, user: dict[str, Any] | None = None, **keys: Any) -> Addon:
        least = {"name": slug, "version": "1", "slug": slug, "description": "d", "arch": ["amd64"]}
        manifest = Manifest.from_config(validate_manifest({**least, **keys})[0])
        return await self.registry.add(AddonRecord(slug, "local", manifest, {}, "1", f"local/{slug}", **(user or {})))

    def issues(self) -> list[tuple[str, str | None]]:
        return [(issue.type.value, issue.reference) for issue in self.resolution.issues]

    def suggestions(self) -> list[str]:
        return [suggestion.type.value for suggestion in self.resolution.suggestions]

    async def _keep(self, name: str) -> None:
        self.kept_logs.append(name)

    def _container_changed(self, event: ContainerStateChanged) -> None:
        for addon in self.registry.installed.values():
            if addon.container_name == event.name:
                addon.follow(event)


def port_taken(port: int) -> Exception:
    return DOCKER_PORT_CONFLICT(name="addon_local_lamp", port=port)


def refused() -> Exception:
    return Internal("the engine refused")


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)
