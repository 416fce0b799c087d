"""What the OS agent does for other rooms: profiles, devices of running containers (host contract §22)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs

from supervisor.drivers.dbus import Interface
from supervisor.drivers.dbus.os_agent import AppArmor, ControlGroups
from supervisor.errors import Failed
from supervisor.managers.follower import BeginTask, Follower

_LOGGER = logging.getLogger(__name__)

_SEE_JOURNAL = "the journal of the host tells why (journalctl -u haos-agent)"


@attrs.frozen
class AgentProfiles:
    """Loads AppArmor profiles into the kernel; paths are as the host sees them."""

    _agent: AppArmor

    @property
    def available(self) -> bool:
        return self._agent.available

    async def load_profile(self, profile: Path, cache: Path) -> None:
        """Load or replace one.

        Raises:
            Failed: the agent could not. Unavailable, Timeout: it is away, or does not answer.
        """
        if not await self._agent.load_profile(str(profile), str(cache)):
            raise Failed(f"The OS agent did not load the AppArmor profile {profile}; {_SEE_JOURNAL}")

    async def unload_profile(self, profile: Path, cache: Path) -> None:
        """Take one out of the kernel.

        Raises:
            Failed: the agent could not. Unavailable, Timeout: it is away, or does not answer.
        """
        if not await self._agent.unload_profile(str(profile), str(cache)):
            raise Failed(f"The OS agent did not unload the AppArmor profile {profile}; {_SEE_JOURNAL}")


@attrs.frozen
class AgentDevices:
    """Lets running containers use more devices.

    `is_able` judges the host: the agent writes rules into the first version of control groups, which every host can
    have, and into the second one only where it is that of the Home Assistant Operating System (add-on contract §4.4).
    """

    _agent: ControlGroups
    _is_able: Callable[[], bool]

    @property
    def available(self) -> bool:
        return self._agent.available and self._is_able()

    async def add_devices_allowed(self, container_id: str, rule: str) -> None:
        """Add a rule such as `c 188:0 rwm`.

        Raises:
            Failed: the agent could not. Unavailable, Timeout: it is away, or does not answer.
        """
        if not await self._agent.add_devices_allowed(container_id, rule):
            raise Failed(f"The OS agent did not allow {rule} to container {container_id[:12]}; {_SEE_JOURNAL}")


class AgentReturns:
    """Awaits `back` each time that an interface of the agent can be asked (again), after `begin`.

    With `at_once` that is also when it is there already. `purpose` is what happens then, for the log.
    """

    def __init__(
        self,
        agent: Interface,
        back: Callable[[], Awaitable[object]],
        begin_task: BeginTask,
        purpose: str,
        *,
        at_once: bool = False,
    ) -> None:
        self._agent = agent
        self._back = back
        self._purpose = purpose
        self._at_once = at_once
        self._was_there = False
        self._follower = Follower(
            lambda: agent.subscribe(self._changed), self._meet, begin_task, f"The OS agent failed ({purpose})"
        )

    async def begin(self) -> None:
        """Follow the agent from now on."""
        self._was_there = self._agent.available
        if self._was_there and self._at_once:
            self._follower.wake()
        await self._follower.begin()

    async def stop(self) -> None:
        await self._follower.stop()

    def _changed(self, _names: frozenset[str]) -> None:
        there = self._agent.available
        if there and not self._was_there:
            self._follower.wake()
        self._was_there = there

    async def _meet(self) -> None:
        _LOGGER.info("The OS agent is there: %s", self._purpose)
        await self._back()
