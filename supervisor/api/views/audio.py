"""Sound as clients see it."""

from __future__ import annotations

import attrs

from supervisor.api.models import audio as wire
from supervisor.drivers.pulse import Application, Card, Sound, Stream


def devices(sound: Sound) -> wire.AudioDevices:
    return wire.AudioDevices(
        card=[_card(card) for card in sound.cards],
        input=[_stream(stream) for stream in sound.inputs],
        output=[_stream(stream) for stream in sound.outputs],
        application=[_application(application) for application in sound.applications],
    )


def _card(card: Card) -> wire.AudioCard:
    return wire.AudioCard(
        name=card.name,
        index=card.index,
        driver=card.driver,
        profiles=[wire.AudioProfile(**attrs.asdict(profile)) for profile in card.profiles],
    )


def _stream(stream: Stream) -> wire.AudioStream:
    return wire.AudioStream(
        name=stream.name,
        index=stream.index,
        description=stream.description,
        volume=stream.volume,
        mute=stream.mute,
        default=stream.default,
        card=stream.card,
        applications=[_application(application) for application in stream.applications],
    )


def _application(application: Application) -> wire.AudioApplication:
    return wire.AudioApplication(
        name=application.name,
        index=application.index,
        stream_index=application.stream_index,
        stream_type=application.stream_type.value,
        volume=application.volume,
        mute=application.mute,
        app=application.app,
        addon=application.app,
    )
