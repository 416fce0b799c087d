"""What works on this host, what is missing, and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import attrs

from .features import Features, HostFeature


class Condition(StrEnum):
    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@attrs.frozen
class Finding:
    """`text` says what is; `how` how to better it, empty where there is nothing to do."""

    name: str
    condition: Condition
    text: str
    how: str = ""


_TITLES: Final = {
    HostFeature.DISK: "Disks",
    HostFeature.HAOS: "Home Assistant Operating System",
    HostFeature.HOSTNAME: "Host name",
    HostFeature.JOURNAL: "Journal",
    HostFeature.MOUNT: "Network storage",
    HostFeature.NETWORK: "Network settings",
    HostFeature.OS_AGENT: "OS agent",
    HostFeature.REBOOT: "Reboot",
    HostFeature.RESOLVED: "Name resolution",
    HostFeature.SERVICES: "Services of the host",
    HostFeature.SHUTDOWN: "Shutdown",
    HostFeature.TIMEDATE: "Clock",
}


class Doctor:
    """Asks those who know; every answer comes from state, so an examination takes no time."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._checks: list[Callable[[], Finding | None]] = []

    def add(self, check: Callable[[], Finding | None]) -> None:
        """Have one more thing looked at; `check` answers at once, with None where it is no matter on this host."""
        self._checks.append(check)

    def examine(self) -> list[Finding]:
        """Return a finding for everything, the engine and its like first."""
        features = [
            Finding(_TITLES[feature], Condition.OK, f"{provider.title} is there")
            if provider.there()
            else Finding(_TITLES[feature], Condition.MISSING, f"{provider.title} is not there", provider.how)
            for feature, provider in self._features.providers.items()
        ]
        found = (check() for check in self._checks)
        return [*(finding for finding in found if finding is not None), *features]
