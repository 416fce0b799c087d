"""What comes new into a log, handed on to many who follow it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.journal import ANYTHING, Entry
from supervisor.drivers.journal.tail import Tail, entries_behind
from supervisor.errors import Unavailable

READERS = 200


def entry(number: int, sequence: str = "a") -> Entry:
    return Entry(f"s={sequence};i={number:x};b=1;m=2;t=3;x=4", 1000 + number, str(number))


def nobody(*_: object) -> None:
    raise AssertionError("no file is opened here")


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True).map(sorted), st.integers(0, 40))
def test_the_entries_behind_another_one_are_those_with_a_higher_number(numbers: list[int], other: int) -> None:
    found = entries_behind([entry(number) for number in numbers], entry(other))
    assert [int(one.message) for one in found] == [number for number in numbers if number > other]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True).map(sorted), st.integers(0, 40))
def test_in_another_journal_file_the_later_entries_are_behind(numbers: list[int], other: int) -> None:
    found = entries_behind([entry(number) for number in numbers], entry(other, "b"))
    assert [int(one.message) for one in found] == [number for number in numbers if number > other]


class Followers:
    """`rounds` are how many of them got something in each round of the event loop."""

    def __init__(self, count: int) -> None:
        self.tail = Tail(nobody, [], ANYTHING)  # type: ignore[arg-type]
        self.got: list[list[str]] = [[] for _ in range(count)]
        self.lost = [0] * count
        self.rounds: list[int] = []
        self._served = 0

    async def follow(self, number: int) -> None:
        with contextlib.suppress(Unavailable):
            async with contextlib.aclosing(self.tail.behind(0)) as batches:
                async for batch in batches:
                    self._served += 1
                    self.lost[number] += batch.lost
                    self.got[number] += [one.message for one in batch.entries]

    async def turn(self, times: int) -> None:
        for _ in range(times):
            self._served = 0
            await asyncio.sleep(0)
            self.rounds.append(self._served)


@contextlib.asynccontextmanager
async def followers(count: int) -> AsyncIterator[Followers]:
    found = Followers(count)
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(found.follow(number))
        await asyncio.sleep(0)
        yield found
        found.tail.fail(Unavailable("the test is over"))


async def test_what_comes_is_handed_to_a_few_in_each_round_and_to_all_in_the_end() -> None:
    async with followers(READERS) as found:
        found.tail.put([entry(number) for number in range(256)])
        await found.turn(40)
    assert max(found.rounds) <= 16
    assert sum(found.rounds) == READERS
    assert found.got == [[str(number) for number in range(256)]] * READERS


async def test_what_comes_while_others_are_still_served_reaches_everyone_once_and_in_order() -> None:
    async with followers(READERS) as found:
        for first in range(0, 50, 10):
            found.tail.put([entry(number) for number in range(first, first + 10)])
            await found.turn(3)
        await found.turn(40)
    assert found.got == [[str(number) for number in range(50)]] * READERS
    assert not any(found.lost)


async def test_who_leaves_leaves_nothing_behind() -> None:
    async with followers(1) as found:
        for _ in range(5):
            gone = asyncio.get_running_loop().create_task(found.follow(0))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        assert len(found.tail._waiting) == 1
        found.tail.put([entry(1)])
        await found.turn(3)
    assert found.got == [["1"]]
