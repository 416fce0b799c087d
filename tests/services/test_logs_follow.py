"""Many who follow one journal, slow ones among them, while the journal lives: it grows, rotates, goes away."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from journal_stand import GatewayStand, fields, gateway_stand, needs_journal_tools, real_gateway, write_journal
from journald_stand import Journald, journald, needs_journald
from log_engine_stand import EngineStand
from multidict import CIMultiDict

from supervisor.drivers.journal import (
    WHOLE_LOG,
    DirectJournal,
    EntryRange,
    JournalGateway,
    JournalSource,
    MessagePattern,
    Narrowing,
    PreferredJournal,
    preferred,
    tail,
)
from supervisor.drivers.journal import direct as direct_module
from supervisor.drivers.journal.files import FileReader
from supervisor.errors import Unavailable
from supervisor.events import EventBus
from supervisor.managers.logs import LogFormat, LogManager, LogRequest, LogTarget
from supervisor.managers.logs.text import render_batch

ME = [("SYSLOG_IDENTIFIER", "me")]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Journald]:
    with journald(tmp_path / "journald") as found:
        yield found


@pytest.fixture
async def direct(live: Journald) -> AsyncIterator[DirectJournal]:
    source = DirectJournal(live.folder)
    await source.start()
    yield source
    await source.close()
    assert not reading()


async def numbers(
    source: JournalSource, last: int, part: EntryRange = WHOLE_LOG, found: list[int] | None = None
) -> list[int]:
    """Follow until the entry `last`; return the numbers of all, which `found` has as they come."""
    found = [] if found is None else found
    async with contextlib.aclosing(source.batches(ME, part, follow=True)) as batches:
        async for batch in batches:
            assert batch.lost == 0
            found += [int(entry.message) for entry in batch.entries]
            if found[-1] >= last:
                return found
    return found


async def holds(found: list[int], last: int) -> None:
    async with asyncio.timeout(30):
        while found[-1:] != [last]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def write(live: Journald, start: int, end: int, *, pause: float = 0.0) -> None:
    for first in range(start, end, 10):
        await asyncio.to_thread(live.write, "me", *map(str, range(first, min(first + 10, end))))
        await asyncio.sleep(pause)


def reading() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "journal"]


async def arrived(source: JournalSource, number: int) -> None:
    """Wait until journald has written an entry down."""
    async with asyncio.timeout(30):
        while [entry.message async for entry in source.entries(ME, EntryRange("", -1, 2))][-1:] != [str(number)]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@needs_journald
async def test_nobody_misses_or_repeats_an_entry_whenever_he_begins_to_follow(
    live: Journald, direct: DirectJournal
) -> None:
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        writing = group.create_task(write(live, 0, 600, pause=0.02))
        readers = []
        for _ in range(12):
            readers.append(group.create_task(numbers(direct, 599)))
            await asyncio.sleep(0.07)
        await writing
    for reader in readers:
        assert reader.result() == list(range(600))


@needs_journald
async def test_those_who_follow_the_same_log_share_a_thread(live: Journald, direct: DirectJournal) -> None:
    await write(live, 0, 10)
    await arrived(direct, 9)
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as stack:
        streams = []
        for _ in range(100):
            stream = direct.entries(ME, EntryRange("", -1, None), follow=True)
            streams.append(await stack.enter_async_context(contextlib.aclosing(stream)))
        for stream in streams:
            assert [(await anext(stream)).message for _ in range(2)] == ["8", "9"]
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        while len(reading()) > 1:  # noqa: ASYNC110 - what was there before is being read still
            await asyncio.sleep(0.02)
        await write(live, 10, 11)
        assert {(await news).message for news in waiting} == {"10"}


@needs_journald
async def test_a_slow_reader_is_told_what_it_missed(
    live: Journald, direct: DirectJournal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tail, "_RING_BYTES", 20_000)
    await write(live, 0, 3)
    await arrived(direct, 2)
    engine = EngineStand(EventBus())
    logs = LogManager(direct, engine, engine.bus, tmp_path / "logs")
    asked = LogRequest.from_query(CIMultiDict(), {}, follow=True)
    async with asyncio.timeout(60), contextlib.aclosing(await logs.stream(LogTarget(("me",)), asked)) as stream:
        assert [await anext(stream.lines) for _ in range(3)] == ["0", "1", "2"]
        while len(reading()) > 1:  # noqa: ASYNC110 - what was there before is being read still
            await asyncio.sleep(0.02)
        await write(live, 3, 4)
        assert await anext(stream.lines) == "3"
        quick = asyncio.ensure_future(numbers(direct, 999))
        await write(live, 4, 1000, pause=0.01)
        assert await quick == list(range(1000))
        (shared,) = direct._tails.values()
        while shared._count < 997:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        found = [await anext(stream.lines)]
        while found[-1] != "999":
            found.append(await anext(stream.lines))
    (mark,) = [line for line in found if not line.isdigit()]
    behind = found[found.index(mark) + 1 :]
    lost = int(mark.split()[1])
    assert lost > 500
    assert behind == [str(number) for number in range(4 + found.index(mark) + lost, 1000)]


@contextlib.asynccontextmanager
async def no_round_of_the_loop_takes_long() -> AsyncIterator[None]:
    """Fail when the event loop computes for long between two rounds; waiting for a busy machine does not count.

    Nor does it count how long the garbage collector looks through what other tests left.
    """
    rounds: list[float] = []

    async def watch() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            rounds.append(time.thread_time() - began)

    gc.collect()
    gc.freeze()
    watching = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        gc.unfreeze()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert max(rounds) < 0.1


@needs_journal_tools
async def test_many_who_follow_a_log_that_grows_by_much_at_once_do_not_hold_the_loop_up(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    write_journal(tmp_path / "journal/first.journal", map(fields, range(10)))
    write_journal(tmp_path / "second.journal", map(fields, range(10, 5010)))
    source = DirectJournal(tmp_path / "journal")
    await source.start()
    begun, got, lost = [0], [0] * 200, [0] * 200

    async def follow(number: int) -> None:
        async with contextlib.aclosing(source.batches((), EntryRange("", -1, None), follow=True)) as batches:
            async for batch in batches:
                begun[0] += not got[number]
                got[number] += len(batch.entries)
                lost[number] += batch.lost
                render_batch(batch, LogFormat.VERBOSE, no_colors=False)

    async with asyncio.timeout(90):
        following = [asyncio.ensure_future(follow(number)) for number in range(200)]
        while begun[0] < 200 or len(reading()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        try:
            async with no_round_of_the_loop_takes_long():
                (tmp_path / "second.journal").rename(tmp_path / "journal/second.journal")
                while any(some + missed < 5002 for some, missed in zip(got, lost, strict=True)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
    await source.close()
    assert set(map(sum, zip(got, lost, strict=True))) == {5002}


@needs_journald
async def test_the_log_goes_on_over_a_rotation(live: Journald, direct: DirectJournal) -> None:
    async with asyncio.timeout(60):
        await write(live, 0, 5)
        following = asyncio.ensure_future(numbers(direct, 29))
        for start in range(5, 30, 5):
            await asyncio.sleep(0.15)
            await asyncio.to_thread(live.rotate)
            await write(live, start, start + 5)
        assert await following == list(range(30))
        assert len(live.files) == 6


@needs_journald
async def test_only_what_is_looked_for_is_followed(live: Journald, direct: DirectJournal) -> None:
    await write(live, 0, 20)
    await arrived(direct, 19)
    narrowing = Narrowing(pattern=MessagePattern("[05]$"))
    stream = direct.entries(ME, EntryRange("", -1, None), narrowing, follow=True)
    async with asyncio.timeout(30), contextlib.aclosing(stream) as entries:
        assert [(await anext(entries)).message for _ in range(2)] == ["10", "15"]
        await write(live, 20, 40)
        assert [(await anext(entries)).message for _ in range(4)] == ["20", "25", "30", "35"]


# A gateway that goes and comes back.


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preferred, "_RETRY_SECONDS", 0.05)


@needs_journald
@needs_journal_tools
async def test_many_who_follow_through_the_gateway_do_not_hold_the_loop_up(
    live: Journald, tmp_path: Path, at_once: None
) -> None:
    gateway = JournalGateway(socket=tmp_path / "gateway")
    # Now and then the gateway ends an answer, and the log goes on with another one.
    source = PreferredJournal([gateway])
    # Each takes a watch on files, which the whole machine has 128 of.
    seen: list[list[int]] = [[] for _ in range(40)]
    await write(live, 0, 10)
    async with asyncio.timeout(90):
        with real_gateway(live.folder, tmp_path / "gateway"):
            await gateway.start()
            following = [asyncio.ensure_future(numbers(source, 409, found=found)) for found in seen]
            while not all(seen):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            async with no_round_of_the_loop_takes_long():
                await asyncio.to_thread(live.write, "me", *map(str, range(10, 410)))
                await asyncio.gather(*following)
            await gateway.close()
    assert seen == [list(range(410))] * 40


@needs_journald
@needs_journal_tools
async def test_a_log_goes_on_when_the_gateway_is_back(live: Journald, tmp_path: Path, at_once: None) -> None:
    gateway = JournalGateway(socket=tmp_path / "gateway")
    source = PreferredJournal([gateway])
    async with asyncio.timeout(60):
        await write(live, 0, 5)
        with real_gateway(live.folder, tmp_path / "gateway"):
            await gateway.start()
            seen: list[int] = []
            following = asyncio.ensure_future(numbers(source, 19, found=seen))
            await write(live, 5, 10)
            await holds(seen, 9)
        (tmp_path / "gateway").unlink()
        await write(live, 10, 15)
        with pytest.raises(Unavailable):
            await source.identifiers()
        await asyncio.sleep(0.2)
        assert not following.done()
        with real_gateway(live.folder, tmp_path / "gateway"):
            await write(live, 15, 20)
            assert await following == list(range(20))
            assert "me" in await source.identifiers()
    await gateway.close()


@needs_journald
@needs_journal_tools
async def test_without_the_gateway_a_log_goes_on_from_the_files(
    live: Journald, direct: DirectJournal, tmp_path: Path, at_once: None
) -> None:
    gateway = JournalGateway(socket=tmp_path / "gateway")
    source = PreferredJournal([gateway, direct])
    # Where they are in reach it begins with them.
    await direct.close()
    async with asyncio.timeout(60):
        await write(live, 0, 5)
        with real_gateway(live.folder, tmp_path / "gateway"):
            await gateway.start()
            seen: list[int] = []
            following = asyncio.ensure_future(numbers(source, 19, found=seen))
            await holds(seen, 4)
            await direct.start()
        (tmp_path / "gateway").unlink()
        await write(live, 5, 20)
        assert await following == list(range(20))
        assert await source.identifiers() == await direct.identifiers()
        await arrived(direct, 19)
        whole = [entry.message async for entry in source.entries(ME, WHOLE_LOG)]
        assert whole == [str(number) for number in range(20)]
    await gateway.close()


@needs_journald
async def test_who_follows_the_same_log_shares_its_reading_also_where_a_gateway_is(
    live: Journald, direct: DirectJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_stand(tmp_path) as stand, asyncio.timeout(60):
        gateway = JournalGateway(socket=stand.socket)
        await gateway.start()
        source = PreferredJournal([gateway, direct])
        await write(live, 0, 10)
        seen: list[list[int]] = [[] for _ in range(20)]
        following = [asyncio.ensure_future(numbers(source, 19, found=found)) for found in seen]
        for found in seen:
            await holds(found, 9)
        assert (len(direct._tails), stand.asked) == (1, [])
        await write(live, 10, 20)
        assert await asyncio.gather(*following) == [list(range(20))] * 20
        # Where the files are followed by too many already, the gateway is still there.
        monkeypatch.setattr(direct_module, "_MAX_TAILS", 0)
        stand.entries = [fields(1)]
        async with contextlib.aclosing(source.entries(ME, WHOLE_LOG, follow=True)) as entries:
            assert (await anext(entries)).message == "message 1"
        await gateway.close()


async def test_a_log_that_breaks_off_is_not_taken_for_complete(tmp_path: Path) -> None:
    async with gateway_stand(tmp_path) as stand:
        gateway = JournalGateway(socket=stand.socket)
        await gateway.start()
        source = PreferredJournal([gateway, DirectJournal(tmp_path)])
        stand.entries, stand.cut = [fields(1)], asyncio.Event()
        entries = source.entries(ME, WHOLE_LOG)
        assert (await anext(entries)).message == "message 1"
        stand.cut.set()
        with pytest.raises(Unavailable):
            await anext(entries)
        await gateway.close()


async def test_a_search_through_a_gateway_stands_still_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_stand(tmp_path) as stand:
        gateway = JournalGateway(socket=stand.socket)
        await gateway.start()
        await check_search(stand, gateway, monkeypatch)
        await gateway.close()


async def check_search(stand: GatewayStand, gateway: JournalGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.entries = [fields(number, "a" * 200 + "b") for number in range(3)]
    beats, meanwhile, ended = 0, 0, asyncio.Event()

    async def beat() -> None:
        nonlocal beats
        while not ended.is_set():
            await asyncio.sleep(0.01)
            beats += 1

    def counted(pattern: MessagePattern, message: str) -> bool:
        nonlocal meanwhile
        before = beats
        try:
            return search(pattern, message)
        finally:
            meanwhile = max(meanwhile, beats - before)

    search = MessagePattern.search
    monkeypatch.setattr(MessagePattern, "search", counted)
    beating = asyncio.ensure_future(beat())
    narrowing = Narrowing(pattern=MessagePattern(r"(a|aa)+\Z"))
    with pytest.raises(Exception, match="takes too long"):
        _ = [entry async for entry in gateway.entries(ME, WHOLE_LOG, narrowing)]
    ended.set()
    await beating
    assert meanwhile > 2, "the loop goes on turning while a message is searched"


@needs_journald
async def test_a_search_is_left_to_who_can_search(live: Journald, direct: DirectJournal, tmp_path: Path) -> None:
    async with gateway_stand(tmp_path) as stand:
        gateway = JournalGateway(socket=stand.socket)
        await gateway.start()
        await write(live, 0, 20)
        await arrived(direct, 19)
        source = PreferredJournal([gateway, direct])
        narrowing = Narrowing(pattern=MessagePattern("9$"))
        found = [entry.message async for entry in source.entries(ME, WHOLE_LOG, narrowing)]
        assert found == ["9", "19"]
        assert not stand.asked
        _ = [entry async for entry in source.entries(ME, WHOLE_LOG)]
        assert len(stand.asked) == 1
        await gateway.close()


@needs_journal_tools
async def test_a_long_search_ends_with_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_journal(tmp_path / "long.journal", [fields(number) for number in range(20_000)])
    source = DirectJournal(tmp_path)
    await source.start()
    looked = 0

    def search(_pattern: MessagePattern, _message: str) -> bool:
        nonlocal looked
        looked += 1
        time.sleep(0.001)
        return False

    monkeypatch.setattr(MessagePattern, "search", search)
    for part in (WHOLE_LOG, EntryRange("", -1, 2)):
        entries = source.entries((), part, Narrowing(pattern=MessagePattern("x")))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(entries), 0.3)
        await entries.aclose()
    assert looked < 10_000
    assert not reading()


@needs_journald
async def test_a_machine_that_can_watch_no_more_files_says_so(
    direct: DirectJournal, live: Journald, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_reader: FileReader) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    await write(live, 0, 10)
    monkeypatch.setattr(FileReader, "get_events", none_left)
    with pytest.raises(Unavailable, match="max_user_instances"):
        await numbers(direct, 20)
    monkeypatch.undo()
    assert await numbers(direct, 9) == list(range(10))
