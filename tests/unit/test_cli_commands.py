from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import yaml

from cli_daemon import HELLO_INFO, INFO, Error, FakeDaemon, Text, job
from cli_fixtures import Result, command, daemon
from supervisor.cli.app import build, main

__all__ = ["command", "daemon"]
Run = Callable[..., Result]
U1, U2 = "a" * 32, "b" * 32


def test_info_is_an_aligned_table_without_escapes_in_a_pipe(command: Run) -> None:
    result = command("info")
    assert result.code == 0
    assert "Supervisor        2026.11.0\n" in result.out
    assert "\x1b" not in result.out


def test_the_list_of_addons_has_slug_state_and_update(command: Run) -> None:
    lines = command("addons").out.splitlines()
    assert [line.split() for line in lines] == [
        ["SLUG", "NAME", "VERSION", "STATE", "UPDATE"],
        ["local_hello", "Hello", "1.0.0", "started", "1.1.0"],
        ["core_ssh", "Terminal", "&", "SSH", "9.2", "stopped", "-"],
    ]


@pytest.mark.parametrize(
    "arguments", [["-o", "json", "info"], ["info", "-o", "json"], ["-o", "yaml", "info", "-o", "json"]]
)
def test_the_output_option_works_before_and_after_the_command(command: Run, arguments: list[str]) -> None:
    assert json.loads(command(*arguments).out) == INFO


def test_yaml_and_names_are_for_scripts(command: Run) -> None:
    assert yaml.safe_load(command("addons", "-o", "yaml").out)[0]["slug"] == "local_hello"
    assert command("addons", "list", "-o", "name").out == "local_hello\ncore_ssh\n"


