"""What the host lacks, which of its services have failed, and what helps (host contract §4-6)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from typing import ClassVar, Final

import attrs

from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.systemd import JobResult, StartMode, Systemd, Unit, UnitState, UnitStatus
from supervisor.errors import Failed, NotFound, Unsupported
from supervisor.events import CoreState
from supervisor.managers.resolution import (
    Check,
    ContextType,
    Evaluation,
    Fixup,
    Issue,
    IssueType,
    Resolution,
    Suggestion,
    SuggestionType,
    UnhealthyReason,
    UnsupportedReason,
)

from .clock import NTP_SERVICE
from .control import HostControl
from .features import Features, HostFeature
from .firewall import FIREWALL_UNIT

# Services come up late, go, and come back: what they make possible is judged anew each time.
ALWAYS: Final = frozenset({CoreState.SETUP, CoreState.RUNNING})

# Units whose failure is somebody else's to tell, or means nothing: that of waiting for what comes later anyway.
UNREMARKABLE_UNITS: Final = frozenset(
    {FIREWALL_UNIT, "NetworkManager-wait-online.service", "systemd-time-wait-sync.service"}
)
_FILE_SYSTEM_CHECK: Final = re.compile(r"systemd-fsck@dev-disk-by\\x2dlabel-hassos\\x2d(boot|overlay|data)\.service")
_FINE: Final = frozenset({JobResult.DONE, JobResult.SKIPPED})
# What has failed and is tried again, as by a timer, has not recovered yet.
_UNDECIDED: Final = (UnitState.ACTIVATING, UnitState.DEACTIVATING, UnitState.RELOADING)


class FeatureEvaluation(Evaluation):
    """The host lacks something that is needed to look after it."""

    states = ALWAYS
    needs: ClassVar[frozenset[HostFeature]]

    def __init__(self, features: Features) -> None:
        self._features = features

    async def unsupported(self) -> bool:
        return not all(map(self._features.has, self.needs))


class OsEvaluation(FeatureEvaluation):
    reason = UnsupportedReason.OS
    needs = frozenset({HostFeature.HAOS})


class OsAgentEvaluation(FeatureEvaluation):
    reason = UnsupportedReason.OS_AGENT
    needs = frozenset({HostFeature.OS_AGENT})


class SystemdEvaluation(FeatureEvaluation):
    reason = UnsupportedReason.SYSTEMD
    needs = frozenset(
        {
            HostFeature.HOSTNAME,
            HostFeature.SERVICES,
            HostFeature.SHUTDOWN,
            HostFeature.REBOOT,
            HostFeature.TIMEDATE,
        }
    )


class JournalEvaluation(FeatureEvaluation):
    reason = UnsupportedReason.SYSTEMD_JOURNAL
    needs = frozenset({HostFeature.JOURNAL})


class ResolvedEvaluation(FeatureEvaluation):
    reason = UnsupportedReason.SYSTEMD_RESOLVED
    needs = frozenset({HostFeature.RESOLVED})


class NetworkManagerEvaluation(FeatureEvaluation):
    reason = UnsupportedReason.NETWORK_MANAGER
    needs = frozenset({HostFeature.NETWORK})


class FailedUnitsCheck(Check):
    """Units of the host that have failed, while the daemon runs, too: they fail, and are mended, at any time.

    Each failure is told once: who dismisses it hears of that unit again when it has recovered and failed anew.
    `of_others` are the units whose failure is told elsewhere: those of network storage.
    """

    slug = "systemd_unit_failure"
    issue = IssueType.SYSTEMD_UNIT_FAILED
    context = ContextType.SYSTEM
    states = ALWAYS
    many_subjects = True

    def __init__(
        self, bus: SystemBus, systemd: Systemd, resolution: Resolution, of_others: Callable[[], Collection[str]]
    ) -> None:
        self._bus = bus
        self._systemd = systemd
        self._resolution = resolution
        self._of_others = of_others
        # When each unit that was told of had worked last.
        self._told: dict[str, int] = {}

    async def run(self) -> None:
        if not self._systemd.available:
            return
        ailing = await self._ailing()
        names = {unit.name for unit in ailing}
        self._told = {name: worked_at for name, worked_at in self._told.items() if name in names}
        for unit in ailing:
            if unit.active_state == UnitState.FAILED:
                await self._tell(unit)

    async def _tell(self, unit: UnitStatus) -> None:
        known = Unit(self._bus, unit.path)
        try:
            await known.refresh()
        except NotFound:
            return
        worked_at = known.worked_at or 0
        if self._told.get(unit.name) == worked_at:
            # The issue is there, or was dismissed.
            return
        self._told[unit.name] = worked_at
        checked = _FILE_SYSTEM_CHECK.fullmatch(unit.name)
        if checked is not None:
            self._resolution.add_unhealthy(_damage(checked[1]))
        # No restart mends a file system.
        helps = () if checked else (SuggestionType.EXECUTE_RESET, SuggestionType.EXECUTE_RESTART)
        self._resolution.raise_issue(self.issue, self.context, reference=unit.name, suggestions=helps)

    async def approve(self, issue: Issue) -> bool | None:
        if not self._systemd.available:
            return None
        return issue.reference in {unit.name for unit in await self._ailing()}

    async def _ailing(self) -> list[UnitStatus]:
        found = await self._systemd.list_units([UnitState.FAILED, *_UNDECIDED], [])
        return [unit for unit in found if unit.name not in UNREMARKABLE_UNITS and unit.name not in self._of_others()]


def _damage(label: str) -> UnhealthyReason:
    if label == "data":
        return UnhealthyReason.DATA_FILESYSTEM_CHECK_ERROR
    return UnhealthyReason.OS_FILESYSTEM_CHECK_ERROR


@attrs.frozen
class HostFixups:
    """What helps the host. A unit that is gone needs no help."""

    _systemd: Systemd
    _control: HostControl
    _features: Features

    def fixups(self) -> list[Fixup]:
        system = ContextType.SYSTEM
        return [
            Fixup(system, SuggestionType.ENABLE_NTP, self._keep_time),
            Fixup(system, SuggestionType.EXECUTE_REBOOT, self._reboot),
            Fixup(system, SuggestionType.EXECUTE_RESET, self._reset),
            Fixup(system, SuggestionType.EXECUTE_RESTART, self._restart),
        ]

    async def _keep_time(self, _suggestion: Suggestion) -> None:
        try:
            await self._finish(NTP_SERVICE, lambda: self._systemd.start_unit(NTP_SERVICE, StartMode.REPLACE))
        except NotFound:
            raise Unsupported("No time servers can be asked: install systemd-timesyncd") from None

    async def _reboot(self, _suggestion: Suggestion) -> None:
        await self._control.reboot()

    async def _reset(self, suggestion: Suggestion) -> None:
        """Have systemd forget the failure."""
        self._features.require(HostFeature.SERVICES)
        try:
            await self._systemd.reset_failed_unit(suggestion.reference or "")
        except NotFound:
            return

    async def _restart(self, suggestion: Suggestion) -> None:
        unit = suggestion.reference or ""
        try:
            await self._finish(unit, lambda: self._systemd.restart_unit(unit, StartMode.REPLACE))
        except NotFound:
            return

    async def _finish(self, unit: str, begin: Callable[[], Awaitable[str]]) -> None:
        self._features.require(HostFeature.SERVICES)
        result = await self._systemd.finish(begin)
        if result not in _FINE:
            raise Failed(f"{unit} did not start ({result}): see journalctl -u {unit}")
