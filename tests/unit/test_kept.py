"""What is kept until one of the things that it is made of is another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.model.kept import Kept


class Kitchen:
    """Counts what it makes."""

    def __init__(self) -> None:
        self.made = 0
        self.kept = Kept(self._make)

    def _make(self, names: tuple[str, ...], number: int | None) -> list[object]:
        self.made += 1
        return [*names, number]


@given(st.lists(st.tuples(st.lists(st.sampled_from("ab"), max_size=2).map(tuple), st.none() | st.integers(0, 1))))
def test_it_is_always_that_of_the_present_sources_and_made_once_for_the_same(
    steps: list[tuple[tuple[str, ...], int | None]],
) -> None:
    kitchen, changes = Kitchen(), 0
    for before, (names, number) in zip([None, *steps], steps, strict=False):
        assert kitchen.kept.of(names, number) == [*names, number]
        changes += (names, number) != before
        assert kitchen.made == changes


def test_the_same_sources_give_the_same_object() -> None:
    kept = Kitchen().kept
    one, other = (tuple("ab"[:length]) for length in (1, 1))
    assert one is not other
    first = kept.of(one, 1)
    assert kept.of(other, 1) is first
    assert kept.of(one, 2) is not first


def test_it_may_have_no_source_or_give_nothing() -> None:
    made: list[int] = []
    kept: Kept[None] = Kept(lambda: made.append(1))
    assert kept.of() is None
    assert kept.of() is None
    assert made == [1]


def test_what_could_not_be_made_is_tried_again() -> None:
    kept = Kept(lambda number: 1 // number)
    assert kept.of(1) == 1
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            kept.of(0)
    assert kept.of(1) == 1
