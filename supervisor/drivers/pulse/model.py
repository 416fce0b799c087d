"""What there is to hear and who makes it heard (host contract §39)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import attrs


class Direction(StrEnum):
    INPUT = "input"
    OUTPUT = "output"


@attrs.frozen
class Application:
    """A program that plays or records. `stream_index` is the device that it does so with, `app` the add-on it is."""

    name: str
    index: int
    stream_index: int
    stream_type: Direction
    volume: float
    mute: bool
    app: str


@attrs.frozen
class Stream:
    """A device that sounds or listens. `volume` is 1 at 100 %; `card` is the index of its card, if it is on one."""

    name: str
    index: int
    description: str
    volume: float
    mute: bool
    default: bool
    card: int | None
    applications: tuple[Application, ...] = ()


@attrs.frozen
class Profile:
    name: str
    description: str
    active: bool


@attrs.frozen
class Card:
    name: str
    index: int
    driver: str
    profiles: tuple[Profile, ...] = ()


@attrs.frozen
class Sound:
    """All of it at one moment."""

    cards: tuple[Card, ...] = ()
    inputs: tuple[Stream, ...] = ()
    outputs: tuple[Stream, ...] = ()
    applications: tuple[Application, ...] = ()


@attrs.frozen
class Door:
    """Where clients of this machine find a server; `cookie` is what they prove themselves with, if it has one."""

    socket: Path
    cookie: Path | None = None
