"""`supervisor addons load`, and what is shown when a build fails."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_daemon import Error, FakeDaemon, Step, Text, job
from cli_fixtures import Result, command, daemon
from supervisor.cli.client import Client, Target
from supervisor.cli.failures import Failure

__all__ = ["command", "daemon"]
Run = Callable[..., Result]
UUID = "a" * 32
LOADED = {"slug": "core_ssh", "version": "9.2", "job_id": UUID}
INSTALLED = {"slug": "core_ssh", "installed": True, "version": "9.2"}
BUILD_FAILED = Error(500, "Building failed", "app_build_failed_unknown_error", {"app": "core_ssh"})


@pytest.fixture
def loading(daemon: FakeDaemon) -> FakeDaemon:
    daemon.answers[("POST", "/addons/load")] = LOADED
    daemon.answers[("GET", f"/jobs/{UUID}")] = [
        Step(job(stage="Loading", progress=40)),
        Step(job(stage="Loading", progress=100, done=True)),
    ]
    daemon.answers[("GET", "/store/addons/core_ssh")] = INSTALLED
    return daemon


def test_an_archive_is_sent_whole_and_its_job_followed(command: Run, loading: FakeDaemon, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    (tmp_path / "ssh.tar").write_bytes(content)
    result = command("addons", "load", str(tmp_path / "ssh.tar"), "--slug", "core_ssh")
    assert (result.code, result.out) == (0, "Loaded core_ssh 9.2\n"), result
    [sent] = loading.requests()
    assert sent.path == "/addons/load?background=&slug=core_ssh"
    assert sent.body == content
    assert sent.headers["Content-Length"] == str(len(content))
    lines = result.err.splitlines()
    assert lines[0].startswith("Sending ssh.tar: ")
    assert "Sending ssh.tar: checking, 100 %" in lines
    assert "Loading core_ssh: Loading, 40 %" in lines


def test_standard_input_of_any_length_can_be_sent(command: Run, loading: FakeDaemon) -> None:
    content = b"x" * 1_000_000
    assert command("addons", "load", "-", stdin=content).code == 0
    [sent] = loading.requests()
    assert sent.body == content
    assert sent.headers["Transfer-Encoding"] == "chunked"


def test_a_terminal_as_the_archive_is_a_mistake(command: Run, loading: FakeDaemon) -> None:
    assert command("addons", "load", "-", terminal=True).code == 2
    assert loading.requests() == []


def test_detached_the_job_is_named(command: Run, loading: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    assert UUID in command("addons", "load", str(tmp_path / "a"), "--detach").out


def test_a_load_that_came_to_nothing_is_no_success(command: Run, loading: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    loading.answers[("GET", "/store/addons/core_ssh")] = {**INSTALLED, "version": "9.1"}
    assert command("addons", "load", str(tmp_path / "a")).code == 1


def test_a_refusal_before_all_is_sent_is_told(tmp_path: Path) -> None:
    """The daemon answers and hangs up while the archive is still being sent."""
    path = str(tmp_path / "s.sock")
    body = b'{"result": "error", "message": "There is no room for the archive"}'
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                head = (
                    f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                connection.sendall(head.encode() + body)

        thread = threading.Thread(target=refuse)
        thread.start()
        (tmp_path / "large").write_bytes(bytes(30_000_000))
        try:
            with (tmp_path / "large").open("rb") as source, pytest.raises(Failure, match="no room for the archive"):
                Client(Target(socket=path)).upload("/addons/load", source, 30_000_000)
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["addons", "install", "core_ssh"], ("POST", "/store/addons/core_ssh/install")),
        (["addons", "update", "core_ssh"], ("POST", "/store/addons/core_ssh/update")),
        (["addons", "rebuild", "core_ssh"], ("POST", "/addons/core_ssh/rebuild")),
    ],
    ids=["install", "update", "rebuild"],
)
def test_a_failed_build_shows_the_end_of_its_log(
    command: Run, daemon: FakeDaemon, arguments: list[str], asked: tuple[str, str]
) -> None:
    daemon.answers[asked] = BUILD_FAILED
    daemon.answers[("GET", "/addons/core_ssh/logs/build")] = Text("Step 2\n\x1b]0;title\x07the reason\n")
    result = command(*arguments)
    assert result.code == 8
    assert "  Step 2\n  the reason\n" in result.err
    assert "supervisor addons logs core_ssh --build" in result.err
    assert any(seen.path.endswith("/logs/build?lines=20") for seen in daemon.requests("GET"))


def test_a_failed_build_without_a_log_is_still_told(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("POST", "/addons/core_ssh/rebuild")] = BUILD_FAILED
    result = command("addons", "rebuild", "core_ssh")
    assert (result.code, "Building failed" in result.err, "last lines" in result.err) == (8, True, False)


def test_the_log_of_a_build_is_printed_alone(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons/core_ssh/logs/build")] = Text("one\ntwo\n")
    assert command("addons", "logs", "core_ssh", "--build", "-n", "5").out == "one\ntwo\n"
    assert daemon.requests("GET")[-1].path == "/addons/core_ssh/logs/build?lines=5"
    assert command("addons", "logs", "core_ssh", "--build", "--verbose").code == 2
