from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from journal_stand import (
    BOOTS,
    START,
    GatewayStand,
    LiveJournal,
    fields,
    gateway_stand,
    needs_journal_tools,
    real_gateway,
    write_journal,
)

from supervisor.drivers.journal import DirectJournal, EntryRange, JournalGateway, JournalSource
from supervisor.drivers.journal.gateway import BOOT_FINISHED
from supervisor.errors import Invalid, SupervisorError, Unavailable

TAIL = EntryRange("", -99, 100)
X = [("SYSLOG_IDENTIFIER", "addon_x")]


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[GatewayStand]:
    async with gateway_stand(tmp_path) as stand:
        yield stand


@contextlib.asynccontextmanager
async def opened(socket: Path) -> AsyncIterator[JournalGateway]:
    gateway = JournalGateway(socket=socket)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.close()


@pytest.fixture
async def gateway(stand: GatewayStand) -> AsyncIterator[JournalGateway]:
    async with opened(stand.socket) as gateway:
        yield gateway


async def messages(source: JournalSource, part: EntryRange = TAIL, filters: object = X) -> list[str]:
    async with contextlib.aclosing(source.entries(filters, part)) as entries:  # type: ignore[arg-type]
        return [entry.message async for entry in entries]


async def test_the_gateway_is_asked_with_filters_range_and_format(stand: GatewayStand, gateway: JournalGateway) -> None:
    stand.entries = [fields(1, "two\nlines", _PID="7"), fields(2)]
    filters = [("SYSLOG_IDENTIFIER", "addon_x"), ("SYSLOG_IDENTIFIER", "app_x"), ("_BOOT_ID", "ü&follow")]
    async with contextlib.aclosing(gateway.entries(filters, TAIL)) as entries:
        first = await anext(entries)
        assert [entry.message async for entry in entries] == ["message 2"]
    assert (first.cursor, first.time, first.message, first.pid) == ("s=0;i=1", START + 1_000_000, "two\nlines", "7")
    assert (first.identifier, first.hostname, first.boot_id) == ("addon_x", "box", BOOTS[2])
    (request,) = stand.asked
    assert list(request.query.items()) == filters
    assert request.headers["Range"] == "entries=:-99:100"
    assert request.headers["Accept"] == "application/vnd.fdo.journal"
    assert request.headers["Host"] == "localhost"


async def test_following_says_so_and_leaves_when_closed(stand: GatewayStand, gateway: JournalGateway) -> None:
    stand.entries = [fields(1)]
    async with contextlib.aclosing(gateway.entries(X, TAIL, follow=True)) as entries:
        assert (await anext(entries)).message == "message 1"
        assert stand.asked[0].query["follow"] == ""
    await asyncio.wait_for(stand.left.wait(), 30)


@pytest.mark.parametrize(("status", "error"), [(400, Invalid), (416, Invalid), (500, Unavailable), (204, Unavailable)])
async def test_a_refusal_of_the_gateway_is_an_error(
    stand: GatewayStand, gateway: JournalGateway, status: int, error: type[SupervisorError]
) -> None:
    stand.status, stand.text = status, "Failed to seek in journal"
    with pytest.raises(error, match="204" if status == 204 else stand.text):
        await messages(gateway)


async def test_a_lost_connection_is_unavailable_after_the_entries_that_came(
    stand: GatewayStand, gateway: JournalGateway
) -> None:
    stand.entries, stand.cut = [fields(1)], asyncio.Event()
    entries = gateway.entries(X, TAIL)
    assert (await anext(entries)).message == "message 1"
    stand.cut.set()
    with pytest.raises(Unavailable):
        await anext(entries)


async def test_garbage_from_the_gateway_is_unavailable(stand: GatewayStand, gateway: JournalGateway) -> None:
    stand.raw = b"x" * 5000
    with pytest.raises(Unavailable):
        await messages(gateway)


async def test_without_a_socket_there_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file"):
        async with opened(path) as gateway:
            assert not gateway.available
            with pytest.raises(Unavailable, match="No systemd-journal-gatewayd Unix socket available"):
                await messages(gateway)


async def test_a_gateway_that_went_away_is_unavailable(tmp_path: Path) -> None:
    async with gateway_stand(tmp_path) as stand, opened(stand.socket) as gateway:
        stand.socket.unlink()
        assert gateway.available
        with pytest.raises(Unavailable):
            await messages(gateway)
        with pytest.raises(Unavailable):
            await gateway.boots()


async def test_boots_come_in_the_order_of_their_index_and_are_asked_once(
    stand: GatewayStand, gateway: JournalGateway
) -> None:
    stand.boots = "".join(f'\x1e{{"index": {i}, "boot_id": "{BOOTS[i + 2]}"}}\n' for i in (0, -2, -1))
    assert await gateway.boots() == BOOTS
    assert await gateway.boots() == BOOTS
    assert [request.path for request in stand.asked] == ["/boots"]


async def test_old_gateways_tell_their_boots_by_the_entries(stand: GatewayStand, gateway: JournalGateway) -> None:
    stand.entries = [
        fields(1, boot=0),
        fields(2, boot=1, MESSAGE_ID=BOOT_FINISHED),
        fields(3, boot=1, MESSAGE_ID=BOOT_FINISHED),
        fields(4, "still starting", boot=2),
    ]
    assert await gateway.boots() == BOOTS


async def test_identifiers_are_sorted_and_without_empty_ones(stand: GatewayStand, gateway: JournalGateway) -> None:
    stand.identifiers = "kernel\naddon_x\n\nkernel\n"
    assert await gateway.identifiers() == ["addon_x", "kernel"]


