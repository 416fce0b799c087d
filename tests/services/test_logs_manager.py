from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from journal_stand import BOOTS, GatewayStand, fields, gateway_stand
from log_engine_stand import BEGIN, EngineStand, InfoStand, LineStand
from multidict import CIMultiDict

from supervisor.drivers.journal import EntryRange, JournalGateway
from supervisor.errors import Internal, Invalid, Unavailable
from supervisor.events import EventBus
from supervisor.managers.logs import LogManager, LogRequest, LogTarget, SupervisorLog
from supervisor.managers.logs.kept import MAX_FILE_BYTES, MAX_RUN_LINES
from supervisor.managers.logs.manager import resolve_boot

X = LogTarget(("addon_x", "app_x"), "addon_x")
HOST = LogTarget(("kernel", "systemd"))
PRESENT_BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture
def engine() -> EngineStand:
    return EngineStand(EventBus())


@pytest.fixture
def logs(engine: EngineStand, tmp_path: Path) -> LogManager:
    return LogManager(None, engine, engine.bus, tmp_path / "logs")


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[GatewayStand]:
    async with gateway_stand(tmp_path) as stand:
        yield stand


@pytest.fixture
async def with_journal(stand: GatewayStand, engine: EngineStand, tmp_path: Path) -> AsyncIterator[LogManager]:
    gateway = JournalGateway(socket=stand.socket)
    await gateway.start()
    engine.info = InfoStand("journald")
    yield LogManager(gateway, engine, engine.bus, tmp_path / "logs")
    await gateway.close()


def ask(headers: dict[str, str] | None = None, query: dict[str, str] | None = None, **more: object) -> LogRequest:
    return LogRequest.from_query(CIMultiDict(headers or {}), query or {}, **more)  # type: ignore[arg-type]


async def read(logs: LogManager, request: LogRequest, target: LogTarget = X) -> list[str]:
    async with contextlib.aclosing(await logs.stream(target, request)) as stream:
        return [line async for line in stream.lines]


# From the engine.


async def test_the_engine_gives_the_last_hundred_lines(logs: LogManager, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, *(str(number) for number in range(150)))
    assert await read(logs, ask()) == [str(number) for number in range(50, 150)]
    assert await read(logs, ask(query={"lines": "3"})) == ["147", "148", "149"]


async def test_pages_of_an_engine_log_fit_together(logs: LogManager, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, *(str(number) for number in range(30)))
    pages: list[list[str]] = []
    value = "entries=:-9:10"
    for _ in range(3):
        stream = await logs.stream(X, ask({"Range": value}))
        pages.insert(0, [line async for line in stream.lines])
        await stream.aclose()
        value = f"entries={stream.first_cursor}:-10:10"
    assert [line for page in pages for line in page] == [str(number) for number in range(30)]


