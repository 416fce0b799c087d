"""`supervisor host` and `supervisor doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from cli_daemon import FakeDaemon
from cli_fixtures import Result, command, daemon

__all__ = ["command", "daemon"]
Run = Callable[..., Result]

INFO = {
    "hostname": "attic",
    "operating_system": "Debian",
    "kernel": "6.1",
    "disk_total": 20.0,
    "disk_used": 4.5,
    "disk_free": 15.5,
    "disk_life_time": 10.0,
    "startup_time": 12.34,
    "boot_timestamp": 1_769_860_800_123_456,
    "dt_utc": "2026-01-31T13:00:00.123456+00:00",
    "features": ["reboot", "services"],
}


def test_the_host_is_shown_without_what_nobody_knows(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/host/info"] = INFO
    out = command("host").out
    assert ["Free", "15.5", "GiB"] in [line.split() for line in out.splitlines()]
    assert "10 % used up" in out
    assert "12.3 s" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["Clock", "2026-01-31", "13:00:00", "UTC"] in lines
    assert ["Up", "since", "2026-01-31", "12:00:00", "UTC"] in lines
    assert "Chassis" not in out


def test_going_down_needs_a_yes(command: Run, daemon: FakeDaemon) -> None:
    for action in ("reboot", "shutdown"):
        assert command("host", action).code != 0
    assert daemon.requests() == []


def test_what_takes_the_space_is_a_tree(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/host/disks/default/usage"] = {
        "id": "root",
        "label": "Root",
        "used_bytes": 3 << 30,
        "total_bytes": 10 << 30,
        "children": [{"id": "media", "label": "media", "used_bytes": 1 << 30}],
    }
    lines = command("host", "usage").out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["Root", "(of", "10.0", "GiB)", "3.0", "GiB"],
        ["·", "media", "1.0", "GiB"],
    ]
    assert json.loads(command("host", "usage", "-o", "json").out)["total_bytes"] == 10 << 30


def test_the_doctor_says_what_to_do(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/host/doctor"] = {
        "findings": [
            {"name": "Docker", "condition": "ok", "text": "Version 20.10", "how": ""},
            {"name": "D-Bus", "condition": "missing", "text": "No system bus", "how": "Install dbus"},
        ]
    }
    out = command("doctor").out
    assert "MISSING" in out
    assert "Install dbus" in out
    assert command("doctor", "-o", "name").out == "Docker\nD-Bus\n"


@pytest.mark.parametrize("boot", ["x", "1.5", "", "../-1", "f" * 31])
def test_a_boot_that_can_not_be_one_is_wrong_usage(command: Run, daemon: FakeDaemon, boot: str) -> None:
    result = command("logs", "host", f"--boot={boot}")
    assert (result.code, daemon.requests("GET")) == (2, [])
    assert "--boot wants a number or a boot id" in result.err
