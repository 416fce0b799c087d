from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from supervisor.drivers import logs_setup
from supervisor.drivers.logs_setup import ConsoleFormatter, JournalHandler, configure_logging, logs_to_journal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    names = ("supervisor", "aiohttp.access")
    before = [logging.getLogger(name).level for name in names]
    yield
    for name, level in zip(names, before, strict=True):
        logging.getLogger(name).setLevel(level)


def record(level: int, text: str = "text", at: float = 1_769_860_800.0129) -> logging.LogRecord:
    made = logging.LogRecord("supervisor.store", level, __file__, 1, text, None, None)
    made.created, made.threadName = at, "MainThread"
    return made


def test_a_console_line_has_time_level_thread_and_logger() -> None:
    formatter = ConsoleFormatter(zone=ZoneInfo("UTC"))
    line = formatter.format(record(logging.WARNING))
    assert line == "2026-01-31 12:00:00.012 WARNING (MainThread) [supervisor.store] text"
    formatter.zone = ZoneInfo("Europe/Berlin")
    assert formatter.format(record(logging.INFO)).startswith("2026-01-31 13:00:00.012 INFO ")


@pytest.mark.parametrize(
    ("level", "color"),
    [(logging.DEBUG, 36), (logging.INFO, 32), (logging.WARNING, 33), (logging.ERROR, 31), (logging.CRITICAL, 31)],
)
def test_a_whole_line_has_the_color_of_its_level(level: int, color: int) -> None:
    line = ConsoleFormatter(colors=True).format(record(level))
    assert line.startswith(f"\x1b[{color}m2026-")
    assert line.endswith("text\x1b[0m")


@pytest.mark.parametrize(("stream", "colored"), [(io.StringIO(), False), (Terminal(), True)])
def test_colors_are_for_terminals(stream: io.StringIO, colored: bool) -> None:
    logs = configure_logging("info", "console", stream=stream)
    logging.getLogger("supervisor.x").info("seen")
    logs.stop()
    assert "seen" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) is colored


def test_the_level_is_for_the_own_loggers() -> None:
    stream = io.StringIO()
    logs = configure_logging("warning", "console", stream=stream)
    logging.getLogger("supervisor.x").info("own info")
    logging.getLogger("library").info("library info")
    logging.getLogger("library").debug("library debug")
    logging.getLogger("aiohttp.access").info("GET /")
    logs.set_level("debug")
    logging.getLogger("supervisor.x").debug("own debug")
    logs.stop()
    said = [line.rpartition("] ")[2] for line in stream.getvalue().splitlines()]
    assert said == ["library info", "own debug"]


def test_warnings_of_python_are_logged() -> None:
    stream = io.StringIO()
    logs = configure_logging("info", "console", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    logs.stop()
    assert "DeprecationWarning: old ways" in stream.getvalue()


def test_tracebacks_and_the_zone_reach_every_handler() -> None:
    stream, other = io.StringIO(), io.StringIO()
    logs = configure_logging("info", "console", stream=stream, handlers=[logging.StreamHandler(other)])
    logs.set_zone(ZoneInfo("UTC"))
    try:
        int("reason")
    except ValueError:
        logging.getLogger("supervisor").exception("It failed")
    logs.stop()
    for written in (stream.getvalue(), other.getvalue()):
        assert written.count("ValueError: invalid literal") == 1
        assert "It failed" in written


def test_a_blocked_console_never_blocks_who_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_setup, "_QUEUE_RECORDS", 10)
    gate, stream = threading.Event(), io.StringIO()

    class Stuck(logging.StreamHandler[io.StringIO]):
        def emit(self, record: logging.LogRecord) -> None:
            gate.wait(60)
            super().emit(record)

    logs = configure_logging("info", "console", stream=io.StringIO(), handlers=[Stuck(stream)])
    logger = logging.getLogger("supervisor.x")
    began = time.monotonic()
    for number in range(1000):
        logger.info("line %d", number)
    assert time.monotonic() - began < 30
    gate.set()
    while logs._entry.queue.qsize():  # type: ignore[attr-defined]
        time.sleep(0.005)
    logger.info("the last line")
    logs.stop()
    assert "log lines were dropped" in stream.getvalue()
    assert "the last line" in stream.getvalue()
    assert "line 0\n" in stream.getvalue()


def test_stopping_gives_the_old_state_back() -> None:
    handlers, level = list(logging.root.handlers), logging.root.level
    configure_logging("debug", "console", stream=io.StringIO()).stop()
    assert (logging.root.handlers, logging.root.level) == (handlers, level)


def test_auto_takes_the_journal_when_standard_error_is_connected_to_it(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        here = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert logs_to_journal("auto", stream, here)
        assert not logs_to_journal("auto", stream, {"JOURNAL_STREAM": "1:2"})
        assert not logs_to_journal("auto", stream, {})
        assert not logs_to_journal("console", stream, here)
    assert logs_to_journal("journal", io.StringIO(), {})
    assert not logs_to_journal("auto", io.StringIO(), here)


# Speaks to /run/systemd/journal/socket as the journal library does; a private /run keeps the machine's own out of it.
RECEIVER = """
import json, logging, os, socket
os.makedirs("/run/systemd/journal")
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind("/run/systemd/journal/socket")
receiver.settimeout(30)
from supervisor.drivers.logs_setup import configure_logging
logs = configure_logging("info", "journal")
fields = {"ADDON": "x", "JOB": "u", "_UID": 0}
logging.getLogger("supervisor.addons").warning("x: stopped\\nwith code %d", 1, extra=fields)
logs.stop()
print(json.dumps(receiver.recv(65536).hex()))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace of its own")
def test_journal_fields_arrive_natively() -> None:
    shell = 'mount -t tmpfs tmpfs /run && exec "$0" -c "$1"'
    answer = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell, sys.executable, RECEIVER],
        capture_output=True,
        timeout=120,
        check=True,
    )
    fields = parse_native(bytes.fromhex(json.loads(answer.stdout)))
    assert fields["MESSAGE"] == "WARNING (MainThread) [supervisor.addons] x: stopped\nwith code 1"
    assert (fields["ADDON"], fields["JOB"], fields["PRIORITY"]) == ("x", "u", "4")
    assert (fields["SYSLOG_IDENTIFIER"], fields["LOGGER"]) == ("hassio_supervisor", "supervisor.addons")
    assert "_UID" not in fields


def parse_native(content: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    while content:
        line, _, content = content.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(content[:8], "little")
            value, content = content[8 : 8 + size], content[9 + size :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.mark.parametrize(("level", "priority"), [(10, "7"), (20, "6"), (30, "4"), (40, "3"), (50, "2")])
def test_a_level_has_its_priority_in_the_journal(level: int, priority: str) -> None:
    sent: list[dict[str, object]] = []
    JournalHandler(lambda message, **fields: sent.append(fields)).handle(record(level))
    assert sent[0]["PRIORITY"] == priority
