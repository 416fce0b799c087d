"""A container's log as the engine's own log driver kept it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from http.client import CONFLICT, NOT_IMPLEMENTED
from typing import Generic, Literal, TypeVar

import attrs
from docker import APIClient
from docker.errors import APIError

from supervisor.drivers.docker.link import Link
from supervisor.drivers.docker.model import parse_time
from supervisor.drivers.docker.translate import explanation_of
from supervisor.drivers.docker.wire import EngineClient, OpenSockets, Stream
from supervisor.errors import NotFound, Unsupported

T = TypeVar("T")

Source = Literal["stdout", "stderr"]

MAX_LINE = 256 * 1024
QUEUE_LENGTH = 512
_FRAME_HEADER = struct.Struct(">BxxxL")
_SOURCES: dict[int, Source] = {1: "stdout", 2: "stderr"}
_PIECE = 1024 * 1024


@attrs.frozen
class LogLine:
    """One line without its end; `time` is when the engine took it, None where the log driver does not say."""

    time: datetime | None
    stream: Source
    message: str


def frames(stream: Stream, *, tty: bool) -> Iterator[tuple[Source, bytes]]:
    """Take the engine's multiplexed stream apart; a terminal's is one plain stream."""
    if tty:
        for chunk in stream.chunks():
            yield "stdout", chunk
        return
    while len(header := stream.read(_FRAME_HEADER.size)) == _FRAME_HEADER.size:
        kind, length = _FRAME_HEADER.unpack(header)
        while length > 0:
            piece = stream.read(min(length, _PIECE))
            if not piece:
                return
            length -= len(piece)
            yield _SOURCES.get(kind, "stdout"), piece


class LineReader:
    """Makes lines of a log with time stamps.

    Without a terminal a frame is one message: a line, or a part of 16 KiB of a long one, each with its own time stamp.
    The parts become one line again. A line longer than `MAX_LINE` is cut in pieces of about that length.
    """

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty
        self._open: dict[Source, LogLine] = {}
        self._text = bytearray()

    def feed(self, source: Source, data: bytes) -> Iterator[LogLine]:
        if self._tty:
            yield from self._feed_text(data)
            return
        part = _parse(source, data)
        begun = self._open.pop(source, None)
        if begun is not None:
            part = attrs.evolve(begun, message=begun.message + part.message)
        if data.endswith(b"\n") or len(part.message) >= MAX_LINE:
            yield part
        else:
            self._open[source] = part

    def rest(self) -> Iterator[LogLine]:
        """What was left without a line end when the log ended."""
        yield from self._open.values()
        self._open.clear()
        if self._text:
            yield _parse("stdout", bytes(self._text))
            self._text.clear()

    def _feed_text(self, data: bytes) -> Iterator[LogLine]:
        self._text += data
        lines = self._text.split(b"\n")
        self._text = lines.pop()
        if len(self._text) >= MAX_LINE:
            lines.append(self._text)
            self._text = bytearray()
        for line in lines:
            yield _parse("stdout", bytes(line))


def _parse(source: Source, line: bytes) -> LogLine:
    text = line.removesuffix(b"\n").removesuffix(b"\r").decode(errors="replace")
    stamp, _, message = text.partition(" ")
    time = parse_time(stamp)
    return LogLine(time, source, text if time is None else message)


class Feed(Generic[T]):
    """Hands items from a thread to the loop; the thread waits when the reader is `QUEUE_LENGTH` items behind."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()
        self._room = threading.Semaphore(QUEUE_LENGTH)
        self._closed = threading.Event()

    def put(self, item: T) -> bool:
        """By the thread: pass on `item`; False when nobody reads any more."""
        self._room.acquire()
        if self._closed.is_set():
            return False
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
            return True
        return False

    def end(self) -> None:
        """By the loop: the thread has put its last item."""
        self._queue.put_nowait(None)

    def close(self) -> None:
        """By the loop: no more items are wanted."""
        self._closed.set()
        self._room.release()

    async def items(self) -> AsyncIterator[T]:
        while (item := await self._queue.get()) is not None:
            self._room.release()
            yield item


async def read_log(
    link: Link, name: str, *, tail: int | None, follow: bool, since: float | None, until: float | None
) -> AsyncIterator[LogLine]:
    """Read a log through the engine; see `Containers.logs`."""
    what = f"Log of {name}"
    info = await link.call(what, APIClient.inspect_container, name)
    tty = bool((info.get("Config") or {}).get("Tty"))
    params: dict[str, object] = {
        "stdout": 1,
        "stderr": 1,
        "timestamps": 1,
        "follow": int(follow),
        "tail": "all" if tail is None else str(tail),
    }
    if since is not None:
        params["since"] = f"{since:.9f}"
    if until is not None:
        params["until"] = f"{until:.9f}"
    with link.following(what) if follow else contextlib.nullcontext():
        feed: Feed[LogLine] = Feed()
        pump = asyncio.create_task(link.stream(what, _pump, feed, name, params, tty=tty), name=f"docker-log-{name}")
        pump.add_done_callback(lambda _: feed.end())
        try:
            async for line in feed.items():
                yield line
            await pump
        finally:
            feed.close()
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)


def _pump(
    client: EngineClient, sockets: OpenSockets, feed: Feed[LogLine], name: str, params: dict[str, object], *, tty: bool
) -> None:
    reader = LineReader(tty=tty)
    try:
        with client.open(sockets, "GET", "/containers/{}/logs", name, params=params) as stream:
            for source, data in frames(stream, tty=tty):
                for line in reader.feed(source, data):
                    if not feed.put(line):
                        return
        for line in reader.rest():
            feed.put(line)
    except APIError as err:
        if err.status_code == CONFLICT and "marked for removal" in explanation_of(err):
            raise NotFound(f"Container {name} is being removed, and its log with it") from err
        if err.status_code == NOT_IMPLEMENTED or "does not support reading" in explanation_of(err):
            raise Unsupported(f"The log of {name} is not kept where the Docker engine can read it") from err
        raise
