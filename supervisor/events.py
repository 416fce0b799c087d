"""News that travels upwards: typed events and the bus that carries them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import attrs

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")
H = TypeVar("H")


class CoreState(StrEnum):
    """States of the daemon (API contract §9.1)."""

    INITIALIZE = "initialize"
    SETUP = "setup"
    STARTUP = "startup"
    RUNNING = "running"
    FREEZE = "freeze"
    SHUTDOWN = "shutdown"
    STOPPING = "stopping"
    CLOSE = "close"


class ContainerState(StrEnum):
    """What the engine says about a container (add-on contract §4.7, §4.11)."""

    UNKNOWN = "unknown"
    STOPPED = "stopped"
    RUNNING = "running"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    FAILED = "failed"


class AddonState(StrEnum):
    """States of an add-on as clients see them (API contract §3.3)."""

    STARTUP = "startup"
    STARTED = "started"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
    ERROR = "error"


@attrs.frozen
class CoreStateChanged:
    state: CoreState


@attrs.frozen
class ContainerStateChanged:
    """The engine reported a container of ours; consumers compare the name.

    `time` is the engine's own, in seconds since the epoch; `exit_code` is known for STOPPED and FAILED.
    """

    name: str
    container_id: str
    state: ContainerState
    time: float
    exit_code: int | None = None


@attrs.frozen
class EngineAvailabilityChanged:
    """The Docker engine went away or came back; on return every container should be looked at again."""

    available: bool


@attrs.frozen
class ContainerOutOfMemory:
    """The kernel ended a process of a container of ours, because the container has reached its limit of memory.

    The container itself may go on. `time` is the engine's own, in seconds since the epoch.
    """

    name: str
    container_id: str
    time: float


@attrs.frozen
class DeviceAdded:
    """A device with a node appeared, and udev has named it; the host's table of devices has it already."""

    path: str
    sysfs: str
    subsystem: str


@attrs.frozen
class DeviceRemoved:
    """A device is gone; the host's table of devices does not have it any more, unless it came back at once."""

    path: str
    sysfs: str
    subsystem: str


@attrs.frozen
class SystemBusChanged:
    """The host's D-Bus went away or came back."""

    available: bool


@attrs.frozen
class HostInternetChanged:
    """The host found or lost the internet; None: nothing on it looks for that."""

    online: bool | None


@attrs.frozen
class InternetChanged:
    """The daemon itself found or lost the internet."""

    online: bool


@attrs.frozen
class SoundChanged:
    """The sound server came or went, or something in it changed: a device, a volume, a program that plays."""

    available: bool


@attrs.frozen
class AddonStateChanged:
    slug: str
    state: AddonState


@attrs.frozen
class AddonRemoved:
    """The add-on was uninstalled; whoever keeps something of it drops that."""

    slug: str


@attrs.frozen
class AddonTokenChanged:
    """The add-on has a new API token, a new role, or is gone; the old token must not count any more."""

    slug: str


@attrs.frozen
class DiscoveryChanged:
    """An add-on announced a service, or other details of one; who is told fetches the details by `uuid`."""

    uuid: str
    addon: str
    service: str


@attrs.frozen
class DiscoveryRemoved:
    """A service that was announced is no longer there."""

    uuid: str
    addon: str
    service: str


@attrs.frozen
class JobChanged:
    """A visible job changed; `job` is its wire form with `parent_id` and without children (API contract §8.4)."""

    job: dict[str, Any]


@attrs.frozen
class StateFileCorrupt:
    """A state file could not be read.

    `kept` is where it was put aside; `recovered` tells whether the last good copy was used. `errno` is what the disk
    said, None when it gave us the file and the file makes no sense.
    """

    path: Path
    kept: Path
    reason: str
    recovered: bool
    when: datetime
    errno: int | None = None


@attrs.frozen
class StateFileUnwritten:
    """A state file could not be written; `errno` is what the disk said."""

    path: Path
    errno: int | None


@attrs.frozen
class StateEntryRefused:
    """One entry of a state file made no sense and was left out; `kept` is the file that still holds it."""

    path: Path
    entry: str
    kept: Path
    reason: str


@attrs.frozen
class VersionsFetched:
    """The version file was read; `about` is what its news may be about: `supervisor`, `core`, `os`."""

    about: tuple[str, ...]


@attrs.frozen
class StoreReloaded:
    """A reload changed these repositories (slugs, sorted)."""

    repositories: tuple[str, ...]


@attrs.frozen
class BackupRepositoryChanged:
    """A backup repository was added, removed or changed, or other backups are in it."""

    name: str


@attrs.frozen
class BackupScheduleEnded:
    """A scheduled backup was made (`slug`), failed (`error` for people), or was made without something (both)."""

    schedule: str
    slug: str | None
    error: str | None


@attrs.frozen
class IssueChanged:
    """An issue was raised or its suggestions changed; `issue` is the wire form with `suggestions`."""

    issue: dict[str, Any]


@attrs.frozen
class IssueRemoved:
    issue: dict[str, Any]


@attrs.frozen
class HealthChanged:
    reasons: tuple[str, ...]


@attrs.frozen
class SupportedChanged:
    reasons: tuple[str, ...]


def subscribed(handlers: list[H], handler: H) -> Callable[[], None]:
    """Add a handler to those there are; the returned function takes it out again, once or more often."""
    handlers.append(handler)

    def unsubscribe() -> None:
        if handler in handlers:
            handlers.remove(handler)

    return unsubscribe


class EventBus:
    """Hands an event to every subscriber of its exact class, in the order of subscription, on the event loop.

    Handlers are plain functions and must not block; a handler with more to do starts a task that its owner keeps. One
    failing handler is logged and never keeps the others from hearing the news.
    """

    def __init__(self) -> None:
        self._handlers: dict[type[Any], list[Callable[[Any], None]]] = {}

    def subscribe(self, event: type[T], handler: Callable[[T], None]) -> Callable[[], None]:
        """Call `handler` for each `event` from now on; the returned function ends that."""
        return subscribed(self._handlers.setdefault(event, []), handler)

    def publish(self, event: object) -> None:
        for handler in tuple(self._handlers.get(type(event), ())):
            try:
                handler(event)
            except Exception:
                _LOGGER.exception("A handler of %s failed", type(event).__name__)
