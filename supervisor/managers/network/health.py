"""What of the host's network is not as it should be (host contract §4, §5)."""

from __future__ import annotations

from supervisor.events import CoreState
from supervisor.managers.resolution import (
    Check,
    ContextType,
    Evaluation,
    Issue,
    IssueType,
    Resolution,
    UnsupportedReason,
)
from supervisor.model.network import IpMethod

from .manager import Network


class ConnectivityCheckEvaluation(Evaluation):
    """Somebody told NetworkManager not to look whether there is internet."""

    reason = UnsupportedReason.CONNECTIVITY_CHECK
    states = frozenset({CoreState.RUNNING})

    def __init__(self, network: Network) -> None:
        self._network = network

    async def unsupported(self) -> bool:
        return self._network.available and self._network.service.check_enabled is False


class Ipv4Check(Check):
    """An interface that is in use has no working IPv4, though its settings want it."""

    slug = "network_interface_ipv4"
    issue = IssueType.IPV4_CONNECTION_PROBLEM
    context = ContextType.SYSTEM
    states = frozenset({CoreState.RUNNING, CoreState.STARTUP})
    many_subjects = True

    def __init__(self, network: Network, resolution: Resolution) -> None:
        self._network = network
        self._resolution = resolution

    async def run(self) -> None:
        for name in self._without_ipv4():
            self._resolution.raise_issue(self.issue, self.context, reference=name)

    async def approve(self, issue: Issue) -> bool | None:
        if not self._network.available:
            return None
        return issue.reference in self._without_ipv4()

    def _without_ipv4(self) -> list[str]:
        return [
            card.name
            for card in self._network.cards
            if card.active is not None
            and card.interface.ipv4.method is not IpMethod.DISABLED
            and not (card.interface.connected and card.interface.ipv4.ready)
        ]
