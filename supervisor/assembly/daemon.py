"""Puts the house together, and runs it as a process."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from supervisor import __version__
from supervisor.drivers.logs_setup import Logging, configure_logging
from supervisor.drivers.systemd import Notifier
from supervisor.lifecycle import EXIT_CONFLICT, EXIT_RESTART, Lifecycle, StateKeeper, StopRequest
from supervisor.managers.conditions import Judges
from supervisor.managers.daemon import Daemon
from supervisor.managers.logs import SupervisorLog
from supervisor.managers.repair import SystemRepair
from supervisor.managers.scheduler import Scheduler
from supervisor.settings import Settings

from .addons import build_addons
from .api import build_server
from .backups import build_backups
from .base import Base
from .health import build_health
from .host import build_host
from .house import House
from .network import build_network
from .operating_system import build_operating_system
from .os_hardware import build_os_hardware
from .parts import Parts
from .repositories import build_repositories
from .schedules import build_schedules
from .steps import begin_background, closing_steps, engine_up, setup_steps, startup_steps

_LOGGER = logging.getLogger(__name__)

OPEN_FILES: Final = 65536


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
    _allow_files()
    own_log = SupervisorLog(settings.data / "logs" / "supervisor.log")
    output = configure_logging(settings.log_level or "info", settings.log_format, handlers=[own_log])
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(settings, own_log, output))
    finally:
        output.stop()


def _allow_files() -> None:
    """Have enough open files for many connections, where the machine allows that; a process begins with few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


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
    parts = Parts.of(base, own_log)
    state = StateKeeper(base.bus, settings.socket.parent / "state")
    end = StopRequest()
    daemon = Daemon(
        base.engine,
        parts.updater,
        container_name=settings.container_name,
        dev=settings.dev,
        restart=partial(end.ask, EXIT_RESTART),
    )
    judges = Judges(state, base.resolution, base.host, parts.connectivity, parts.updater, daemon)
    judges.provide(base.jobs)
    addons = build_addons(base, parts)
    repositories = build_repositories(base)
    backups = build_backups(base, parts, addons, repositories, state)
    schedules = build_schedules(base, parts, addons, backups, repositories, state)
    repair = SystemRepair(
        base.engine,
        base.jobs,
        parts.store,
        addons.manager.registry,
        addons.manager.repairs,
        addons.images,
        container_name=settings.container_name,
    )
    host = build_host(base, parts, addons, state)
    network = build_network(base, parts, host)
    os_parts = build_operating_system(base, parts, host)
    health = build_health(base, parts, addons, backups, daemon, host, network.network, os_parts.system, state)
    os_hardware = build_os_hardware(base, parts, host, health)
    house = House(
        base,
        parts,
        addons,
        repositories,
        host,
        network,
        os_parts,
        os_hardware,
        backups,
        schedules,
        daemon,
        health,
        repair,
        state,
        output,
    )
    server = build_server(house)
    scheduler = Scheduler(state)
    return Lifecycle(
        state,
        base.bus,
        base.engine,
        settings.docker_url,
        addons.manager,
        parts.configuration,
        base.host,
        base.resolution,
        addons.services.reset,
        Notifier(),
        end,
        setup_steps(house, server),
        startup_steps(house),
        partial(engine_up, house, server),
        partial(begin_background, house, scheduler),
        closing_steps(house, server, scheduler),
        host.control.is_going_down,
    )
