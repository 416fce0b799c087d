from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_daemon import HELLO, Error, FakeDaemon, Text
from cli_fixtures import Result, command, daemon
from supervisor.cli.failures import hint_for

__all__ = ["command", "daemon"]
Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Error(400), 6),
        (Error(401), 5),
        (Error(403), 5),
        (Error(404), 4),
        (Error(409), 7),
        (Error(429), 7),
        (Error(410), 6),
        (Error(500), 8),
        (Error(503), 8),
        (Error(400, key="app_not_found_error", fields={"slug": "x"}), 4),
        (Text("403: Forbidden", 403), 5),
        (Text("", 500), 8),
        (Text("<html>", 200), 1),
        (Text("[]", 200), 1),
    ],
)
def test_the_kind_of_error_is_the_exit_code(command: Run, daemon: FakeDaemon, answer: object, code: int) -> None:
    daemon.answers[("GET", "/info")] = answer
    result = command("info")
    assert result.code == code
    assert result.err.startswith("Error: ")
    assert result.out == ""


def test_the_daemons_message_and_a_hint_are_printed(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons/x/stats")] = Error(400, "x is not running", "app_not_running_error", {"app": "x"})
    assert (
        command("addons", "stats", "x").err
        == "Error: x is not running\nHint: start it with: supervisor addons start x\n"
    )


def test_only_who_is_not_let_in_is_told_how_to_get_in(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/info")] = Text("403: Forbidden", 403)
    assert "be root or a member of the group supervisor" in command("info").err
    daemon.answers[("POST", "/host/service/docker/stop")] = Error(403, "docker may not be touched")
    assert command("host", "services", "stop", "docker").err == "Error: docker may not be touched\n"


def test_a_plain_refusal_names_the_path(command: Run) -> None:
    assert "Error: Not Found: /addons/x/info\n" in command("addons", "info", "x").err


def test_a_hint_never_offers_a_command_with_foreign_words() -> None:
    assert hint_for("app_not_running_error", {"app": "x; rm -rf /"}) is None
    assert hint_for("app_not_running_error", {}) is None
    assert hint_for("no_such_key", {"app": "x"}) is None


def test_what_a_backup_does_not_hold_is_looked_for_in_it(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/backups/repositories/nas/backups/1a2b3c4d/files")] = Error(
        404, "Backup 1a2b3c4d holds no ssl/a b", "backup_path_not_found_error", {"slug": "1a2b3c4d", "path": "ssl/a b"}
    )
    daemon.answers[("GET", "/backups")] = {"backups": []}
    result = command("backups", "browse", "nas", "1a2b3c4d", "ssl/a b")
    assert result.err.endswith("Hint: see what there is with: supervisor backups browse 1a2b3c4d\n")


def test_a_hostile_message_can_not_act_on_the_terminal(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/info")] = Error(400, "first\nsecond \x1b[2J\x1b]0;t\x07\u202eend")
    assert command("info").err == "Error: first\nsecond \\u202eend\n"


def test_a_hostile_name_stays_one_cell(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons")] = {"addons": [{**HELLO, "name": "A\x1b[31m\nB\tC\x07", "slug": "x\r\ny"}]}
    lines = command("addons").out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("x y   A B C\\x07")
    assert command("addons", "-o", "name").out == "x y\n"
    assert json.loads(command("addons", "-o", "json").out)[0]["slug"] == "x\r\ny"


@pytest.mark.parametrize("data", [{"addons": None}, {"addons": {"a": 1}}, {"addons": [1, None, "x"]}, [1], "text", 5])
def test_an_answer_of_another_shape_is_no_crash(command: Run, daemon: FakeDaemon, data: object) -> None:
    daemon.answers[("GET", "/addons")] = data
    daemon.answers[("GET", "/info")] = data
    assert command("addons").code == 0
    assert command("info").code == 0


def test_no_socket_means_not_reachable_with_a_hint(command: Run, tmp_path: Path) -> None:
    result = command("--socket", str(tmp_path / "none.sock"), "info")
    assert result.code == 3
    assert "Hint: start it with" in result.err


def test_a_dead_socket_and_a_closed_port_mean_not_reachable(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("dead.sock")
    result = command("--socket", "dead.sock", "info")
    assert result.code == 3
    assert "Hint: start it with" in result.err
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert command("--url", f"http://127.0.0.1:{port}", "info").code == 3


@pytest.mark.parametrize("said", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"])
def test_a_connection_that_breaks_means_not_reachable(command: Run, tmp_path: Path, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        result = command("--url", f"http://127.0.0.1:{server.getsockname()[1]}", "info")
        thread.join()
    assert result.code == 3
    assert "Traceback" not in result.err


def test_a_socket_one_may_not_use_says_so(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: socket.socket, _address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("supervisor.cli.client.socket.socket.connect", refuse, raising=False)
    result = command("info")
    assert result.code == 5
    assert "group supervisor" in result.err


def test_several_addons_are_all_tried_and_the_failure_counts(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("POST", "/addons/a/start")] = Error(400, "a is broken")
    result = command("addons", "start", "a", "b")
    assert result.code == 6
    assert result.out == "Started b\n"
    assert "a is broken" in result.err
