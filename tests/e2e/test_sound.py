"""Sound as clients set it, heard by pactl."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest

from daemon import Daemon, until, within
from pulse_stand import Pulse, needs_pulse, pulse_server

pytestmark = needs_pulse


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    with pulse_server(tmp_path / "pulse") as found:
        yield found


@pytest.fixture
async def sounding(daemon: Daemon, pulse: Pulse) -> AsyncIterator[Daemon]:
    daemon.environment["PULSE_SERVER"] = f"unix:{pulse.socket}"
    await daemon.start()
    await until(lambda: devices(daemon, "output"), 30)
    yield daemon
    assert "Traceback" not in daemon.log


async def devices(daemon: Daemon, kind: str) -> dict[str, Any]:
    return {one["name"]: one for one in (await daemon.get("/audio/info"))["audio"][kind]}


async def test_what_clients_set_is_what_pactl_hears(sounding: Daemon, pulse: Pulse) -> None:
    outputs, inputs = await devices(sounding, "output"), await devices(sounding, "input")
    assert (set(outputs), set(inputs)) == ({"speaker", "hdmi"}, {"microphone"})
    speaker, microphone = outputs["speaker"]["index"], inputs["microphone"]["index"]
    await sounding.post("/audio/volume/output", {"index": str(speaker), "volume": "0.25"})
    await sounding.post("/audio/mute/input", {"index": microphone, "active": "on"})
    await sounding.post("/audio/default/output", {"name": "hdmi"})
    sink = await asyncio.to_thread(pulse.named, "sinks", "speaker")
    assert {channel["value_percent"] for channel in sink["volume"].values()} == {"25%"}
    assert (await asyncio.to_thread(pulse.named, "sources", "microphone"))["mute"] is True
    assert (await asyncio.to_thread(pulse.pactl, "get-default-sink")).strip() == "hdmi"
    after = await devices(sounding, "output")
    assert (round(after["speaker"]["volume"], 2), after["hdmi"]["default"]) == (0.25, True)
    audio = (await sounding.get("/hardware/audio"))["audio"]
    assert audio == {
        "input": {"microphone": "Microphone"},
        "output": {"speaker": "Speaker", "hdmi": "HDMI"},
    }
    with pulse.application("pacat", "speaker"):
        playing = await until(lambda: _applications(sounding), 30)
        await sounding.post("/audio/volume/output/application", {"index": playing[0]["index"], "volume": 0.5})
        (heard,) = await asyncio.to_thread(pulse.listed, "sink-inputs")
        assert {channel["value_percent"] for channel in heard["volume"].values()} == {"50%"}
        assert playing[0]["app"] == playing[0]["addon"]


async def _applications(daemon: Daemon) -> list[dict[str, Any]]:
    return list((await daemon.get("/audio/info"))["audio"]["application"])


async def test_bad_input_is_refused_and_changes_nothing(sounding: Daemon) -> None:
    before = await sounding.get("/audio/info")
    for path, body in (
        ("/audio/volume/nowhere", {"index": 0, "volume": 0.5}),
        ("/audio/volume/output", {"index": 0, "volume": 2}),
        ("/audio/volume/output", {"index": 0, "volume": "nan"}),
        ("/audio/volume/output", {"index": -1, "volume": 0.5}),
        ("/audio/volume/output", {"index": 2**32, "volume": 0.5}),
        ("/audio/volume/output", {"index": 77, "volume": 0.5}),
        ("/audio/mute/output", {"index": 0}),
        ("/audio/default/input", {"name": "speaker"}),
        ("/audio/profile", {"card": "none", "name": "off"}),
        ("/audio/restart", {}),
        ("/audio/update", {}),
    ):
        assert (await sounding.ask("POST", path, body)).status == 400, path
    assert (await sounding.ask("GET", "/audio/stats")).status == 400
    assert await sounding.get("/audio/info") == before


async def test_the_sound_server_restarts_under_us(sounding: Daemon, pulse: Pulse) -> None:
    await asyncio.to_thread(pulse.stop)
    began = time.monotonic()
    refused = await sounding.ask("POST", "/audio/default/output", {"name": "hdmi"})
    assert (refused.status, within(1, began)) == (400, True)
    assert "sound server" in refused.body["message"]
    info = await sounding.get("/audio/info")
    assert (info["available"], info["audio"]["output"]) == (False, [])
    await asyncio.to_thread(pulse.start)
    await until(lambda: devices(sounding, "output"), 30)
    await sounding.post("/audio/default/output", {"name": "hdmi"})
    assert (await asyncio.to_thread(pulse.pactl, "get-default-sink")).strip() == "hdmi"


async def test_an_add_on_plays_through_the_machine_s_own_server(
    sounding: Daemon, pulse: Pulse, docker_client: docker.APIClient
) -> None:
    slug = sounding.add_on("player", more="audio: true")
    await sounding.post("/store/reload")
    await sounding.install(slug, start=True)
    inside = Path(f"/proc/{docker_client.inspect_container(f'addon_{slug}')['State']['Pid']}/root")
    client = (inside / "etc/pulse/client.conf").read_text()
    server, _, *cookie = client.splitlines()
    assert server == "default-server = unix://run/audio/pulse.sock"
    assert cookie == ["cookie-file = /etc/pulse/cookie"]
    assert (inside / "etc/pulse/cookie").stat().st_size == 256
    seen = attrs.evolve(pulse, folder=inside / "run/audio")
    assert {sink["name"] for sink in await asyncio.to_thread(seen.listed, "sinks")} == {"speaker", "hdmi"}
    # A server that is restarted is found by those who run already.
    await asyncio.to_thread(pulse.stop)
    await asyncio.to_thread(pulse.start)
    assert {sink["name"] for sink in await asyncio.to_thread(seen.listed, "sinks")} == {"speaker", "hdmi"}


async def test_the_doctor_tells_of_the_sound_server(sounding: Daemon, pulse: Pulse) -> None:
    async def found() -> dict[str, Any]:
        findings = (await sounding.get("/host/doctor"))["findings"]
        return next(dict(one) for one in findings if one["name"] == "Sound")

    assert (await found())["condition"] == "ok"
    await asyncio.to_thread(pulse.stop)
    gone = await until(lambda: _missing(found), 30)
    assert "PulseAudio" in gone["how"]


async def _missing(found: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any] | None:
    finding = await found()
    return finding if finding["condition"] == "missing" else None