def test_an_empty_list_prints_no_table_but_valid_json(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/addons")] = {}
    assert command("addons").out == ""
    assert command("addons", "-o", "json").out == "[]\n"


def test_an_addon_is_shown_with_its_published_ports_only(command: Run) -> None:
    out = command("addons", "info", "local_hello").out
    assert "8080 -> 80/tcp" in out
    assert "443" not in out


def test_store_search_needs_every_word(command: Run) -> None:
    assert command("store", "search", "SSH", "log", "-o", "name").out == "core_ssh\n"
    assert command("store", "search", "SSH", "hello", "-o", "name").out == ""


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (["host", "reboot", "-y"], "POST", "/host/reboot", {"force": False}),
        (["host", "shutdown", "-y", "--force"], "POST", "/host/shutdown", {"force": True}),
        (["host", "reload"], "POST", "/host/reload", None),
        (["host", "options", "--ntp", "off"], "POST", "/host/options", {"use_ntp": False}),
        (["host", "services", "restart", "getty@tty1"], "POST", "/host/service/getty%40tty1/restart", None),
        (["host", "services", "rules", "--allow", "nginx*"], "POST", "/host/service/rules", {"allowed": ["nginx*"]}),
        (["addons", "start", "local_hello"], "POST", "/addons/local_hello/start", None),
        (["addons", "stop", "local_hello"], "POST", "/addons/local_hello/stop", None),
        (["addons", "restart", "local_hello"], "POST", "/addons/local_hello/restart", None),
        (["addons", "rebuild", "local_hello", "--force"], "POST", "/addons/local_hello/rebuild", {"force": True}),
        (["addons", "uninstall", "x", "-y"], "POST", "/addons/x/uninstall", {"remove_config": False}),
        (["addons", "remove", "x", "-y"], "POST", "/addons/x/uninstall", {"remove_config": False}),
        (["addons", "uninstall", "x", "-y", "--remove-config"], "POST", "/addons/x/uninstall", {"remove_config": True}),
        (["addons", "options", "x", "--reset", "-y"], "POST", "/addons/x/options", {"options": None}),
        (["addons", "network", "x", "--reset"], "POST", "/addons/x/options", {"network": None}),
        (["addons", "boot", "x", "manual"], "POST", "/addons/x/options", {"boot": "manual"}),
        (["addons", "watchdog", "x", "on"], "POST", "/addons/x/options", {"watchdog": True}),
        (["addons", "auto-update", "x", "off"], "POST", "/addons/x/options", {"auto_update": False}),
        (
            ["addons", "set", "x", "--boot", "auto", "--no-watchdog"],
            "POST",
            "/addons/x/options",
            {"boot": "auto", "watchdog": False},
        ),
        (
            ["addons", "limits", "local_hello", "--memory", "512M", "--cpus", "none"],
            "POST",
            "/addons/local_hello/options",
            {"limits": {"memory": "512M", "cpus": None}},
        ),
        (
            ["addons", "limits", "local_hello", "--reset"],
            "POST",
            "/addons/local_hello/options",
            {"limits": None},
        ),
        (["addons", "set", "x", "--no-protected"], "POST", "/addons/x/security", {"protected": False}),
        (["store", "reload"], "POST", "/store/reload", None),
        (["store", "add", "https://a/b#dev"], "POST", "/store/repositories", {"repository": "https://a/b#dev"}),
        (["store", "remove", "core", "-y"], "DELETE", "/store/repositories/core", None),
        (["store", "repositories", "repair", "core"], "POST", "/store/repositories/core/repair", None),
        (["jobs", "ignore", "free_space"], "POST", "/jobs/options", {"ignore_conditions": ["free_space"]}),
        (["jobs", "ignore", "--reset"], "POST", "/jobs/reset", None),
        (["jobs", "forget", U1], "DELETE", f"/jobs/{U1}", None),
        (["supervisor", "options", "--logging", "debug"], "POST", "/supervisor/options", {"logging": "debug"}),
        (["supervisor", "restart", "-y"], "POST", "/supervisor/restart", None),
        (["supervisor", "reload"], "POST", "/supervisor/reload", None),
        (["supervisor", "repair"], "POST", "/supervisor/repair", None),
        (["docker", "options", "--mtu", "1400"], "POST", "/docker/options", {"mtu": 1400}),
        (["docker", "options", "--ipv6", "default"], "POST", "/docker/options", {"enable_ipv6": None}),
        (["docker", "logout", "reg:5000"], "DELETE", "/docker/registries/reg:5000", None),
        (
            ["docker", "mirrors", "set", "docker.io", "a.b", "c.d/e"],
            "POST",
            "/docker/mirrors",
            {"docker.io": ["a.b", "c.d/e"]},
        ),
        (["docker", "mirrors", "remove", "ghcr.io"], "DELETE", "/docker/mirrors/ghcr.io", None),
        (["resolution", "healthcheck"], "POST", "/resolution/healthcheck", None),
        (["resolution", "check", "free_space"], "POST", "/resolution/check/free_space/run", None),
        (
            ["resolution", "check", "free_space", "--disable"],
            "POST",
            "/resolution/check/free_space/options",
            {"enabled": False},
        ),
        (["api", "post", "core/check", "--data", '{"a": 1}'], "POST", "/core/check", {"a": 1}),
    ],
)
def test_a_command_makes_the_documented_request(
    command: Run, daemon: FakeDaemon, arguments: list[str], method: str, path: str, body: object
) -> None:
    daemon.answers[("GET", "/resolution/info")] = {"issues": [], "suggestions": []}
    result = command(*arguments)
    assert result.code == 0, result.err
    (seen,) = daemon.requests(method)
    assert (seen.path, seen.json if seen.body else None) == (path, body)


def test_a_repository_that_could_not_be_fetched_is_told(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/resolution/info")] = {
        "issues": [{"uuid": U1, "type": "fatal_error", "context": "store", "reference": "core"}]
    }
    result = command("store", "reload")
    assert "the repository core could not be fetched" in result.err
    assert result.out == "Fetched the other repositories\n"


def test_without_internet_nobody_says_that_everything_is_up_to_date(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/available_updates")] = {"available_updates": []}
    daemon.answers[("GET", "/network/info")] = {"supervisor_internet": False}
    assert "the internet can't be reached" in command("updates").err
    daemon.answers[("GET", "/network/info")] = {"supervisor_internet": True}
    assert command("updates").err == "Everything is up to date.\n"


def test_the_help_of_a_group_tells_the_whole_summary_of_each_command(command: Run) -> None:
    out = " ".join(command("backups", "--help").out.split())
    assert "Check a backup without restoring it: read it to its end, decrypt it, compare its checksums." in out
    assert "..." not in out.partition("Commands:")[2].replace("[ARGS]...", "")
    root = " ".join(command("--help").out.split())
    assert "backups Make, look at, check, restore and remove backups, and keep them in repositories." in root


def _options(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Option]]:
    for name in group.list_commands(context):
        inner = group.get_command(context, name)
        if isinstance(inner, click.Group):
            yield from ((f"{name} {path}", option) for path, option in _options(inner, context))
        elif inner is not None:
            yield from ((name, option) for option in inner.params if isinstance(option, click.Option))


