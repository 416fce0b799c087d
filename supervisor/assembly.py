"""Builds every part and hands each what it needs. The only module that knows them all."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import attrs

from supervisor import __version__
from supervisor.api.callers import Callers
from supervisor.api.docs import with_documentation
from supervisor.api.routes.addons import AddonRoutes
from supervisor.api.routes.docker import DockerRoutes
from supervisor.api.routes.jobs import JobRoutes
from supervisor.api.routes.resolution import ResolutionRoutes
from supervisor.api.routes.store import StoreRoutes
from supervisor.api.routes.system import SystemRoutes
from supervisor.api.server import ApiServer
from supervisor.api.views.addons import AddonViews
from supervisor.const import GATEWAY_ADDRESS, SUPERVISOR_ADDRESS
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.git import Git
from supervisor.drivers.http import HttpClient
from supervisor.drivers.journal import DirectJournal, JournalGateway, PreferredJournal
from supervisor.drivers.logs_setup import Logging, configure_logging, logs_to_journal
from supervisor.drivers.mountinfo import takes_part_in_propagation
from supervisor.drivers.systemd import Notifier
from supervisor.events import EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.lifecycle import EXIT_CONFLICT, EXIT_RESTART, Lifecycle, StateKeeper, Step, StopRequest
from supervisor.managers.addons import (
    OPTIONAL_HOST_PATHS,
    AddonManager,
    LogKeeper,
    Surroundings,
)
from supervisor.managers.addons.boot import AddonBooter
from supervisor.managers.addons.images import AddonImages
from supervisor.managers.addons.installer import AddonInstaller
from supervisor.managers.addons.intents import INTENTS_SCHEMA, Intents
from supervisor.managers.addons.options import AddonOptions
from supervisor.managers.addons.record import addons_schema
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.addons.rollback import ROLLBACKS_SCHEMA, Rollbacks
from supervisor.managers.addons.runner import AddonRunner
from supervisor.managers.addons.secrets import SecretsFile
from supervisor.managers.addons.watchdog import ContainerWatchdog
from supervisor.managers.conditions import Judges
from supervisor.managers.configuration import CONFIGURATION_SCHEMA, Configuration
from supervisor.managers.connectivity import Connectivity
from supervisor.managers.daemon import Daemon
from supervisor.managers.docker import DOCKER_SCHEMA, DockerSettings
from supervisor.managers.host import Host
from supervisor.managers.logs import LogManager, SupervisorLog
from supervisor.managers.resolution import Resolution
from supervisor.managers.scheduler import Scheduler
from supervisor.managers.security import SECURITY_SCHEMA, Security
from supervisor.managers.store import STORE_SCHEMA, StoreManager
from supervisor.managers.updater import UPDATER_SCHEMA, Updater
from supervisor.paths import DataPaths
from supervisor.settings import Settings
from supervisor.state import Schema, StateFile

_LOGGER = logging.getLogger(__name__)

STORE_RELOAD_SECONDS = 10800
UPDATER_RELOAD_SECONDS = 86400


@attrs.define(eq=False)
class Base:
    """What nearly everything is built on."""

    settings: Settings
    paths: DataPaths
    bus: EventBus
    engine: Engine
    http: HttpClient
    resolution: Resolution
    jobs: JobManager
    host: Host
    address: IPv4Address

    @classmethod
    def of(cls, settings: Settings) -> Base:
        bus, paths = EventBus(), DataPaths(settings.data, settings.host_data)
        in_container = settings.container_name is not None
        own_address = SUPERVISOR_ADDRESS if in_container else GATEWAY_ADDRESS
        return cls(
            settings,
            paths,
            bus,
            Engine(settings.docker_url, bus, cid_files=paths.cid_files),
            HttpClient(user_agent=f"Supervisor/{__version__}"),
            Resolution(bus),
            JobManager(bus, StateFile(paths.root / "jobs.json", JOBS_SCHEMA, bus)),
            Host(data=paths.root, machine=settings.machine),
            IPv4Address(settings.api_address) if settings.api_address else own_address,
        )

    def state_file(self, name: str, schema: Schema) -> StateFile:
        return StateFile(self.paths.root / name, schema, self.bus)


@attrs.define(eq=False)
class Services:
    """The managers that are no business of any other manager's constructor order."""

    configuration: Configuration
    docker: DockerSettings
    updater: Updater
    connectivity: Connectivity
    security: Security
    store: StoreManager
    gateway: JournalGateway
    journal: DirectJournal
    logs: LogManager

    @classmethod
    def of(cls, base: Base, own_log: SupervisorLog) -> Services:
        settings = base.settings
        gateway, journal = JournalGateway(settings.journal_gateway_url), DirectJournal()
        return cls(
            Configuration(base.state_file("config.json", CONFIGURATION_SCHEMA)),
            DockerSettings(base.state_file("docker.json", DOCKER_SCHEMA), base.engine, base.resolution),
            Updater(
                base.state_file("updater.json", UPDATER_SCHEMA),
                base.http,
                base.jobs,
                version_url=settings.version_url,
                machine=lambda: base.host.machine,
            ),
            Connectivity(base.http, url=settings.connectivity_url),
            Security(base.state_file("security.json", SECURITY_SCHEMA), base.http, leak_url=settings.leak_url),
            StoreManager(
                paths=base.paths,
                state=base.state_file("store.json", STORE_SCHEMA),
                git=Git(base.paths.tmp / "git"),
                jobs=base.jobs,
                resolution=base.resolution,
                bus=base.bus,
                with_builtin_remotes=settings.builtin_remotes,
            ),
            gateway,
            journal,
            LogManager(
                PreferredJournal((gateway, journal)),
                base.engine,
                base.bus,
                base.paths.root / "logs",
                own=own_log,
                own_in_journal=logs_to_journal(settings.log_format),
            ),
        )


