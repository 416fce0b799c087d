from __future__ import annotations

import struct
from http import HTTPStatus

import pytest
import requests
from docker.errors import APIError
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.logs import MAX_LINE, Feed, LineReader, _pump, frames
from supervisor.drivers.docker.wire import OpenSockets
from supervisor.errors import NotFound, SupervisorError, Unsupported

STAMP = b"2026-01-02T03:04:05.123456789Z "


class Wire:
    """A stream whose bytes are all there."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        part, self._data = self._data[:size], self._data[size:]
        return part

    def chunks(self):
        while part := self.read(7):
            yield part


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(data)) + data


def lines(*parts: tuple[str, bytes], tty: bool = False) -> list[tuple[str, str]]:
    reader = LineReader(tty=tty)
    found = [line for source, data in parts for line in reader.feed(source, data)] + list(reader.rest())
    return [(line.stream, line.message) for line in found]


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=50)), max_size=10))
def test_frames_come_apart_as_they_were_put_together(parts):
    wire = Wire(b"".join(frame(kind, data) for kind, data in parts))
    assert list(frames(wire, tty=False)) == [("stdout" if kind == 1 else "stderr", data) for kind, data in parts]


@given(st.binary(max_size=300))
def test_nonsense_on_the_wire_ends_quietly(data):
    reader = LineReader(tty=False)
    for source, part in frames(Wire(data), tty=False):
        list(reader.feed(source, part))
    list(reader.rest())


def test_a_terminal_is_one_plain_stream():
    parts = list(frames(Wire(STAMP + b"one\r\n" + STAMP + b"two"), tty=True))
    assert lines(*parts, tty=True) == [("stdout", "one"), ("stdout", "two")]


def test_parts_of_a_long_line_become_one_again_and_streams_do_not_mix():
    assert lines(
        ("stdout", STAMP + b"begin "),
        ("stderr", STAMP + b"other\n"),
        ("stdout", STAMP + b"end\n"),
        ("stdout", STAMP + b"\n"),
        ("stderr", STAMP + b"last"),
    ) == [("stderr", "other"), ("stdout", "begin end"), ("stdout", ""), ("stderr", "last")]


def test_a_line_without_a_time_is_kept_whole():
    reader = LineReader(tty=False)
    (line,) = reader.feed("stdout", b"no time here\n")
    assert (line.time, line.message) == (None, "no time here")


@pytest.mark.parametrize("tty", [False, True])
def test_a_line_without_end_does_not_grow_for_ever(tty):
    reader = LineReader(tty=tty)
    found = [line for _ in range(100) for line in reader.feed("stdout", STAMP + b"x" * 16384)]
    assert found
    assert max(len(line.message) for line in found) < MAX_LINE + 2 * 16384


def test_bytes_that_are_no_text_are_shown_as_such():
    assert lines(("stdout", STAMP + b"\xff\xfe\n")) == [("stdout", "\ufffd\ufffd")]


class Refusing:
    """An engine that does not give a log."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        self._response = requests.Response()
        self._response.status_code = status
        self._text = text

    def open(self, *_: object, **__: object) -> None:
        raise APIError("refused", self._response, self._text)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (HTTPStatus.CONFLICT, "can not get logs from container which is dead or marked for removal", NotFound),
        (HTTPStatus.NOT_IMPLEMENTED, "not here", Unsupported),
        (HTTPStatus.INTERNAL_SERVER_ERROR, "configured logging driver does not support reading", Unsupported),
    ],
)
async def test_why_the_engine_does_not_give_a_log_is_told_by_kind(
    status: HTTPStatus, text: str, kind: type[SupervisorError]
) -> None:
    with pytest.raises(kind, match="lamp"):
        _pump(Refusing(status, text), OpenSockets(), Feed(), "lamp", {}, tty=False)  # type: ignore[arg-type]
