"""Sound of a machine, through its own PulseAudio; pactl hears what is done."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from box_daemon import BoxDaemon, bring_base_image
from daemon import BASE, until, within
from hostbox.box import Box

PACTL = ("pactl", "-s", "unix:/run/pulse/native")


async def outputs(host: BoxDaemon) -> dict[str, Any]:
    return {one["name"]: one for one in (await host.get("/audio/info"))["audio"]["output"]}


@pytest_asyncio.fixture
async def heard(host: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon, which knows the outputs; afterwards they are as a start of PulseAudio leaves them."""
    await until(lambda: outputs(host), 30)
    yield host
    await box.ask("systemctl", "restart", "pulseaudio")
    await until(lambda: outputs(host), 30)


async def test_what_clients_set_is_what_pactl_hears(heard: BoxDaemon, box: Box) -> None:
    found = await outputs(heard)
    assert set(found) == {"speaker", "hdmi"}
    await heard.post("/audio/volume/output", {"index": found["speaker"]["index"], "volume": 0.35})
    await heard.post("/audio/mute/output", {"index": found["hdmi"]["index"], "active": True})
    await heard.post("/audio/default/output", {"name": "hdmi"})
    sinks = {sink["name"]: sink for sink in json.loads(await box.ask(*PACTL, "-f", "json", "list", "sinks"))}
    assert {channel["value_percent"] for channel in sinks["speaker"]["volume"].values()} == {"35%"}
    assert sinks["hdmi"]["mute"] is True
    assert (await box.ask(*PACTL, "get-default-sink")).strip() == "hdmi"


async def test_pulseaudio_restarts(heard: BoxDaemon, box: Box) -> None:
    await box.ask("systemctl", "stop", "pulseaudio")
    began = time.monotonic()
    refused = await heard.ask("POST", "/audio/default/output", {"name": "speaker"})
    info = await heard.get("/audio/info")
    assert within(1, began)
    assert (refused.status, info["available"], info["audio"]["output"]) == (400, False, [])
    await box.ask("systemctl", "start", "pulseaudio")
    await until(lambda: outputs(heard), 30)
    await heard.post("/audio/default/output", {"name": "speaker"})
    assert (await box.ask(*PACTL, "get-default-sink")).strip() == "speaker"


@pytest_asyncio.fixture
async def guarded(host: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon, with a PulseAudio that lets in who is in its group or has its cookie, as Debian has it."""
    settings = box.root / "etc/pulse/system.pa"
    before = settings.read_text()
    try:
        settings.write_text(before.replace(" auth-anonymous=1", ""))
        await box.ask("systemctl", "restart", "pulseaudio")
        yield host
    finally:
        settings.write_text(before)
        await box.ask("systemctl", "restart", "pulseaudio")
        await until(lambda: outputs(host), 30)


async def test_a_guarded_server_lets_the_daemon_in_and_add_ons_with_sound(guarded: BoxDaemon, box: Box) -> None:
    assert "Access denied" in await box.ask("sh", "-c", " ".join((*PACTL, "info", "2>&1 || true")))
    assert set(await until(lambda: outputs(guarded), 30)) == {"speaker", "hdmi"}
    await asyncio.to_thread(bring_base_image, box)
    slug = guarded.add_on("player", more="audio: true")
    try:
        await guarded.post("/store/reload")
        await guarded.install(slug, start=True)
        process = await box.ask("docker", "inspect", "--format={{.State.Pid}}", f"addon_{slug}")
        inside = f"/proc/{process}/root"
        client = (await box.ask("cat", f"{inside}/etc/pulse/client.conf")).splitlines()
        assert {"default-server = unix://run/audio/native", f"cookie-file = /{COOKIE}"} < set(client)
        sinks = await box.ask(
            *("env", f"PULSE_COOKIE={inside}/{COOKIE}", "pactl", "-s", f"unix:{inside}/run/audio/native"),
            *("list", "short", "sinks"),
        )
        assert [line.split()[1] for line in sinks.splitlines()] == ["speaker", "hdmi"]
    finally:
        await guarded.ask("POST", f"/addons/{slug}/uninstall")
        shutil.rmtree(guarded.data / "addons/local/player")
        await guarded.post("/store/reload")


COOKIE = "etc/pulse/cookie"
PLUGIN = "local/hassio-audio"
PLUGIN_IMAGE = """\
FROM {base}
LABEL io.hass.version="{version}" io.hass.type="audio"
CMD {command}
"""


async def plugin_image(box: Box, version: str, command: str = '["sleep", "1000"]') -> None:
    text = PLUGIN_IMAGE.format(base=BASE, version=version, command=command)
    await box.ask("docker", "build", "--quiet", "--tag", f"{PLUGIN}:{version}", "-", stdin=text)


@pytest_asyncio.fixture
async def plugin(host: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon with an audio plugin, as an older installation has one."""
    await asyncio.to_thread(bring_base_image, box)
    await plugin_image(box, "1.0")
    run = ("docker", "run", "--detach", "--name=hassio_audio", "--label=supervisor_managed", f"{PLUGIN}:1.0")
    try:
        await box.ask(*run)
        yield host
    finally:
        await box.ask("docker", "rm", "--force", "hassio_audio")
        images = (await box.ask("docker", "images", "--quiet", PLUGIN)).split()
        await box.ask("docker", "rmi", "--force", *images)


async def inspected(box: Box) -> dict[str, Any]:
    return dict(json.loads(await box.ask("docker", "inspect", "hassio_audio"))[0])


async def test_the_plugin_is_updated_and_goes_back_when_the_new_one_does_not_start(plugin: BoxDaemon, box: Box) -> None:
    assert (await plugin.get("/audio/info"))["version"] == "1.0"
    assert (await plugin.ask("POST", "/audio/update", {"version": "1.0"})).status == 400
    await plugin_image(box, "2.0")
    # What runs in it heeds no signal, so each stop takes its ten seconds.
    answer = await plugin.ask("POST", "/audio/update", {"version": "2.0"}, seconds=180)
    assert answer.status == 200, answer.body
    assert (await plugin.get("/audio/info"))["version"] == "2.0"
    found = await inspected(box)
    assert (found["Config"]["Image"], found["State"]["Running"]) == (f"{PLUGIN}:2.0", True)
    assert found["NetworkSettings"]["Networks"]["hassio"]["IPAddress"] == "172.30.32.4"
    host = found["HostConfig"]
    assert set(host["DeviceCgroupRules"]) == {"c 116:* rwm", "c 13:* rwm"}
    assert {name.removeprefix("CAP_") for name in host["CapAdd"]} == {"SYS_NICE", "SYS_RESOURCE"}
    mounts = {mount["Destination"]: (mount["Source"], mount["RW"]) for mount in found["Mounts"]}
    assert mounts["/data"] == ("/mnt/data/supervisor/audio", True)
    assert f"{PLUGIN}:1.0" not in await box.ask("docker", "images", "--format={{.Repository}}:{{.Tag}}")

    await plugin_image(box, "3.0", '["/nothing-here"]')
    answer = await plugin.ask("POST", "/audio/update", {"version": "3.0"}, seconds=180)
    assert answer.status >= 400
    found = await inspected(box)
    assert (found["Config"]["Image"], found["State"]["Running"]) == (f"{PLUGIN}:2.0", True)
    await plugin.post("/audio/restart")
    assert (await plugin.get("/audio/stats"))["memory_usage"] > 0
