"""The add-ons of this machine: the room's public face."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import attrs

from supervisor.errors import ADDON_BOOT_PINNED, SupervisorError
from supervisor.events import (
    AddonRemoved,
    AddonState,
    AddonStateChanged,
    AddonTokenChanged,
    ContainerStateChanged,
    EventBus,
)
from supervisor.jobs import JobManager
from supervisor.managers.apparmor import AppArmor
from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.managers.security import Security
from supervisor.managers.store import StoreManager
from supervisor.model.machine import is_for_gone_machines
from supervisor.model.manifest import AddonBoot, AddonStartup

from .addon import Addon
from .boot import AddonBooter
from .hotplug import DeviceHotplug
from .installer import AddonInstaller
from .intents import Intents
from .limit_keeper import LimitKeeper
from .memory import MemoryReports
from .options import AddonOptions
from .ports import known_choices
from .registry import AddonRegistry
from .repair import AddonRepairs
from .rollback import Rollbacks
from .runner import AddonRunner
from .watchdog import ContainerWatchdog

_LOGGER = logging.getLogger(__name__)


@attrs.frozen
class OptionsVerdict:
    """What a check of options found; `pwned` is None when nobody could tell."""

    valid: bool
    message: str
    pwned: bool | None


@attrs.define(eq=False)
class AddonManager:
    """Looks after the installed add-ons; the parts that do the work are public."""

    registry: AddonRegistry
    runner: AddonRunner
    installer: AddonInstaller
    rollbacks: Rollbacks
    repairs: AddonRepairs
    options: AddonOptions
    booter: AddonBooter
    watchdog: ContainerWatchdog
    limits: LimitKeeper
    _memory: MemoryReports
    _intents: Intents
    _store: StoreManager
    _security: Security
    _resolution: Resolution
    _jobs: JobManager
    _bus: EventBus
    apparmor: AppArmor
    _hotplug: DeviceHotplug

    async def load(self) -> None:
        """Read what is installed, and learn from the engine what runs, if it can be asked."""
        await self.registry.load()
        await self._intents.load()
        await self.rollbacks.load()
        await self.apparmor.load()
        self._bus.subscribe(ContainerStateChanged, self._container_changed)
        self._bus.subscribe(AddonStateChanged, self._addon_changed)
        self._bus.subscribe(AddonRemoved, self._addon_removed)
        await self.attach_all()
        for addon in self.registry.installed.values():
            self._bus.publish(AddonTokenChanged(addon.slug))
            with suppress(SupervisorError):
                checked = await self.options.check(addon, self.options.effective(addon))
                addon.option_devices = tuple(device.path for device in checked.devices)

    async def stop(self) -> None:
        """Stop looking after the add-ons; their containers go on."""
        await self.watchdog.stop()
        await self.rollbacks.stop()
        self._memory.stop()
        await self._hotplug.stop()

    def get(self, slug: str) -> Addon:
        """Return an installed add-on.

        Raises:
            Invalid: the store knows it, but it is not installed.
            NotFound: nobody knows it.
        """
        return self.registry.get(slug)

    def update_available(self, addon: Addon) -> bool:
        """Tell whether the store has another version; a lower one counts too (add-on contract §2.6)."""
        store = self._store.addons.get(addon.slug)
        return store is not None and store.manifest.version != addon.record.version

    async def set_options(self, addon: Addon, changes: dict[str, Any]) -> None:
        """Store what a user chose; nothing is stored when any part of it is wrong.

        `changes` holds any of options, boot, network, auto_update, watchdog, ingress_panel, audio_input, audio_output,
        limits; None for options or network goes back to the manifest's, None for limits to none. Limits that can be
        changed in a running container are changed at once.

        Raises:
            Invalid: the options or limits don't fit, or the boot mode is pinned.
        """
        values = dict(changes)
        if "boot" in values and addon.manifest.boot_pinned and values["boot"] != addon.boot:
            raise ADDON_BOOT_PINNED(app=addon.slug, boot_config=addon.manifest.boot.value)
        if "options" in values:
            submitted = values["options"]
            values["options"] = {} if submitted is None else (await self.options.check(addon, submitted)).stored
        if values.get("network") is not None:
            values["network"] = known_choices(addon.manifest.ports, values["network"])
        if addon.manifest.startup == AddonStartup.ONCE:
            values.pop("watchdog", None)
        if "limits" in values:
            values["limits"] = self.limits.changed(addon, values["limits"])
        await self.registry.change(addon, **values)
        if addon.boot == AddonBoot.MANUAL:
            self._resolution.dismiss_issue_of(IssueType.BOOT_FAIL, ContextType.ADDON, addon.slug)
        if "limits" in values:
            self._memory.dismiss(addon.slug)
            await self.runner.apply_limits(addon)

    async def judge_options(self, addon: Addon, submitted: object) -> OptionsVerdict:
        """Check options without storing them; None checks what is in effect. Invalid options are no error here."""
        candidate = self.options.effective(addon) if submitted is None else submitted
        try:
            checked = await self.options.check(addon, candidate)
        except SupervisorError as err:
            message = str((err.fields or {}).get("validation_error", err))
            return OptionsVerdict(valid=False, message=message, pwned=False)
        pwned: bool | None = False
        if self._security.pwned:
            pwned = await self._security.leaked(checked.password_hashes)
        if self._security.force and pwned is not False:
            message = "A password of the options has leaked or could not be checked"
            return OptionsVerdict(valid=False, message=message, pwned=pwned)
        return OptionsVerdict(valid=True, message="", pwned=pwned)

    async def engine_reached(self) -> None:
        """Mend what a crash cut off, learn what runs, begin to fetch missing images.

        Needs the engine and its internal network.
        """
        await self.runner.adopt_containers()
        await self.installer.mend()
        await self.attach_all()
        for addon in list(self.registry.installed.values()):
            if addon.running and addon.slug in self.registry.adopted:
                await self.registry.change(addon, should_run=True)
            if addon.state == AddonState.UNKNOWN and not is_for_gone_machines(addon.manifest):
                self._image_missing(addon)
        self.registry.adopted.clear()

    async def attach_all(self) -> None:
        """Learn from the engine what there is of each add-on."""
        for addon in list(self.registry.installed.values()):
            try:
                await self.runner.attach(addon)
            except SupervisorError as err:
                _LOGGER.error("%s: the engine can't tell about it: %s", addon.slug, err)

    def _image_missing(self, addon: Addon) -> None:
        """Pull the image while the machine goes on booting; building takes longer, so that waits until it is up."""
        if addon.manifest.needs_build:
            self.repairs.report(addon)
        else:
            self.booter.await_image(addon)
            self._jobs.spawn(lambda: self._fetch_image(addon))

    async def _fetch_image(self, addon: Addon) -> None:
        present = False
        try:
            await self.repairs.repair(addon)
            present = True
        except SupervisorError as err:
            _LOGGER.error("%s: its image can't be fetched: %s", addon.slug, err, extra={"ADDON": addon.slug})
            self.repairs.report(addon)
        finally:
            await self.booter.catch_up(addon, image_present=present)

    def _container_changed(self, event: ContainerStateChanged) -> None:
        addon = self.registry.by_container(event.name)
        if addon is not None:
            addon.follow(event)

    def _addon_changed(self, event: AddonStateChanged) -> None:
        if event.state == AddonState.STARTED:
            self._resolution.dismiss_issue_of(IssueType.BOOT_FAIL, ContextType.ADDON, event.slug)
            self._resolution.dismiss_issue_of(IssueType.APP_PORT_CONFLICT, ContextType.ADDON, event.slug)
        elif event.state == AddonState.STOPPED:
            self._resolution.dismiss_issue_of(IssueType.DEVICE_ACCESS_MISSING, ContextType.ADDON, event.slug)

    def _addon_removed(self, event: AddonRemoved) -> None:
        self._resolution.forget(ContextType.ADDON, event.slug)
