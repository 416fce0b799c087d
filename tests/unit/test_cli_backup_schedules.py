"""`supervisor backups schedule`, against a daemon that answers as the real one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli_daemon import FakeDaemon, Step, job
from cli_fixtures import Result, command, daemon

__all__ = ["command", "daemon"]
Run = Callable[..., Result]
ID, UUID = "0123456789abcdef", "a" * 32
NIGHTLY: dict[str, Any] = {
    "id": ID,
    "name": "nightly",
    "enabled": True,
    "cron": "30 3 * * *",
    "time_zone": "Europe/Berlin",
    "contents": {"full": True},
    "locations": [None, "nas"],
    "password": False,
    "retention": {"last": 2, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0},
    "next_due": "2026-07-02T01:30:00Z",
    "last_due": "2026-07-01T01:30:00Z",
    "last_ended": "2026-07-01T01:35:00Z",
    "last_slug": "1a2b3c4d",
    "last_error": None,
}
LATER = {**NIGHTLY, "last_ended": "2026-07-01T09:00:00Z", "last_slug": "5e6f7a8b"}
PATH = f"/backups/schedules/{ID}"


@pytest.fixture(autouse=True)
def schedules(daemon: FakeDaemon) -> None:
    daemon.answers |= {
        ("GET", "/backups/schedules"): {"schedules": [NIGHTLY]},
        ("GET", PATH): [Step(NIGHTLY), Step(LATER)],
        ("POST", f"{PATH}/run"): {"job_id": UUID},
        ("GET", f"/jobs/{UUID}"): job(UUID, done=True, progress=100),
    }


def test_a_new_schedule_takes_its_password_from_the_environment_and_an_old_one_keeps_its_own(
    command: Run, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("from the file\n")
    monkeypatch.setenv("SUPERVISOR_BACKUP_PASSWORD", "from the environment")
    command("backups", "schedule", "add", "n", "0 3 * * *")
    command("backups", "schedule", "add", "n", "0 3 * * *", "--password-file", str(file))
    command("backups", "schedule", "change", "nightly", "--off")
    sent = [seen.json.get("password") for seen in daemon.requests()]
    assert sent == ["from the environment", "from the file", None]


def failing(daemon: FakeDaemon) -> None:
    error = {"type": "BackupError", "message": "nas is down", "stage": None, "error_key": None, "extra_fields": None}
    daemon.answers[("GET", f"/jobs/{UUID}")] = job(UUID, done=True, errors=[error])


def test_times_are_those_of_the_schedule(command: Run, daemon: FakeDaemon) -> None:
    out = command("backups", "schedule").out
    assert "30 3 * * * (Europe/Berlin)" in out
    assert "2026-07-02 03:30:00" in out
    assert "1a2b3c4d 2026-07-01 03:35:00" in out


def test_a_run_tells_what_it_made(command: Run, daemon: FakeDaemon) -> None:
    assert command("backups", "schedule", "run", "nightly").out == "Made the backup 5e6f7a8b\n"


def test_a_backup_that_lacks_something_is_named_and_is_a_failure(command: Run, daemon: FakeDaemon) -> None:
    failing(daemon)
    incomplete = {**LATER, "last_error": "Not everything was saved: nas is down"}
    daemon.answers[("GET", PATH)] = [Step(NIGHTLY), Step(incomplete)]
    result = command("backups", "schedule", "run", "nightly")
    assert result.code == 1
    assert "Made the backup 5e6f7a8b. Not everything was saved: nas is down" in result.err
    daemon.answers[("GET", "/backups/schedules")] = {"schedules": [incomplete]}
    assert "5e6f7a8b 2026-07-01 11:00:00, incomplete" in command("backups", "schedule").out.replace("\n", " ")


def test_a_run_that_made_nothing_does_not_show_what_was_made_before(command: Run, daemon: FakeDaemon) -> None:
    failing(daemon)
    daemon.answers[("GET", PATH)] = NIGHTLY
    result = command("backups", "schedule", "run", "nightly")
    assert result.code == 1
    assert "nas is down" in result.err
    assert "1a2b3c4d" not in result.err


def test_what_is_saved_before_updates_is_shown_and_set(command: Run, daemon: FakeDaemon) -> None:
    kept = {"retention": {"last": 3}, "automatic": False}
    daemon.answers |= {("GET", "/backups/update_retention"): kept, ("POST", "/backups/update_retention"): {}}
    out = command("backups", "schedule", "keep-updates", "--no-automatic").out
    assert "3 newest" in out
    (sent,) = daemon.requests("POST")
    assert sent.json == {"automatic": False}
