"""What this host can do: each feature is judged by whoever uses it (host contract §15)."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import attrs

from supervisor.errors import Unsupported


class HostFeature(StrEnum):
    DISK = "disk"
    HAOS = "haos"
    HOSTNAME = "hostname"
    JOURNAL = "journal"
    MOUNT = "mount"
    NETWORK = "network"
    OS_AGENT = "os_agent"
    REBOOT = "reboot"
    RESOLVED = "resolved"
    SERVICES = "services"
    SHUTDOWN = "shutdown"
    TIMEDATE = "timedate"


@attrs.frozen
class Provider:
    """Who makes a feature possible. `there` answers from what is known, at once; `how` tells how to get it."""

    there: Callable[[], bool]
    title: str
    how: str


class Features:
    """Answers from state: a feature goes with its service, and comes back with it."""

    def __init__(self) -> None:
        self._providers: dict[HostFeature, Provider] = {}
        self._ordered: tuple[tuple[HostFeature, Callable[[], bool]], ...] = ()

    def provide(self, feature: HostFeature, there: Callable[[], bool], *, title: str, how: str) -> None:
        self._providers[feature] = Provider(there, title, how)
        # In the order of their names, once for all: what is available is asked with every look at the daemon.
        self._ordered = tuple(
            (known, self._providers[known].there) for known in HostFeature if known in self._providers
        )

    @property
    def providers(self) -> dict[HostFeature, Provider]:
        return {feature: self._providers[feature] for feature, _ in self._ordered}

    def has(self, feature: HostFeature) -> bool:
        provider = self._providers.get(feature)
        return provider is not None and provider.there()

    @property
    def available(self) -> tuple[HostFeature, ...]:
        """In the order of their names."""
        return tuple([feature for feature, there in self._ordered if there()])

    def require(self, feature: HostFeature) -> None:
        """Go on only where the host can do it.

        Raises:
            Unsupported: it can't; the text tells what is missing, and how to get it.
        """
        if self.has(feature):
            return
        provider = self._providers.get(feature)
        if provider is None:
            raise Unsupported(f"This host has no support for {feature.value}")
        raise Unsupported(f"No {provider.title} D-Bus connection available. {provider.how}")
