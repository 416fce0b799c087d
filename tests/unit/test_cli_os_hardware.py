"""`supervisor os`: data disk, board, swap, firmware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cli_daemon import INFO, Error, FakeDaemon
from cli_fixtures import Result, command, daemon

__all__ = ["command", "daemon"]
Run = Callable[..., Result]

DISK = {"id": "Acme-1", "name": "Acme Disk (1)", "size": 64 << 30, "dev_path": "/dev/sdb"}
FIRMWARE = "/os/boards/raspberrypi/firmware"


def test_the_disks_that_are_free_are_listed(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/info"] = {**INFO, "hassos": "16.1"}
    daemon.answers["GET", "/os/datadisk/list"] = {"devices": ["Acme-1"], "disks": [DISK]}
    lines = command("os", "datadisk").out.splitlines()
    assert lines[1].split() == ["Acme-1", "Acme", "Disk", "(1)", "64.0", "GiB", "/dev/sdb"]
    assert command("os", "datadisk", "list", "-o", "name").out == "Acme-1\n"
    assert "needs" not in command("os", "datadisk").err
    daemon.answers["GET", "/os/datadisk/list"] = {"devices": [], "disks": []}
    assert "No disk is free" in command("os", "datadisk", "list").err


def test_another_system_can_not_move_its_data_and_that_is_said(command: Run, daemon: FakeDaemon) -> None:
    for disks in ([], [DISK]):
        daemon.answers["GET", "/os/datadisk/list"] = {"devices": [], "disks": disks}
        result = command("os", "datadisk")
        assert "only by the Home Assistant Operating System" in result.err
        assert "No disk is free" not in result.err
        assert ("Acme-1" in result.out) == bool(disks)


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (("os", "datadisk", "move", "Acme-1"), "/os/datadisk/move", {"device": "Acme-1"}),
        (("os", "datadisk", "wipe"), "/os/datadisk/wipe", None),
        (("os", "firmware", "update"), f"{FIRMWARE}/update", None),
        (("docker", "migrate", "overlayfs"), "/docker/migrate-storage-driver", {"storage_driver": "overlayfs"}),
    ],
)
def test_what_can_not_be_taken_back_needs_a_yes(
    command: Run, daemon: FakeDaemon, arguments: tuple[str, ...], path: str, body: Any
) -> None:
    daemon.answers["POST", path] = {}
    assert command(*arguments).code != 0
    assert daemon.requests() == []
    assert command(*arguments, "--yes").code == 0
    (asked,) = daemon.seen
    assert (asked.path, asked.json if asked.body else None) == (path, body)


def test_a_refusal_is_told(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["POST", "/os/datadisk/move"] = Error(400, "The disk is in use: it is mounted at /mnt")
    result = command("os", "datadisk", "move", "/dev/sdb", "-y")
    assert (result.code, "mounted at /mnt" in result.err) == (6, True)


def test_the_board_is_shown_with_its_lamps(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/os/info"] = {"board": "yellow"}
    daemon.answers["GET", "/os/boards/green"] = Error(400, "Green board is not in use")
    daemon.answers["GET", "/os/boards/yellow"] = {"disk_led": True, "heartbeat_led": False, "power_led": True}
    lines = [line.split() for line in command("os", "board").out.splitlines()]
    assert lines == [
        ["Board", "yellow"],
        ["Lamp", "disk", "yes"],
        ["Lamp", "heartbeat", "no"],
        ["Lamp", "power", "yes"],
    ]
    daemon.answers["POST", "/os/boards/yellow"] = {}
    assert "next boot" in command("os", "board", "lamps", "heartbeat=on", "power=off").out
    assert daemon.seen[-1].json == {"heartbeat_led": True, "power_led": False}


def test_lamps_that_are_none_are_refused_before_anybody_is_asked(command: Run, daemon: FakeDaemon) -> None:
    for lamp in ("sun=on", "power", "power=bright"):
        result = command("os", "board", "lamps", lamp)
        assert (result.code, "LAMP=on or LAMP=off" in result.err) == (2, True)
    assert daemon.seen == []
    for board in ("green", "yellow"):
        daemon.answers["GET", f"/os/boards/{board}"] = Error(400, "board is not in use")
    assert "no lamps" in command("os", "board", "lamps", "power=on").err
    daemon.answers["GET", "/os/boards/green"] = Error(403, "no")
    assert command("os", "board", "lamps", "power=on").code == 5


def test_swap_is_shown_and_set(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/os/config/swap"] = {"swap_size": "2G", "swappiness": 1}
    assert [line.split() for line in command("os", "swap").out.splitlines()] == [["Size", "2G"], ["Swappiness", "1"]]
    daemon.answers["POST", "/os/config/swap"] = {}
    command("os", "swap", "--size", "512M", "--swappiness", "0")
    assert daemon.seen[-1].json == {"swap_size": "512M", "swappiness": 0}
    assert command("os", "swap", "--swappiness", "201").code == 2


def test_firmware_is_shown(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", FIRMWARE] = {
        "current_version": "1700000000",
        "latest_version": "1750000000",
        "update_available": True,
        "update_blocked": True,
        "update_pending": False,
        "blocked_reason": "booted by network",
    }
    assert "booted by network" in command("os", "firmware").out
