"""`supervisor audio`, `supervisor hardware` and `supervisor top`."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from cli_daemon import HELLO, SSH, STATS, Error, FakeDaemon
from cli_fixtures import CLEAN, Result, command, daemon, on_terminal

__all__ = ["command", "daemon"]
Run = Callable[..., Result]

PLAYER = {
    "name": "mpd",
    "index": 7,
    "stream_index": 0,
    "stream_type": "output",
    "volume": 0.5,
    "mute": False,
    "app": "",
}
SPEAKER = {
    "name": "speaker",
    "index": 0,
    "description": "The speaker",
    "volume": 0.4,
    "mute": True,
    "default": True,
    "card": 1,
    "applications": [PLAYER],
}
CARD = {
    "name": "alsa_card.1",
    "index": 1,
    "driver": "alsa",
    "profiles": [{"name": "stereo", "description": "Stereo", "active": True}],
}
AUDIO = {
    "version": None,
    "available": True,
    "audio": {"card": [CARD], "input": [], "output": [SPEAKER], "application": [PLAYER]},
}


def test_devices_and_who_uses_them_are_listed(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/audio/info")] = AUDIO
    lines = [line.split() for line in command("audio").out.splitlines()]
    assert lines[1] == ["output", "0", "speaker", "The", "speaker", "40%", "yes", "*"]
    assert lines[2][:3] == ["output", "7", "mpd"]
    assert lines[3][:5] == ["card", "1", "alsa_card.1", "profile", "stereo"]
    assert json.loads(command("audio", "info", "-o", "json").out) == AUDIO
    daemon.answers[("GET", "/audio/info")] = {"available": False, "audio": {}}
    assert command("audio").err == "There is no sound server on this machine.\n"


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["volume", "output", "0", "40%"], "/audio/volume/output", {"index": 0, "volume": 0.4}),
        (
            ["volume", "input", "3", "150", "--application"],
            "/audio/volume/input/application",
            {"index": 3, "volume": 1.5},
        ),
        (["mute", "output", "0"], "/audio/mute/output", {"index": 0, "active": True}),
        (
            ["unmute", "output", "7", "--application"],
            "/audio/mute/output/application",
            {"index": 7, "active": False},
        ),
        (["default", "input", "a b"], "/audio/default/input", {"name": "a b"}),
        (["profile", "alsa_card.1", "off"], "/audio/profile", {"card": "alsa_card.1", "name": "off"}),
        (["reload"], "/audio/reload", None),
        (["restart"], "/audio/restart", None),
        (["update", "--version", "2"], "/audio/update", {"version": "2"}),
    ],
)
def test_sound_is_set(command: Run, daemon: FakeDaemon, arguments: list[str], path: str, body: object) -> None:
    daemon.answers[("POST", path)] = {}
    assert command("audio", *arguments).code == 0
    assert (daemon.seen[-1].method, daemon.seen[-1].path) == ("POST", path)
    assert json.loads(daemon.seen[-1].body or "{}") == (body or {})


@pytest.mark.parametrize(
    ("arguments", "path", "index"),
    [
        (["mute", "output", "speaker"], "/audio/mute/output", 0),
        (["volume", "output", "mpd", "10%", "--application"], "/audio/volume/output/application", 7),
    ],
)
def test_devices_and_applications_may_be_named(
    command: Run, daemon: FakeDaemon, arguments: list[str], path: str, index: int
) -> None:
    daemon.answers[("GET", "/audio/info")] = AUDIO
    daemon.answers[("POST", path)] = {}
    assert command("audio", *arguments).code == 0
    assert json.loads(daemon.seen[-1].body or "{}")["index"] == index


@pytest.mark.parametrize(
    "arguments", [("output", "nobody"), ("input", "speaker"), ("output", "speaker", "--application")]
)
def test_a_name_that_nothing_has_is_refused(command: Run, daemon: FakeDaemon, arguments: tuple[str, ...]) -> None:
    daemon.answers[("GET", "/audio/info")] = AUDIO
    refused = command("audio", "mute", *arguments)
    assert refused.code == 2
    assert "give the index" in refused.err
    assert {seen.method for seen in daemon.seen} == {"GET"}


@pytest.mark.parametrize("volume", ["", "-1", "151%", "0.5", "50%%", "\u0661"])
def test_what_is_no_volume_is_refused(command: Run, daemon: FakeDaemon, volume: str) -> None:
    assert command("audio", "volume", "output", "0", "--", volume).code == 2
    assert not daemon.seen


def test_devices_and_drives_are_listed(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/hardware/info")] = {
        "devices": [
            {
                "dev_path": "/dev/ttyUSB0",
                "subsystem": "tty",
                "sysfs": "/sys/devices/pci0/usb1/ttyUSB0",
                "by_id": "/dev/serial/by-id/usb-Acme",
                "attributes": {"ID_VENDOR": "Acme", "ID_MODEL": "Stick"},
            },
            {"dev_path": "/dev/null", "subsystem": "mem", "sysfs": "/sys/devices/virtual/mem/null", "attributes": {}},
        ],
        "drives": [
            {
                "vendor": "ATA",
                "model": "Disk",
                "serial": "S1",
                "size": 1024**3,
                "connection_bus": "",
                "removable": False,
                "filesystems": [{"device": "/dev/sda1", "name": "", "mount_points": ["/"]}],
            }
        ],
    }
    assert command("hardware", "-o", "name").out == "/dev/ttyUSB0\n"
    assert "Acme Stick" in command("hardware", "devices").out
    assert command("hardware", "devices", "--all", "-o", "name").out == "/dev/ttyUSB0\n/dev/null\n"
    assert command("hardware", "devices", "--kind", "mem", "-o", "name").out == "/dev/null\n"
    assert "ATA Disk  S1      1.0 GiB  -    no         /dev/sda1 on /" in command("hardware", "drives").out
    daemon.answers[("GET", "/hardware/audio")] = {"audio": {"input": {}, "output": {"speaker": "The speaker"}}}
    assert command("hardware", "audio", "-o", "name").out == "speaker\n"
    daemon.answers[("POST", "/hardware/trigger")] = {}
    assert command("hardware", "trigger").out == "All devices were announced anew\n"


@pytest.fixture
def busy(daemon: FakeDaemon) -> FakeDaemon:
    """A daemon with two add-ons that run, one of which ends before it is asked, and one that does not."""
    running = [HELLO, {**HELLO, "slug": "local_hungry"}, {**HELLO, "slug": "local_gone"}, SSH]
    daemon.answers[("GET", "/addons")] = {"addons": running}
    daemon.answers[("GET", "/supervisor/stats")] = STATS
    daemon.answers[("GET", "/addons/local_hello/stats")] = {**STATS, "cpu_percent": 90.0, "memory_usage": 1}
    daemon.answers[("GET", "/addons/local_hungry/stats")] = {**STATS, "memory_usage": 2**30, "network_rx": 9**9}
    daemon.answers[("GET", "/addons/local_gone/stats")] = Error(400, "Add-on is not running")
    return daemon


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("cpu", ["local_hello", "local_hungry", "supervisor"]),
        ("memory", ["local_hungry", "supervisor", "local_hello"]),
        ("network", ["local_hungry", "local_hello", "supervisor"]),
        ("name", ["local_hello", "local_hungry", "supervisor"]),
    ],
)
def test_the_greediest_come_first(command: Run, busy: FakeDaemon, order: str, expected: list[str]) -> None:
    assert command("top", "--sort", order, "-o", "name").out.split() == expected
    rows = json.loads(command("top", "--once", "--sort", order, "-o", "json").out)
    assert [row["slug"] for row in rows] == expected
    assert {*STATS, "name", "slug"} == set(rows[0])


def test_without_a_terminal_one_look_is_printed(command: Run, busy: FakeDaemon) -> None:
    lines = command("top").out.splitlines()
    assert lines[0].split() == ["ADD-ON", "CPU", "MEMORY", "OF", "MEM%", "NET", "IN", "NET", "OUT", "READ", "WRITTEN"]
    assert lines[1].split()[:3] == ["local_hello", "90.0%", "1"]


def test_on_a_terminal_it_goes_on_until_it_is_interrupted(busy: FakeDaemon) -> None:
    code, written = on_terminal(busy, "top", "--interval", "0.2", interrupt_after=b"sort: c cpu")
    assert code == 130
    assert "\x1b[?1049h" in written
    assert "\x1b[?1049l" in written  # the screen of before is back
    assert "sort: c cpu" in written


def test_keys_sort_and_end_it(busy: FakeDaemon) -> None:
    outer, inner = pty.openpty()
    environment = {**CLEAN, "SUPERVISOR_SOCKET": str(busy.socket), "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "top", "--interval", "60"],
        env={**environment, "LINES": "30"},
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    try:
        first = frame(outer, b"sort: c")
        assert first.index("local_hello") < first.index("local_hungry")
        os.write(outer, b"m")
        sorted_anew = frame(outer, b"sort: c")
        assert sorted_anew.index("local_hungry") < sorted_anew.index("local_hello")
        os.write(outer, b"q")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
        os.close(outer)


def frame(terminal: int, end: bytes) -> str:
    """Read what is written on a terminal up to and with `end`."""
    written, deadline = b"", time.monotonic() + 30
    while end not in written:
        assert time.monotonic() < deadline, written
        if select.select([terminal], [], [], 0.1)[0]:
            written += os.read(terminal, 65536)
    return written.decode(errors="replace")


def test_top_of_a_daemon_that_is_away_says_so(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons")] = Error(400, "not ready")
    assert command("top").err == "Error: not ready\n"