def run_daemon(settings: Settings) -> int:
    """Run the daemon in this process until it is told to stop; return the exit code."""
    settings.data.mkdir(parents=True, exist_ok=True)
    with (settings.data / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"supervisor: another daemon works with the data in {settings.data}", file=sys.stderr)  # noqa: T201
            return EXIT_CONFLICT
        return _run_alone(settings)


def _run_alone(settings: Settings) -> int:
    own_log = SupervisorLog(settings.data / "logs" / "supervisor.log")
    output = configure_logging(settings.log_level or "info", settings.log_format, handlers=[own_log])
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(settings, own_log, output))
    finally:
        output.stop()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(settings: Settings, own_log: SupervisorLog, output: Logging) -> int:
    lifecycle = build(settings, own_log, output)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lifecycle.request_stop)
    _LOGGER.info("Supervisor %s (process %d), data in %s", __version__, os.getpid(), settings.data)
    return await lifecycle.run()


def build(settings: Settings, own_log: SupervisorLog, output: Logging) -> Lifecycle:
    """Build the daemon; nothing is started by that."""
    base = Base.of(settings)
    services = Services.of(base, own_log)
    state = StateKeeper(base.bus, settings.socket.parent / "state")
    end = StopRequest()
    daemon = Daemon(
        base.engine,
        services.updater,
        container_name=settings.container_name,
        dev=settings.dev,
        restart=partial(end.ask, EXIT_RESTART),
    )
    judges = Judges(state, base.resolution, base.host, services.connectivity, services.updater, daemon)
    judges.provide(base.jobs)
    addons = _build_addons(base, services)
    server = _build_server(base, services, addons, daemon, state, output)
    scheduler = Scheduler(state)
    return Lifecycle(
        state,
        base.bus,
        base.engine,
        settings.docker_url,
        addons,
        services.configuration,
        base.host,
        base.resolution,
        Notifier(),
        end,
        _setup_steps(base, services, addons, server, output),
        partial(_engine_up, base, services, server),
        partial(_begin_background, services, base.jobs, scheduler),
        _closing_steps(base, services, addons, server, scheduler),
    )


def _build_addons(base: Base, services: Services) -> AddonManager:
    logs = LogKeeper(services.logs.keep, services.logs.forget)
    registry = AddonRegistry(base.state_file("addons.json", addons_schema), base.bus, base.host, services.store)
    options = AddonOptions(SecretsFile(base.paths.homeassistant / "secrets.yaml"), base.host)
    runner = AddonRunner(
        base.engine,
        base.jobs,
        base.bus,
        base.resolution,
        options,
        logs,
        registry=registry,
        surroundings=partial(_surroundings, base, services),
    )
    intents = Intents(base.state_file("intents.json", INTENTS_SCHEMA))
    images = AddonImages(
        base.engine, base.jobs, services.docker, base.host, base.resolution, build_logs=base.paths.root / "logs"
    )
    rollbacks = Rollbacks(
        base.state_file("rollbacks.json", ROLLBACKS_SCHEMA),
        base.paths,
        base.bus,
        base.jobs,
        base.resolution,
        intents,
        registry,
        runner,
        images,
        window=base.settings.update_window,
    )
    installer = AddonInstaller(
        base.engine,
        base.jobs,
        base.bus,
        base.host,
        services.store,
        registry,
        images,
        runner,
        rollbacks,
        intents,
        logs,
        base.paths,
        lambda: None,
    )
    return AddonManager(
        registry,
        runner,
        installer,
        rollbacks,
        options,
        AddonBooter(registry, runner, base.resolution),
        ContainerWatchdog(base.bus, base.jobs, registry, runner, base.resolution),
        intents,
        services.store,
        services.security,
        base.resolution,
        base.bus,
        base.paths,
    )


