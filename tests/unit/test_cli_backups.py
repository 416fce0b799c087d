"""`supervisor backups`, against a daemon that answers as the real one does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cli_daemon import Error, FakeDaemon, Handler, Text, job
from cli_fixtures import Result, command, daemon, on_terminal

__all__ = ["command", "daemon"]
Run = Callable[..., Result]
SLUG, UUID = "1a2b3c4d", "a" * 32
BACKUP: dict[str, Any] = {
    "slug": SLUG,
    "name": "Before the move",
    "date": "2026-11-20T10:11:12.123456+00:00",
    "type": "full",
    "size": 1.5,
    "size_bytes": 1572864,
    "location": None,
    "locations": [None, "nas"],
    "protected": False,
    "location_attributes": {
        ".local": {"protected": False, "size_bytes": 1572864},
        "nas": {"protected": True, "size_bytes": 9},
    },
    "compressed": True,
    "homeassistant": "2026.4.1",
    "addons": [{"slug": "local_hello", "name": "Hello", "version": "1.0", "size": 0.5}],
    "folders": ["ssl"],
    "verification": {".local": {"checked": "2026-11-21T00:00:00", "good": True, "problems": [], "files": 1, "size": 2}},
}


@pytest.fixture(autouse=True)
def backups(daemon: FakeDaemon) -> None:
    older = {**BACKUP, "slug": "00000000", "date": "2025-01-01T00:00:00+00:00"}
    daemon.answers |= {
        ("GET", "/backups"): {"backups": [older, BACKUP]},
        ("GET", f"/backups/{SLUG}/info"): BACKUP,
        ("POST", "/backups/new/full"): {"job_id": UUID, "slug": None},
        ("POST", "/backups/new/partial"): {"job_id": UUID, "slug": None},
        ("POST", f"/backups/{SLUG}/restore/full"): {"job_id": UUID},
        ("POST", f"/backups/{SLUG}/restore/partial"): {"job_id": UUID},
        ("GET", f"/jobs/{UUID}"): job(UUID, done=True, reference=SLUG, progress=100),
        ("DELETE", f"/backups/{SLUG}"): {},
    }


def body(daemon: FakeDaemon, path: str, method: str = "POST") -> Any:
    (seen,) = [seen for seen in daemon.requests(method) if seen.path == path]
    return seen.json


def test_the_list_shows_the_youngest_first(command: Run) -> None:
    result = command("backups")
    lines = result.out.splitlines()
    assert lines[1].split()[:1] == [SLUG]
    assert "1.5 MiB" in lines[1]
    assert "local, nas" in lines[1]
    assert lines[2].split()[:1] == ["00000000"]


def test_the_details_tell_what_the_last_check_found(command: Run) -> None:
    out = command("backups", "info", SLUG).out
    assert "local_hello 1.0" in out
    assert "good, 2026-11-21 00:00:00" in out


def test_a_backup_of_everything_or_of_parts_is_asked_for(command: Run, daemon: FakeDaemon) -> None:
    result = command("backups", "new", "Before the move")
    assert (result.code, result.out) == (0, f"Made backup {SLUG} (1.5 MiB)\n")
    assert body(daemon, "/backups/new/full") == {"name": "Before the move", "compressed": True, "background": True}
    command(
        *("backups", "new", "--addon", "local_hello", "--folder", "ssl", "--homeassistant"),
        *("--location", "local", "--no-compress"),
    )
    assert body(daemon, "/backups/new/partial") == {
        "name": "",
        "compressed": False,
        "background": True,
        "addons": ["local_hello"],
        "folders": ["ssl"],
        "homeassistant": True,
        "location": [None],
    }


def test_what_could_not_be_saved_is_told_beside_the_backup(command: Run, daemon: FakeDaemon) -> None:
    child = job("b" * 32, done=True, errors=[{"type": "BackupError", "message": "Add-on x refused"}])
    daemon.answers[("GET", f"/jobs/{UUID}")] = job(UUID, done=True, reference=SLUG, child_jobs=[child])
    result = command("backups", "new")
    assert result.code == 0
    assert "Not in the backup: Add-on x refused" in result.err
    assert SLUG in result.out


def test_a_failed_backup_is_a_failure(command: Run, daemon: FakeDaemon) -> None:
    errors = [{"type": "BackupFatalIOError", "message": "The backup can't be written: No space left on device"}]
    daemon.answers[("GET", f"/jobs/{UUID}")] = job(UUID, done=True, reference=SLUG, errors=errors)
    result = command("backups", "new")
    assert result.code != 0
    assert "No space left" in result.err


def test_a_password_comes_from_a_file_or_the_environment_and_never_from_an_argument(
    command: Run, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("from the file\nnot this")
    command("backups", "new", "--password-file", str(file))
    assert body(daemon, "/backups/new/full")["password"] == "from the file"
    assert command("backups", "new", "--password", "x").code == 2
    assert command("backups", "new", "--encrypt").code == 2, "nobody can be asked here"
    monkeypatch.setenv("SUPERVISOR_BACKUP_PASSWORD", "from the environment")
    command("backups", "restore", SLUG, "-y", "--location", "nas")
    assert body(daemon, f"/backups/{SLUG}/restore/full") == {
        "background": True,
        "password": "from the environment",
        "location": "nas",
    }


def test_an_encrypted_copy_needs_a_password(command: Run) -> None:
    result = command("backups", "restore", SLUG, "-y", "--location", "nas")
    assert result.code == 2
    assert "--password-file" in result.err


def test_a_restore_asks_first(command: Run, daemon: FakeDaemon) -> None:
    assert command("backups", "restore", SLUG).code == 2
    assert daemon.requests() == []
    assert command("backups", "restore", SLUG, "-y", "--folder", "ssl").code == 0
    assert body(daemon, f"/backups/{SLUG}/restore/partial") == {"background": True, "folders": ["ssl"]}


def test_a_check_says_what_is_wrong(command: Run, daemon: FakeDaemon) -> None:
    verdict = {"checked": "x", "good": True, "problems": [], "files": 7, "size": 2048}
    asked = ("POST", f"/backups/{SLUG}/verify")
    daemon.answers[asked] = {"job_id": UUID, **verdict}
    assert command("backups", "verify", SLUG).out == f"Backup {SLUG} is good: 7 files, 2.0 KiB\n"
    daemon.answers[asked] = {"job_id": UUID, **verdict, "files": 0, "size": 0}
    assert command("backups", "verify", SLUG).out == f"Backup {SLUG} is good\n"
    daemon.answers[asked] = {"job_id": UUID, **verdict, "good": False, "problems": ["ssl.tar.gz: cut off"]}
    result = command("backups", "verify", SLUG)
    assert result.code != 0
    assert "ssl.tar.gz: cut off" in result.err


def test_a_backup_is_removed_from_where_it_is_named(command: Run, daemon: FakeDaemon) -> None:
    assert command("backups", "remove", SLUG, "-y", "--location", "nas").code == 0
    assert body(daemon, f"/backups/{SLUG}", "DELETE") == {"location": ["nas"]}


def test_a_download_is_whole_or_not_there(command: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    target = tmp_path / "x.tar"
    content = "x" * 1572864
    daemon.answers[("GET", f"/backups/{SLUG}/download")] = Text(content)
    assert command("backups", "download", SLUG, "-f", str(target)).code == 0
    assert target.read_text() == content
    again = command("backups", "download", SLUG, "-f", str(target))
    assert again.code == 2
    assert target.read_text() == content, "what is there is not overwritten"
    target.unlink()
    daemon.answers[("GET", f"/backups/{SLUG}/download")] = Text("short")
    assert "cut off" in command("backups", "download", SLUG, "-f", str(target)).err
    assert not target.exists()
    daemon.answers[("GET", f"/backups/{SLUG}/download")] = Error(404, "Backup does not exist")
    assert command("backups", "download", SLUG, "-f", str(target)).code != 0
    assert not target.exists()


def test_an_upload_is_a_form_with_the_file(command: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    file = tmp_path / "mine.tar"
    file.write_bytes(b"content of the file" * 10_000)
    daemon.answers[("POST", "/backups/new/upload")] = {"slug": SLUG}
    result = command("backups", "upload", str(file))
    assert (result.code, result.out) == (0, f"The backup {SLUG} is here\n")
    (seen,) = [seen for seen in daemon.requests() if seen.path == "/backups/new/upload"]
    assert b"content of the file" * 10_000 in seen.body
    assert seen.body.startswith(b"--")
    assert seen.body.rstrip().endswith(b"--")


def test_patterns_to_leave_out_are_chosen_and_shown(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("POST", "/backups/excludes")] = {}
    daemon.answers[("GET", "/backups/excludes")] = {"excludes": {"local_hello": ["*.log", "b"]}}
    assert command("backups", "exclude", "local_hello", "*.log").out.split() == ["PATTERN", "*.log", "b"]
    assert body(daemon, "/backups/excludes") == {"local_hello": ["*.log"]}
    assert command("backups", "exclude").out.splitlines()[1].split() == ["local_hello", "*.log,", "b"]


@pytest.mark.parametrize("arguments", [("new", "--addon", "nosuch"), ("exclude", "nosuch", "*.log")])
def test_an_addon_that_is_not_installed_is_refused_before_anything_is_done(
    command: Run, daemon: FakeDaemon, arguments: tuple[str, ...]
) -> None:
    result = command("backups", *arguments)
    assert (result.code, result.err.splitlines()[0]) == (4, "Error: not installed: nosuch")
    assert daemon.requests() == []


@pytest.mark.parametrize(
    ("parts", "code", "said"),
    [
        (("--folder", "media"), 4, "does not hold --folder media"),
        (("--addon", "nosuch", "--folder", "ssl"), 4, "does not hold --addon nosuch"),
        ((), 2, "holds only parts: name those to restore"),
    ],
)
def test_a_restore_of_what_is_not_in_the_backup_is_refused_with_what_is(
    command: Run, daemon: FakeDaemon, parts: tuple[str, ...], code: int, said: str
) -> None:
    daemon.answers[("GET", f"/backups/{SLUG}/info")] = {**BACKUP, "type": "partial"}
    result = command("backups", "restore", SLUG, "-y", *parts)
    assert (result.code, said in result.err) == (code, True)
    assert "it holds: --addon local_hello --folder ssl --homeassistant" in result.err
    assert daemon.requests() == []


def test_the_password_of_the_copy_in_a_location_is_asked_for(command: Run, daemon: FakeDaemon) -> None:
    attributes = {".local": {"protected": True, "size_bytes": 1}}
    daemon.answers[("GET", f"/backups/{SLUG}/info")] = {**BACKUP, "location_attributes": attributes}
    assert "is encrypted" in command("backups", "restore", SLUG, "-y", "--location", "local").err


def test_two_schedules_of_one_name_are_told_apart_by_their_identifiers(command: Run, daemon: FakeDaemon) -> None:
    rows = [{"id": letter * 16, "name": "nightly", "cron": "0 3 * * *"} for letter in "ab"]
    daemon.answers[("GET", "/backups/schedules")] = {"schedules": rows}
    daemon.answers[("GET", f"/backups/schedules/{'a' * 16}")] = rows[0]
    refused = command("backups", "schedule", "info", "nightly")
    assert (refused.code, "2 schedules are called nightly" in refused.err) == (2, True)
    assert "a" * 16 in command("backups", "schedule", "info", "aaaa").out


def test_times_are_shown_in_the_time_zone_of_the_terminal(
    command: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert "2026-11-20 19:11:12" in command("backups").out
        assert "2026-11-20 19:11:12" in command("backups", "info", SLUG).out
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_preview_asks_for_sizes_only(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("POST", "/backups/preview")] = {
        "items": [{"name": "ssl", "files": 2, "size": 2048}],
        "files": 2,
        "size": 2048,
    }
    out = command("backups", "new", "--folder", "ssl", "--preview").out
    assert [line.split() for line in out.splitlines()] == [
        ["WHAT", "FILES", "SIZE"],
        ["ssl", "2", "2.0", "KiB"],
        ["all", "2", "2.0", "KiB"],
    ]
    assert json.loads(command("backups", "new", "--preview", "-o", "json").out)["size"] == 2048


def test_everything_is_held_still_and_let_go_on(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers |= {("POST", "/backups/freeze"): {}, ("POST", "/backups/thaw"): {}}
    assert "supervisor backups thaw" in command("backups", "freeze", "--timeout", "60").out
    assert body(daemon, "/backups/freeze") == {"timeout": 60}
    assert command("backups", "freeze", "--timeout", "0").code == 2
    assert command("backups", "thaw").code == 0


def test_the_days_until_backups_are_stale_are_shown_and_set(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers |= {
        ("GET", "/backups/info"): {"backups": [], "days_until_stale": 7},
        ("POST", "/backups/options"): {},
    }
    assert command("backups", "stale").out.split() == ["Days", "until", "stale", "7"]
    assert command("backups", "stale", "7", "-o", "name").out == "7\n"
    assert body(daemon, "/backups/options") == {"days_until_stale": 7}


def test_the_password_of_a_repository_comes_from_the_environment_where_no_file_is_named(
    command: Run, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("backups", "repository", "add", "usb", "/mnt").code == 2, "nobody can be asked here"
    monkeypatch.setenv("SUPERVISOR_BACKUP_PASSWORD", "from the environment")
    assert command("backups", "repository", "add", "usb", "/mnt").code == 0
    file = tmp_path / "password"
    file.write_text("from the file\n")
    command("backups", "repository", "add", "usb", "/mnt", "--password-file", str(file))
    sent = [seen.json["password"] for seen in daemon.requests()]
    assert sent == ["from the environment", "from the file"]


ENTRIES = {
    "entries": [
        {
            "path": "ssl/key",
            "name": "key",
            "kind": "file",
            "size_bytes": 3,
            "mode": 0o600,
            "modified": "2026-11-20T10:11:12+00:00",
        }
    ]
}


def test_files_of_a_backup_are_asked_of_it_and_those_of_a_repository_of_that(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("POST", f"/backups/{SLUG}/files")] = ENTRIES
    daemon.answers[("GET", f"/backups/repositories/nas/backups/{SLUG}/files")] = ENTRIES
    assert "ssl/key" in command("backups", "browse", SLUG, "ssl", "deep/er").out
    assert body(daemon, f"/backups/{SLUG}/files") == {"path": "ssl/deep/er"}
    assert "ssl/key" in command("backups", "browse", "nas", SLUG, "ssl").out
    assert command("backups", "browse", "nas", SLUG, "ssl", "--location", "nas").code == 2


def test_of_folders_only_the_items_of_a_backup_have_a_size(command: Run, daemon: FakeDaemon) -> None:
    item = {**ENTRIES["entries"][0], "kind": "folder", "name": "ssl", "path": "ssl", "size_bytes": 2048}
    daemon.answers[("POST", f"/backups/{SLUG}/files")] = {"entries": [item, {**item, "path": "x", "size_bytes": 0}]}
    rows = [line.split()[1:3] for line in command("backups", "browse", SLUG).out.splitlines()[1:]]
    assert rows == [["2.0", "KiB"], ["-", rows[1][1]]]


@pytest.mark.parametrize(
    ("looked", "said"), [(None, "Nobody has looked into nas yet"), ("2026-11-20T10:11:12Z", "nas holds no backup.")]
)
def test_a_repository_is_empty_only_when_somebody_has_looked(
    command: Run, daemon: FakeDaemon, looked: str | None, said: str
) -> None:
    daemon.answers[("GET", "/backups/repositories/nas/backups")] = {"backups": []}
    daemon.answers[("GET", "/backups/repositories/nas")] = {"name": "nas", "looked": looked}
    assert said in command("backups", "repository", "backups", "nas").err


def test_the_password_of_a_copy_is_taken_for_its_files_but_not_for_its_items(
    command: Run, daemon: FakeDaemon, tmp_path: Path
) -> None:
    daemon.answers[("POST", f"/backups/{SLUG}/files")] = ENTRIES
    secret = tmp_path / "password"
    secret.write_text("geheim\n")
    assert command("backups", "browse", SLUG, "--location", "nas").code == 0
    assert command("backups", "browse", SLUG, "ssl", "--location", "nas").code == 2
    assert command("backups", "browse", SLUG, "ssl", "--location", "nas", "--password-file", str(secret)).code == 0
    asked = [seen.json for seen in daemon.requests("POST") if seen.path == f"/backups/{SLUG}/files"]
    assert asked == [
        {"path": "", "location": "nas"},
        {"path": "ssl", "location": "nas", "password": "geheim"},
    ]


def _late(daemon: FakeDaemon, answer: Callable[[], web.StreamResponse], looks: int) -> Handler:
    """Answer when somebody has looked so many times how far it is: each time but the last was shown by then."""

    def looked() -> int:
        return sum(seen.path == "/jobs/info" for seen in daemon.requests("GET"))

    async def handle(_: web.Request) -> web.StreamResponse:
        before, deadline = looked(), time.monotonic() + 10
        while looked() < before + looks and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
        return answer()

    return handle


@pytest.mark.parametrize(("verb", "name"), [("files", "browse"), ("content", "read")])
def test_looking_through_an_archive_shows_how_far_it_is(
    daemon: FakeDaemon, tmp_path: Path, verb: str, name: str
) -> None:
    answers = {
        "files": lambda: web.json_response({"result": "ok", "data": ENTRIES}),
        "content": lambda: web.Response(body=b"secret"),
    }
    daemon.answers[("POST", f"/backups/{SLUG}/{verb}")] = _late(daemon, answers[verb], 2)
    running = {"done": False, "reference": SLUG, "progress": 42, "extra": {"current": 440401920, "total": 1048576000}}
    jobs = [job("b" * 32), job("c" * 32, name=f"backup_manager_{name}", **running)]
    daemon.answers[("GET", "/jobs/info")] = {"jobs": jobs}
    words = ("get", SLUG, "ssl/key", str(tmp_path / "key")) if verb == "content" else ("browse", SLUG, "ssl")
    code, written = on_terminal(daemon, "backups", *words, columns=160)
    assert code == 0
    assert "━" in written
    assert "42 %" in written
    assert "420.0 MiB of 1000.0 MiB" in written
    assert ("ssl/key" if verb == "files" else "Wrote") in written
    # A daemon that does not tell is no reason to fail.
    daemon.answers[("GET", "/jobs/info")] = Error(503, "busy")
    daemon.answers[("POST", f"/backups/{SLUG}/{verb}")] = _late(daemon, answers[verb], 1)
    (tmp_path / "key").unlink(missing_ok=True)
    assert on_terminal(daemon, "backups", *words)[0] == 0


def test_a_file_of_a_repository_is_fetched_with_its_size_as_the_goal(daemon: FakeDaemon, tmp_path: Path) -> None:
    base = f"/backups/repositories/nas/backups/{SLUG}"
    size = 3 * 1024 * 1024
    daemon.answers[("GET", f"{base}/files")] = {"entries": [{**ENTRIES["entries"][0], "size_bytes": size}]}
    daemon.answers[("GET", f"{base}/content")] = Text("x" * size)
    code, written = on_terminal(daemon, "backups", "get", "nas", SLUG, "ssl/key", str(tmp_path / "key"), columns=160)
    assert (code, (tmp_path / "key").stat().st_size) == (0, size)
    assert "of 3.0 MiB" in written
    # By its slug alone it is the same, wherever it lies.
    daemon.answers[("GET", "/backups")] = {"backups": [{**BACKUP, "location": "repository:nas"}]}
    daemon.answers[("POST", f"/backups/{SLUG}/files")] = daemon.answers["GET", f"{base}/files"]
    daemon.answers[("POST", f"/backups/{SLUG}/content")] = daemon.answers["GET", f"{base}/content"]
    code, written = on_terminal(daemon, "backups", "get", SLUG, "ssl/key", str(tmp_path / "again"), columns=160)
    assert (code, (tmp_path / "again").stat().st_size) == (0, size)
    assert "of 3.0 MiB" in written


@pytest.mark.parametrize("dashed", [False, True])
def test_a_target_is_an_argument_or_an_option(
    command: Run, daemon: FakeDaemon, tmp_path: Path, *, dashed: bool
) -> None:
    daemon.answers[("POST", f"/backups/{SLUG}/content")] = Text("secret")
    daemon.answers[("GET", f"/backups/{SLUG}/download")] = Text("x" * 1572864)
    for words in (("get", SLUG, "ssl/key"), ("download", SLUG)):
        target = tmp_path / words[0]
        result = command("backups", *words, *(("-f",) if dashed else ()), str(target))
        assert result.code == 0, result.err
        assert target.stat().st_size == (6 if words[0] == "get" else 1572864)
        assert command("backups", *words, "x", "-f", str(target)).code == 2
    assert command("backups", "get", SLUG, "only").code == 2


def test_what_is_not_in_the_backup_is_not_found(command: Run, daemon: FakeDaemon) -> None:
    key = "backup_path_not_found_error"
    error = {"type": "NotFound", "message": f"Backup {SLUG} holds no ssl/gone", "stage": None, "error_key": key}
    daemon.answers[("POST", f"/backups/{SLUG}/restore/path")] = {"job_id": UUID}
    daemon.answers[("GET", f"/jobs/{UUID}")] = job(UUID, done=True, errors=[error])
    result = command("backups", "restore-file", SLUG, "ssl/gone", "--yes")
    assert result.code == 4
    assert "holds no ssl/gone" in result.err
    assert body(daemon, f"/backups/{SLUG}/restore/path") == {"path": "ssl/gone", "background": True}
