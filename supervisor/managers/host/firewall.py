"""Keeps other machines from what listens on the gateway of the internal network (host contract §40).

Whoever is in the same local network can send packets for that address to this machine, and the kernel would take them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from supervisor.drivers.dbus.systemd import JobResult, StartMode, Systemd
from supervisor.drivers.dbus.values import Variant
from supervisor.errors import SupervisorError
from supervisor.managers.resolution import Resolution, UnhealthyReason

_LOGGER = logging.getLogger(__name__)

FIREWALL_UNIT: Final = "supervisor-firewall-gateway.service"
SECONDS: Final = 30.0


class GatewayFirewall:
    """Has systemd set the rules of the host, for the daemon has no right to; setting them again changes nothing.

    `interface` is the bridge of the internal network. `spawn` is given the work to do when systemd, away at first, is
    there. `protected` is None while there is none to ask.
    """

    def __init__(
        self,
        systemd: Systemd,
        resolution: Resolution,
        interface: str,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], object],
    ) -> None:
        self._systemd = systemd
        self._resolution = resolution
        self._interface = interface
        self._spawn = spawn
        self._gateways: Sequence[IPv4Address | IPv6Address] = ()
        self._unsubscribe: Callable[[], None] | None = None
        self.protected: bool | None = None

    async def protect(self, gateways: Sequence[IPv4Address | IPv6Address]) -> None:
        """Set the rules for the network's own addresses, those that are missing.

        A host that does not take them is unhealthy; one without systemd can't be asked to.
        """
        self._gateways = gateways
        if not self._systemd.available:
            if self._unsubscribe is None:
                _LOGGER.warning("The gateway of the internal network stays open to other machines: there is no systemd")
                self._unsubscribe = self._systemd.subscribe(self._changed)
            return
        self._wait_no_longer()
        try:
            await self._set()
        except SupervisorError as err:
            self._failed(str(err))

    def _wait_no_longer(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _changed(self, _names: frozenset[str]) -> None:
        if self._systemd.available:
            self._wait_no_longer()
            self._spawn(lambda: self.protect(self._gateways))

    async def _set(self) -> None:
        result = await self._systemd.run_transient(FIREWALL_UNIT, StartMode.REPLACE, self._unit(), seconds=SECONDS)
        if result != JobResult.DONE:
            self._failed(f"see journalctl -u {FIREWALL_UNIT} ({result})")
            return
        self.protected = True
        _LOGGER.debug("The gateway of the internal network is closed to other machines")

    def _failed(self, reason: str) -> None:
        self.protected = False
        _LOGGER.error("The gateway of the internal network can't be closed to other machines: %s", reason)
        self._resolution.add_unhealthy(UnhealthyReason.DOCKER_GATEWAY_UNPROTECTED)

    def _unit(self) -> dict[str, Variant]:
        commands = [command for gateway in self._gateways for command in rules(gateway, self._interface)]
        start = [["/bin/sh", ["/bin/sh", "-c", command], False] for command in commands]
        return {
            "Description": Variant("s", "Supervisor: closes the gateway of the internal network to other machines"),
            "Type": Variant("s", "oneshot"),
            "TimeoutStartUSec": Variant("t", int(SECONDS * 1_000_000)),
            "ExecStart": Variant("a(sasb)", start),
        }


def rules(gateway: IPv4Address | IPv6Address, interface: str) -> list[str]:
    """Return the commands of a shell that set the rules for one address, each where it is missing.

    What comes from the machine itself is let through before the rest is dropped; so who sets the second rule anew
    takes the first one away, to put it in front again.
    """
    tables = f"{'iptables' if gateway.version == 4 else 'ip6tables'} --wait --table raw"
    drop = f"PREROUTING ! --in-interface {interface} --destination {gateway} --jump DROP"
    accept = f"PREROUTING --in-interface lo --destination {gateway} --jump ACCEPT"
    quiet = "2>/dev/null"
    take_away = f"{tables} --delete {accept} {quiet}"
    return [
        f"{tables} --check {drop} {quiet} || {{ {take_away}; {tables} --insert {drop}; }}",
        f"{tables} --check {accept} {quiet} || {tables} --insert {accept}",
    ]
