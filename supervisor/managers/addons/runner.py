"""Starts and stops the containers of add-ons (add-on contract §3.8)."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
from collections.abc import Awaitable, Callable

import attrs

from supervisor.const import APP_CONTAINER_PREFIX, START_WAIT_SECONDS, TOKEN_BYTES
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ContainerInfo, Stats
from supervisor.errors import (
    ADDON_NO_STDIN,
    ADDON_NOT_POSSIBLE_HERE,
    ADDON_NOT_RUNNING,
    ADDON_PORT_CONFLICT,
    ADDON_PORT_HELD,
    ADDON_UNKNOWN,
    DOCKER_PORT_CONFLICT,
    Busy,
    Internal,
    Invalid,
    NotFound,
    SupervisorError,
    Unavailable,
    Unsupported,
)
from supervisor.events import AddonTokenChanged, EventBus
from supervisor.jobs import Job, JobManager
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType
from supervisor.state import write_atomic

from .addon import Addon
from .audio import write_audio_files
from .limit_keeper import LimitKeeper
from .options import AddonOptions, option_devices
from .ports import first_conflict, published_ports
from .record import hash_token
from .registry import AddonRegistry
from .spec import AddonRun, Surroundings, container_spec

_LOGGER = logging.getLogger(__name__)


@attrs.frozen
class LogKeeper:
    """What happens to a container's log when the container goes: kept for the next reader, or forgotten."""

    keep: Callable[[str], Awaitable[None]]
    forget: Callable[[str], Awaitable[None]]


