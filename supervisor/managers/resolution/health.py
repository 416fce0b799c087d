"""The health check: look for problems, judge the system, repair what repairs itself (host contract §9)."""

from __future__ import annotations

from supervisor.events import CoreState, CoreStateChanged, EventBus, InternetChanged
from supervisor.jobs import JobManager

from .checks import Checks
from .evaluations import Evaluations
from .fixups import Fixups
from .manager import Resolution

HEALTH_CHECK_SECONDS = 3600
AUTO_REPAIR_SECONDS = 60


class HealthCheck:
    """Runs when the daemon is loaded, when it has come to run, then hourly, on demand and after each repair."""

    def __init__(
        self,
        resolution: Resolution,
        checks: Checks,
        evaluations: Evaluations,
        fixups: Fixups,
        jobs: JobManager,
        bus: EventBus,
    ) -> None:
        self._resolution = resolution
        self.checks = checks
        self.evaluations = evaluations
        self.fixups = fixups
        self._jobs = jobs
        self._bus = bus

    async def load(self) -> None:
        """Take the first look. Everything that is looked at is loaded before."""
        await self.checks.load()
        self._bus.subscribe(CoreStateChanged, self._state_changed)
        self._bus.subscribe(InternetChanged, self._internet_changed)
        await self.look()

    async def look(self) -> None:
        """Look for problems and judge the system."""
        await self.checks.run_all()
        await self.evaluations.run()

    async def run(self) -> None:
        """Look, judge, and carry out what may be by itself."""
        await self.look()
        await self.fixups.run_auto()

    async def apply(self, uuid: str) -> None:
        """Carry out a suggestion, then look again; repairs that follow from that go on in the background.

        Raises:
            NotFound: there is no such suggestion.
            SupervisorError: it did not help; suggestion and issue stay.
        """
        await self.fixups.apply(self._resolution.suggestion(uuid))
        await self.look()
        self._jobs.spawn(self.fixups.run_auto)

    def _state_changed(self, event: CoreStateChanged) -> None:
        if event.state is CoreState.RUNNING:
            self._jobs.spawn(self.run)

    def _internet_changed(self, event: InternetChanged) -> None:
        if event.online:
            self.fixups.internet_is_back()
            self._jobs.spawn(self.fixups.run_auto)