async def test_lines_of_one_moment_keep_their_order_over_pages(logs: LogManager, engine: EngineStand) -> None:
    container = engine.start("addon_x", "one")
    container.lines = [LineStand(BEGIN + timedelta(seconds=i // 3), "stdout", str(i)) for i in range(20)]
    stream = await logs.stream(X, ask({"Range": "entries=:-4:5"}))
    assert [line async for line in stream.lines] == ["15", "16", "17", "18", "19"]
    assert await read(logs, ask({"Range": f"entries={stream.first_cursor}:-5:5"})) == ["10", "11", "12", "13", "14"]


async def test_the_verbose_form_of_an_engine_line(logs: LogManager, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1.5, "\x1b[31mred\x1b[0m")
    (line,) = await read(logs, ask(query={"verbose": "", "no_colors": ""}))
    when, clock, _, rest = line.split(" ", 3)
    assert (when, clock, rest) == ("2026-01-31", "12:00:01.500", "addon_x: red")


async def test_following_goes_on_with_new_lines(logs: LogManager, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "a", "b", "c")
    async with contextlib.aclosing(await logs.stream(X, ask(query={"lines": "2"}, follow=True))) as stream:
        assert [await anext(stream.lines) for _ in range(2)] == ["b", "c"]
        pending = asyncio.ensure_future(anext(stream.lines))
        await asyncio.sleep(0.01)
        await engine.say("addon_x", 2, "d")
        assert await pending == "d"
    assert engine.open == 0


async def test_following_goes_on_with_the_next_run(logs: LogManager, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "a")
    async with contextlib.aclosing(await logs.stream(X, ask(follow=True))) as stream:
        assert await anext(stream.lines) == "a"
        pending = asyncio.ensure_future(anext(stream.lines))
        await asyncio.sleep(0.01)
        await logs.keep("addon_x")
        await engine.stop("addon_x")
        await asyncio.sleep(0.01)
        engine.start("addon_x", "two", 5)
        await engine.say("addon_x", 6, "b")
        assert await asyncio.wait_for(pending, 30) == "b"
        await engine.stop("addon_x", remove=False)
        engine.start("addon_x", "three", -100)  # a clock that was set back hides nothing
        await engine.say("addon_x", -99, "c")
        assert await asyncio.wait_for(anext(stream.lines), 30) == "c"


async def test_following_waits_for_a_container_that_never_ran(logs: LogManager, engine: EngineStand) -> None:
    opening = asyncio.ensure_future(logs.stream(X, ask(follow=True)))
    await asyncio.sleep(0.01)
    assert not opening.done()
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "first words")
    async with contextlib.aclosing(await asyncio.wait_for(opening, 30)) as stream:
        assert await anext(stream.lines) == "first words"


async def test_giving_up_before_the_first_line_leaves_nothing_open(logs: LogManager, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    opening = asyncio.ensure_future(logs.stream(X, ask(follow=True)))
    await asyncio.sleep(0.01)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert engine.open == 0
    assert not any(engine.bus._handlers.values())


async def test_closing_an_unread_stream_leaves_nothing_open(logs: LogManager, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "a", "b")
    stream = await logs.stream(X, ask({"Range": "entries=:0:5"}))
    assert engine.open == 1
    await stream.aclose()
    assert engine.open == 0


async def test_without_container_and_kept_lines_the_log_is_empty(logs: LogManager) -> None:
    stream = await logs.stream(X, ask())
    assert stream.first_cursor is None
    assert [line async for line in stream.lines] == []
    assert await read(logs, ask(latest=True)) == []


async def test_the_log_of_a_removed_container_stays_readable(logs: LogManager, engine: EngineStand) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "a", "crash: two\nlines")
    await logs.keep("addon_x")
    await logs.keep("addon_x")
    assert await read(logs, ask()) == ["a", "crash: two\nlines"]
    await engine.stop("addon_x")
    assert await read(logs, ask()) == ["a", "crash: two\nlines"]
    assert await read(logs, ask(latest=True)) == ["a", "crash: two\nlines"]


async def test_kept_runs_and_the_present_one_are_one_log(logs: LogManager, engine: EngineStand) -> None:
    for run, messages in enumerate((("a", "b"), ("c",), ("d", "e"))):
        engine.start("addon_x", f"run {run}", run * 10)
        await engine.say("addon_x", run * 10 + 1, *messages)
        if run < 2:
            await logs.keep("addon_x")
            await engine.stop("addon_x")
    assert await read(logs, ask()) == ["a", "b", "c", "d", "e"]
    assert await read(logs, ask(query={"lines": "4"})) == ["b", "c", "d", "e"]
    assert await read(logs, ask(query={"lines": "2"})) == ["d", "e"]
    assert await read(logs, ask({"Range": "entries=:0:3"})) == ["a", "b", "c"]
    assert await read(logs, ask(latest=True)) == ["d", "e"]
    assert await read(logs, ask(query={"lines": "9"}, latest=True)) == ["d", "e"]
    await engine.stop("addon_x")
    assert await read(logs, ask(latest=True)) == ["c"]


async def test_keeping_again_adds_only_what_is_new(logs: LogManager, engine: EngineStand) -> None:
    container = engine.start("addon_x", "one")
    container.lines = [LineStand(BEGIN + timedelta(seconds=1), "stdout", str(i)) for i in range(3)]
    await logs.keep("addon_x")
    container.lines.append(LineStand(BEGIN + timedelta(seconds=1), "stderr", "3"))
    container.finished_at = BEGIN + timedelta(seconds=1.5)
    container.started_at = BEGIN + timedelta(seconds=2)
    await engine.say("addon_x", 3, "after a restart")
    await logs.keep("addon_x")
    await engine.stop("addon_x")
    assert await read(logs, ask()) == ["0", "1", "2", "3", "after a restart"]
    assert await read(logs, ask(latest=True)) == ["after a restart"]


async def test_lines_that_came_before_the_engine_noted_the_start_belong_to_the_run(
    logs: LogManager, engine: EngineStand
) -> None:
    for run, at in enumerate((0, 3)):
        engine.start("addon_x", f"run {run}", at)
        await engine.say("addon_x", at - 0.5, f"{run}: early")
        await engine.say("addon_x", at + 0.5, f"{run}: late")
        assert await read(logs, ask(latest=True)) == [f"{run}: early", f"{run}: late"]
        await logs.keep("addon_x")
        assert await read(logs, ask(latest=True)) == [f"{run}: early", f"{run}: late"]
        await engine.stop("addon_x")
        assert await read(logs, ask(latest=True)) == [f"{run}: early", f"{run}: late"]


async def test_an_earlier_run_of_the_same_container_is_not_the_latest(logs: LogManager, engine: EngineStand) -> None:
    container = engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "first")
    container.finished_at = BEGIN + timedelta(seconds=2)
    container.started_at = BEGIN + timedelta(seconds=3)
    await engine.say("addon_x", 2.5, "second")
    assert await read(logs, ask(latest=True)) == ["second"]
    await logs.keep("addon_x")
    await engine.stop("addon_x")
    assert await read(logs, ask(latest=True)) == ["second"]
    assert await read(logs, ask()) == ["first", "second"]


async def test_lines_whose_times_cross_are_neither_lost_nor_doubled(logs: LogManager, engine: EngineStand) -> None:
    container = engine.start("addon_x", "one")
    at = {
        name: BEGIN + timedelta(seconds=1, milliseconds=delay) for name, delay in zip("abcd", (5, 0, 3, 1), strict=True)
    }
    container.lines = [LineStand(at[name], "stdout", name) for name in "ab"]
    async with asyncio.timeout(30), contextlib.aclosing(await logs.stream(X, ask(follow=True))) as stream:
        assert [await anext(stream.lines) for _ in range(2)] == ["a", "b"]
        await logs.keep("addon_x")
        pending = asyncio.ensure_future(anext(stream.lines))
        container.lines += [LineStand(at[name], "stderr", name) for name in "cd"]
        await engine.say("addon_x", 2, "e")
        assert [await pending, await anext(stream.lines), await anext(stream.lines)] == ["c", "d", "e"]
    await logs.keep("addon_x")
    await logs.keep("addon_x")
    assert await read(logs, ask()) == ["a", "b", "c", "d", "e"]


async def test_what_is_kept_is_bounded(logs: LogManager, engine: EngineStand, tmp_path: Path) -> None:
    for run in range(4):
        engine.start("addon_x", f"run {run}", run * 10)
        await engine.say("addon_x", run * 10 + 1, *(f"{run}/{i} {'x' * 500}" for i in range(MAX_RUN_LINES + 500)))
        await logs.keep("addon_x")
        await engine.stop("addon_x")
    assert (tmp_path / "logs" / "addon_x.log").stat().st_size <= MAX_FILE_BYTES
    last = await read(logs, ask(query={"lines": "3"}))
    assert [line.split()[0] for line in last] == ["3/2497", "3/2498", "3/2499"]


async def test_forgetting_removes_what_was_kept(logs: LogManager, engine: EngineStand, tmp_path: Path) -> None:
    engine.start("addon_x", "one")
    await engine.say("addon_x", 1, "a")
    await logs.keep("addon_x")
    await engine.stop("addon_x")
    await logs.forget("addon_x")
    await logs.forget("addon_x")
    assert await read(logs, ask()) == []
    assert list((tmp_path / "logs").iterdir()) == []


async def test_keeping_never_fails(
    logs: LogManager, engine: EngineStand, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await logs.keep("addon_x")
    assert not caplog.records
    engine.start("addon_x", "one")
    (tmp_path / "logs").write_text("in the way")
    await logs.keep("addon_x")
    engine.failure = Unavailable("The engine is away")
    await logs.keep("addon_x")
    await logs.forget("../addon_x")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


@pytest.mark.parametrize("name", ["../etc", "a/b", "", ".hidden", "x" * 200, "a\n"])
async def test_a_container_name_never_becomes_a_path(logs: LogManager, name: str) -> None:
    with pytest.raises(Invalid):
        await read(logs, ask(), LogTarget((), name))


async def test_an_engine_that_is_away_is_unavailable(logs: LogManager, engine: EngineStand) -> None:
    engine.failure = Unavailable("The engine is away")
    with pytest.raises(Unavailable):
        await read(logs, ask())


async def test_lines_without_a_time_stand_where_they_came(logs: LogManager, engine: EngineStand) -> None:
    container = engine.start("addon_x", "one")
    container.lines = [LineStand(None, "stdout", str(number)) for number in range(3)]
    assert await read(logs, ask()) == ["0", "1", "2"]


async def test_without_journal_only_the_present_boot_is_known(logs: LogManager, engine: EngineStand) -> None:
    container = engine.start("addon_x", "one")
    container.lines.append(LineStand(BEGIN.replace(year=1999), "stdout", "before this boot"))
    container.lines.append(LineStand(BEGIN.replace(year=2200), "stdout", "in this boot"))
    for boot in ("0", "1", PRESENT_BOOT, PRESENT_BOOT.replace("-", "")):
        assert await read(logs, ask(boot=boot)) == ["in this boot"]
    for boot in ("-1", "2", BOOTS[0]):
        with pytest.raises(Invalid, match="Logs only contain 1 boots"):
            await read(logs, ask(boot=boot))


async def test_without_journal_there_are_no_host_logs(logs: LogManager) -> None:
    assert not logs.journal_available
    for call in (read(logs, ask(), HOST), logs.boots(), logs.identifiers()):
        with pytest.raises(Unavailable, match="No systemd-journal-gatewayd Unix socket available"):
            await call


# From the journal.


async def test_the_journal_is_asked_where_the_engine_logs_there(
    with_journal: LogManager, stand: GatewayStand, engine: EngineStand
) -> None:
    stand.entries = [fields(1), fields(2)]
    assert await read(with_journal, ask()) == ["message 1", "message 2"]
    engine.start("addon_x", "one", driver="journald")
    stream = await with_journal.stream(X, ask({"Range": "entries=:-2:3"}, boot=BOOTS[0]))
    await stream.aclose()
    assert stream.first_cursor == "s=0;i=1"
    assert list(stand.asked[-1].query.items()) == [
        ("SYSLOG_IDENTIFIER", "addon_x"),
        ("SYSLOG_IDENTIFIER", "app_x"),
        ("_BOOT_ID", BOOTS[0]),
    ]
    assert stand.asked[-1].headers["Range"] == "entries=:-2:3"


async def test_the_engine_is_asked_where_the_container_logs_elsewhere(
    with_journal: LogManager, stand: GatewayStand, engine: EngineStand
) -> None:
    engine.start("addon_x", "one", driver="json-file")
    await engine.say("addon_x", 1, "from the engine")
    assert await read(with_journal, ask()) == ["from the engine"]
    engine.info = InfoStand("json-file")
    del engine.known["addon_x"]
    assert await read(with_journal, ask()) == []
    assert stand.asked == []


async def test_the_journal_stays_readable_without_the_engine(
    with_journal: LogManager, stand: GatewayStand, engine: EngineStand
) -> None:
    stand.entries = [fields(1)]
    engine.failure, engine.info = Unavailable("The engine is away"), None
    assert await read(with_journal, ask()) == ["message 1"]


async def test_nothing_is_kept_that_the_journal_has(
    with_journal: LogManager, engine: EngineStand, tmp_path: Path
) -> None:
    engine.start("addon_x", "one", driver="journald")
    await with_journal.keep("addon_x")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("field", ["CONTAINER_LOG_EPOCH", "CONTAINER_ID_FULL"])
async def test_latest_is_the_run_of_the_newest_entry(with_journal: LogManager, stand: GatewayStand, field: str) -> None:
    stand.entries = [
        fields(1, CONTAINER_NAME="addon_x", **{field: "1"}),
        fields(2, CONTAINER_NAME="addon_x", **{field: "2"}),
        fields(3, "\x1b[31mred\x1b[0m", CONTAINER_NAME="addon_x", **{field: "2"}),
    ]
    target = attrs.evolve(X, identifiers=("addon_x",))
    assert await read(with_journal, ask(latest=True), target) == ["message 2", "red"]
    lookup, wanted = stand.asked
    assert (lookup.query["CONTAINER_NAME"], lookup.headers["Range"]) == ("addon_x", "entries=:-1:2")
    assert (wanted.query[field], wanted.headers["Range"]) == ("2", "entries=:0:18446744073709551615")


async def test_latest_without_an_epoch_is_an_error_with_a_key(with_journal: LogManager, stand: GatewayStand) -> None:
    with pytest.raises(Internal) as caught:
        await read(with_journal, ask(latest=True))
    assert caught.value.key == "host_container_log_epoch_error"
    stand.status = 500
    with pytest.raises(Internal):
        await read(with_journal, ask(latest=True))


async def test_latest_needs_somebody(with_journal: LogManager) -> None:
    with pytest.raises(Invalid, match="Latest logs can only be fetched for a specific identifier"):
        await read(with_journal, ask(latest=True), HOST)


async def test_boots_are_counted_from_the_newest_and_the_oldest(with_journal: LogManager, stand: GatewayStand) -> None:
    stand.boots = "".join(f'\x1e{{"index": {i}, "boot_id": "{boot}"}}\n' for i, boot in enumerate(BOOTS))
    stand.identifiers = "kernel\n"
    assert await with_journal.boots() == {"0": BOOTS[2], "-1": BOOTS[1], "-2": BOOTS[0]}
    assert await with_journal.identifiers() == ["kernel"]
    await read(with_journal, ask(boot="-1"), HOST)
    assert stand.asked[-1].query["_BOOT_ID"] == BOOTS[1]
    with pytest.raises(Invalid, match="Logs only contain 3 boots"):
        await read(with_journal, ask(boot="-3"), HOST)


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        ("0", BOOTS[2]),
        ("-2", BOOTS[0]),
        ("1", BOOTS[0]),
        ("3", BOOTS[2]),
        ("f" * 32, "f" * 32),
        ("861751b9-5089-44ed-b6a2-82016dd7ef76", "861751b9508944edb6a282016dd7ef76"),
        ("12345678901234567890123456789012", "12345678901234567890123456789012"),
        ("anything", "anything"),
    ],
)
def test_a_boot_is_an_offset_or_an_id(boot: str, expected: str) -> None:
    assert resolve_boot(boot, BOOTS) == expected


