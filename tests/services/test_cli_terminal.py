from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from aiohttp import web

from cli_daemon import HELLO, Error, FakeDaemon, Text, job
from cli_fixtures import CLEAN, Result, command, daemon, on_terminal, process
from supervisor.cli.app import main
from supervisor.settings import Settings

__all__ = ["command", "daemon"]
Run = Callable[..., Result]
LOGS = ("GET", "/addons/local_hello/logs")
COLOURED = Text("\x1b[32mgreen\x1b[0m \x1b]0;title\x07plain\x1b[2J\nsecond\n")


def test_a_table_on_a_terminal_has_colours_and_keeps_slugs_whole(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons")] = {
        "addons": [{**HELLO, "slug": "a_very_long_slug_of_an_addon", "name": "N" * 80}]
    }
    code, written = on_terminal(daemon, "addons", columns=80)
    assert code == 0
    assert "\x1b[32mstarted" in written
    assert "a_very_long_slug_of_an_addon" in written
    assert "…" in written


def test_a_table_that_can_not_fit_breaks_no_word_within_its_cell(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/jobs/info")] = {"jobs": [job(stage="a long stage", reference="a_long_reference")]}
    written = on_terminal(daemon, "jobs", "--no-color", columns=50)[1]
    assert "a_long_reference" in written
    assert "running" in written
    assert len(written.splitlines()) == 2


def test_what_to_do_is_readable_to_its_end_on_a_narrow_terminal(daemon: FakeDaemon) -> None:
    how = "Install network-manager, and leave it the interfaces: those in /etc/network/interfaces it does not touch"
    finding = {"name": "Network settings", "condition": "missing", "text": "NetworkManager is not there", "how": how}
    daemon.answers[("GET", "/host/doctor")] = {"findings": [finding]}
    written = on_terminal(daemon, "doctor", "--no-color", columns=80)[1]
    assert "…" not in written
    assert max(len(line) for line in written.splitlines()) <= 80
    heading, row, *below = written.splitlines()
    assert heading.split() == ["WHAT", "FOUND"]
    assert row.rstrip() == "Network settings  MISSING  NetworkManager is not there"
    assert " ".join(line.strip() for line in below) == how
    assert all(line.startswith("    ") for line in below)


def test_what_to_do_stands_beside_the_rest_where_there_is_room(daemon: FakeDaemon) -> None:
    findings = [
        {"name": "Clock", "condition": "missing", "text": "It is away", "how": "Install it"},
        {"name": "Docker", "condition": "ok", "text": "Version 20.10", "how": ""},
    ]
    daemon.answers[("GET", "/host/doctor")] = {"findings": findings}
    written = on_terminal(daemon, "doctor", "--no-color", columns=80)[1]
    rows = [line.split() for line in written.splitlines()]
    assert rows[1] == ["Clock", "MISSING", "It", "is", "away", "Install", "it"]
    assert len(rows) == 3


@pytest.mark.parametrize(("arguments", "env"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})])
def test_no_colour_means_no_escape_sequence_at_all(
    daemon: FakeDaemon, arguments: list[str], env: dict[str, str]
) -> None:
    code, written = on_terminal(daemon, "addons", *arguments, env=env)
    assert (code, "started" in written, "\x1b" in written) == (0, True, False)


def test_errors_are_red_on_a_terminal_unless_colours_are_off(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/info")] = Error(400, "bad")
    assert "\x1b[31m" in on_terminal(daemon, "info")[1]
    assert on_terminal(daemon, "info", env={"NO_COLOR": "1"}) == (6, "Error: bad\r\n")


def test_a_document_is_rendered_without_links_that_hide_where_they_lead(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/store/addons/local_hello/documentation")] = Text("# Title\n\n[good](http://evil)\n")
    written = on_terminal(daemon, "addons", "docs", "local_hello")[1]
    assert "http://evil" in written
    assert "\x1b]8" not in written


def test_logs_keep_colours_on_a_terminal_only(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[LOGS] = COLOURED
    assert command("addons", "logs", "local_hello").out == "green plain\nsecond\n"
    assert daemon.seen[-1].path.endswith("/logs?no_colors=")
    written = on_terminal(daemon, "addons", "logs", "local_hello")[1]
    assert "\x1b[32mgreen\x1b[0m plain\r\nsecond\r\n" in written
    assert "title" not in written


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["-n", "5"], "/logs?lines=5&no_colors="),
        (["--boot", "-1"], "/logs/boots/-1?no_colors="),
        (["--boot", "0", "-f"], "/logs/boots/0/follow?no_colors="),
        (["--latest", "--verbose"], "/logs/latest?verbose=&no_colors="),
    ],
)
def test_log_options_become_the_documented_request(
    command: Run, daemon: FakeDaemon, arguments: list[str], path: str
) -> None:
    daemon.answers[("GET", f"/supervisor{path.partition('?')[0]}")] = Text("x\n")
    assert command("supervisor", "logs", *arguments).out == "x\n"
    assert daemon.seen[-1].path == f"/supervisor{path}"
    assert daemon.seen[-1].headers["Accept"] == "text/plain"


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ([], "/supervisor/logs?no_colors="),
        (["local_hello", "-f"], "/addons/local_hello/logs/follow?no_colors="),
        (["core", "--latest"], "/core/logs/latest?no_colors="),
        (["host", "-p", "err", "-S", "-1h", "-U", "now"], "/host/logs?level=err&since=-1h&until=now&no_colors="),
        (["dns", "--grep", "a|b&c"], "/dns/logs?grep=a%7Cb%26c&no_colors="),
        (
            ["-t", "a/b", "--boot", "-1", "-f"],
            "/host/logs/boots/-1/identifiers/a%2Fb/follow?no_colors=",
        ),
    ],
)
def test_any_log_is_read_by_its_name(command: Run, daemon: FakeDaemon, arguments: list[str], path: str) -> None:
    daemon.answers[("GET", unquote(path.partition("?")[0]))] = Text("x\n")
    assert command("logs", *arguments).out == "x\n"
    assert daemon.seen[-1].path == path


