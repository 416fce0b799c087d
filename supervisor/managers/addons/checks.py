"""Problems that installed add-ons may have (host contract §4)."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod

from supervisor.errors import SupervisorError
from supervisor.events import AddonState, CoreState
from supervisor.managers.connectivity import Connectivity
from supervisor.managers.resolution import Check, ContextType, Issue, IssueType, Resolution, SuggestionType
from supervisor.managers.security import Security
from supervisor.managers.store import StoreManager
from supervisor.model.machine import is_for_gone_machines
from supervisor.model.manifest import AddonStage

from .addon import Addon
from .options import AddonOptions
from .ports import published_ports
from .registry import AddonRegistry

_LOGGER = logging.getLogger(__name__)

PWNED_PERIOD_SECONDS = 24 * 3600.0


class _AddonCheck(Check):
    """Looks at each installed add-on; an issue about one that is gone does not stand."""

    context = ContextType.ADDON
    # Of the contract's, most look while the daemon loads only; that the rest of the time costs nothing and stays true.
    states = frozenset({CoreState.SETUP, CoreState.RUNNING})

    def __init__(self, registry: AddonRegistry, resolution: Resolution) -> None:
        self._registry = registry
        self._resolution = resolution

    @abstractmethod
    async def affected(self, addon: Addon) -> bool | None:
        """Tell whether the add-on has the problem; None when nobody can tell."""

    def suggestions(self, _addon: Addon) -> tuple[SuggestionType, ...]:
        return ()

    async def run(self) -> None:
        for addon in list(self._registry.installed.values()):
            if await self.affected(addon):
                self._resolution.raise_issue(
                    self.issue, self.context, reference=addon.slug, suggestions=self.suggestions(addon)
                )

    async def approve(self, issue: Issue) -> bool | None:
        addon = self._registry.installed.get(issue.reference or "")
        return False if addon is None else await self.affected(addon)


class PortConflictCheck(Check):
    """The issue is raised by the start that failed; here it goes when the port is no longer asked for."""

    slug = "app_port_conflict"
    issue = IssueType.APP_PORT_CONFLICT
    context = ContextType.ADDON
    states = frozenset({CoreState.RUNNING})

    def __init__(self, registry: AddonRegistry) -> None:
        self._registry = registry

    async def run(self) -> None:
        """Only a start can tell."""

    async def approve(self, issue: Issue) -> bool:
        addon = self._registry.installed.get(issue.reference or "")
        if addon is None or addon.running:
            return False
        port = (issue.reference_extra or {}).get("port")
        return addon.manifest.host_network or port in published_ports(addon.ports).values()


class DeprecatedCheck(_AddonCheck):
    slug = "deprecated_app"
    issue = IssueType.DEPRECATED_ADDON

    async def affected(self, addon: Addon) -> bool:
        return addon.manifest.stage == AddonStage.DEPRECATED

    def suggestions(self, _addon: Addon) -> tuple[SuggestionType, ...]:
        return (SuggestionType.EXECUTE_REMOVE,)


class DeprecatedArchCheck(_AddonCheck):
    """The add-on is made for kinds of machines only that this daemon no longer runs on."""

    slug = "deprecated_arch_app"
    issue = IssueType.DEPRECATED_ARCH_ADDON

    async def affected(self, addon: Addon) -> bool:
        return addon.manifest.stage != AddonStage.DEPRECATED and is_for_gone_machines(addon.manifest)

    def suggestions(self, _addon: Addon) -> tuple[SuggestionType, ...]:
        return (SuggestionType.EXECUTE_REMOVE,)


class _DetachedCheck(_AddonCheck):
    """No repository offers the add-on. `listed` is whether its repository is known for the problem to be this one."""

    listed: bool

    def __init__(self, registry: AddonRegistry, resolution: Resolution, store: StoreManager) -> None:
        super().__init__(registry, resolution)
        self._store = store

    async def affected(self, addon: Addon) -> bool | None:
        if addon.slug in self._store.addons:
            return False
        repository = self._store.repositories.get(addon.record.repository)
        if repository is None:
            return not self.listed
        if not self.listed:
            return False
        # One that is not cloned yet says nothing about what it offers.
        here = repository.local or await asyncio.to_thread((repository.folder / ".git").exists)
        return True if here else None


class DetachedMissingCheck(_DetachedCheck):
    slug = "detached_app_missing"
    issue = IssueType.DETACHED_ADDON_MISSING
    listed = False


class DetachedRemovedCheck(_DetachedCheck):
    slug = "detached_app_removed"
    issue = IssueType.DETACHED_ADDON_REMOVED
    listed = True

    def suggestions(self, _addon: Addon) -> tuple[SuggestionType, ...]:
        return (SuggestionType.EXECUTE_REMOVE,)


class PwnedCheck(_AddonCheck):
    """A password among the options is known to have leaked. Asks outside, so at most once a day."""

    slug = "app_pwned"
    issue = IssueType.PWNED
    states = frozenset({CoreState.RUNNING})

    def __init__(
        self,
        registry: AddonRegistry,
        resolution: Resolution,
        options: AddonOptions,
        security: Security,
        connectivity: Connectivity,
    ) -> None:
        super().__init__(registry, resolution)
        self._options = options
        self._security = security
        self._connectivity = connectivity
        self._looked_at: float | None = None

    async def run(self) -> None:
        now = time.monotonic()
        if self._looked_at is not None and now - self._looked_at < PWNED_PERIOD_SECONDS:
            return
        if self._security.pwned and await self._connectivity.check():
            self._looked_at = now
            await super().run()

    async def affected(self, addon: Addon) -> bool | None:
        if not self._security.pwned:
            return False
        try:
            checked = await self._options.check(addon, self._options.effective(addon))
        except SupervisorError as err:
            _LOGGER.debug("%s: its passwords can't be checked: %s", addon.slug, err)
            return None
        return await self._security.leaked(checked.password_hashes) if checked.password_hashes else False

    def suggestions(self, addon: Addon) -> tuple[SuggestionType, ...]:
        return (SuggestionType.EXECUTE_STOP,) if addon.state == AddonState.STARTED else ()
