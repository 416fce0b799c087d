"""What is made of other things, and kept until one of them is another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, TypeVarTuple

T = TypeVar("T")
Sources = TypeVarTuple("Sources")


class Kept(Generic[*Sources, T]):
    """Makes something of its sources, anew only when one of them differs from what it was the last time.

    Nobody has to announce anything, so nothing can be forgotten: what `of` returns belongs to the sources it is given.
    A source is a plain value, or an object that is replaced when anything in it changes and never altered; then
    comparing costs next to nothing.
    """

    def __init__(self, make: Callable[[*Sources], T]) -> None:
        self._make = make
        self._sources: tuple[*Sources] | None = None
        self._made: T

    def of(self, *sources: *Sources) -> T:
        if sources != self._sources:
            self._made = self._make(*sources)
        # Also where they are equal: the same object is compared sooner than another one like it.
        self._sources = sources
        return self._made
