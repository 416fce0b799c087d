from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest

from supervisor.managers.logs import SupervisorLog
from supervisor.managers.logs.own import OwnLogReader


def record(text: str, at: float | None = None) -> logging.LogRecord:
    made = logging.LogRecord("supervisor", logging.INFO, __file__, 1, text, None, None)
    made.created = made.created if at is None else at
    return made


async def history(reader: OwnLogReader) -> list[str]:
    return [line.message async for line in reader.history(None)]


async def test_lines_survive_the_process_in_their_order_whatever_the_clock_does(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "supervisor.log"
    for run, at in enumerate((2_000_000_000, 1_000_000_000)):
        log = SupervisorLog(path)
        log.handle(record(f"{run}: one\ntwo", at))
        log.handle(record(f"{run}: three", at))
        log.close()
    lines = [line async for line in log.reader().history(None)]
    assert [line.message for line in lines] == ["0: one\ntwo", "0: three", "1: one\ntwo", "1: three"]
    assert [line.position for line in lines] == sorted({line.position for line in lines})


async def test_the_files_are_bounded_and_the_newest_lines_stay(tmp_path: Path) -> None:
    log = SupervisorLog(tmp_path / "supervisor.log", max_bytes=10_000)
    for number in range(1000):
        log.handle(record(f"{number} {'x' * 100}"))
    log.close()
    sizes = sorted(file.stat().st_size for file in tmp_path.iterdir())  # noqa: ASYNC240 - two files of a test
    assert len(sizes) == 2
    assert sizes[-1] <= 10_000
    numbers = [int(line.split()[0]) for line in await history(log.reader())]
    assert numbers == list(range(numbers[0], 1000))
    assert len(numbers) > 50


async def test_a_reader_hears_what_is_logged_in_other_threads(tmp_path: Path) -> None:
    log = SupervisorLog(tmp_path / "supervisor.log")
    reader = log.reader()
    log.handle(record("old"))
    assert await history(reader) == ["old"]
    async with contextlib.aclosing(reader.live()) as news:
        pending = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0.01)
        await asyncio.to_thread(log.handle, record("new"))
        assert (await asyncio.wait_for(pending, 30)).message == "new"
    assert not log._watchers
    log.close()


async def test_a_reader_that_fell_far_behind_misses_nothing_that_the_files_hold(tmp_path: Path) -> None:
    log = SupervisorLog(tmp_path / "supervisor.log")
    reader = log.reader()
    log.handle(record("0"))
    assert await history(reader) == ["0"]
    for number in range(1, 3000):
        log.handle(record(str(number)))
    async with contextlib.aclosing(reader.live()) as news:
        assert [int((await anext(news)).message) for _ in range(2999)] == list(range(1, 3000))
    log.close()


async def test_a_disk_that_refuses_costs_lines_in_the_file_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("in the way")
    log = SupervisorLog(tmp_path / "logs" / "supervisor.log")
    reader = log.reader()
    async with contextlib.aclosing(reader.live()) as news:
        log.handle(record("only in memory"))
        assert (await anext(news)).message == "only in memory"
        assert await history(log.reader()) == []
        (tmp_path / "logs").unlink()
        log.handle(record("on the disk again"))
        assert (await anext(news)).message == "on the disk again"
    assert await history(log.reader()) == ["on the disk again"]
    log.close()
    assert capsys.readouterr().err == ""
