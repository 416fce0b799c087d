"""One installed add-on: what is remembered of it and what state it is in."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from ipaddress import IPv4Address

import attrs

from supervisor.const import GATEWAY_ADDRESS, UNKNOWN_ADDRESS
from supervisor.drivers.docker.model import ContainerInfo, Resources
from supervisor.events import AddonState, AddonStateChanged, ContainerState, ContainerStateChanged, EventBus
from supervisor.model.amounts import size_text
from supervisor.model.manifest import AddonBoot, Manifest

from .ports import Ports, effective_ports
from .record import AddonRecord
from .spec import container_name, hostname_of

_LOGGER = logging.getLogger(__name__)

# The exit code of a program that was killed.
KILLED = 137
# An end so soon after a process was killed for lack of memory comes from that.
STARVED_SECONDS = 10.0
# The engine's news of a start may come that long after its answer that the container has ended already.
LATE_SECONDS = 10.0
_LIVELY = (ContainerState.RUNNING, ContainerState.HEALTHY)


@attrs.define(eq=False)
class Addon:
    """`record` is what lasts; the rest is the present, driven by what the engine reports (add-on contract §3.7).

    `stop_requested` is set from a requested stop until the next start, so that the end of the container is no error.
    `seen_running` tells whether it ran under this daemon: how containers of an earlier run of the machine ended is no
    news. `option_devices` are the devices that the options of the last start gave it; `resources` is what its container
    may take now. `last_error` says why it is in error, or why part of it was ended; none while all is well.
    `crash_loop` is set while the watchdog brings it back again and again, or has given it up. `told` counts the news of
    its containers: what the engine answers to a question from before the last of them may be older than they are.
    """

    record: AddonRecord
    _bus: EventBus
    state: AddonState = AddonState.UNKNOWN
    ip_address: IPv4Address = UNKNOWN_ADDRESS
    container_id: str | None = None
    _gone_id: str | None = None
    has_healthcheck: bool = False
    unhealthy: bool = False
    stop_requested: bool = False
    seen_running: bool = False
    last_exit_code: int | None = None
    ingress_port: int | None = None
    option_devices: tuple[str, ...] = ()
    resources: Resources = attrs.field(factory=Resources)
    last_error: str | None = None
    crash_loop: bool = False
    told: int = 0
    # When the present container ended, in the engine's time, and until when older news of it may still come.
    _over: tuple[float, float] | None = None
    # When a process of the container was killed for lack of memory, by the clock of the loop.
    _starved: float | None = None
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def slug(self) -> str:
        return self.record.slug

    @property
    def manifest(self) -> Manifest:
        return self.record.manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def container_name(self) -> str:
        return container_name(self.slug)

    @property
    def hostname(self) -> str:
        return hostname_of(self.slug)

    @property
    def lock(self) -> str:
        """Name of the lock under which everything that changes this add-on runs."""
        return f"app_{self.slug}"

    @property
    def running(self) -> bool:
        return self.state in (AddonState.STARTUP, AddonState.STARTED)

    @property
    def boot(self) -> AddonBoot:
        """The boot mode in effect: auto or manual."""
        if self.manifest.boot_pinned or self.record.boot is None:
            return self.manifest.default_boot
        return AddonBoot(self.record.boot)

    @property
    def ports(self) -> Ports | None:
        return effective_ports(self.manifest.ports, self.record.network)

    @property
    def address(self) -> IPv4Address:
        """Where the daemon reaches the add-on; 0.0.0.0 while that is unknown."""
        if self.manifest.host_network:
            return GATEWAY_ADDRESS
        return self.ip_address

    def attach(self, info: ContainerInfo | None, *, image_present: bool) -> None:
        """Take over what the engine has: a container, or none."""
        self._over = None
        if info is None:
            self._gone_id = self.container_id or self._gone_id
            self.container_id = None
            self.ip_address = UNKNOWN_ADDRESS
            self.last_error = None
            self._set(AddonState.STOPPED if image_present else AddonState.UNKNOWN)
            return
        self.container_id = info.id
        self.has_healthcheck = info.has_healthcheck
        self.resources = info.resources
        self.ip_address = info.ip_address or UNKNOWN_ADDRESS
        self._starved = time.monotonic() if info.oom_killed else None
        if not info.running and info.finished_at is not None:
            self._over = (info.finished_at.timestamp(), time.monotonic() + LATE_SECONDS)
        self.apply(info.state, info.exit_code)

    def started(self, info: ContainerInfo) -> None:
        """Take over the container that was just started; what its events have told already is newer than `info`."""
        if self.container_id != info.id:
            self.attach(info, image_present=True)
            return
        self.has_healthcheck = info.has_healthcheck
        self.resources = info.resources
        if self.running:
            self.ip_address = info.ip_address or UNKNOWN_ADDRESS

    def concerns(self, event: ContainerStateChanged) -> bool:
        """Tell whether the event speaks of the present container; late news of a replaced one does not count."""
        if event.container_id == self._gone_id or (event.state in _LIVELY and self._is_over(event)):
            return False
        return self.container_id in (None, event.container_id) or event.state in _LIVELY

    def _is_over(self, event: ContainerStateChanged) -> bool:
        """Tell whether the event is from before the end that the engine answered. Its clock counts a moment only."""
        if self._over is None or event.container_id != self.container_id:
            return False
        ended, until = self._over
        return event.time <= ended and time.monotonic() < until

    def follow(self, event: ContainerStateChanged) -> None:
        """Take over what the engine tells, if it speaks of the present container or of a new one."""
        if self.concerns(event):
            self.told += 1
            self.container_id = event.container_id
            self.apply(event.state, event.exit_code)

    def apply(self, state: ContainerState, exit_code: int | None = None) -> None:
        """Follow the container."""
        self.unhealthy = state == ContainerState.UNHEALTHY
        self.seen_running = self.seen_running or self.unhealthy or state in _LIVELY
        match state:
            case ContainerState.RUNNING:
                self._starved = self.last_error = None
                self._set(AddonState.STARTUP if self.has_healthcheck else AddonState.STARTED)
            case ContainerState.HEALTHY | ContainerState.UNHEALTHY:
                self._set(AddonState.STARTED)
            case ContainerState.STOPPED:
                self._ended(AddonState.STOPPED, exit_code)
            case ContainerState.FAILED:
                self._ended(AddonState.STOPPED if self.stop_requested else AddonState.ERROR, exit_code)
            case ContainerState.UNKNOWN:
                self.attach(None, image_present=False)

    def fail(self, reason: str) -> None:
        """Remember that the last start or stop failed, and why; the next word from the engine overrides it."""
        self.last_error = reason
        self._set(AddonState.ERROR)

    def starved(self) -> None:
        """Note that a process of the container was killed for lack of memory; the container itself may go on."""
        known, self._starved = self._starved_lately, time.monotonic()
        if self.state == AddonState.ERROR and self.last_exit_code == KILLED:
            self._explain_end(self.last_exit_code)
        elif self.running and not known:
            self.last_error = f"a process of it was {self._out_of_memory_text}"
            _LOGGER.warning("%s: %s", self.slug, self.last_error, extra={"ADDON": self.slug})

    @property
    def out_of_memory(self) -> bool:
        """Whether lack of memory ended it, as far as anybody can tell."""
        return self.state == AddonState.ERROR and self._starved_lately and self.last_exit_code == KILLED

    @property
    def _starved_lately(self) -> bool:
        return self._starved is not None and time.monotonic() - self._starved < STARVED_SECONDS

    @property
    def _out_of_memory_text(self) -> str:
        limit = f"limit {size_text(self.resources.memory)}" if self.resources.memory else "the machine had no more"
        return f"killed: out of memory ({limit})"

    async def settle(self, seconds: float) -> AddonState:
        """Wait until the start is decided, well or badly, `seconds` at most; return the state then."""
        try:
            async with asyncio.timeout(seconds):
                while self.state == AddonState.STARTUP:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            _LOGGER.warning("%s: still not healthy after %.0f s", self.slug, seconds)
        return self.state

    async def noticed(self, seconds: float) -> None:
        """Wait until the engine's word of a start is here, `seconds` at most: its program may be heard of sooner."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.running:
                    self._changed.clear()
                    await self._changed.wait()

    async def stays(self, seconds: float) -> None:
        """Wait `seconds`, or until it ends if that is sooner."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.running:
                    self._changed.clear()
                    await self._changed.wait()

    def _ended(self, state: AddonState, exit_code: int | None) -> None:
        self.last_exit_code = exit_code
        self.ip_address = UNKNOWN_ADDRESS
        if state == AddonState.ERROR:
            self._explain_end(exit_code)
        self._set(state)

    def _explain_end(self, exit_code: int | None) -> None:
        self.last_error = f"ended with exit code {exit_code}"
        if self._starved_lately:
            killed = exit_code == KILLED
            self.last_error = self._out_of_memory_text if killed else f"{self.last_error}, {self._out_of_memory_text}"
        _LOGGER.error("%s: %s", self.slug, self.last_error, extra={"ADDON": self.slug})

    def _set(self, state: AddonState) -> None:
        if state == self.state:
            return
        _LOGGER.info("%s: %s", self.slug, state.value, extra={"ADDON": self.slug})
        self.state = state
        self._changed.set()
        self._bus.publish(AddonStateChanged(self.slug, state))
