"""Signals on their way in: which the bus shall send us, and who of ours hears them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

import attrs

from supervisor.drivers.dbus.connection import Call, Connection, Signalled
from supervisor.drivers.dbus.translate import error_name
from supervisor.errors import SupervisorError, Timeout, Unavailable

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")
Hear = Callable[[Signalled], None]

BUS = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"


@attrs.frozen
class Source:
    """Where a signal comes from; `below` means objects below `path`, too, `first` the first argument when it counts."""

    name: str
    path: str
    interface: str
    member: str
    below: bool = False
    first: str | None = None

    @property
    def rule(self) -> str:
        """The bus's own form of it."""
        path = "path_namespace" if self.below else "path"
        rule = f"type='signal',sender='{self.name}',interface='{self.interface}',member='{self.member}'"
        # The whole tree is no name space of its own: the bus refuses it.
        rule += "" if self.below and self.path == "/" else f",{path}='{self.path}'"
        return rule if self.first is None else f"{rule},arg0='{self.first}'"

    def fits(self, signal: Signalled) -> bool:
        """Whether a signal of the right interface and member is meant; the sender is the bus's to check."""
        if self.first is not None and (not signal.arguments or signal.arguments[0] != self.first):
            return False
        if not self.below:
            return signal.path == self.path
        return self.path in {"/", signal.path} or signal.path.startswith(self.path + "/")


class Signals:
    """Hands signals to those that asked for them, and has the bus send just these.

    What was asked for outlives a connection: it is asked for again on the next one.
    """

    def __init__(self, owner: Callable[[str], str | None]) -> None:
        self._owner = owner
        self._rules: Counter[str] = Counter()
        self._hearers: dict[tuple[str, str], list[tuple[Source, Hear]]] = {}

    def hear(self, source: Source, hear: Hear) -> None:
        self._rules[source.rule] += 1
        self._hearers.setdefault((source.interface, source.member), []).append((source, hear))

    def wanted(self, source: Source) -> bool:
        """Whether the bus was asked for these signals already."""
        return self._rules[source.rule] > 0

    def forget(self, source: Source, hear: Hear) -> bool:
        """Stop handing signals on; return whether nobody wants what the bus was asked for any more."""
        key = source.interface, source.member
        hearers = self._hearers.get(key, [])
        if (source, hear) not in hearers:
            return False
        hearers.remove((source, hear))
        if not hearers:
            del self._hearers[key]
        self._rules[source.rule] -= 1
        if self._rules[source.rule]:
            return False
        del self._rules[source.rule]
        return True

    def came(self, signal: Signalled) -> None:
        for source, hear in tuple(self._hearers.get((signal.interface, signal.member), ())):
            # Anybody may send a signal that looks like a service's: only the owner of the name is believed.
            if source.fits(signal) and signal.sender == self._owner(source.name):
                try:
                    hear(signal)
                except Exception:
                    _LOGGER.exception("A hearer of %s.%s failed", signal.interface, signal.member)

    async def ask_again(self, connection: Connection) -> None:
        """Ask a new connection for everything at once."""
        await together(add_match(connection, rule) for rule in tuple(self._rules))


async def together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do several things at once; the first failure ends them all and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def add_match(connection: Connection, rule: str) -> None:
    await connection.call(Call("Asking for signals", BUS, BUS_PATH, BUS, "AddMatch", "s", [rule]))


async def remove_match(connection: Connection, rule: str) -> None:
    try:
        await connection.call(Call("Declining signals", BUS, BUS_PATH, BUS, "RemoveMatch", "s", [rule]))
    except SupervisorError as err:
        _LOGGER.debug("The bus may go on sending what nobody asked for: %s", error_name(err) or err)


class Heard(Generic[T]):
    """The signals that came since the listening began, oldest first."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()

    def put(self, item: T) -> None:
        self._queue.put_nowait(item)

    def end(self) -> None:
        """The service is gone; nothing more comes."""
        self._queue.put_nowait(None)

    async def until(self, wanted: Callable[[T], bool], *, seconds: float) -> T:
        """Return the first signal that is wanted; the ones before it are dropped.

        Raises:
            Timeout: it did not come in time. Unavailable: the service or the bus went away.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    item = await self._queue.get()
                    if item is None:
                        raise Unavailable(f"{self._title} went away while it was at work")
                    if wanted(item):
                        return item
        except TimeoutError:
            raise Timeout(f"{self._title} did not finish within {seconds:g} s") from None


def decoded(decode: Callable[..., T], signal: Signalled) -> T | None:
    """Make an object of a signal's arguments, None when they are not as declared."""
    try:
        return decode(*signal.arguments)
    except (TypeError, ValueError, LookupError) as err:
        _LOGGER.warning("%s.%s came with unknown arguments: %s", signal.interface, signal.member, err)
        return None