def test_every_option_of_every_command_says_what_it_is_for() -> None:
    root = build(lambda _: 0)
    assert [(path, option.opts) for path, option in _options(root, click.Context(root)) if not option.help] == []


def test_the_history_of_jobs_tells_when_each_began(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/jobs/history")] = {"jobs": [job(U1, done=True, created="2026-11-25T19:55:43.377167")]}
    out = command("jobs", "history").out
    assert "2026-11-25 19:55:43" in out
    assert U1[:12] in out


def test_setting_an_option_sends_the_whole_merged_mapping(command: Run, daemon: FakeDaemon) -> None:
    result = command(
        "addons", "options", "local_hello", "--set", "web.title=New", "--set", "names=[x]", "--unset", "secret"
    )
    assert result.code == 0
    assert daemon.requests()[0].json == {
        "options": {"greeting": "hi", "web": {"title": "New", "tags": ["a", "b"]}, "names": ["x"]}
    }


def test_options_come_from_a_file_or_from_stdin(command: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("greeting: hey\n")
    assert command("addons", "options", "local_hello", "--file", str(file)).code == 0
    assert command("addons", "options", "local_hello", "--file", "-", stdin=b'{"greeting": "yo"}').code == 0
    assert [seen.json["options"]["greeting"] for seen in daemon.requests()] == ["hey", "yo"]


def test_options_that_the_add_on_does_not_have_are_named(command: Run, tmp_path: Path) -> None:
    result = command("addons", "options", "local_hello", "--set", "greting=hi")
    assert result.code == 0, result.err
    assert "local_hello has no option greting, it is left out; did you mean greeting?" in result.err
    file = tmp_path / "options.yaml"
    file.write_text("greeting: hey\nxyz: 1\n")
    assert "no option xyz, it is left out\n" in command("addons", "options", "local_hello", "--file", str(file)).err
    assert "Warning" not in command("addons", "options", "local_hello", "--set", "greeting=hi").err


def test_the_address_of_a_page_holds_no_placeholder(command: Run) -> None:
    assert "http://<this machine>:8080/" in command("addons", "info", "local_hello").out
    assert json.loads(command("addons", "info", "local_hello", "-o", "json").out)["webui"] == "http://[HOST]:8080/"


def test_passwords_are_hidden_in_the_table_and_there_for_scripts(command: Run) -> None:
    assert "hunter2" not in command("addons", "options", "local_hello").out
    assert json.loads(command("addons", "options", "local_hello", "-o", "json").out) == HELLO_INFO["options"]


def test_options_are_edited_in_the_editor_until_they_are_valid(
    command: Run, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/greeting: .*/greeting: edited/" "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    assert command("addons", "options", "local_hello", "--edit").code == 0
    assert daemon.requests()[0].json["options"] == {**HELLO_INFO["options"], "greeting": "edited"}
    daemon.answers[("POST", "/addons/local_hello/options")] = Error(400, "wrong greeting")
    result = command("addons", "options", "local_hello", "--edit")
    assert (result.code, "wrong greeting" in result.err) == (6, True)


def test_invalid_options_are_told_with_their_reason(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("POST", "/addons/local_hello/options/validate")] = {
        "valid": False,
        "message": "no name",
        "pwned": None,
    }
    result = command("addons", "validate", "local_hello")
    assert (result.code, result.err) == (6, "Error: no name\n")
    daemon.answers[("POST", "/addons/local_hello/options/validate")] = {"valid": True, "message": "", "pwned": True}
    result = command("addons", "validate", "local_hello", "--file", "-", stdin=b"a: 1")
    assert (result.code, "known from data leaks" in result.err) == (0, True)
    assert [seen.json if seen.body else None for seen in daemon.requests()] == [None, {"a": 1}]


def test_ports_are_changed_together_with_those_that_stay(command: Run, daemon: FakeDaemon) -> None:
    assert command("addons", "network", "local_hello", "--port", "443=8443", "--port", "80/tcp=").code == 0
    assert daemon.requests()[0].json == {"network": {"80/tcp": None, "443/tcp": 8443}}


@pytest.mark.parametrize("port", ["81=80", "80/tcp", "80/sctp=1", "80=0", "80=65536", "80=x", "80=\u0661", "=80"])
def test_a_port_that_makes_no_sense_is_wrong_usage(command: Run, daemon: FakeDaemon, port: str) -> None:
    assert command("addons", "network", "local_hello", "--port", port).code == 2
    assert daemon.requests() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["addons", "info", "../../host"],
        ["addons", "info", "a b"],
        ["addons", "info", "-x"],
        ["addons", "info"],
        ["addons", "set", "x"],
        ["addons", "options", "x", "--reset", "--edit"],
        ["addons", "options", "x", "--reset"],
        ["addons", "uninstall", "x"],
        ["addons", "logs", "x", "--latest", "-f"],
        ["addons", "logs", "x", "-n", "0"],
        ["docker", "login", "reg", "-u", "me"],
        ["docker", "options", "--mtu", "67"],
        ["--socket", "a", "--url", "b", "info"],
        ["--url", "ftp://x", "info"],
        ["--url", "http://[", "info"],
        ["api", "GET", "/with space"],
        ["api", "GET", "/line\r\nX-Injected: 1"],
        ["api", "GET", "/ö"],
        ["api", "POST", "/x", "--data", "{"],
        ["api", "POST", "/x", "--data", "@/does/not/exist"],
        ["nonsense"],
    ],
)
def test_wrong_usage_ends_with_2_and_asks_the_daemon_for_nothing(
    command: Run, daemon: FakeDaemon, arguments: list[str]
) -> None:
    result = command(*arguments)
    assert result.code == 2
    assert result.err
    assert daemon.requests() == []


def test_a_no_at_the_question_changes_nothing(command: Run, daemon: FakeDaemon) -> None:
    result = command("addons", "uninstall", "local_hello", stdin=b"n\n", terminal=True)
    assert (result.code, daemon.requests()) == (1, [])
    assert command("addons", "uninstall", "local_hello", stdin=b"y\n", terminal=True).code == 0


def test_a_registry_password_comes_from_stdin_and_is_never_printed(command: Run, daemon: FakeDaemon) -> None:
    result = command("docker", "login", "ghcr.io", "-u", "me", "--password-stdin", stdin=b"s3cret\n")
    assert result.code == 0
    assert daemon.requests()[0].json == {"ghcr.io": {"username": "me", "password": "s3cret"}}
    assert "s3cret" not in result.out + result.err


def test_registries_are_listed(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/docker/registries")] = {"registries": {"ghcr.io": {"username": "me"}}}
    assert command("docker", "registries", "list").out.split() == ["REGISTRY", "USER", "ghcr.io", "me"]
    daemon.answers[("GET", "/docker/mirrors")] = {"mirrors": {"ghcr.io": ["a.b", "c.d"]}}
    assert command("docker", "mirrors").out.split() == ["REGISTRY", "MIRRORS", "ghcr.io", "a.b,", "c.d"]


def test_jobs_are_listed_with_what_they_are_made_of(command: Run, daemon: FakeDaemon) -> None:
    tree = [job(U1, progress=40, stage="pull", child_jobs=[job(U2, name="app_install")])]
    daemon.answers[("GET", "/jobs/info")] = {"ignore_conditions": ["free_space"], "jobs": tree}
    assert command("jobs", "-o", "name").out == f"{U1}\n{U2}\n"
    assert json.loads(command("jobs", "-o", "json").out) == tree
    assert "- app_install" in command("jobs").out
    assert command("jobs", "ignore", "-o", "name").out == "free_space\n"


def test_the_beginning_of_a_uuid_is_enough_when_it_is_unambiguous(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/jobs/info")] = {"jobs": [job("ab" * 16), job("ac" * 16)]}
    daemon.answers[("GET", f"/jobs/{'ab' * 16}")] = job("ab" * 16)
    assert command("jobs", "info", "abab", "-o", "name").out == f"{'ab' * 16}\n"
    assert command("jobs", "info", "a").code == 2
    assert command("jobs", "info", "dead").code == 4


def test_what_went_wrong_in_a_job_and_in_the_job_above_it_is_said_once(command: Run, daemon: FakeDaemon) -> None:
    error = {"type": "JobCancelled", "message": "The job was cancelled", "stage": None}
    child = job("ab" * 16, done=True, errors=[error])
    daemon.answers[("GET", f"/jobs/{'ac' * 16}")] = job("ac" * 16, done=True, errors=[error], child_jobs=[child])
    assert command("jobs", "info", "ac" * 16).out.count("The job was cancelled") == 1


def test_dismissing_finds_out_what_the_uuid_is(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/resolution/info")] = {
        "issues": [{"uuid": U1, "type": "free_space", "context": "system", "reference": None}],
        "suggestions": [{"uuid": U2, "type": "clear_full_backup", "context": "system", "reference": None}],
        "unsupported": ["docker_version"],
        "unhealthy": [],
    }
    assert "unsupported: docker_version" in command("resolution").err
    assert command("resolution", "dismiss", "aaaa").code == 0
    assert command("resolution", "dismiss", "bbbb").code == 0
    assert command("resolution", "apply", "bbbb").code == 0
    assert [seen.path for seen in daemon.requests("DELETE")] == [
        f"/resolution/issue/{U1}",
        f"/resolution/suggestion/{U2}",
    ]
    assert [seen.path for seen in daemon.requests()] == [f"/resolution/suggestion/{U2}"]


def test_updates_are_named(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/available_updates")] = {
        "available_updates": [
            {
                "update_type": "addon",
                "name": "Hello",
                "panel_path": "/update-available/local_hello",
                "version_latest": "2",
            }
        ]
    }
    assert command("updates", "-o", "name").out == "local_hello\n"
    assert "target" not in command("updates", "-o", "json").out


def test_stdin_sends_the_text_or_what_comes_in(command: Run, daemon: FakeDaemon) -> None:
    assert command("addons", "stdin", "local_hello", "say hi").code == 0
    assert command("addons", "stdin", "local_hello", stdin=b"\x00\xffraw").code == 0
    assert [seen.body for seen in daemon.requests()] == [b"say hi", b"\x00\xffraw"]


def test_documents_are_printed_safely(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/store/addons/local_hello/changelog")] = Text("# New\n\n- \x1b]0;owned\x07better\n")
    assert command("addons", "changelog", "local_hello").out == "# New\n\n- better\n"


def test_raw_access_prints_data_and_passes_other_bodies_on(command: Run, daemon: FakeDaemon) -> None:
    assert json.loads(command("api", "GET", "info").out) == INFO
    daemon.answers[("GET", "/addons/x/icon")] = Text("\x89PNG\x1b[2J")
    assert command("api", "GET", "/addons/x/icon").out == "\x89PNG\x1b[2J"


def test_a_token_goes_over_tcp_only(command: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERVISOR_TOKEN", "t0ken")
    assert command("info").code == 0
    assert command("--url", f"http://127.0.0.1:{daemon.port}", "info").code == 0
    assert [seen.headers.get("Authorization") for seen in daemon.seen] == [None, "Bearer t0ken"]


def test_a_token_can_not_smuggle_in_a_header(command: Run, daemon: FakeDaemon) -> None:
    result = command("--url", f"http://127.0.0.1:{daemon.port}", "--token", "a\r\nX-Injected: 1", "info")
    assert (result.code, daemon.seen) == (2, [])
    assert "Injected" not in result.err


def test_every_command_has_help_with_a_summary() -> None:
    def walk(command: click.Command, path: str) -> None:
        assert command.help, path
        for name, below in getattr(command, "commands", {}).items():
            assert below.get_short_help_str(), f"{path} {name}"
            walk(below, f"{path} {name}")

    walk(build(lambda _: 0), "supervisor")


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(lambda _: 0, ["--help"]) == 0
    assert "the daemon can't be reached" in capsys.readouterr().out


def test_several_addons_are_removed_after_one_question(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers[("POST", "/addons/a/uninstall")] = Error(400, "is being changed")
    result = command("addons", "uninstall", "a", "b", "a", "-y")
    assert [seen.path for seen in daemon.requests()] == ["/addons/a/uninstall", "/addons/b/uninstall"]
    assert (result.code, result.out) == (6, "Removed b\n")
    assert "is being changed" in result.err


@pytest.mark.parametrize(("typed", "meant"), [("uninstal", "uninstall"), ("instal", "install")])
def test_a_command_that_is_not_there_is_told_with_those_that_are_like_it(command: Run, typed: str, meant: str) -> None:
    result = command("addons", typed, "x")
    assert result.code == 2
    assert f"'{meant}'" in result.err


def test_a_log_ends_after_it_begins(command: Run, daemon: FakeDaemon) -> None:
    for since, until in (("-1h", "-2h"), ("2026-02-01", "2026-01-01"), ("-1x", "now")):
        result = command("logs", "--since", since, "--until", until)
        assert result.code == 2
    assert "--since is later than --until" in command("logs", "--since", "-1h", "--until", "-2h").err
    assert daemon.seen == []
    daemon.answers[("GET", "/supervisor/logs")] = Text("line\n")
    assert command("logs", "--since", "-2h", "--until", "-1h").out == "line\n"