class AddonRunner:
    """One add-on changes at a time under its own lock; different add-ons run side by side.

    `surroundings` describes the machine at the moment of a start; it may block, so a thread calls it. `fetch_image`
    brings back an image that is gone at a start.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: JobManager,
        bus: EventBus,
        resolution: Resolution,
        options: AddonOptions,
        logs: LogKeeper,
        *,
        registry: AddonRegistry,
        limits: LimitKeeper,
        surroundings: Callable[[], Surroundings],
        fetch_image: Callable[[Addon, Job], Awaitable[None]] | None = None,
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._bus = bus
        self._resolution = resolution
        self._options = options
        self._logs = logs
        self._registry = registry
        self._limits = limits
        self._surroundings = surroundings
        self._fetch_image = fetch_image

    def busy(self, addon: Addon) -> bool:
        """Tell whether something is being done to the add-on now."""
        return self._jobs.busy(addon.lock)

    async def attach(self, addon: Addon) -> None:
        """Learn from the engine what there is of this add-on."""
        told = -1
        while told != addon.told:
            # News that came meanwhile may be newer than the answer, which would undo them for good.
            told = addon.told
            try:
                info: ContainerInfo | None = await self._engine.containers.inspect(addon.container_name)
            except NotFound:
                info = None
            present = info is not None or await self._engine.images.exists(addon.record.image_reference)
        addon.attach(info, image_present=present)
        if addon.running:
            await self._limits.apply(addon)

    async def apply_limits(self, addon: Addon) -> None:
        """Give the running add-on the limits that its user chose; those that need a restart wait for one."""
        try:
            async with self._jobs.run("app_limits", reference=addon.slug, lock=addon.lock, internal=True):
                await self._limits.apply(addon)
        except Busy:
            _LOGGER.debug("%s: is being changed; its limits follow with its next start", addon.slug)

    async def adopt_containers(self) -> None:
        """Give containers that another version of the daemon made the names that this one looks for."""
        names = {container.name for container in await self._engine.containers.list_managed()}
        for addon in list(self._registry.installed.values()):
            newer = f"{APP_CONTAINER_PREFIX}{addon.slug}"
            if newer in names and addon.container_name not in names:
                try:
                    await self._engine.containers.rename(newer, addon.container_name)
                except SupervisorError as err:
                    _LOGGER.error("%s: its container stays %s: %s", addon.slug, newer, err)
                else:
                    _LOGGER.warning("%s: its container %s is now %s", addon.slug, newer, addon.container_name)

    async def start(self, addon: Addon) -> None:
        """Start the add-on in a fresh container; one that runs already is left alone, unless it was asked to stop.

        Raises:
            Invalid: its options, a missing image or a taken port are in the way.
            Internal: the engine refused.
        """
        async with self._jobs.run("app_start", reference=addon.slug, lock=addon.lock):
            await self._start(addon)

    async def stop(self, addon: Addon) -> None:
        """Stop the add-on and remove its container; its log is kept.

        Raises:
            Internal: the engine refused.
        """
        async with self._jobs.run("app_stop", reference=addon.slug, lock=addon.lock):
            await self._stop(addon, intended=True)

    async def restart(self, addon: Addon) -> None:
        """Stop, whatever comes of it, and start."""
        async with self._jobs.run("app_restart", reference=addon.slug, lock=addon.lock):
            try:
                # Not `stop`: cut off here, the add-on should still run.
                await self.pause(addon)
            except Unavailable:
                # The start would fail, too, and take its token from a container that may still run.
                raise
            except SupervisorError as err:
                _LOGGER.warning("%s: stopping before the restart failed: %s", addon.slug, err)
            await self.start(addon)

    async def pause(self, addon: Addon) -> None:
        """Stop without forgetting that the add-on should run; for work that starts it again."""
        async with self._jobs.run("app_stop", reference=addon.slug, lock=addon.lock):
            await self._stop(addon, intended=False)

    async def settled(self, addon: Addon) -> None:
        """Wait until a start is decided, as answers to start requests do."""
        await addon.settle(START_WAIT_SECONDS)

    async def write_stdin(self, addon: Addon, data: bytes) -> None:
        """Hand `data` and a line end to the add-on's standard input.

        Raises:
            Invalid: it does not read standard input, or does not run.
        """
        if not addon.manifest.stdin:
            raise ADDON_NO_STDIN(app=addon.slug)
        async with self._jobs.run("app_write_stdin", reference=addon.slug, lock=addon.lock):
            if not addon.running:
                raise ADDON_NOT_RUNNING(app=addon.slug)
            await self._engine.containers.write_stdin(addon.container_name, data)

    async def stats(self, addon: Addon) -> Stats:
        """Return what the add-on uses of the machine.

        Raises:
            Invalid: it does not run.
        """
        if not addon.running:
            raise ADDON_NOT_RUNNING(app=addon.slug)
        try:
            return await self._engine.containers.stats(addon.container_name)
        except (NotFound, Invalid) as err:
            # It ended just now, and the engine's word of that is still on its way.
            raise ADDON_NOT_RUNNING(app=addon.slug) from err

    async def _start(self, addon: Addon) -> None:
        self._registry.check_installed(addon)
        job = self._jobs.current
        # Asked in any case: without an engine nothing may change, neither the token nor the wish to run.
        is_running = await self._is_running(addon)
        if addon.running and is_running:
            if not addon.stop_requested:
                _LOGGER.warning("%s: is running already", addon.slug)
                return
            # Whoever began to stop it was cut off; the engine goes on with that, so it is about to end.
            await self._stop(addon, intended=False)
        if job is not None:
            job.stage("token")
        token = secrets.token_hex(TOKEN_BYTES)
        await self._registry.change(addon, token_hash=hash_token(token), should_run=True)
        self._bus.publish(AddonTokenChanged(addon.slug))
        if job is not None:
            job.stage("options")
        around = await asyncio.to_thread(self._surroundings)
        run = await self._prepare(addon, token, around)
        self._check_ports(addon)
        if job is not None:
            job.stage("image")
            await self._fetch_missing(addon, job)
            job.stage("container")
        await self._run_container(addon, run, around)

    async def _is_running(self, addon: Addon) -> bool:
        try:
            return (await self._engine.containers.inspect(addon.container_name)).running
        except NotFound:
            return False

    async def _prepare(self, addon: Addon, token: str, around: Surroundings) -> AddonRun:
        """Write what the container will find and decide everything its description needs."""
        checked = await self._options.check_effective(addon)
        devices = option_devices(checked)
        addon.option_devices = tuple(device.path for device in devices)
        paths = around.paths
        content = checked.rendered

        def write() -> bool:
            folder = paths.addons_data / addon.slug
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / "options.json", content)
            if addon.manifest.public_config is not None:
                public = paths.addon_configs / addon.slug
                public.mkdir(parents=True, exist_ok=True)
                # Add-ons that see all of these folders could put a link to anywhere here; the engine would follow it.
                if public.is_symlink():
                    raise OSError(errno.ELOOP, f"{public.name} is a link")
            if addon.manifest.audio:
                record = addon.record
                write_audio_files(paths, addon.slug, record.audio_output, record.audio_input, server=around.sound)
            return (paths.apparmor / addon.slug).is_file()

        try:
            has_profile = await asyncio.to_thread(write)
        except OSError as err:
            self._resolution.judge_disk(err.errno)
            # The folder is the add-on's own: it may have put anything in the way.
            addon.fail(f"its files can't be written: {err.strerror or err}")
            _LOGGER.error("%s: its files can't be written: %s", addon.slug, err, extra={"ADDON": addon.slug})
            raise Internal(f"The files of add-on {addon.slug} can't be written: {err.strerror or err}") from err
        return AddonRun(
            addon.slug,
            addon.manifest,
            addon.record.image_reference,
            token,
            protected=addon.record.protected,
            ports=published_ports(addon.ports),
            options=checked.resolved,
            option_devices=devices,
            apparmor_profile=has_profile,
            limits=self._limits.possible(addon.record.limits),
        )

    async def _run_container(self, addon: Addon, run: AddonRun, around: Surroundings) -> None:
        try:
            addon.has_healthcheck = (await self._engine.images.inspect(run.image)).has_healthcheck
            await self._logs.keep(addon.container_name)
            addon.stop_requested = False
            info = await self._engine.containers.run(container_spec(run, around))
        except Unavailable as err:
            addon.fail(str(err))
            raise
        except SupervisorError as err:
            raise await self._start_failed(addon, err) from err
        addon.started(info)
        self._resolution.dismiss_issue_of(IssueType.MISSING_IMAGE, ContextType.ADDON, addon.slug)
        self._resolution.dismiss_issue_of(IssueType.APP_PORT_CONFLICT, ContextType.ADDON, addon.slug)
        # They may have been changed while the container was being made.
        await self._limits.apply(addon)

    async def _start_failed(self, addon: Addon, err: SupervisorError) -> SupervisorError:
        """Put the add-on in error and return what its caller is told."""
        # What is not there may also be the internal network, while an engine that came back is made ready.
        image_is_gone = isinstance(err, NotFound) and await self._image_is_gone(addon)
        addon.fail(str(err))
        if image_is_gone:
            self._raise_issue(IssueType.MISSING_IMAGE, addon, SuggestionType.EXECUTE_REPAIR)
            return ADDON_UNKNOWN(app=addon.slug)
        if err.key == DOCKER_PORT_CONFLICT.key:
            return self._port_conflict(addon, err)
        _LOGGER.error("%s: the engine refused to start it: %s", addon.slug, err, extra={"ADDON": addon.slug})
        if isinstance(err, Unsupported):
            reason = str(err).removeprefix(f"{addon.container_name} can't start: ")
            return ADDON_NOT_POSSIBLE_HERE(app=addon.slug, reason=reason)
        return ADDON_UNKNOWN(app=addon.slug)

    async def _image_is_gone(self, addon: Addon) -> bool:
        try:
            return not await self._engine.images.exists(addon.record.image_reference)
        except SupervisorError:
            return False

    def _check_ports(self, addon: Addon) -> None:
        """Name the add-on that has a port already; about the rest of the machine only the engine can tell."""
        held = {
            other.slug: published_ports(other.ports)
            for other in self._registry.installed.values()
            if other is not addon and other.running and not other.manifest.host_network
        }
        wanted = {} if addon.manifest.host_network else published_ports(addon.ports)
        conflict = first_conflict(wanted, held)
        if conflict is not None:
            port, holder = conflict
            error = ADDON_PORT_HELD(name=addon.slug, port=port, holder=holder)
            addon.fail(str(error))
            self._report_port(addon, port)
            raise error

    async def _fetch_missing(self, addon: Addon, job: Job) -> None:
        """Pull the image if it is gone; one that was built here is built by a repair, which may take its time."""
        images = self._engine.images
        if self._fetch_image is None or addon.manifest.needs_build or await images.exists(addon.record.image_reference):
            return
        _LOGGER.warning("%s: its image is missing and fetched anew", addon.slug, extra={"ADDON": addon.slug})
        try:
            await self._fetch_image(addon, job)
        except SupervisorError as err:
            addon.fail(str(err))
            self._raise_issue(IssueType.MISSING_IMAGE, addon, SuggestionType.EXECUTE_REPAIR)
            raise

    def _port_conflict(self, addon: Addon, err: SupervisorError) -> SupervisorError:
        port = (err.fields or {}).get("port")
        self._report_port(addon, port)
        return ADDON_PORT_CONFLICT(name=addon.slug, port=port)

    def _report_port(self, addon: Addon, port: int | None) -> None:
        suggestions = [SuggestionType.EXECUTE_START]
        if port in published_ports(addon.ports).values():
            suggestions.insert(0, SuggestionType.CLEAR_PORT_CONFIG)
        self._resolution.raise_issue(
            IssueType.APP_PORT_CONFLICT,
            ContextType.ADDON,
            reference=addon.slug,
            extra={"port": port},
            suggestions=suggestions,
        )

    async def _stop(self, addon: Addon, *, intended: bool) -> None:
        if intended and addon.record.should_run:
            await self._registry.change(addon, should_run=False)
        addon.stop_requested = True
        try:
            await self._engine.containers.stop(addon.container_name, grace=addon.manifest.timeout, remove=False)
            await self._logs.keep(addon.container_name)
            await self._engine.containers.remove(addon.container_name)
        except Unavailable as err:
            addon.fail(str(err))
            raise
        except SupervisorError as err:
            addon.fail(str(err))
            _LOGGER.error("%s: the engine refused to stop it: %s", addon.slug, err, extra={"ADDON": addon.slug})
            raise ADDON_UNKNOWN(app=addon.slug) from err
        addon.attach(None, image_present=await self._engine.images.exists(addon.record.image_reference))

    def _raise_issue(self, type_: IssueType, addon: Addon, *suggestions: SuggestionType) -> None:
        self._resolution.raise_issue(type_, ContextType.ADDON, reference=addon.slug, suggestions=suggestions)
