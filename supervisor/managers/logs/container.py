"""A container's log from the engine, joined to what is kept of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from typing import Final, Protocol

from supervisor.errors import NotFound
from supervisor.events import ContainerState, ContainerStateChanged, EventBus
from supervisor.managers.logs.kept import (
    MAX_RUN_BYTES,
    MAX_RUN_LINES,
    OVERLAP,
    KeptLogs,
    Reached,
    Run,
    Unread,
    kept_of,
    kept_run,
)
from supervisor.managers.logs.levels import level_of_stream
from supervisor.managers.logs.lines import RUN, Line, Record, Sequence, encode, microseconds

_MAX_TAIL: Final = 2000
_TAIL_MARGIN: Final = 64  # so that lines of one moment are numbered in a cut log as in the whole one
_SINCE_MARGIN: Final = 2  # microseconds, more than a float of seconds is off
_START_LEAD: Final = 5_000_000  # microseconds; the engine notes the start only after the first lines were written
_ALIVE: Final = frozenset({ContainerState.RUNNING, ContainerState.HEALTHY, ContainerState.UNHEALTHY})


class EngineLine(Protocol):
    @property
    def time(self) -> datetime | None: ...
    @property
    def stream(self) -> str: ...
    @property
    def message(self) -> str: ...


class ContainerFacts(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def running(self) -> bool: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def finished_at(self) -> datetime | None: ...
    @property
    def log_driver(self) -> str: ...


class ContainerLogs(Protocol):
    """What a log needs of the engine; `supervisor.drivers.docker.Containers` has it."""

    async def inspect(self, name: str) -> ContainerFacts: ...

    def logs(
        self, name: str, *, tail: int | None = None, follow: bool = False, since: float | None = None
    ) -> AsyncIterator[EngineLine]: ...


class ContainerLog:
    """The log of one container name as one reader sees it: kept runs first, then the container of now.

    With `latest` the history is that of the present run, or of the last one when there is no container. Watching
    outlives the container: when it stops, the log goes on with its next run.
    """

    def __init__(
        self, name: str, containers: ContainerLogs, kept: KeptLogs, bus: EventBus, *, latest: bool = False
    ) -> None:
        self._name = name
        self._latest = latest
        self._containers = containers
        self._kept = kept
        self._bus = bus
        self._sequence = Sequence()
        self._read_id: str | None = None  # the container that was read last, and how far
        self._reached = Reached()

    async def history(self, tail: int | None) -> AsyncGenerator[Line, None]:
        records = await self._kept.read(self._name)
        facts = await find(self._containers, self._name)
        run = None if facts is None else run_of(facts)
        if self._latest:
            past = kept_run(records, None if run is None else run.mark)
        else:
            past = [record for record in records if record.word != RUN]
        if facts is None:
            for record in past:
                yield self._line(record)
            return
        unkept = Unread(kept_of(records, facts.id))
        began = run.began if self._latest and run is not None else 0
        if tail is None or tail > _MAX_TAIL:
            for record in past:
                yield self._line(record)
            async with contextlib.aclosing(self._read(facts, unkept)) as lines:
                async for record in lines:
                    if record.time >= began:
                        yield self._line(record)
            return
        lines = self._read(facts, unkept, tail=tail + _TAIL_MARGIN)
        ending = [record async for record in lines if record.time >= began]
        missing = max(tail - len(ending), 0)
        for record in [*past[max(len(past) - missing, 0) :], *ending]:
            yield self._line(record)

    async def live(self) -> AsyncGenerator[Line, None]:
        runs = asyncio.Event()

        def look(event: ContainerStateChanged) -> None:
            if event.name == self._name and event.state in _ALIVE:
                runs.set()

        unsubscribe = self._bus.subscribe(ContainerStateChanged, look)
        try:
            while True:
                runs.clear()
                facts = await find(self._containers, self._name)
                if facts is not None:
                    async with contextlib.aclosing(self._rest(facts)) as lines:
                        async for record in lines:
                            yield self._line(record)
                await runs.wait()
        finally:
            unsubscribe()

    def _rest(self, facts: ContainerFacts) -> AsyncGenerator[Record, None]:
        """Follow the container until it stops; of one that was read before only what is new."""
        if facts.id != self._read_id or self._reached.time < 0:
            return self._read(facts, Unread(Reached()), follow=True)
        since = max(self._reached.time - OVERLAP - _SINCE_MARGIN, 0) / 1_000_000
        return self._read(facts, Unread(self._reached), follow=True, since=since)

    async def _read(
        self,
        facts: ContainerFacts,
        wanted: Unread,
        *,
        tail: int | None = None,
        follow: bool = False,
        since: float | None = None,
    ) -> AsyncGenerator[Record, None]:
        if since is None:
            self._read_id, self._reached = facts.id, Reached()
        lines = engine_records(self._containers, facts, self._name, tail=tail, follow=follow, since=since)
        async with contextlib.aclosing(lines):
            async for record in lines:
                if not wanted.takes(record):
                    if since is None:
                        self._reached.note(record)
                    continue
                self._reached.note(record)
                yield record

    def _line(self, record: Record) -> Line:
        return self._sequence.line(record.time, record.text, level_of_stream(record.word))


async def find(containers: ContainerLogs, name: str) -> ContainerFacts | None:
    try:
        return await containers.inspect(name)
    except NotFound:
        return None


def run_of(facts: ContainerFacts) -> Run | None:
    """Return the present or last run of a container, None when it never ran."""
    if facts.started_at is None:
        return None
    started = microseconds(facts.started_at)
    began = started - _START_LEAD
    # Once it ended, the end is that of this very run.
    if facts.running and facts.finished_at is not None and facts.finished_at < facts.started_at:
        began = max(began, microseconds(facts.finished_at))
    return Run(facts.id, started, began)


async def engine_records(
    containers: ContainerLogs,
    facts: ContainerFacts,
    name: str,
    *,
    tail: int | None = None,
    follow: bool = False,
    since: float | None = None,
) -> AsyncGenerator[Record, None]:
    """Read the engine's log of a container; one that is gone by now has none."""
    time = 0 if facts.started_at is None else microseconds(facts.started_at)
    lines = containers.logs(name, tail=tail, follow=follow, since=since)
    try:
        async for line in lines:
            # A line without a time stands where it came.
            time = time if line.time is None else microseconds(line.time)
            yield Record(time, line.stream, line.message)
    except NotFound:
        return
    finally:
        if isinstance(lines, AsyncGenerator):
            await lines.aclose()


async def keep_log(name: str, containers: ContainerLogs, facts: ContainerFacts, kept: KeptLogs) -> None:
    """Write the end of a container's present log to its file."""
    run = run_of(facts)
    held: deque[Record] = deque()
    size = 0
    async with contextlib.aclosing(engine_records(containers, facts, name, tail=MAX_RUN_LINES)) as lines:
        async for record in lines:
            held.append(record)
            size += len(encode(record))
            while size > MAX_RUN_BYTES:
                size -= len(encode(held.popleft()))
    if run is not None:
        await kept.add(name, run, list(held))
