from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable

import pytest
from aiohttp import web

from cli_daemon import HELLO, SSH, Error, FakeDaemon, Step, job
from cli_fixtures import Result, command, daemon, on_terminal, process
from supervisor.cli.job_view import view

__all__ = ["command", "daemon"]
Run = Callable[..., Result]
U1 = "a" * 32
STORE = ("GET", "/store/addons/core_ssh")
JOB = ("GET", f"/jobs/{U1}")
INSTALLED = {**SSH, "installed": True}
MISSING = {**SSH, "installed": False, "version": None}


@pytest.fixture
def installing(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    monkeypatch.setattr("supervisor.cli.progress.POLL_SECONDS", 0.01)
    daemon.answers[("POST", "/store/addons/core_ssh/install")] = {"job_id": U1}
    daemon.answers[STORE] = [Step(MISSING), Step(INSTALLED)]
    daemon.answers[JOB] = [
        Step(job(stage="pull", progress=10)),
        Step(job(stage="pull", progress=12)),
        Step(job(stage=None, progress=60, child_jobs=[job("b" * 32, name="app_install", stage="start_up")])),
        Error(404),
    ]
    return daemon


def test_install_runs_in_the_background_and_prints_a_line_for_each_stage(command: Run, installing: FakeDaemon) -> None:
    result = command("addons", "install", "core_ssh")
    assert result.code == 0
    assert result.out == "Installed core_ssh 9.2\n"
    assert result.err.splitlines() == [
        "Installing Terminal & SSH: pull, 10 %",
        "Installing Terminal & SSH: start up, 60 %",
    ]
    assert installing.requests()[0].json == {"background": True}


def test_a_job_that_waits_to_try_again_tells_why(command: Run, installing: FakeDaemon) -> None:
    extra = {"attempt": 1, "attempts": 4, "reason": "connection reset"}
    waiting = job(stage="Waiting 2 s before try 2 of 4", extra=extra)
    installing.answers[JOB] = [Step(waiting), Step(job(stage="Extracting", progress=90)), Step(Error(404))]
    assert "Waiting 2 s before try 2 of 4: connection reset, 0 %" in command("addons", "install", "core_ssh").err


@pytest.mark.parametrize(
    ("extra", "amount"),
    [
        ({"current": 1024, "total": 1024 * 1024}, "1.0 KiB of 1.0 MiB"),
        ({"current": 0, "total": 5}, ""),
        ({"current": 5, "total": 5}, ""),
        ({"current": "x", "total": None}, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_the_bytes_of_a_download_are_shown_while_there_are_more_to_come(extra: object, amount: str) -> None:
    assert view(job(stage="Downloading", extra=extra)).amount == amount


def test_a_job_that_only_waits_shows_how_far_the_one_below_it_is() -> None:
    amount = {"current": 1024, "total": 4096}
    moving = job("b" * 32, name="backup", progress=25, extra=amount, stage="folders", child_jobs=[job(progress=90)])
    waiting = job(name="schedule", child_jobs=[job("c" * 32, done=True, progress=100), moving])
    shown = view(waiting)
    assert (shown.uuid, shown.percent, shown.stage, shown.amount) == ("a" * 32, 25, "folders", "1.0 KiB of 4.0 KiB")
    assert view({**waiting, "done": True}).percent == 0
    assert view({**waiting, "progress": 3}).percent == 3


def test_progress_stays_out_of_what_scripts_read(command: Run, installing: FakeDaemon) -> None:
    assert json.loads(command("addons", "install", "core_ssh", "-o", "json").out) == INSTALLED


def test_a_job_that_vanished_without_result_is_a_failure(command: Run, installing: FakeDaemon) -> None:
    installing.answers[STORE] = MISSING
    result = command("addons", "install", "core_ssh")
    assert result.code == 1
    assert "ended without success" in result.err
    assert result.out == ""


def test_a_job_that_failed_and_was_forgotten_is_found_among_those_that_ended_lately(
    command: Run, installing: FakeDaemon
) -> None:
    error = {"type": "Internal", "message": "no such image", "stage": "image", "error_key": None, "extra_fields": None}
    installing.answers[STORE] = MISSING
    installing.answers[("GET", "/jobs/history")] = {"jobs": [job(done=True, errors=[error])]}
    result = command("addons", "install", "core_ssh")
    assert result.code != 0
    assert "no such image" in result.err


def test_the_errors_of_a_job_are_printed_with_a_hint(command: Run, installing: FakeDaemon) -> None:
    error = {
        "type": "DockerError",
        "message": "login refused",
        "stage": None,
        "error_key": "docker_registry_auth_error",
        "extra_fields": {"registry": "ghcr.io"},
    }
    installing.answers[JOB] = job(done=True, child_jobs=[job("b" * 32, done=True, errors=[error])])
    result = command("addons", "install", "core_ssh")
    assert result.code == 1
    assert "Error: login refused\nHint: log in with: supervisor docker login ghcr.io -u USER\n" in result.err


def test_what_is_refused_at_once_needs_no_job(command: Run, installing: FakeDaemon) -> None:
    installing.answers[("POST", "/store/addons/core_ssh/install")] = Error(
        400, "is there", "app_already_installed_error", {"app": "SSH", "slug": "core_ssh"}
    )
    result = command("addons", "install", "core_ssh")
    assert result.code == 6
    assert "supervisor addons info core_ssh" in result.err


def test_an_install_that_is_done_at_once_is_no_job(command: Run, installing: FakeDaemon) -> None:
    installing.answers[("POST", "/store/addons/core_ssh/install")] = {}
    assert command("addons", "install", "core_ssh").out == "Installed core_ssh 9.2\n"


def test_detached_install_prints_the_job(command: Run, installing: FakeDaemon) -> None:
    assert command("addons", "install", "core_ssh", "--detach", "-o", "name").out == f"{U1}\n"
    assert not any(seen.path.startswith("/jobs") for seen in installing.seen)


def test_an_update_is_checked_against_the_version_that_was_offered(command: Run, daemon: FakeDaemon) -> None:
    store = ("GET", "/store/addons/local_hello")
    before = {**HELLO, "installed": True}
    daemon.answers[store] = [Step(before), Step({**before, "version": "1.1.0", "update_available": False})]
    result = command("addons", "update", "local_hello", "--backup")
    assert (result.code, result.out) == (0, "Updated local_hello to 1.1.0\n")
    assert daemon.requests()[0].json == {"backup": True, "background": True}
    daemon.answers[store] = before
    assert command("addons", "update", "local_hello").code == 1


def test_watching_a_job_ends_with_it(command: Run, installing: FakeDaemon) -> None:
    result = command("jobs", "watch", U1)
    assert (result.code, result.out) == (0, "Done\n")
    installing.answers[JOB] = job(done=True, errors=[{"type": "X", "message": "boom"}])
    assert command("jobs", "watch", U1).code == 1
    assert command("jobs", "watch", "c" * 32).code == 4


def test_on_a_terminal_a_bar_is_drawn_and_taken_away(installing: FakeDaemon) -> None:
    code, written = on_terminal(installing, "addons", "install", "core_ssh")
    assert code == 0
    assert "━" in written
    assert "60 %" in written
    assert "[progress" not in written
    assert "Installed core_ssh 9.2" in written


def test_ctrl_c_leaves_the_install_to_the_daemon_and_says_so(installing: FakeDaemon) -> None:
    installing.answers[JOB] = job(stage="pull", progress=33)
    code, written = on_terminal(installing, "addons", "install", "core_ssh", interrupt_after=b"33 %")
    assert code == 130
    assert f"supervisor jobs watch {U1}" in written
    assert "Traceback" not in written


def test_watching_all_jobs_ends_with_ctrl_c(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/jobs/info")] = {"jobs": [job(progress=44), job("b" * 32, done=True)]}
    code, written = on_terminal(daemon, "jobs", "watch", interrupt_after=b"44 %")
    assert code == 130
    assert "Traceback" not in written


async def _slow(request: web.Request) -> web.StreamResponse:
    while request.transport is not None:  # noqa: ASYNC110 - nobody tells when whoever asked has gone
        await asyncio.sleep(0.01)
    return web.json_response({"result": "ok", "data": {}})


@pytest.mark.parametrize("verb", ["rebuild", "start", "uninstall"])
def test_ctrl_c_says_that_what_was_asked_for_goes_on(daemon: FakeDaemon, verb: str) -> None:
    daemon.answers[("POST", f"/addons/local_hello/{verb}")] = _slow
    more = ["-y"] if verb == "uninstall" else []
    with process(daemon, "addons", verb, "local_hello", *more) as running:
        deadline = time.monotonic() + 60
        while not daemon.requests() and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
        assert running.stderr is not None
        assert running.stderr.read().strip() == b"The daemon goes on with it. Look at it with: supervisor jobs"


def test_ctrl_c_on_a_terminal_says_so_too(daemon: FakeDaemon) -> None:
    daemon.answers[("POST", "/addons/local_hello/rebuild")] = _slow
    code, written = on_terminal(daemon, "addons", "rebuild", "local_hello", interrupt_after=b"Rebuilding")
    assert code == 130
    assert "supervisor jobs" in written
    assert "Traceback" not in written


def test_ctrl_c_while_only_looking_promises_nothing(daemon: FakeDaemon) -> None:
    daemon.answers[("GET", "/host/disks/default/usage")] = _slow
    code, written = on_terminal(daemon, "host", "usage", interrupt_after=b"Measuring")
    assert code == 130
    assert "goes on" not in written
