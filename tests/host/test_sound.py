"""Sound of a machine, through its own PulseAudio; pactl hears what is done."""

from __future__ import annotations

import json
import time
from typing import Any

from box_daemon import BoxDaemon
from daemon import until
from hostbox.box import Box

PACTL = ("pactl", "-s", "unix:/run/pulse/native")


async def outputs(host: BoxDaemon) -> dict[str, Any]:
    return {one["name"]: one for one in (await host.get("/audio/info"))["audio"]["output"]}


async def test_what_clients_set_is_what_pactl_hears(host: BoxDaemon, box: Box) -> None:
    found = await until(lambda: outputs(host), 30)
    assert set(found) == {"speaker", "hdmi"}
    await host.post("/audio/volume/output", {"index": found["speaker"]["index"], "volume": 0.35})
    await host.post("/audio/mute/output", {"index": found["hdmi"]["index"], "active": True})
    await host.post("/audio/default/output", {"name": "hdmi"})
    sinks = {sink["name"]: sink for sink in json.loads(await box.ask(*PACTL, "-f", "json", "list", "sinks"))}
    assert {channel["value_percent"] for channel in sinks["speaker"]["volume"].values()} == {"35%"}
    assert sinks["hdmi"]["mute"] is True
    assert (await box.ask(*PACTL, "get-default-sink")).strip() == "hdmi"


async def test_pulseaudio_restarts(host: BoxDaemon, box: Box) -> None:
    await until(lambda: outputs(host), 30)
    await box.ask("systemctl", "stop", "pulseaudio")
    began = time.monotonic()
    refused = await host.ask("POST", "/audio/default/output", {"name": "speaker"})
    info = await host.get("/audio/info")
    assert time.monotonic() - began < 1
    assert (refused.status, info["available"], info["audio"]["output"]) == (400, False, [])
    await box.ask("systemctl", "start", "pulseaudio")
    await until(lambda: outputs(host), 30)
    await host.post("/audio/default/output", {"name": "speaker"})
    assert (await box.ask(*PACTL, "get-default-sink")).strip() == "speaker"
