from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.journal import EntryRange, Narrowing
from supervisor.errors import Invalid
from supervisor.managers.logs import window
from supervisor.managers.logs.lines import Line, Position, Record, Sequence, decode, encode, newest
from supervisor.managers.logs.window import Picker, select


def lines(count: int) -> list[Line]:
    sequence = Sequence()
    return [sequence.line(1000 + number // 2, str(number)) for number in range(count)]


def picked(part: EntryRange, log: list[Line], later: list[Line] | None = None) -> list[Line]:
    picker = Picker(part)
    found = [chosen for line in log for chosen in picker.push(line)]
    found += picker.finish()
    return found + [chosen for line in later or [] for chosen in picker.push(line)]


@given(
    st.integers(0, 12),
    st.none() | st.integers(0, 11),
    st.integers(-15, 15),
    st.none() | st.integers(1, 15),
    st.integers(0, 4),
)
def test_a_range_is_the_slice_that_the_journal_would_give(
    size: int, at: int | None, skip: int, count: int | None, more: int
) -> None:
    log = lines(size + more)
    now, later = log[:size], log[size:]
    if at is not None and at >= size:
        return
    origin = at if at is not None else size - 1 if skip < 0 else 0
    start = max(origin + skip, 0)
    expected = log[start:] if count is None else log[start : start + count]
    cursor = "" if at is None else log[at].position.cursor
    assert picked(EntryRange(cursor, skip, count), now, later) == expected


def test_a_cursor_whose_line_is_gone_leads_to_the_next_one() -> None:
    log = lines(6)
    assert picked(EntryRange(Position(1, 0).cursor, 0, 2), log) == log[:2]
    assert picked(EntryRange(Position(1001, 5).cursor, -1, 2), log) == log[3:5]
    assert picked(EntryRange(Position(9999, 0).cursor, 0, 2), log) == []
    assert picked(EntryRange(Position(9999, 0).cursor, -1, 2), log) == log[4:]


@pytest.mark.parametrize("cursor", ["s=1;i=2", "t=1", "t=-1;n=0", "t=x;n=0", "t=1;n=0;"])
def test_a_cursor_of_another_log_is_invalid(cursor: str) -> None:
    with pytest.raises(Invalid):
        Picker(EntryRange(cursor))


def test_what_is_held_back_stays_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "MAX_HELD_BYTES", 10_000)
    picker = Picker(EntryRange("", -(2**60), 2**60))
    for number in range(1000):
        picker.push(Line(Position(number), "x" * 100))
    assert 0 < sum(len(line.message) for line in picker._held) <= 10_000
    assert picker.finish()[-1].position == Position(999)


class Log:
    def __init__(self, now: list[Line], later: list[Line]) -> None:
        self.now, self.later = now, later
        self.tails: list[int | None] = []

    async def history(self, tail: int | None) -> AsyncGenerator[Line, None]:
        self.tails.append(tail)
        for line in self.now if tail is None else self.now[-tail:]:
            yield line

    async def live(self) -> AsyncGenerator[Line, None]:
        for line in self.later:
            yield line


@pytest.mark.parametrize(
    ("part", "follow", "since", "expected"),
    [
        (EntryRange("", -1, 2), False, None, "89"),
        (EntryRange("", -1, None), True, None, "89ab"),
        (EntryRange("", -1, 3), True, None, "89a"),
        (EntryRange("", 0, None), False, 1004, "89"),
        (EntryRange("", 0, None), True, 1004, "89ab"),
        (EntryRange("", -99, 100), False, 1004, "89"),
        (EntryRange("", 9, None), True, None, "9ab"),
    ],
)
async def test_history_and_news_are_one_log(part: EntryRange, follow: bool, since: int | None, expected: str) -> None:
    log = lines(12)
    chosen = select(Log(log[:10], log[10:]), part, follow=follow, narrowing=Narrowing(since=since))
    found = [line async for line in chosen]
    assert "".join(f"{int(line.message):x}" for line in found) == expected


async def test_only_the_end_is_asked_for_when_that_is_enough() -> None:
    log = Log(lines(10), [])
    for part in (EntryRange("", -4, 5), EntryRange("", 0, 5), EntryRange("t=1;n=0", -4, 5)):
        assert [line async for line in select(log, part, follow=False)]
    assert log.tails == [5, None, None]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3))))
def test_positions_always_grow_and_survive_as_cursors(times: list[tuple[int, int]]) -> None:
    sequence = Sequence()
    positions = [sequence.line(time, "").position for time, _ in times]
    assert positions == sorted(set(positions))
    assert [Position.from_cursor(position.cursor) for position in positions] == positions


texts = st.text(st.characters(exclude_categories=["Cs"]))
records = st.builds(Record, st.integers(0, 2**54), st.sampled_from(["stdout", "stderr", "run", "INFO"]), texts)


@given(st.lists(records))
def test_records_survive_being_written_and_read(wanted: list[Record]) -> None:
    assert list(decode(b"".join(map(encode, wanted)))) == wanted


@given(st.binary())
def test_any_file_can_be_read(content: bytes) -> None:
    for record in decode(content):
        assert list(decode(encode(record)))


@given(st.lists(records), st.integers(0, 500))
def test_the_newest_records_fit_their_room(wanted: list[Record], limit: int) -> None:
    kept = newest(wanted, limit)
    assert wanted[len(wanted) - len(kept) :] == kept
    assert sum(len(encode(record)) for record in kept) <= limit