def _surroundings(base: Base, services: Services) -> Surroundings:
    """Describe the machine for one start of an add-on."""
    in_container = base.settings.container_name is not None
    # From inside a container the host's own folders can't be seen; its operating system has them.
    missing = frozenset() if in_container else frozenset(path for path in OPTIONAL_HOST_PATHS if not path.exists())
    return Surroundings(
        base.paths,
        base.host.devices,
        base.address,
        services.configuration.timezone or base.host.facts.timezone or "UTC",
        docker_socket=Path(base.settings.docker_url.removeprefix("unix://")),
        propagation=takes_part_in_propagation(base.paths.root),
        missing=missing,
    )


def _build_server(
    base: Base, services: Services, addons: AddonManager, daemon: Daemon, state: StateKeeper, output: Logging
) -> ApiServer:
    views = AddonViews(addons, services.store, base.host)
    system = SystemRoutes(
        base.engine,
        base.host,
        services.configuration,
        services.updater,
        daemon,
        base.resolution,
        services.store,
        addons,
        base.jobs,
        services.logs,
        state,
        base.address,
        output.set_level,
    )
    routes = [
        *system.routes(),
        *AddonRoutes(addons, services.store, views, base.jobs, services.logs).routes(),
        *StoreRoutes(services.store, addons, views, base.jobs).routes(),
        *JobRoutes(base.jobs, base.resolution).routes(),
        *DockerRoutes(base.engine, services.docker).routes(),
        *ResolutionRoutes(base.resolution).routes(),
    ]
    return ApiServer(with_documentation(routes), Callers(addons, base.bus), state)


def _setup_steps(
    base: Base, services: Services, addons: AddonManager, server: ApiServer, output: Logging
) -> list[Step]:
    async def set_log_level() -> None:
        output.set_level(base.settings.log_level or services.configuration.logging)

    return [
        ("folders", partial(asyncio.to_thread, base.paths.create)),
        ("configuration", services.configuration.load),
        ("log level", set_log_level),
        ("jobs", base.jobs.load),
        ("HTTP client", base.http.start),
        ("API", partial(server.start, base.settings.socket, None)),
        ("journal gateway", services.gateway.start),
        ("journal", services.journal.start),
        ("host", base.host.load),
        ("Docker settings", services.docker.load),
        ("Docker engine", base.engine.start),
        ("security", services.security.load),
        ("updater", services.updater.load),
        ("store", services.store.load),
        ("add-ons", addons.load),
    ]


async def _engine_up(base: Base, services: Services, server: ApiServer) -> None:
    """Bring up the internal network and our address in it."""
    services.docker.evaluate()
    await base.engine.network.ensure(ipv6=services.docker.enable_ipv6, mtu=services.docker.mtu)
    own = base.settings.container_name
    if own is not None:
        await base.engine.network.attach(own, aliases=("supervisor", "hassio"), address=SUPERVISOR_ADDRESS)
    if server.tcp_address is None:
        await server.bind_tcp(str(base.address), base.settings.api_port)


def _begin_background(services: Services, jobs: JobManager, scheduler: Scheduler) -> None:
    scheduler.every(STORE_RELOAD_SECONDS, "store reload", services.store.reload)
    scheduler.every(UPDATER_RELOAD_SECONDS, "version file", services.updater.fetch)
    jobs.spawn(partial(services.connectivity.check, force=True))


def _closing_steps(
    base: Base, services: Services, addons: AddonManager, server: ApiServer, scheduler: Scheduler
) -> list[list[Step]]:
    return [
        [("API", server.stop), ("scheduler", scheduler.stop), ("add-ons", addons.stop)],
        [("jobs", base.jobs.stop), ("store", services.store.stop)],
        [
            ("Docker engine", base.engine.stop),
            ("HTTP client", base.http.stop),
            ("journal gateway", services.gateway.close),
        ],
    ]
