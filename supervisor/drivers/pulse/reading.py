"""From the library's objects to ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from supervisor.drivers.pulse.model import Application, Card, Direction, Profile, Sound, Stream

_NO_CARD: Final = 0xFFFFFFFF
_MONITOR: Final = ".monitor"


def sound_of(
    server: Any,
    cards: Iterable[Any],
    sources: Iterable[Any],
    sinks: Iterable[Any],
    recording: Iterable[Any],
    playing: Iterable[Any],
) -> Sound:
    applications = (
        *(_application(one, one.source, Direction.INPUT) for one in recording),
        *(_application(one, one.sink, Direction.OUTPUT) for one in playing),
    )
    inputs = tuple(
        _stream(source, server.default_source_name, Direction.INPUT, applications)
        for source in sources
        if not source.name.endswith(_MONITOR)  # what is played, not what is said
    )
    outputs = tuple(_stream(sink, server.default_sink_name, Direction.OUTPUT, applications) for sink in sinks)
    return Sound(tuple(map(_card, cards)), inputs, outputs, applications)


def _application(one: Any, stream_index: int, direction: Direction) -> Application:
    return Application(
        name=one.proplist.get("application.name") or one.name or "",
        index=one.index,
        stream_index=stream_index,
        stream_type=direction,
        volume=one.volume.value_flat,
        mute=bool(one.mute),
        app=one.proplist.get("application.process.machine_id", "").replace("-", "_"),
    )


def _stream(one: Any, default: str | None, direction: Direction, applications: Iterable[Application]) -> Stream:
    return Stream(
        name=one.name,
        index=one.index,
        description=one.description or one.name,
        volume=one.volume.value_flat,
        mute=bool(one.mute),
        default=one.name == default,
        card=None if one.card == _NO_CARD else one.card,
        applications=tuple(
            application
            for application in applications
            if application.stream_type is direction and application.stream_index == one.index
        ),
    )


def _card(one: Any) -> Card:
    active = one.profile_active.name if one.profile_active else None
    return Card(
        name=one.name,
        index=one.index,
        driver=one.driver or "",
        profiles=tuple(
            Profile(profile.name, profile.description or "", profile.name == active)
            for profile in one.profile_list
            if profile.available
        ),
    )
