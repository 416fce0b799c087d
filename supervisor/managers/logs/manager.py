"""Chooses where a log comes from and gives the part that was asked for (API contract §5)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import uuid
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final, Protocol

import attrs

from supervisor.drivers.journal import (
    ANYTHING,
    BOOT_ID,
    CONTAINER_EPOCH,
    CONTAINER_ID,
    CONTAINER_NAME,
    IDENTIFIER,
    LAST_ENTRY,
    NO_JOURNAL,
    PRIORITY,
    Batch,
    Detail,
    Entry,
    EntryRange,
    JournalSource,
)
from supervisor.errors import LOG_EPOCH_UNKNOWN, Invalid, SupervisorError, Unavailable
from supervisor.events import EventBus
from supervisor.managers.logs.container import ContainerLog, ContainerLogs, find, keep_log
from supervisor.managers.logs.kept import KeptLogs
from supervisor.managers.logs.lines import Line
from supervisor.managers.logs.own import SupervisorLog
from supervisor.managers.logs.request import DEFAULT_LINES, LogFormat, LogRequest, LogTarget
from supervisor.managers.logs.text import gap, render, render_batch
from supervisor.managers.logs.window import LineSource, select

_LOGGER = logging.getLogger(__name__)

JOURNALD: Final = "journald"
_EPOCH_TIMEOUT: Final = 10
_OFFSET: Final = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
_STAT_FILE: Final = Path("/proc/stat")


class EngineFacts(Protocol):
    @property
    def logging_driver(self) -> str: ...


class LogEngine(Protocol):
    """What logs need of the engine; `supervisor.drivers.docker.Engine` has it."""

    @property
    def containers(self) -> ContainerLogs: ...
    @property
    def info(self) -> EngineFacts | None: ...


@attrs.define(eq=False)
class LogStream:
    """An opened log and the cursor of its first entry.

    Whoever opened it closes it (`contextlib.aclosing`). It is read once, as `blocks` or as `lines`.
    """

    first_cursor: str | None
    _first: Batch | None
    _rest: AsyncGenerator[Batch, None]
    _request: LogRequest
    lines: AsyncGenerator[str, None] = attrs.field(init=False)
    """Rendered entries without final newline."""
    blocks: AsyncGenerator[bytes, None] = attrs.field(init=False)
    """Rendered entries, several together, each with a final newline."""

    def __attrs_post_init__(self) -> None:
        self.lines, self.blocks = self._lines(), self._blocks()

    async def aclose(self) -> None:
        await self.lines.aclose()
        await self.blocks.aclose()
        await self._rest.aclose()

    async def _batches(self) -> AsyncGenerator[Batch, None]:
        if self._first is not None:
            yield self._first
            self._first = None
            async for batch in self._rest:
                yield batch

    async def _lines(self) -> AsyncGenerator[str, None]:
        async for batch in self._batches():
            if batch.lost:
                yield gap(batch.lost)
            for entry in batch.entries:
                yield render(entry, self._request.format, no_colors=self._request.no_colors)

    async def _blocks(self) -> AsyncGenerator[bytes, None]:
        async for batch in self._batches():
            yield render_batch(batch, self._request.format, no_colors=self._request.no_colors)


class LogManager:
    """Logs of the host, the containers and the daemon itself.

    `own` is the daemon's own log file; `own_in_journal` tells that the journal has the daemon's log as well.
    """

    def __init__(
        self,
        journal: JournalSource | None,
        engine: LogEngine,
        bus: EventBus,
        folder: Path,
        *,
        own: SupervisorLog | None = None,
        own_in_journal: bool = False,
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._bus = bus
        self._kept = KeptLogs(folder)
        self._own = own
        self._own_in_journal = own_in_journal
        self._hostname = socket.gethostname()

    @property
    def journal_available(self) -> bool:
        """The host feature `journal`."""
        return self._journal is not None and self._journal.available

    async def stream(self, target: LogTarget, request: LogRequest) -> LogStream:
        """Open a log; this returns with its first entry, so a request to follow a silent log waits here.

        Raises:
            Invalid: an unknown boot or cursor, or a kind of reading that this log can't do.
            Unavailable: neither the journal nor the engine can be asked.
            Internal: `LOG_EPOCH_UNKNOWN`, the journal does not tell where the present run began.
        """
        if target.own:
            return await self._own_stream(target, request)
        if await self._in_journal(target):
            return await self._journal_stream(target, request)
        if target.container is None:
            raise Unavailable(NO_JOURNAL)
        return await self._container_stream(target, target.container, request)

    async def boots(self) -> dict[str, str]:
        """Return boot ids by offset, "0" the present one, "-1" the one before.

        Raises:
            Unavailable: there is no journal, or it can't be reached.
        """
        boots = await self._require_journal().boots()
        return {str(-offset): boot_id for offset, boot_id in enumerate(reversed(boots))}

    async def identifiers(self) -> list[str]:
        """Return the identifiers that have a log.

        Raises:
            Unavailable: there is no journal, or it can't be reached.
        """
        return await self._require_journal().identifiers()

    async def keep(self, container: str) -> None:
        """Keep the end of a container's log; call it before the engine removes the container.

        Never fails, since the removal must not depend on it: a log that can't be kept is a warning in ours.
        """
        try:
            facts = await find(self._engine.containers, container)
            if facts is None or (self.journal_available and facts.log_driver == JOURNALD):
                return
            await keep_log(container, self._engine.containers, facts, self._kept)
        except (SupervisorError, OSError) as err:
            _LOGGER.warning("%s: its log could not be kept: %s", container, err)

    async def forget(self, container: str) -> None:
        """Drop what was kept; the add-on is being uninstalled. Never fails, like `keep`."""
        try:
            await self._kept.forget(container)
        except (SupervisorError, OSError) as err:
            _LOGGER.warning("%s: its kept log could not be removed: %s", container, err)

    # From the journal.

    def _require_journal(self) -> JournalSource:
        if self._journal is None or not self._journal.available:
            raise Unavailable(NO_JOURNAL)
        return self._journal

    async def _in_journal(self, target: LogTarget) -> bool:
        if not self.journal_available:
            return False
        if target.container is None:
            return True
        engine_info = self._engine.info
        driver = JOURNALD if engine_info is None else engine_info.logging_driver
        with contextlib.suppress(Unavailable):
            facts = await find(self._engine.containers, target.container)
            driver = driver if facts is None else facts.log_driver
        return driver == JOURNALD

    async def _journal_stream(self, target: LogTarget, request: LogRequest) -> LogStream:
        journal = self._require_journal()
        filters = [(IDENTIFIER, identifier) for identifier in target.identifiers]
        if request.levels is not None:
            filters += [(PRIORITY, str(level)) for level in sorted(request.levels)]
        if request.boot is not None:
            boots = await journal.boots() if _OFFSET.fullmatch(request.boot) else ()
            filters.append((BOOT_ID, resolve_boot(request.boot, boots)))
        if request.latest:
            filters.append(await self._epoch(journal, target))
        batches = journal.batches(
            filters,
            request.part,
            request.narrowing,
            follow=request.follow,
            detail=Detail.MESSAGE if request.format is LogFormat.PLAIN else Detail.LINE,
        )
        return await _open(batches, request)

    async def _epoch(self, journal: JournalSource, target: LogTarget) -> tuple[str, str]:
        """Return the filter for the present run of a container.

        Engines before version 23 write no epoch; there the id of the container has to do, which changes with every
        run of ours except a restart by the engine itself.
        """
        if target.container is None and not target.own:
            raise Invalid("Latest logs can only be fetched for a specific identifier.")
        unknown = LOG_EPOCH_UNKNOWN(identifiers=", ".join(target.identifiers))
        names = [(CONTAINER_NAME, identifier) for identifier in target.identifiers]
        last: Entry | None = None
        try:
            async with (
                asyncio.timeout(_EPOCH_TIMEOUT),
                contextlib.aclosing(journal.entries(names, LAST_ENTRY)) as entries,
            ):
                async for entry in entries:
                    last = entry
        except (SupervisorError, TimeoutError) as err:
            raise unknown from err
        if last is not None and last.container_epoch:
            return CONTAINER_EPOCH, last.container_epoch
        if last is not None and last.container_id:
            return CONTAINER_ID, last.container_id
        raise unknown

    # From the engine and from our own file.

    async def _container_stream(self, target: LogTarget, container: str, request: LogRequest) -> LogStream:
        containers = self._engine.containers
        source = ContainerLog(container, containers, self._kept, self._bus, latest=request.latest)
        return await self._line_stream(source, target, request, None)

    async def _own_stream(self, target: LogTarget, request: LogRequest) -> LogStream:
        """The daemon's own log must be readable whatever is broken: each failure leads to the next source."""
        try:
            if self._own_in_journal and self.journal_available:
                return await self._journal_stream(target, request)
            return await self._own_lines(target, request)
        except SupervisorError as err:
            _LOGGER.debug("The Supervisor's log is not where it should be: %s", err)
            part = EntryRange("", 1 - DEFAULT_LINES, DEFAULT_LINES)
            plain = attrs.evolve(
                request, part=part, follow=False, latest=False, boot=None, levels=None, narrowing=ANYTHING
            )
            return await self._own_lines(target, plain)

    async def _own_lines(self, target: LogTarget, request: LogRequest) -> LogStream:
        if self._own is not None:
            since = self._own.began if request.latest else None
            return await self._line_stream(self._own.reader(), target, request, since)
        if target.container is None:
            raise Unavailable("The Supervisor keeps no log that can be read here")
        return await self._container_stream(target, target.container, request)

    async def _line_stream(
        self, source: LineSource, target: LogTarget, request: LogRequest, since: int | None
    ) -> LogStream:
        if request.boot is not None:
            began = await _boot_began(request.boot)
            since = began if since is None else max(since, began)
        narrowing = request.narrowing
        if since is not None:
            narrowing = attrs.evolve(narrowing, since=max(since, narrowing.since or 0))
        lines = select(source, request.part, follow=request.follow, narrowing=narrowing, levels=request.levels)
        return await _open(self._as_batches(lines, target), request)

    async def _as_batches(self, lines: AsyncGenerator[Line, None], target: LogTarget) -> AsyncGenerator[Batch, None]:
        identifier = target.identifiers[0] if target.identifiers else target.container
        async with contextlib.aclosing(lines):
            async for line in lines:
                entry = Entry(
                    cursor=line.position.cursor,
                    time=line.position.time,
                    message=line.message,
                    identifier=identifier,
                    hostname=self._hostname,
                )
                yield Batch([entry])


