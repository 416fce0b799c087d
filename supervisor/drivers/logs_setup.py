"""Where the daemon's own log goes: a console or the journal, and further handlers of the caller (host contract §56).

Records pass through a bounded queue to one thread, so a slow terminal or disk never holds up the event loop.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final, Literal, TextIO

from systemd import journal

IDENTIFIER: Final = "hassio_supervisor"
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_QUEUE_RECORDS: Final = 10_000
_LOGGER_NAME: Final = "supervisor"
_COLORS: Final = {"DEBUG": "36", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "31"}
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

Send = Callable[..., object]


class ConsoleFormatter(logging.Formatter):
    """`2026-01-31 12:00:00.000 INFO (MainThread) [supervisor.store] text`; the zone may be changed while it is used.

    `zone` None is the machine's own.
    """

    def __init__(self, *, colors: bool = False, zone: tzinfo | None = None) -> None:
        super().__init__("%(asctime)s %(levelname)s (%(threadName)s) [%(name)s] %(message)s")
        self.zone = zone
        self._colors = colors

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - inherited
        when = datetime.fromtimestamp(record.created, self.zone)
        return when.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        color = _COLORS.get(record.levelname) if self._colors else None
        return f"\x1b[{color}m{text}\x1b[0m" if color else text


class JournalHandler(logging.Handler):
    """Sends records to the journal with native fields.

    What a logging call gives in `extra` under an upper-case name (`extra={"ADDON": slug}`) becomes a field.
    """

    def __init__(self, send: Send = journal.send) -> None:
        super().__init__()
        self._send = send
        self.setFormatter(logging.Formatter("%(levelname)s (%(threadName)s) [%(name)s] %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(self.format(record), **_fields(record))
        except (OSError, ValueError, TypeError):  # a record that can't be sent must not end the thread for the others
            self.handleError(record)


class _BoundedQueueHandler(QueueHandler):
    """Drops records rather than memory when the log thread can't keep up, and says so once it can."""

    def __init__(self, records: queue.Queue[Any]) -> None:
        super().__init__(records)
        self._dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            text = f"{dropped} log lines were dropped: they came faster than they could be written"
            self.enqueue(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None))


class Logging:
    """The logging that `configure_logging` set up; `stop` writes what is queued and gives the old state back."""

    def __init__(self, listener: QueueListener, entry: QueueHandler, handlers: Sequence[logging.Handler]) -> None:
        self._listener = listener
        self._entry = entry
        self._handlers = handlers
        self._root_level = logging.root.level

    def set_level(self, level: str) -> None:
        """Set the level of the daemon's own loggers; one of `LEVELS`."""
        logging.getLogger(_LOGGER_NAME).setLevel(level.upper())

    def set_zone(self, zone: tzinfo | None) -> None:
        """Set the time zone of written times."""
        for handler in self._handlers:
            if isinstance(handler.formatter, ConsoleFormatter):
                handler.formatter.zone = zone

    def stop(self) -> None:
        logging.captureWarnings(False)  # noqa: FBT003 - the standard library's signature
        logging.root.removeHandler(self._entry)
        logging.root.setLevel(self._root_level)
        self._listener.stop()
        for handler in self._handlers:
            handler.close()


def configure_logging(
    level: str,
    form: Literal["auto", "console", "journal"] = "auto",
    *,
    handlers: Sequence[logging.Handler] = (),
    stream: TextIO | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Logging:
    """Send every record to the console or the journal and to `handlers`, which get the console's form without colours.

    `auto` takes the journal when standard error is connected to it. The level is for the daemon's own loggers; what
    libraries say counts from info, HTTP access from warning.
    """
    stream = sys.stderr if stream is None else stream
    main = JournalHandler() if logs_to_journal(form, stream, environment) else _console(stream)
    for handler in handlers:
        handler.setFormatter(ConsoleFormatter())
    everyone = [main, *handlers]
    records: queue.Queue[Any] = queue.Queue(_QUEUE_RECORDS)
    entry = _BoundedQueueHandler(records)
    listener = QueueListener(records, *everyone, respect_handler_level=True)
    result = Logging(listener, entry, everyone)
    listener.start()
    logging.root.addHandler(entry)
    logging.root.setLevel(logging.INFO)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.captureWarnings(True)  # noqa: FBT003 - the standard library's signature
    result.set_level(level)
    return result


def logs_to_journal(
    form: Literal["auto", "console", "journal"],
    stream: TextIO | None = None,
    environment: Mapping[str, str] = os.environ,
) -> bool:
    """Tell whether the daemon's log ends up in the journal with native fields."""
    if form != "auto":
        return form == "journal"
    try:
        status = os.fstat((sys.stderr if stream is None else stream).fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _console(stream: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ConsoleFormatter(colors=stream.isatty()))
    return handler


def _fields(record: logging.LogRecord) -> dict[str, str | int]:
    fields: dict[str, str | int] = {
        name: str(value)
        for name, value in vars(record).items()
        if name.isascii() and name.isupper() and name.isidentifier() and name[0] != "_" and name != "MESSAGE"
    }
    priority = next((priority for level, priority in _PRIORITIES if record.levelno >= level), 7)
    return fields | {
        "PRIORITY": str(priority),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "LOGGER": record.name,
        "THREAD_NAME": str(record.threadName),
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,  # the one field that the library wants as a number
        "CODE_FUNC": record.funcName,
    }
