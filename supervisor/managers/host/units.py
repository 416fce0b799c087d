"""The host's services: listed, started, stopped, those that an administrator allows (host contract §36)."""

from __future__ import annotations

import asyncio
import fnmatch
import re
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.systemd import JobResult, StartMode, Systemd, Unit, UnitState
from supervisor.errors import Failed, Forbidden, Invalid, NotFound
from supervisor.state import StateFile

from .features import Features, HostFeature

_NAME: Final = re.compile(r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.service")
_MAX_NAME: Final = 255
_SEE_RULES: Final = "supervisor host services rules"

# What carries the daemon, and what would take the machine from under it. Patterns of the shell's kind.
REFUSED: Final = (
    "supervisor*",
    "hassio-*",
    "hassos-*",
    "haos-*",
    "docker*",
    "containerd*",
    "snap.docker.*",
    "dbus*",
    "NetworkManager*",
    "networking",
    "ifup@*",
    "wpa_supplicant*",
    "iwd",
    "connman*",
    "dhcpcd*",
    # Their end empties the rules that Docker has made for its networks.
    "firewalld",
    "ip6tables*",
    "iptables*",
    "netfilter-persistent",
    "nftables",
    "ufw",
    "systemd-*",
    "init*",
    "user@*",
    "user-runtime-dir@*",
    "polkit",
    "debug-shell",
    "emergency",
    "rescue",
    "kexec*",
    "reboot*",
    "poweroff*",
    "halt*",
)


def _pattern(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9:_.\\@*?-]{1,255}", value):
        raise vol.Invalid("expected the name of a service, in which * stands for anything")
    return value.removesuffix(".service")


PATTERNS: Final = vol.All([_pattern], vol.Length(max=500))
SERVICES_SCHEMA = vol.Schema(
    {
        vol.Optional("allowed", default=lambda: ["*"]): PATTERNS,
        vol.Optional("refused", default=lambda: list(REFUSED)): PATTERNS,
    }
)


class UnitAction(StrEnum):
    START = "start"
    STOP = "stop"
    RELOAD = "reload"
    RESTART = "restart"


@attrs.frozen
class ServiceLine:
    name: str
    description: str
    state: str


class HostServices:
    """Which services may be started and stopped is decided by two lists of patterns that an administrator may change.

    A service may be touched when one of its names fits a pattern of `allowed` and none of its names one of `refused`.
    """

    def __init__(self, state: StateFile, bus: SystemBus, systemd: Systemd, features: Features) -> None:
        self._state = state
        self._bus = bus
        self._systemd = systemd
        self._features = features
        self._rules: dict[str, Any] = SERVICES_SCHEMA({})
        self._own: str | None = None

    async def load(self) -> None:
        self._rules = await self._state.load()
        self._own = await asyncio.to_thread(own_service)

    @property
    def allowed(self) -> list[str]:
        return list(self._rules["allowed"])

    @property
    def refused(self) -> list[str]:
        return list(self._rules["refused"])

    async def set_rules(self, *, allowed: Sequence[str] | None = None, refused: Sequence[str] | None = None) -> None:
        """Replace one list of patterns, or both."""
        rules = dict(self._rules)
        if allowed is not None:
            rules["allowed"] = list(allowed)
        if refused is not None:
            rules["refused"] = list(refused)
        await self._state.save(rules)
        self._rules = rules

    async def services(self) -> list[ServiceLine]:
        """List the services that are loaded, by name.

        Raises:
            Unsupported: there is no systemd. Unavailable, Timeout: it does not answer.
        """
        self._features.require(HostFeature.SERVICES)
        units = await self._systemd.list_units([], ["*.service"])
        loaded = (unit for unit in units if unit.load_state == "loaded")
        return sorted((ServiceLine(unit.name, unit.description, unit.active_state) for unit in loaded), key=_by_name)

    async def act(self, action: UnitAction, service: str) -> None:
        """Do something with a service and wait until it is done.

        Raises:
            Invalid: that is no name of a service. NotFound: there is no such service. Forbidden: it is not allowed.
            Failed: it failed, and the journal knows why. Unsupported, Unavailable, Timeout: systemd is not there.
        """
        name = unit_name(service)
        self._features.require(HostFeature.SERVICES)
        unit = await self._unit(name)
        if unit.load_state == "not-found":
            raise NotFound(f"Unit {name!r} not found")
        # An alias must not open what its own name keeps shut.
        self._check({name, *(unit.names or ()), *((unit.id,) if unit.id else ())})
        await self._check_others(action, name, unit)
        result = await self._systemd.finish(lambda: self._begin(action)(name, StartMode.REPLACE))
        if result not in {JobResult.DONE, JobResult.SKIPPED}:
            raise Failed(f"{action.value.capitalize()} of {name} ended as {result}: see journalctl -u {name}")

    def _begin(self, action: UnitAction) -> Callable[[str, str], Awaitable[str]]:
        match action:
            case UnitAction.START:
                return self._systemd.start_unit
            case UnitAction.STOP:
                return self._systemd.stop_unit
            case UnitAction.RELOAD:
                return self._systemd.reload_or_restart_unit
            case UnitAction.RESTART:
                return self._systemd.restart_unit

    async def _unit(self, name: str) -> Unit:
        unit = Unit(self._bus, await self._systemd.load_unit(name))
        await unit.refresh()
        return unit

    async def _check_others(self, action: UnitAction, name: str, unit: Unit) -> None:
        """See that no service that may not be touched ends by what is done to another one."""
        ending = list(unit.conflicts or ()) if action is not UnitAction.STOP else []
        if action is not UnitAction.START:
            ending += unit.dependents
        seen = {name}
        while ending:
            other = ending.pop()
            if other in seen:
                continue
            seen.add(other)
            found = await self._unit(other)
            if found.active_state in (UnitState.INACTIVE, UnitState.FAILED):
                continue
            why = self._refusal(other.removesuffix(".service")) if other.endswith(".service") else None
            if why is not None:
                raise Forbidden(f"To {action} {name} ends {other}: {why}")
            ending += found.dependents

    def _refusal(self, name: str) -> str | None:
        """Tell why nobody may touch a service, None when nothing forbids it."""
        if f"{name}.service" == self._own:
            return f"{name} is the service of this daemon: use supervisor restart, or systemctl"
        for pattern in self._rules["refused"]:
            if fnmatch.fnmatchcase(name, pattern):
                why = f"{pattern!r} is on the list of the refused ({_SEE_RULES})"
                return f"The service {name} may not be touched: {why}"
        return None

    def _check(self, names: set[str]) -> None:
        plain = {name.removesuffix(".service") for name in names}
        for name in sorted(plain):
            why = self._refusal(name)
            if why is not None:
                raise Forbidden(why)
        if not any(fnmatch.fnmatchcase(name, pattern) for name in plain for pattern in self._rules["allowed"]):
            raise Forbidden(f"The service {min(plain)} is not on the list of allowed services ({_SEE_RULES})")


def unit_name(service: str) -> str:
    """Return the full name of a service.

    Raises:
        Invalid: no service can have this name.
    """
    name = service if service.endswith(".service") else f"{service}.service"
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise Invalid(f"{service[:100]!r} is not the name of a service")
    return name


def own_service(groups: Path = Path("/proc/self/cgroup")) -> str | None:
    """Return the systemd service that this process belongs to."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        last = line.rpartition("/")[2]
        if last.endswith(".service"):
            return last
    return None


def _by_name(line: ServiceLine) -> str:
    return line.name
