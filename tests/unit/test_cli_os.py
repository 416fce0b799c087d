"""`supervisor os`."""

from __future__ import annotations

import json
from collections.abc import Callable

from cli_daemon import Error, FakeDaemon, Step, job
from cli_fixtures import Result, command, daemon, on_terminal

__all__ = ["command", "daemon"]
Run = Callable[..., Result]

JOB = "a" * 32
INFO = {
    "version": "15.2",
    "version_latest": "16.1",
    "version_pending": None,
    "update_available": True,
    "board": "rpi4-64",
    "boot": "B",
    "data_disk": "/dev/sda",
    "boot_slots": {
        "A": {"state": "inactive", "status": "bad", "version": None},
        "B": {"state": "booted", "status": "good", "version": "15.2"},
    },
}
PENDING = {**INFO, "version_pending": "16.1", "update_available": False}


def updating(daemon: FakeDaemon) -> None:
    daemon.answers["POST", "/os/update"] = {"job_id": JOB}
    daemon.answers["GET", f"/jobs/{JOB}"] = [
        Step(job(JOB, name="os_manager_update", stage="download", progress=20)),
        Step(job(JOB, name="os_manager_update", stage="install", progress=70)),
        Step(Error(404)),
    ]
    daemon.answers["GET", "/jobs/history"] = {"jobs": [job(JOB, done=True)]}
    daemon.answers["GET", "/os/info"] = PENDING


def test_the_operating_system_is_shown_with_what_waits_and_its_slots(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/os/info"] = INFO
    lines = command("os").out.splitlines()
    shown = {line[:14].strip(): line[14:].strip() for line in lines}
    assert shown["Version"] == "15.2"
    assert shown["Newest version"] == "16.1 (supervisor os update installs it)"
    assert shown["Boot slots"] == "B (15.2 booted good), A (inactive bad)"
    daemon.answers["GET", "/os/info"] = PENDING
    lines = command("os").out.splitlines()
    assert any(line.split() == ["After", "a", "reboot", "16.1"] for line in lines)
    assert any(line.split() == ["Newest", "version", "16.1"] for line in lines)
    assert json.loads(command("os", "info", "-o", "json").out) == PENDING


def test_another_operating_system_has_few_lines(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/os/info"] = {
        **dict.fromkeys(INFO),
        "update_available": False,
        "board": "supervised",
        "boot_slots": {},
    }
    shown = command("os")
    assert [line.split() for line in shown.out.splitlines()] == [["Version", "-"], ["Board", "supervised"]]
    assert "does not run the Home Assistant Operating System" in shown.err
    refused = "'os_manager_update' blocked from execution, no Home Assistant OS available"
    daemon.answers["POST", "/os/update"] = Error(400, refused)
    thaw = "'backup_manager_signal_thaw' blocked from execution, system is not frozen - running"
    daemon.answers["POST", "/backups/thaw"] = Error(400, thaw)
    assert command("backups", "thaw").err.splitlines()[-1] == f"Error: {thaw}"
    assert command("os", "update").err.splitlines()[-2:] == [
        f"Error: {refused}",
        "Hint: see what this host lacks with: supervisor doctor",
    ]


def test_an_update_is_followed_until_it_is_installed(command: Run, daemon: FakeDaemon) -> None:
    updating(daemon)
    result = command("os", "update")
    assert (result.code, result.out) == (0, "Installed 16.1\n")
    assert "Updating the operating system: download, 20 %" in result.err
    assert "Updating the operating system: install, 70 %" in result.err
    asked = next(seen for seen in daemon.requests() if seen.path == "/os/update")
    assert asked.json == {"background": True}


def test_the_version_may_be_chosen_and_nobody_has_to_wait(command: Run, daemon: FakeDaemon) -> None:
    updating(daemon)
    assert command("os", "update", "16.0", "--detach", "-o", "name").out == f"{JOB}\n"
    assert daemon.requests()[-1].json == {"background": True, "version": "16.0"}


def test_a_bar_is_drawn_on_a_terminal_and_the_next_step_is_named(daemon: FakeDaemon) -> None:
    updating(daemon)
    code, written = on_terminal(daemon, "os", "update")
    assert code == 0
    assert "━" in written
    assert "70 %" in written
    assert "supervisor host reboot" in written


def test_an_update_that_fails_tells_what_rauc_said(command: Run, daemon: FakeDaemon) -> None:
    updating(daemon)
    said = "RAUC did not install version 16.1; what runs is unchanged. It says: signature verification failed"
    failed = job(JOB, done=True, errors=[{"type": "Invalid", "message": said, "error_key": "os_update_failed"}])
    daemon.answers["GET", "/jobs/history"] = {"jobs": [failed]}
    result = command("os", "update")
    assert result.code == 1
    assert said in result.err


def test_another_slot_needs_a_yes_and_is_a_or_b(command: Run, daemon: FakeDaemon) -> None:
    assert command("os", "boot-slot", "B").code != 0
    assert command("os", "boot-slot", "C", "--yes").code == 2
    assert daemon.requests() == []
    daemon.answers["POST", "/os/boot-slot"] = {}
    assert command("os", "boot-slot", "b", "--yes").out == "The machine reboots from slot B\n"
    assert daemon.requests()[-1].json == {"boot_slot": "B"}


def test_settings_are_taken_in(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["POST", "/os/config/sync"] = {}
    assert command("os", "sync").out == "The settings are taken in\n"


def test_every_command_helps(command: Run) -> None:
    for name in ("info", "update", "boot-slot", "sync"):
        result = command("os", name, "--help")
        assert result.code == 0
        assert "Usage: supervisor os" in result.out
