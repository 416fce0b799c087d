"""Who judges which condition of a job (API contract §8.2, texts of host contract §14)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from supervisor.const import GIB, MIN_FREE_BYTES
from supervisor.events import CoreState
from supervisor.jobs import JobCondition, JobManager
from supervisor.managers.connectivity import Connectivity
from supervisor.managers.daemon import Daemon
from supervisor.managers.host import Host
from supervisor.managers.resolution import ContextType, IssueType, Resolution, UnsupportedReason
from supervisor.managers.updater import Updater

Check = Callable[[], Awaitable[str | None]]


@attrs.frozen
class Judges:
    """Answers for each condition why it does not hold, None when it does."""

    _state: Callable[[], CoreState]
    _resolution: Resolution
    _host: Host
    _connectivity: Connectivity
    _updater: Updater
    _daemon: Daemon

    def provide(self, jobs: JobManager) -> None:
        """Make every condition that this daemon can judge known to the jobs.

        What needs a service of the host is judged absent, until who speaks to that service judges in our place. The
        host's own opinion about the internet is unknown, which counts as good.
        """
        supported = (
            (JobCondition.OS_SUPPORTED, UnsupportedReason.OS_VERSION, "unsupported OS version"),
            (
                JobCondition.HOME_ASSISTANT_CORE_SUPPORTED,
                UnsupportedReason.HOME_ASSISTANT_CORE_VERSION,
                "unsupported Home Assistant Core version",
            ),
            (
                JobCondition.ARCHITECTURE_SUPPORTED,
                UnsupportedReason.SYSTEM_ARCHITECTURE,
                "unsupported system architecture",
            ),
        )
        for condition, reason, text in supported:
            jobs.provide(condition, self._unless(reason, text))
        absent = (
            (JobCondition.HAOS, "no Home Assistant OS available"),
            (JobCondition.OS_AGENT, "no Home Assistant OS-Agent available"),
            (JobCondition.HOST_NETWORK, "host Network Manager not available"),
            (JobCondition.MOUNT_AVAILABLE, "mounting not supported on system"),
        )
        for condition, text in absent:
            jobs.provide(condition, _always(text))
        jobs.provide(JobCondition.INTERNET_HOST, _always(None))
        jobs.provide(JobCondition.PLUGINS_UPDATED, _always(None))
        jobs.provide(JobCondition.HEALTHY, self._healthy)
        jobs.provide(JobCondition.RUNNING, self._in_state(CoreState.RUNNING))
        jobs.provide(JobCondition.FROZEN, self._in_state(CoreState.FREEZE))
        jobs.provide(JobCondition.FREE_SPACE, self._free_space)
        jobs.provide(JobCondition.INTERNET_SYSTEM, self._internet)
        jobs.provide(JobCondition.AUTO_UPDATE, self._auto_update)
        jobs.provide(JobCondition.SUPERVISOR_UPDATED, self._updated)

    async def _healthy(self) -> str | None:
        if self._resolution.healthy:
            return None
        return f"system is not healthy - {', '.join(reason.value for reason in self._resolution.unhealthy)}"

    async def _free_space(self) -> str | None:
        free = await self._host.free_bytes()
        if free >= MIN_FREE_BYTES:
            self._resolution.dismiss_issue_of(IssueType.FREE_SPACE, ContextType.SYSTEM)
            return None
        self._resolution.raise_issue(IssueType.FREE_SPACE, ContextType.SYSTEM)
        # The contract has it so to the letter, and it counts units of 1024 all the same.
        return f"not enough free space ({free / GIB:.1f}GB) left on the device"

    async def _internet(self) -> str | None:
        return None if await self._connectivity.check() else "no supervisor internet connection"

    async def _auto_update(self) -> str | None:
        return None if self._updater.auto_update else "supervisor auto updates disabled"

    async def _updated(self) -> str | None:
        return "supervisor needs to be updated first" if self._daemon.update_available else None

    def _in_state(self, wanted: CoreState) -> Check:
        word = "frozen" if wanted is CoreState.FREEZE else wanted.value

        async def check() -> str | None:
            state = self._state()
            return None if state is wanted else f"system is not {word} - {state.value}"

        return check

    def _unless(self, reason: UnsupportedReason, text: str) -> Check:
        async def check() -> str | None:
            return text if reason in self._resolution.unsupported else None

        return check


def _always(text: str | None) -> Check:
    async def check() -> str | None:
        return text

    return check
