"""Sound through a real PulseAudio; what we do is seen with pactl, what pactl does is seen by us."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pulse_stand import Pulse, needs_pulse, pulse_server
from supervisor.drivers.pulse import Direction, Sound, SoundServer, server
from supervisor.drivers.pulse.model import Card
from supervisor.drivers.pulse.reading import sound_of
from supervisor.errors import Invalid, Unavailable
from supervisor.events import DeviceAdded, EventBus, SoundChanged
from supervisor.managers.audio import AudioManager, manager

MACHINE = Path("/etc/machine-id").read_text().strip()
IN, OUT = Direction.INPUT, Direction.OUTPUT


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    with pulse_server(tmp_path / "pulse") as found:
        yield found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(manager, "_REFRESH_SECONDS", 0.2)
    monkeypatch.setattr(manager, "_SETTLE_SECONDS", 0.05)
    monkeypatch.delenv("PULSE_SERVER", raising=False)


@contextlib.asynccontextmanager
async def listening(*sockets: Path) -> AsyncIterator[AudioManager]:
    bus = EventBus()
    audio = AudioManager(SoundServer(bus, sockets), bus)
    await audio.start()
    try:
        yield audio
    finally:
        await audio.stop()


@pytest.fixture
async def audio(pulse: Pulse) -> AsyncIterator[AudioManager]:
    async with listening(pulse.socket) as found:
        await until(lambda: len(found.sound.outputs) == 2)
        yield found


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@needs_pulse
async def test_devices_are_as_pactl_shows_them(pulse: Pulse, audio: AudioManager) -> None:
    sinks = await asyncio.to_thread(pulse.listed, "sinks")
    assert [(one.name, one.index, one.description) for one in audio.sound.outputs] == [
        (sink["name"], sink["index"], sink["description"]) for sink in sinks
    ]
    assert [one.name for one in audio.sound.inputs] == ["microphone"]  # the monitors are no inputs
    assert {(one.volume, one.mute, one.card) for one in audio.sound.outputs} == {(1.0, False, None)}
    assert audio.sound.cards == ()


@needs_pulse
async def test_volume_and_mute_of_a_device_are_heard_by_pactl(pulse: Pulse, audio: AudioManager) -> None:
    speaker, microphone = audio.sound.outputs[0], audio.sound.inputs[0]
    await audio.set_volume(OUT, speaker.index, 0.4, application=False)
    await audio.set_mute(OUT, speaker.index, mute=True, application=False)
    await audio.set_volume(IN, microphone.index, 1.25, application=False)
    sink = await asyncio.to_thread(pulse.named, "sinks", "speaker")
    assert {channel["value_percent"] for channel in sink["volume"].values()} == {"40%"}
    assert sink["mute"] is True
    source = await asyncio.to_thread(pulse.named, "sources", "microphone")
    assert {channel["value_percent"] for channel in source["volume"].values()} == {"125%"}
    assert (round(audio.sound.outputs[0].volume, 2), audio.sound.outputs[0].mute) == (0.4, True)
    await audio.set_mute(OUT, speaker.index, mute=False, application=False)
    assert not (await asyncio.to_thread(pulse.named, "sinks", "speaker"))["mute"]


@needs_pulse
async def test_the_default_device_is_chosen_by_name(pulse: Pulse, audio: AudioManager) -> None:
    for name in ("hdmi", "speaker"):
        await audio.set_default(OUT, name)
        assert (await asyncio.to_thread(pulse.pactl, "get-default-sink")).strip() == name
        assert [one.name for one in audio.sound.outputs if one.default] == [name]
    await audio.set_default(IN, "microphone")
    assert (await asyncio.to_thread(pulse.pactl, "get-default-source")).strip() == "microphone"


@needs_pulse
async def test_applications_are_seen_and_can_be_set(pulse: Pulse, audio: AudioManager) -> None:
    with pulse.application("pacat", "hdmi"), pulse.application("parec", "microphone"):
        await until(lambda: len(audio.sound.applications) == 2)
        recording, playing = audio.sound.applications
        hdmi = next(one for one in audio.sound.outputs if one.name == "hdmi")
        assert (playing.name, playing.stream_type, playing.stream_index) == ("a pacat", OUT, hdmi.index)
        assert hdmi.applications == (playing,)
        assert (recording.name, recording.stream_type) == ("a parec", IN)
        assert audio.sound.inputs[0].applications == (recording,)
        assert playing.app == MACHINE
        await audio.set_volume(OUT, playing.index, 0.3, application=True)
        await audio.set_mute(OUT, playing.index, mute=True, application=True)
        await audio.set_mute(IN, recording.index, mute=True, application=True)
        (heard,) = await asyncio.to_thread(pulse.listed, "sink-inputs")
        assert {channel["value_percent"] for channel in heard["volume"].values()} == {"30%"}
        assert heard["mute"] is True
        (said,) = await asyncio.to_thread(pulse.listed, "source-outputs")
        assert said["mute"] is True
    await until(lambda: not audio.sound.applications)


@needs_pulse
async def test_what_others_do_is_seen_without_asking(pulse: Pulse, audio: AudioManager) -> None:
    await asyncio.to_thread(pulse.pactl, "set-sink-volume", "speaker", "55%")
    await until(lambda: round(audio.sound.outputs[0].volume, 2) == 0.55)
    await asyncio.to_thread(pulse.pactl, "load-module", "module-null-sink", "sink_name=late")
    await until(lambda: len(audio.sound.outputs) == 3)


@needs_pulse
@pytest.mark.parametrize(
    ("work", "text"),
    [
        (lambda audio: audio.set_volume(OUT, 99, 0.5, application=False), "find the device 99"),
        (lambda audio: audio.set_volume(OUT, 99, 0.5, application=True), "find the application 99"),
        (lambda audio: audio.set_mute(IN, 99, mute=True, application=False), "find the device 99"),
        (lambda audio: audio.set_default(IN, "speaker"), "find the input speaker"),
        (lambda audio: audio.set_profile("alsa_card.1", "off"), "find the card"),
    ],
)
async def test_what_is_not_there_is_said(
    audio: AudioManager, work: Callable[[AudioManager], object], text: str
) -> None:
    with pytest.raises(Invalid, match=f"Can't {text}"):
        await work(audio)  # type: ignore[misc]
    assert audio.available


@needs_pulse
async def test_the_server_may_restart(pulse: Pulse, audio: AudioManager) -> None:
    await asyncio.to_thread(pulse.stop)
    await until(lambda: not audio.available)
    assert audio.sound.outputs == ()
    with pytest.raises(Unavailable):
        await audio.set_default(OUT, "hdmi")
    with pytest.raises(Unavailable):
        await audio.reload()
    await asyncio.to_thread(pulse.start)
    await until(lambda: audio.available and len(audio.sound.outputs) == 2)
    await audio.set_default(OUT, "hdmi")
    assert (await asyncio.to_thread(pulse.pactl, "get-default-sink")).strip() == "hdmi"


@needs_pulse
async def test_an_answer_that_came_just_before_the_end_is_an_answer(pulse: Pulse) -> None:
    loop, wrong = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _loop, context: wrong.append(context))
    connection = server._connection(f"unix:{pulse.socket}")
    try:
        await connection.connect(timeout=10)
        answered, waiting = loop.create_future(), loop.create_future()
        connection.waiting_futures |= {answered, waiting}
        loop.call_soon_threadsafe(answered.set_result, None)
        connection.disconnect()
        done, _ = await asyncio.wait({answered, waiting}, timeout=30)
        assert done == {answered, waiting}
        assert answered.exception() is None
        assert waiting.exception() is not None
    finally:
        connection.close()
    assert wrong == []


@needs_pulse
async def test_the_first_server_that_is_there_is_taken(pulse: Pulse, tmp_path: Path) -> None:
    (tmp_path / "no socket").touch()
    async with listening(tmp_path / "missing", tmp_path / "no socket", pulse.socket) as audio:
        await until(lambda: audio.sound.outputs)


@needs_pulse
async def test_a_server_that_is_stopped_in_its_tracks_holds_nobody_up(
    pulse: Pulse, audio: AudioManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SECONDS", 0.3)
    assert pulse.process is not None
    pulse.process.send_signal(19)
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await audio.set_default(OUT, "hdmi")
        await until(lambda: not audio.available)
    finally:
        pulse.process.send_signal(18)
    monkeypatch.setattr(server, "_SECONDS", 30)
    await until(lambda: audio.available and audio.sound.outputs)
    await audio.set_default(OUT, "hdmi")


async def test_without_a_server_there_is_no_sound_and_no_fuss(tmp_path: Path) -> None:
    async with listening(tmp_path / "missing") as audio:
        await asyncio.sleep(0.3)
        assert not audio.available
        with pytest.raises(Unavailable, match="no sound server"):
            await audio.set_volume(OUT, 0, 0.5, application=False)


@needs_pulse
async def test_who_asks_at_the_same_time_shares_one_look(audio: AudioManager, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    read = audio._server.read

    async def counted() -> object:
        nonlocal looks
        looks += 1
        return await read()

    monkeypatch.setattr(audio._server, "read", counted)
    await asyncio.gather(*(audio.reload() for _ in range(20)))
    assert looks <= 2


def test_a_card_shows_the_profiles_that_it_can_have_now() -> None:
    profiles = [
        SimpleNamespace(name=name, description=f"The {name}", available=available)
        for name, available in (("off", 1), ("stereo", 1), ("hdmi", 0))
    ]
    card = SimpleNamespace(
        name="alsa_card.1", index=3, driver="module-alsa-card.c", profile_list=profiles, profile_active=profiles[1]
    )
    nothing = SimpleNamespace(default_sink_name=None, default_source_name=None)
    (found,) = sound_of(nothing, [card], [], [], [], []).cards
    assert [(profile.name, profile.description, profile.active) for profile in found.profiles] == [
        ("off", "The off", False),
        ("stereo", "The stereo", True),
    ]
    assert (found.name, found.index, found.driver) == ("alsa_card.1", 3, "module-alsa-card.c")


async def test_news_of_a_failing_server_end_nothing(tmp_path: Path) -> None:
    async with listening(tmp_path / "missing") as audio:
        audio._bus.publish(SoundChanged(available=True))
        await asyncio.sleep(0.3)
        assert audio.sound.outputs == ()


async def test_an_answer_that_comes_after_the_end_of_its_server_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = EventBus()
    gone = SoundServer(bus, ())
    audio = AudioManager(gone, bus)
    alive = True

    async def read() -> Sound:
        nonlocal alive
        alive = False
        return Sound(cards=(Card("card", 0, "driver", ()),))

    monkeypatch.setattr(SoundServer, "available", property(lambda _: alive))
    monkeypatch.setattr(gone, "read", read)
    await audio.reload()
    assert audio.sound == Sound()


@needs_pulse
async def test_a_sound_card_that_is_plugged_in_is_looked_for(
    pulse: Pulse, audio: AudioManager, caplog: pytest.LogCaptureFixture
) -> None:
    def plug(name: str) -> None:
        audio._bus.publish(DeviceAdded(f"/dev/snd/{name}", f"/sys/devices/usb1/sound/card7/{name}", "sound"))

    def detecting() -> list[tuple[str, str]]:
        """Return the number and the argument of the module that looks for cards."""
        lines = (line.split("\t") for line in pulse.pactl("list", "short", "modules").splitlines())
        return [(line[0], line[2]) for line in lines if line[1] == "module-udev-detect"]

    first = (await asyncio.to_thread(pulse.pactl, "load-module", "module-udev-detect", "tsched=0")).strip()
    plug("pcmC7D0p")
    await asyncio.sleep(0.2)
    assert await asyncio.to_thread(detecting) == [(first, "tsched=0")], "the card is not whole yet"
    plug("controlC7")
    await until(lambda: [number for number, _ in detecting()] not in ([], [first]))
    [(number, argument)] = await asyncio.to_thread(detecting)
    assert (number != first, argument) == (True, "tsched=0")
    await asyncio.to_thread(pulse.pactl, "unload-module", number)
    plug("controlC7")
    await until(lambda: "did not look for it" in caplog.text)
    assert await asyncio.to_thread(detecting) == []
    await audio.reload()
    assert len(audio.sound.outputs) == 2
