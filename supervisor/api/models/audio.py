"""Sound on the wire (API contract §3.7)."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class AudioApplication:
    """`addon` is what `app` was called before."""

    name: str
    index: int
    stream_index: int
    stream_type: str
    volume: float
    mute: bool
    app: str
    addon: str


@attrs.frozen(kw_only=True)
class AudioStream:
    name: str
    index: int
    description: str
    volume: float
    mute: bool
    default: bool
    card: int | None
    applications: list[AudioApplication]


@attrs.frozen(kw_only=True)
class AudioProfile:
    name: str
    description: str
    active: bool


@attrs.frozen(kw_only=True)
class AudioCard:
    name: str
    index: int
    driver: str
    profiles: list[AudioProfile]


@attrs.frozen(kw_only=True)
class AudioDevices:
    card: list[AudioCard]
    input: list[AudioStream]
    output: list[AudioStream]
    application: list[AudioApplication]


@attrs.frozen(kw_only=True)
class AudioInfo:
    """`available` tells whether there is a sound server; without one the lists are empty."""

    version: str | None
    version_latest: str | None
    update_available: bool
    host: str
    available: bool
    audio: AudioDevices