def test_the_log_of_the_machine_is_also_in_its_group(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/host/logs/identifiers/kernel/follow")] = Text("x\n")
    assert command("host", "logs", "-t", "kernel", "-f").out == "x\n"
    assert command("host", "logs", "--latest").code == 2


def test_boots_and_programs_of_the_machine_are_listed(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/host/logs/boots")] = {"boots": {"0": "b" * 32, "-1": "a" * 32}}
    daemon.answers[("GET", "/host/logs/identifiers")] = {"identifiers": ["kernel", "systemd"]}
    assert command("logs", "--boots").out.split() == ["BOOT", "ID", "0", "b" * 32, "-1", "a" * 32]
    assert json.loads(command("logs", "--boots", "-o", "json").out) == {"0": "b" * 32, "-1": "a" * 32}
    assert command("logs", "--identifiers", "-o", "name").out.split() == ["kernel", "systemd"]


@pytest.mark.parametrize("arguments", [["host", "--latest"], ["-t", ".."], ["../core"], ["x", "--latest", "-f"]])
def test_a_log_that_can_not_be_is_refused_before_anything_is_asked(
    command: Run, daemon: FakeDaemon, arguments: list[str]
) -> None:
    assert command("logs", *arguments).code == 2
    assert not daemon.seen


def test_a_log_that_is_refused_says_why(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[LOGS] = Text("no journal here", 400)
    result = command("addons", "logs", "local_hello")
    assert (result.code, result.err) == (6, "Error: no journal here\n")


def test_a_line_that_never_ends_is_printed_in_pieces(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[LOGS] = Text("x" * 1_000_000)
    out = command("addons", "logs", "local_hello").out
    assert out.replace("\n", "") == "x" * 1_000_000
    assert out.count("\n") > 1


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    await response.write(b"first\n")
    for number in range(10_000):
        await asyncio.sleep(0.02)
        await response.write(b"line %d\n" % number)
    return response


def test_following_prints_lines_as_they_come_and_ends_with_130_on_ctrl_c(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons/local_hello/logs/follow")] = _endless
    with process(daemon, "addons", "logs", "local_hello", "-f") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert [running.stdout.readline() for _ in range(3)] == [b"first\n", b"line 0\n", b"line 1\n"]
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
        assert running.stderr.read().strip() == b""


def test_a_reader_that_goes_away_ends_the_command_quietly(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons/local_hello/logs/follow")] = _endless
    with process(daemon, "addons", "logs", "local_hello", "-f") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.wait(60) == 1
        assert running.stderr.read() == b""


def test_a_spinner_runs_on_a_terminal_while_an_addon_starts(daemon: FakeDaemon) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.json_response({"result": "ok", "data": {}})

    daemon.answers[("POST", "/addons/local_hello/start")] = slow
    code, written = on_terminal(daemon, "addons", "start", "local_hello")
    assert code == 0
    assert "Starting local_hello" in written
    assert "Started local_hello" in written


def _complete(daemon: FakeDaemon, words: str, index: int, shell: str = "bash", **env: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "supervisor"],
        env={
            **CLEAN,
            "SUPERVISOR_SOCKET": str(daemon.socket),
            "_SUPERVISOR_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(index),
            **env,
        },
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_knows_the_live_slugs(daemon: FakeDaemon) -> None:
    assert _complete(daemon, "supervisor addons info lo", 3) == ["plain,local_hello"]
    assert _complete(daemon, "supervisor addons install ", 3) == ["plain,local_hello", "plain,core_ssh"]
    assert _complete(daemon, "supervisor addons start local_hello ", 4) == ["plain,core_ssh"]
    assert _complete(daemon, "supervisor store remove ", 3) == ["plain,core"]
    assert "plain,rebuild" in _complete(daemon, "supervisor addons re", 2)


def test_completion_knows_where_backups_may_go_and_the_schedules(daemon: FakeDaemon) -> None:
    daemon.answers |= {
        ("GET", "/mounts"): {"mounts": [{"name": "nas", "usage": "backup"}, {"name": "films", "usage": "media"}]},
        ("GET", "/backups/repositories"): {"repositories": [{"name": "vault"}]},
        ("GET", "/backups/schedules"): {"schedules": [{"name": "nightly", "cron": "0 3 * * *"}]},
    }
    offered = _complete(daemon, "supervisor backups new --location ", 4)
    assert offered == ["plain,local", "plain,nas", "plain,repository:vault"]
    assert _complete(daemon, "supervisor backups schedule run ", 4) == ["plain,nightly"]


_COMPLETE_IN_BASH = """
eval "$(supervisor completion bash)"
COMP_WORDBREAKS=$BREAKS COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_WORDS=("${@}") COMP_CWORD=$(($# - 1))
compopt() { :; }
_supervisor_completion supervisor
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "words", "breaks", "replies"),
    [
        ("rep", ["rep"], " :=", ["repository:vault", "repository:vast"]),
        ("repository:", ["repository", ":"], " :=", ["vault", "vast"]),
        ("repository:vau", ["repository", ":", "vau"], " :=", ["vault"]),
        ("repository:vau", ["repository:vau"], " =", ["repository:vault"]),
        ('"repository:vau', ['"repository:vau'], " :=", ["repository:vault"]),
    ],
)
def test_bash_completes_words_with_a_colon_as_it_splits_them(
    daemon: FakeDaemon, tmp_path: Path, line: str, words: list[str], breaks: str, replies: list[str]
) -> None:
    daemon.answers |= {
        ("GET", "/mounts"): {"mounts": []},
        ("GET", "/backups/repositories"): {"repositories": [{"name": "vault"}, {"name": "vast"}]},
    }
    command = tmp_path / "supervisor"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m supervisor "$@"\n')
    command.chmod(0o755)
    for typed, split in (("--location ", ["--location"]), ("--location=", ["--location", "="])):
        before = ["supervisor", "backups", "new", *split]
        done = subprocess.run(
            ["bash", "--norc", "-c", _COMPLETE_IN_BASH, *before[:1], *before, *words],
            env={
                **CLEAN,
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "SUPERVISOR_SOCKET": str(daemon.socket),
                "LINE": f"supervisor backups new {typed}{line}",
                "BREAKS": breaks,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout.split(), done.stderr) == (replies, ""), typed


def test_completion_is_silent_when_the_daemon_is_away_or_refuses(daemon: FakeDaemon) -> None:
    assert _complete(daemon, "supervisor addons info ", 3, SUPERVISOR_SOCKET="/nowhere.sock") == []
    daemon.answers[("GET", "/addons")] = Error(500)
    assert _complete(daemon, "supervisor addons info ", 3) == []


def test_completion_passes_no_hostile_word_to_the_shell(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons")] = {
        "addons": [
            {"slug": "$(reboot)", "name": "x"},
            {"slug": "a\nb", "name": "y"},
            {"slug": "ok", "name": "N\nM\x1b[2J"},
        ]
    }
    assert _complete(daemon, "supervisor addons info ", 3) == ["plain,ok"]
    assert _complete(daemon, "supervisor addons info ", 3, shell="zsh") == ["plain", "ok", "N", "M"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed_without_a_daemon(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(lambda _: 0, ["--socket", "/nowhere", "completion", shell]) == 0
    script = capfd.readouterr().out
    assert "_SUPERVISOR_COMPLETE" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_run_hands_the_settings_to_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("SUPERVISOR", "DOCKER_HOST")):
            monkeypatch.delenv(name)
    seen: list[Settings] = []

    def run(settings: Settings) -> int:
        seen.append(settings)
        return 100

    monkeypatch.chdir(tmp_path)
    assert main(run, ["run"]) == 100
    assert seen[-1] == Settings()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    monkeypatch.setenv("SUPERVISOR_SHARE", "/mnt/data")
    assert (
        main(run, ["--socket", "s.sock", "run", "--data", "d", "--no-builtin-remotes", "--dev", "--api-port", "0"])
        == 100
    )
    assert seen[-1] == Settings(
        data=tmp_path / "d",
        host_data=Path("/mnt/data"),
        socket=tmp_path / "s.sock",
        docker_url="tcp://127.0.0.1:2375",
        builtin_remotes=False,
        dev=True,
        api_port=0,
    )
    monkeypatch.delenv("SUPERVISOR_SHARE")
    assert main(run, ["run", "--data", "d"]) == 100
    assert seen[-1].host_data == tmp_path / "d"
    assert main(run, ["run", "--api-port", "70000"]) == 2


def test_a_client_command_imports_neither_the_daemon_nor_what_is_slow() -> None:
    code = (
        "import sys; sys.argv = ['supervisor', '--version']\n"
        "from supervisor.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in ('rich', 'yaml', 'asyncio', 'aiohttp', 'docker', 'voluptuous', 'supervisor.managers',"
        " 'supervisor.api', 'supervisor.settings') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