@pytest.mark.parametrize("boot", ["4", "-3", "999999999"])
def test_an_offset_out_of_range_is_invalid(boot: str) -> None:
    with pytest.raises(Invalid, match="Logs only contain 3 boots"):
        resolve_boot(boot, BOOTS)


# The daemon's own log.

OWN = LogTarget(("hassio_supervisor",), "hassio_supervisor", own=True)


async def test_the_own_log_falls_back_from_journal_to_file_to_engine(
    stand: GatewayStand, engine: EngineStand, tmp_path: Path
) -> None:
    gateway = JournalGateway(socket=stand.socket)
    await gateway.start()
    own = SupervisorLog(tmp_path / "supervisor.log")
    own.handle(own_record("in the file"))
    engine.start("hassio_supervisor", "one")
    await engine.say("hassio_supervisor", 1, "in the engine")
    stand.entries = [fields(1, "in the journal")]
    logs = LogManager(gateway, engine, engine.bus, tmp_path, own=own, own_in_journal=True)
    assert await read(logs, ask(), OWN) == ["in the journal"]
    stand.status = 500
    assert await read(logs, ask(boot="-5", latest=True, follow=True), OWN) == ["in the file"]
    without_file = LogManager(gateway, engine, engine.bus, tmp_path, own_in_journal=True)
    assert await read(without_file, ask(), OWN) == ["in the engine"]
    with pytest.raises(Unavailable):
        await read(without_file, ask(), attrs.evolve(OWN, container=None))
    own.close()
    await gateway.close()


