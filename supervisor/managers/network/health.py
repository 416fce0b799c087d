"""What of the host's network is not as it should be (host contract §4, §5)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar, Final

from supervisor.drivers.dns import RecordType, ask
from supervisor.errors import NotFound, SupervisorError
from supervisor.events import CoreState
from supervisor.managers.connectivity import Connectivity
from supervisor.managers.resolution import (
    Check,
    ContextType,
    Evaluation,
    Issue,
    IssueType,
    Resolution,
    UnsupportedReason,
)
from supervisor.model.network import IpAddress, IpMethod

from .manager import Network

_LOGGER = logging.getLogger(__name__)

# A name that is there to be asked for.
PROBE_NAME: Final = "_checkdns.home-assistant.io"
DNS_PERIOD_SECONDS: Final = 24 * 3600

Ask = Callable[[IpAddress, str, RecordType], Awaitable[None]]


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


class NameServerCheck(Check):
    """A name server that is to be asked does not answer. It is asked a real question, so at most once a day.

    `servers` are those that are asked at present.
    """

    slug = "dns_server"
    issue = IssueType.DNS_SERVER_FAILED
    context = ContextType.DNS_SERVER
    states = frozenset({CoreState.RUNNING})
    kind: ClassVar[RecordType] = "A"

    def __init__(
        self,
        servers: Callable[[], Iterable[IpAddress]],
        resolution: Resolution,
        connectivity: Connectivity,
        ask: Ask = ask,
    ) -> None:
        self._servers = servers
        self._resolution = resolution
        self._connectivity = connectivity
        self._ask = ask
        self._looked_at: float | None = None

    async def run(self) -> None:
        now = time.monotonic()
        if self._looked_at is not None and now - self._looked_at < DNS_PERIOD_SECONDS:
            return
        if not await self._connectivity.check():
            return
        self._looked_at = now
        servers = list(self._servers())
        answers = await asyncio.gather(*map(self._answers, servers))
        for server, is_well in zip(servers, answers, strict=True):
            if not is_well:
                self._resolution.raise_issue(self.issue, self.context, reference=_reference(server))

    async def approve(self, issue: Issue) -> bool | None:
        for server in self._servers():
            if _reference(server) == issue.reference:
                return not await self._answers(server) if await self._connectivity.check() else None
        return False

    async def _answers(self, server: IpAddress) -> bool:
        try:
            await self._ask(server, PROBE_NAME, self.kind)
        except NotFound:
            # It knows, and there is nothing: a network without IPv6 is none of its failures.
            return self.kind == "AAAA"
        except SupervisorError as err:
            _LOGGER.warning("%s", err)
            return False
        return True


class Ipv6NameServerCheck(NameServerCheck):
    """The same for IPv6 addresses, which some servers choke on."""

    slug = "dns_server_ipv6"
    issue = IssueType.DNS_SERVER_IPV6_ERROR
    kind = "AAAA"


def _reference(server: IpAddress) -> str:
    return f"dns://{server}"
