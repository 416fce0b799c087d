"""The root and the Supervisor itself (API contract §2.1, §2.25)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import attrs
import voluptuous as vol

from supervisor.api.models import system as wire
from supervisor.api.models.addons import Stats
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.api.routes.logs import log_routes
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import EngineInfo
from supervisor.drivers.stalls import StallWatch
from supervisor.events import CoreState
from supervisor.jobs import JobCondition, JobManager
from supervisor.managers.addons import AddonManager
from supervisor.managers.configuration import FEATURE_FLAGS, LOG_LEVELS, Configuration
from supervisor.managers.daemon import Daemon
from supervisor.managers.host import Clock, Features, Host, HostFacts, HostFeature
from supervisor.managers.logs import LogManager, LogTarget
from supervisor.managers.os import OperatingSystem, OsUpdates, SystemDiagnostics
from supervisor.managers.repair import SystemRepair
from supervisor.managers.resolution import HealthCheck, Resolution
from supervisor.managers.store import StoreManager
from supervisor.managers.updater import CHANNELS, Updater
from supervisor.model.kept import Kept
from supervisor.model.validators import lenient_bool, lenient_int, non_empty_text, time_zone, unique_list

LOG_IDENTIFIER = "hassio_supervisor"


def _blocking_io(value: Any) -> str:
    if value not in ("off", "on", "on-at-startup"):
        raise vol.Invalid("expected off, on or on-at-startup")
    return str(value)


OPTIONS = vol.Schema(
    {
        vol.Optional("channel"): vol.In(CHANNELS),
        vol.Optional("timezone"): time_zone,
        vol.Optional("logging"): vol.In(LOG_LEVELS),
        vol.Optional("debug"): lenient_bool,
        vol.Optional("debug_block"): lenient_bool,
        vol.Optional("diagnostics"): lenient_bool,
        vol.Optional("auto_update"): lenient_bool,
        vol.Optional("detect_blocking_io"): _blocking_io,
        vol.Optional("country"): non_empty_text,
        vol.Optional("feature_flags"): {vol.In(FEATURE_FLAGS): lenient_bool},
        vol.Optional("addons_repositories"): unique_list(non_empty_text),
        vol.Optional("wait_boot"): vol.All(lenient_int, vol.Range(1, 60)),
    }
)


@attrs.frozen
class RootSources:
    """What `/info` is made of, as far as it changes while we run; `system` is the version of the operating system."""

    facts: HostFacts
    engine: EngineInfo | None
    system: str | None
    features: tuple[HostFeature, ...]
    state: CoreState
    supported: bool
    channel: str
    logging: str
    timezone: str


@attrs.frozen
class SystemRoutes:
    """Handlers of the root and of `/supervisor`. `address` is where containers find us."""

    _engine: Engine
    _host: Host
    _features: Features
    _clock: Clock
    _configuration: Configuration
    _updater: Updater
    _daemon: Daemon
    _resolution: Resolution
    _store: StoreManager
    _addons: AddonManager
    _jobs: JobManager
    _logs: LogManager
    _state: Callable[[], CoreState]
    _address: IPv4Address
    _set_log_level: Callable[[str], None]
    _stalls: StallWatch
    _health: HealthCheck
    _repair: SystemRepair
    _system: OperatingSystem
    _system_updates: OsUpdates
    _diagnostics: SystemDiagnostics
    # What `/info` shows, which every add-on may ask all the time.
    _root: Kept[RootSources, wire.RootInfo] = attrs.field(
        init=False, default=attrs.Factory(lambda self: Kept(self._root_info), takes_self=True)
    )

    def routes(self) -> list[Route]:
        logs = log_routes("/supervisor/logs", Access.MANAGER, self._logs, _log_target)
        return [*self._root_routes(), *self._supervisor_routes(), *logs]

    def _root_routes(self) -> list[Route]:
        manager, updates = Access.MANAGER, wire.AvailableUpdates
        listed = "List available updates"
        return [
            Route("GET", "/info", Access.ANY, self._info, "Show the most important facts", None, wire.RootInfo),
            Route("POST", "/reload_updates", Access.ADMIN, self._reload_updates, "Fetch the versions anew", NOTHING),
            Route("POST", "/refresh_updates", manager, self._refresh_updates, "The same, and the store", NOTHING),
            Route("GET", "/available_updates", manager, self._available_updates, listed, None, updates),
            Route("GET", "/supervisor/available_updates", manager, self._available_updates, listed, None, updates),
        ]

    def _supervisor_routes(self) -> list[Route]:
        base, manager = "/supervisor", Access.MANAGER
        return [
            Route("GET", f"{base}/ping", Access.OPEN, self._ping, "Tell that the Supervisor is ready"),
            Route(
                "GET",
                f"{base}/info",
                Access.ALL,
                self._supervisor_info,
                "Show the Supervisor",
                None,
                wire.SupervisorInfo,
            ),
            Route("POST", f"{base}/options", manager, self._set_options, "Change the Supervisor's settings", OPTIONS),
            Route("GET", f"{base}/stats", manager, self._stats, "Show what the Supervisor uses", None, Stats),
            Route("POST", f"{base}/reload", manager, self._reload, "Fetch the versions, look at the system", NOTHING),
            Route("POST", f"{base}/repair", manager, self._repair_all, "Mend the engine and missing images", NOTHING),
            Route("POST", f"{base}/restart", manager, self._restart, "Restart the Supervisor alone", NOTHING),
        ]

    @property
    def _timezone(self) -> str:
        return self._configuration.timezone or self._host.facts.timezone or "UTC"

    async def _info(self, _call: Call) -> wire.RootInfo:
        return self._root.of(
            RootSources(
                facts=self._host.facts,
                engine=self._engine.info,
                system=self._system.version,
                features=self._features.available,
                state=self._state(),
                supported=self._resolution.supported,
                channel=self._updater.channel,
                logging=self._configuration.logging,
                timezone=self._timezone,
            )
        )

    def _root_info(self, now: RootSources) -> wire.RootInfo:
        return wire.RootInfo(
            supervisor=self._daemon.version,
            homeassistant=None,
            hassos=now.system,
            docker=now.engine.version if now.engine else "",
            hostname=now.facts.hostname,
            operating_system=now.facts.operating_system,
            features=[feature.value for feature in now.features],
            machine=self._host.machine,
            machine_id=now.facts.machine_id,
            arch=self._host.arch,
            state=now.state.value,
            supported_arch=list(self._host.supported_arch),
            supported=now.supported,
            channel=now.channel,
            logging=now.logging,
            timezone=now.timezone,
        )

    async def _reload_updates(self, _call: Call) -> None:
        await self._jobs.spawn(self._updater.fetch).result()

    async def _refresh_updates(self, _call: Call) -> None:
        store = self._jobs.spawn(self._store.reload)
        versions = self._jobs.spawn(self._updater.fetch)
        try:
            await versions.result()
        finally:
            await store.result()

    async def _available_updates(self, _call: Call) -> wire.AvailableUpdates:
        updates: list[wire.UpdateItem] = []
        latest = self._updater.versions.supervisor
        if self._daemon.update_available and latest is not None:
            updates.append(
                wire.UpdateItem(
                    update_type="supervisor", panel_path="/update-available/supervisor", version_latest=latest
                )
            )
        latest = self._system_updates.latest
        if self._system_updates.available and latest is not None:
            updates.append(wire.UpdateItem(update_type="os", panel_path="/update-available/os", version_latest=latest))
        for addon in self._addons.registry.installed.values():
            if self._addons.update_available(addon):
                store = self._store.get(addon.slug)
                updates.append(
                    wire.UpdateItem(
                        update_type="addon",
                        panel_path=f"/update-available/{addon.slug}",
                        version_latest=store.manifest.version,
                        name=addon.name,
                        icon=f"/addons/{addon.slug}/icon" if store.icon else None,
                    )
                )
        return wire.AvailableUpdates(available_updates=updates)

    async def _ping(self, _call: Call) -> None:
        """The gate before the handler has answered already: we are ready."""

    async def _supervisor_info(self, _call: Call) -> wire.SupervisorInfo:
        configuration, updater = self._configuration, self._updater
        return wire.SupervisorInfo(
            version=self._daemon.version,
            version_latest=updater.versions.supervisor,
            update_available=self._daemon.update_available,
            channel=updater.channel,
            arch=self._host.arch,
            supported=self._resolution.supported,
            healthy=self._resolution.healthy,
            ip_address=str(self._address),
            timezone=self._timezone,
            logging=configuration.logging,
            debug=configuration.debug,
            debug_block=configuration.debug_block,
            diagnostics=configuration.diagnostics,
            auto_update=updater.auto_update,
            detect_blocking_io=self._stalls.watching,
            country=configuration.country,
            feature_flags=configuration.feature_flags,
            wait_boot=configuration.wait_boot,
            addons=self._installed_addons(),
            addons_repositories=[
                wire.NamedRepository(name=repository.name, slug=repository.slug)
                for repository in self._store.repositories.values()
            ],
        )

    def _installed_addons(self) -> list[wire.InstalledAddon]:
        installed = []
        for addon in self._addons.registry.installed.values():
            store = self._store.addons.get(addon.slug)
            installed.append(
                wire.InstalledAddon(
                    name=addon.name,
                    slug=addon.slug,
                    version=addon.record.version,
                    version_latest=store.manifest.version if store else addon.record.version,
                    update_available=self._addons.update_available(addon),
                    state=addon.state.value,
                    repository=addon.record.repository,
                    icon=bool(store and store.icon),
                    url=addon.manifest.url,
                    description=addon.manifest.description,
                )
            )
        return installed

    async def _set_options(self, call: Call) -> None:
        values = dict(call.body)
        sources = values.pop("addons_repositories", None)
        if "feature_flags" in values:
            values["feature_flags"] = {**self._configuration.feature_flags, **values["feature_flags"]}
        detect = values.pop("detect_blocking_io", None)
        if detect in ("off", "on-at-startup"):
            values["detect_blocking_io"] = detect == "on-at-startup"
        release = {key: values.pop(key) for key in ("channel", "auto_update") if key in values}
        if release:
            await self._updater.set_options(**release)
        if values:
            await self._configuration.change(**values)
        if "timezone" in values:
            await self._clock.keep_zone()
        if detect == "off":
            await self._stalls.stop()
        elif detect is not None:
            self._stalls.start()
        if "logging" in values:
            self._set_log_level(values["logging"])
        if sources is not None:
            used = [addon.record.repository for addon in self._addons.registry.installed.values()]
            await self._jobs.spawn(lambda: self._store.replace_repositories(sources, in_use=used)).result()
        await self._health.evaluations.run()
        if "diagnostics" in values:
            await self._diagnostics.tell()

    async def _stats(self, _call: Call) -> Stats:
        return Stats(**attrs.asdict(await self._daemon.stats()))

    async def _reload(self, _call: Call) -> None:
        await self._host.load()
        try:
            await self._jobs.spawn(self._updater.fetch).result()
        finally:
            await self._health.evaluations.run()

    async def _repair_all(self, _call: Call) -> None:
        await self._jobs.spawn(self._repair.run).result()

    async def _restart(self, _call: Call) -> None:
        async with self._jobs.run("supervisor_restart", conditions=(JobCondition.RUNNING,)):
            self._daemon.restart()


def _log_target(_call: Call) -> LogTarget:
    return LogTarget(identifiers=(LOG_IDENTIFIER,), container=LOG_IDENTIFIER, own=True)
