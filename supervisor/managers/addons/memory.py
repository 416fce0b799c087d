"""Says by name that an add-on was killed for lack of memory. Ours, beyond the contract."""

from __future__ import annotations

from supervisor.events import AddonRemoved, AddonState, AddonStateChanged, ContainerOutOfMemory, EventBus
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType

from .addon import Addon
from .registry import AddonRegistry


class MemoryReports:
    """The issue stays until somebody dismisses it, the limits are changed, or the add-on is removed.

    A start does not end it: the add-on will most likely need as much again.
    """

    def __init__(self, bus: EventBus, registry: AddonRegistry, resolution: Resolution) -> None:
        self._registry = registry
        self._resolution = resolution
        self._unsubscribe = [
            bus.subscribe(ContainerOutOfMemory, self._starved),
            bus.subscribe(AddonStateChanged, self._changed),
            bus.subscribe(AddonRemoved, lambda event: self.dismiss(event.slug)),
        ]

    def stop(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    def dismiss(self, slug: str) -> None:
        """Drop the issue; none is fine."""
        self._resolution.dismiss_issue_of(IssueType.ADDON_OUT_OF_MEMORY, ContextType.ADDON, slug)

    def _starved(self, event: ContainerOutOfMemory) -> None:
        addon = self._registry.by_container(event.name)
        if addon is not None and addon.container_id == event.container_id:
            addon.starved()
            self._report(addon)

    def _changed(self, event: AddonStateChanged) -> None:
        """Report what happened while nobody listened to the engine."""
        addon = self._registry.installed.get(event.slug)
        if event.state == AddonState.ERROR and addon is not None and addon.out_of_memory:
            self._report(addon)

    def _report(self, addon: Addon) -> None:
        self._resolution.raise_issue(
            IssueType.ADDON_OUT_OF_MEMORY,
            ContextType.ADDON,
            reference=addon.slug,
            extra={"limit": addon.resources.memory or None},
            suggestions=(SuggestionType.EXECUTE_RESTART,),
        )
