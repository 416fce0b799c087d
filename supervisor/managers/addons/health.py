"""Asks running add-ons whether they are well, and restarts those that don't answer (add-on contract §1.6, §3.8)."""

from __future__ import annotations

import asyncio
import logging

import voluptuous as vol

from supervisor.const import UNKNOWN_ADDRESS
from supervisor.drivers.http import HttpClient
from supervisor.drivers.probe import accepts_tcp
from supervisor.errors import Busy, SupervisorError
from supervisor.events import AddonState
from supervisor.jobs import JobManager
from supervisor.model.url_template import WatchdogTarget, WatchdogUrl

from .addon import Addon
from .options import AddonOptions
from .registry import AddonRegistry
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)

TCP_SECONDS = 0.5
HTTP_SECONDS = 10.0


class ApplicationWatchdog:
    """For add-ons whose manifest names an address to ask and whose user switched the watchdog on.

    One that misses two rounds in a row is restarted; what happens to one keeps no other from being asked.
    """

    def __init__(
        self,
        jobs: JobManager,
        registry: AddonRegistry,
        runner: AddonRunner,
        options: AddonOptions,
        http: HttpClient,
        *,
        http_seconds: float = HTTP_SECONDS,
    ) -> None:
        self._jobs = jobs
        self._registry = registry
        self._runner = runner
        self._options = options
        self._http = http
        self._http_seconds = http_seconds
        # slug -> the container that did not answer in the last round
        self._missed: dict[str, str | None] = {}

    async def check(self) -> None:
        """Ask every add-on once."""
        addons = [addon for addon in self._registry.installed.values() if self._watched(addon)]
        self._missed = {addon.slug: self._missed[addon.slug] for addon in addons if addon.slug in self._missed}
        await asyncio.gather(*(self._guarded(addon) for addon in addons))

    def _watched(self, addon: Addon) -> bool:
        return (
            addon.record.watchdog
            and addon.manifest.watchdog is not None
            and addon.state == AddonState.STARTED
            and not self._runner.busy(addon)
            # As after a crash, a version on probation is left, not brought back.
            and addon.slug not in self._registry.kept_images
            and self._registry.installed.get(addon.slug) is addon
        )

    async def _guarded(self, addon: Addon) -> None:
        try:
            await self._check(addon)
        except Busy:
            _LOGGER.debug("%s: somebody else is at it", addon.slug)
        except SupervisorError as err:
            _LOGGER.error("%s: restarting it failed: %s", addon.slug, err, extra={"ADDON": addon.slug})
        except Exception:
            _LOGGER.exception("%s: asking whether it is well failed", addon.slug, extra={"ADDON": addon.slug})

    async def _check(self, addon: Addon) -> None:
        container = addon.container_id
        if await self._well(addon):
            self._missed.pop(addon.slug, None)
            return
        # It may have been stopped, replaced or taken away while it was asked.
        if not self._watched(addon) or addon.container_id != container:
            self._missed.pop(addon.slug, None)
            return
        if addon.slug not in self._missed or self._missed[addon.slug] != container:
            self._missed[addon.slug] = container
            _LOGGER.warning("%s: does not answer; if that goes on, it is restarted", addon.slug)
            return
        del self._missed[addon.slug]
        _LOGGER.warning("%s: does not answer and is restarted", addon.slug, extra={"ADDON": addon.slug})
        async with self._jobs.run("app_restart_after_problem", reference=addon.slug, internal=True):
            await self._runner.restart(addon)

    async def _well(self, addon: Addon) -> bool:
        """Ask one; what can't be asked counts as well."""
        target = self._target(addon)
        if target is None:
            return True
        if target.scheme == "tcp":
            return await accepts_tcp(target.host, target.port, seconds=TCP_SECONDS)
        return await self._http.healthy(target.url, timeout=self._http_seconds)

    def _target(self, addon: Addon) -> WatchdogTarget | None:
        if addon.manifest.watchdog is None or addon.address == UNKNOWN_ADDRESS:
            return None
        try:
            template = WatchdogUrl.parse(addon.manifest.watchdog)
        except vol.Invalid:
            return None
        if template.rest and template.rest[0] not in "/?#":
            # Such a rest could turn the add-on's address into a login for another host.
            return None
        options = self._options.effective(addon)
        host_network = addon.manifest.host_network
        return template.render(str(addon.address), addon.ports, options, host_network=host_network)