def resolve_boot(boot: str, boots: Sequence[str]) -> str:
    """Return the boot id meant: 0 is the present boot, -1 the one before, 1 the oldest; `boots` is oldest first.

    What is no offset is an id; a UUID with dashes is brought to the journal's form.

    Raises:
        Invalid: there are not that many boots.
    """
    if not _OFFSET.fullmatch(boot):
        try:
            return uuid.UUID(boot).hex
        except ValueError:
            return boot
    offset = int(boot)
    index = offset - 1 if offset > 0 else len(boots) - 1 + offset
    if not 0 <= index < len(boots):
        raise Invalid(f"Logs only contain {len(boots)} boots")
    return boots[index]


async def _boot_began(boot: str) -> int:
    """Return when the present boot began, in microseconds; without a journal it is the only one that is known."""
    current, began = await asyncio.to_thread(_current_boot)
    if resolve_boot(boot, (current,)) != current:
        raise Invalid("Logs only contain 1 boots")
    return began


def _current_boot() -> tuple[str, int]:
    try:
        boot_id = _BOOT_ID_FILE.read_text().strip().replace("-", "")
        words = re.search(r"^btime (\d+)$", _STAT_FILE.read_text(), re.MULTILINE)
    except OSError as err:
        raise Unavailable(f"The kernel does not tell the present boot: {err}") from err
    return boot_id, int(words[1]) * 1_000_000 if words else 0


async def _open(batches: AsyncGenerator[Batch, None], request: LogRequest) -> LogStream:
    first = await anext(batches, None)
    cursor = None if first is None else first.entries[0].cursor or None
    return LogStream(cursor, first, batches, request)