# The real thing: one journal, read through the real gateway and straight from its file.


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    folder = tmp_path / "journal"
    folder.mkdir()
    story = [fields(i, boot=i // 4) for i in range(12)]
    story.insert(6, fields(5, "of another", boot=1, SYSLOG_IDENTIFIER="other", CONTAINER_LOG_EPOCH="e1"))
    story.insert(8, fields(7, "up", boot=1, SYSLOG_IDENTIFIER="other", MESSAGE_ID=BOOT_FINISHED))
    story.append(fields(12, "two\nlines and \x1b[31mred\x1b[0m", _PID="7", CONTAINER_ID_FULL="id"))
    write_journal(folder / "test.journal", story)
    return folder


@pytest.fixture(params=["gateway", "direct"])
async def source(request: pytest.FixtureRequest, journal: Path, tmp_path: Path) -> AsyncIterator[JournalSource]:
    if request.param == "direct":
        direct = DirectJournal(journal)
        await direct.start()
        yield direct
        await direct.close()
        return
    with real_gateway(journal, tmp_path / "real.sock"):
        async with opened(tmp_path / "real.sock") as gateway:
            yield gateway


def numbers(start: int, end: int) -> list[str]:
    return [f"message {i}" for i in range(start, end)]


LAST = "two\nlines and \x1b[31mred\x1b[0m"


@needs_journal_tools
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (TAIL, [*numbers(0, 12), LAST]),
        (EntryRange("", -1, 2), ["message 11", LAST]),
        (EntryRange("", -3, 2), numbers(9, 11)),
        (EntryRange("", 0, 3), numbers(0, 3)),
        (EntryRange("", 2, 3), numbers(2, 5)),
        (EntryRange("", None, 2), numbers(0, 2)),
        (EntryRange(""), [*numbers(0, 12), LAST]),
        (EntryRange("", 0, 2**64 - 1), [*numbers(0, 12), LAST]),
    ],
)
async def test_a_range_of_the_real_journal(source: JournalSource, part: EntryRange, expected: list[str]) -> None:
    assert await messages(source, part) == expected


@needs_journal_tools
async def test_a_cursor_of_the_real_journal_leads_back_and_forth(source: JournalSource) -> None:
    async with contextlib.aclosing(source.entries(X, EntryRange("", -4, 5))) as entries:
        first = await anext(entries)
    assert first.message == "message 8"
    assert await messages(source, EntryRange(first.cursor, 0, 2)) == numbers(8, 10)
    assert await messages(source, EntryRange(first.cursor, -3, 3)) == numbers(5, 8)
    assert await messages(source, EntryRange(first.cursor, 2, 2)) == numbers(10, 12)
    assert await messages(source, EntryRange(first.cursor, -99, 2)) == numbers(0, 2)
    with pytest.raises(Invalid):
        await messages(source, EntryRange("no cursor at all", 0, 1))


@needs_journal_tools
async def test_filters_of_one_field_add_up_and_of_different_fields_narrow(source: JournalSource) -> None:
    both = [("SYSLOG_IDENTIFIER", "addon_x"), ("SYSLOG_IDENTIFIER", "other"), ("_BOOT_ID", BOOTS[1])]
    assert sorted(await messages(source, TAIL, both)) == [*numbers(4, 8), "of another", "up"]
    assert await messages(source, TAIL, [("SYSLOG_IDENTIFIER", "nobody")]) == []
    (entry,) = [entry async for entry in source.entries([("CONTAINER_LOG_EPOCH", "e1")], TAIL)]
    assert (entry.identifier, entry.container_epoch, entry.time) == ("other", "e1", START + 5_000_000)
    (entry,) = [entry async for entry in source.entries([("CONTAINER_ID_FULL", "id")], TAIL)]
    assert (entry.pid, entry.container_id, entry.hostname) == ("7", "id", "box")


@needs_journal_tools
async def test_boots_and_identifiers_of_the_real_journal(source: JournalSource) -> None:
    assert await source.boots() == BOOTS
    assert await source.identifiers() == ["addon_x", "other"]


@needs_journal_tools
async def test_new_entries_of_the_real_journal_are_followed(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path / "live.journal")
    try:
        live.write(fields(1), fields(2))
        direct = DirectJournal(tmp_path)
        async with asyncio.timeout(30):
            while not direct.available:
                await direct.start()
            async with contextlib.aclosing(direct.entries(X, EntryRange("", -99, None), follow=True)) as entries:
                assert [(await anext(entries)).message for _ in range(2)] == numbers(1, 3)
                live.write(fields(3), fields(4, SYSLOG_IDENTIFIER="other"), fields(5))
                assert [(await anext(entries)).message for _ in range(2)] == ["message 3", "message 5"]
    finally:
        live.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "journal"]


@needs_journal_tools
async def test_a_reader_that_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    write_journal(tmp_path / "long.journal", [fields(i) for i in range(3000)])
    direct = DirectJournal(tmp_path)
    await direct.start()
    async with contextlib.aclosing(direct.entries(X, EntryRange("", 0))) as entries:
        assert (await anext(entries)).message == "message 0"
        await asyncio.sleep(0.1)  # the thread runs ahead as far as it may
    assert not [thread for thread in threading.enumerate() if thread.name == "journal"]
    assert len(await messages(direct, EntryRange("", 0))) == 3000


async def test_a_folder_without_journal_files_is_no_journal(tmp_path: Path) -> None:
    direct = DirectJournal(tmp_path)
    await direct.start()
    assert not direct.available
    with pytest.raises(Unavailable):
        await direct.identifiers()


@needs_journal_tools
async def test_a_damaged_journal_file_does_not_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "broken.journal").write_bytes(b"not a journal" * 1000)
    write_journal(tmp_path / "good.journal", [fields(1)])
    direct = DirectJournal(tmp_path)
    await direct.start()
    assert await messages(direct) == ["message 1"]