async def test_the_own_log_in_a_file_takes_the_same_options(engine: EngineStand, tmp_path: Path) -> None:
    own = SupervisorLog(tmp_path / "supervisor.log")
    for number in range(5):
        own.handle(own_record(str(number)))
    logs = LogManager(None, engine, engine.bus, tmp_path, own=own)
    assert await read(logs, ask(query={"lines": "2"}), OWN) == ["3", "4"]
    assert await read(logs, ask(latest=True), OWN) == ["0", "1", "2", "3", "4"]
    assert await read(logs, ask(boot="0"), OWN) == ["0", "1", "2", "3", "4"]
    stream = await logs.stream(OWN, ask({"Range": "entries=:2:1"}))
    await stream.aclose()
    assert await read(logs, ask({"Range": f"entries={stream.first_cursor}:-1:1"}), OWN) == ["1"]
    # Whatever is wrong with the request, the last lines come.
    assert await read(logs, ask({"Range": "entries=s=1;i=1:-1:1"}), OWN) == ["0", "1", "2", "3", "4"]
    own.close()


async def test_the_limits_of_the_own_range_stay(engine: EngineStand, tmp_path: Path) -> None:
    own = SupervisorLog(tmp_path / "supervisor.log")
    logs = LogManager(None, engine, engine.bus, tmp_path, own=own)
    own.handle(own_record("first"))
    request = attrs.evolve(ask(follow=True), part=EntryRange("", 0, 2))
    async with contextlib.aclosing(await logs.stream(OWN, request)) as stream:
        assert await anext(stream.lines) == "first"
        await asyncio.to_thread(own.handle, own_record("second"))
        assert await anext(stream.lines) == "second"
        await asyncio.to_thread(own.handle, own_record("third"))
        with pytest.raises(StopAsyncIteration):
            await anext(stream.lines)
    own.close()


def own_record(text: str) -> logging.LogRecord:
    return logging.LogRecord("supervisor", logging.INFO, __file__, 1, text, None, None)
