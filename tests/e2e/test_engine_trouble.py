"""The engine goes, hangs, and comes back; the daemon stays, says so, and brings back what ran."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import trouble_engine
from trouble_engine import TroubleEngine

from daemon import Daemon, container_id, until, within

ASKED = (
    "/info",
    "/addons",
    "/addons/local_worker/info",
    "/supervisor/info",
    "/docker/info",
    "/resolution/info",
    "/store",
)


@pytest.fixture(scope="module")
def machine() -> Iterator[TroubleEngine]:
    with trouble_engine.running() as one:
        yield one


@pytest.fixture
def engine(machine: TroubleEngine) -> TroubleEngine:
    """An engine that runs nothing, whatever the test before did to it."""
    machine.mend()
    return machine


@pytest.fixture
async def house(tmp_path: Path, engine: TroubleEngine) -> AsyncIterator[Daemon]:
    """A daemon on that engine, not started yet, with three add-ons in its store."""
    daemon = Daemon(tmp_path, [*engine.inside, sys.executable, "-m", "supervisor"], docker_url=engine.url)
    daemon.add_on("worker")
    daemon.add_on("guarded")
    daemon.add_on("idle")
    yield daemon
    await daemon.kill()
    assert "Traceback" not in daemon.log, daemon.log


@pytest.fixture
async def working(house: Daemon) -> Daemon:
    """Two add-ons run, one of them watched; a third is only installed."""
    await house.start()
    for slug in ("local_worker", "local_guarded"):
        await house.install(slug, start=True)
    await house.install("local_idle")
    await house.post("/addons/local_guarded/options", {"watchdog": True})
    return house


async def states(daemon: Daemon) -> dict[str, str]:
    return {addon["slug"].removeprefix("local_"): addon["state"] for addon in (await daemon.get("/addons"))["addons"]}


async def assert_quick(daemon: Daemon) -> None:
    """Every question is answered well within a second."""
    for path in ASKED:
        began = time.monotonic()
        answer = await daemon.ask("GET", path)
        assert (answer.status, path) == (200, path), answer.text
        assert within(1, began), path


async def assert_refused_clearly(daemon: Daemon, path: str) -> None:
    began = time.monotonic()
    answer = await daemon.ask("POST", path)
    assert within(1, began), path
    assert answer.status == 400, answer.text
    assert "the Docker engine is not" in answer.body["message"]


async def _engine_is(daemon: Daemon, *, there: bool) -> bool:
    # Nothing but a refused or granted piece of work tells what the daemon thinks of the engine.
    answer = await daemon.ask("GET", "/addons/local_worker/stats")
    return (answer.status == 200) == there


async def test_a_daemon_without_an_engine_waits_for_one(house: Daemon, engine: TroubleEngine) -> None:
    await asyncio.to_thread(engine.stop)
    await house.start()
    assert (await house.get("/info"))["state"] == "running"
    assert "local_worker" in {addon["slug"] for addon in (await house.get("/store"))["addons"]}
    began = time.monotonic()
    refused = await house.ask("POST", "/store/addons/local_worker/install")
    assert (refused.status, refused.body["result"]) == (400, "error")
    assert "Docker engine" in refused.body["message"]
    assert within(1, began)
    assert await states(house) == {}
    assert not (house.data / "addons" / "data" / "local_worker").exists()
    await until(lambda: "The Docker engine does not answer" in house.log, 30)

    await asyncio.to_thread(engine.start)
    # What comes with the engine is there when the boot has ended; until then it might start what is installed, too.
    await until(lambda: _has_booted(house), 60, lambda: house.log)
    assert (await house.get("/info"))["docker"]
    # The internal network, and our door in it.
    asked = await asyncio.create_subprocess_exec(
        *engine.inside, "curl", "-s", "-m", "30", "http://172.30.32.1/supervisor/ping", stdout=asyncio.subprocess.PIPE
    )
    assert b'"ok"' in (await asked.communicate())[0]
    await house.install("local_worker", start=True)
    assert await states(house) == {"worker": "started"}


def _has_booted(daemon: Daemon) -> bool:
    configuration = daemon.data / "config.json"
    return configuration.exists() and bool(json.loads(configuration.read_text())["last_boot_id"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_what_ran_runs_again_when_the_engine_is_back(
    working: Daemon, engine: TroubleEngine, number: signal.Signals
) -> None:
    await asyncio.to_thread(engine.stop, number)
    await assert_quick(working)
    await until(lambda: _engine_is(working, there=False), 30, lambda: working.log)
    await assert_quick(working)
    for path in ("/addons/local_idle/start", "/addons/local_worker/restart", "/addons/local_guarded/start"):
        await assert_refused_clearly(working, path)
    assert (await working.get("/info"))["state"] == "running"

    await asyncio.to_thread(engine.start)
    await until(lambda: _all_is_well(working), 90, lambda: working.log)
    issues = {issue["type"] for issue in (await working.get("/resolution/info"))["issues"]}
    assert issues <= {"no_current_backup"}
    client = docker.APIClient(base_url=engine.url)
    try:
        running = {slug: container_id(client, f"local_{slug}") for slug in ("worker", "guarded", "idle")}
        assert running["worker"]
        assert running["guarded"]
        assert running["idle"] is None, "nobody had started this one"
        # Events are heard again, too.
        client.kill("addon_local_worker")
        await until(lambda: _is(working, worker="error"), 30, lambda: working.log)
    finally:
        client.close()


async def _all_is_well(daemon: Daemon) -> bool:
    return await _is(daemon, worker="started", guarded="started", idle="stopped")


async def _is(daemon: Daemon, **expected: str) -> bool:
    found = await states(daemon)
    return {slug: found[slug] for slug in expected} == expected


async def test_what_ran_runs_again_when_engine_and_daemon_died_together(working: Daemon, engine: TroubleEngine) -> None:
    await working.kill()
    await asyncio.to_thread(engine.stop, signal.SIGKILL)
    await asyncio.to_thread(engine.start)
    await working.start()
    await until(lambda: _all_is_well(working), 90, lambda: working.log)


async def test_a_daemon_may_stop_while_the_engine_is_away(working: Daemon, engine: TroubleEngine) -> None:
    await asyncio.to_thread(engine.stop)
    began = time.monotonic()
    assert await working.end() == 0
    assert within(10, began)
    await working.start()
    assert (await working.get("/info"))["state"] == "running"
    assert set(await states(working)) == {"worker", "guarded", "idle"}
    await asyncio.to_thread(engine.start)
    await until(lambda: _all_is_well(working), 90, lambda: working.log)


async def test_a_hung_engine_keeps_nobody_from_asking(working: Daemon, engine: TroubleEngine) -> None:
    engine.send(signal.SIGSTOP)
    starting = asyncio.create_task(working.ask("POST", "/addons/local_idle/start"))
    try:
        await until(lambda: _starts(working), 30, lambda: working.log)
        await assert_quick(working)
        busy = await working.ask("POST", "/addons/local_idle/start")
        assert (busy.status, "Another job (app_start) is running" in busy.body["message"]) == (400, True), busy.text
    finally:
        engine.send(signal.SIGCONT)
    assert (await starting).status == 200
    assert await _is(working, worker="started", guarded="started", idle="started")


async def _starts(daemon: Daemon) -> bool:
    jobs = (await daemon.get("/jobs/info"))["jobs"]
    return ("app_start", "local_idle") in [(job["name"], job["reference"]) for job in jobs]


async def test_a_restart_that_finds_no_engine_leaves_the_token_of_what_still_runs(
    working: Daemon, engine: TroubleEngine
) -> None:
    before = (working.data / "addons.json").read_bytes()
    await asyncio.to_thread(engine.stop, signal.SIGKILL)
    await until(lambda: _engine_is(working, there=False), 30, lambda: working.log)
    await assert_refused_clearly(working, "/addons/local_worker/restart")
    await assert_refused_clearly(working, "/addons/local_worker/start")
    await assert_refused_clearly(working, "/addons/local_idle/start")
    assert (working.data / "addons.json").read_bytes() == before


async def test_a_daemon_told_to_stop_while_the_engine_hangs_stops(working: Daemon, engine: TroubleEngine) -> None:
    engine.send(signal.SIGSTOP)
    try:
        waiting: list[asyncio.Task[Any]] = [
            asyncio.create_task(working.ask("POST", "/addons/local_idle/start")),
            asyncio.create_task(working.ask("GET", "/addons/local_worker/logs")),
        ]
        await until(lambda: _starts(working), 30, lambda: working.log)
        assert working.process is not None
        working.process.terminate()
        began = time.monotonic()
        code = await asyncio.wait_for(working.process.wait(), 60)
        in_time = within(25, began)
        for task in waiting:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
    finally:
        engine.send(signal.SIGCONT)
    await working.end()
    assert code == 0
    assert in_time
    await working.start()
    await until(lambda: _is(working, worker="started", guarded="started"), 30, lambda: working.log)


# On the engine that all tests share.


async def test_how_an_add_on_ended_is_shown(running: Daemon, docker_client: docker.APIClient) -> None:
    running.add_on("fine", command="exit 0")
    running.add_on("bad", command="sleep 0.2; exit 7")
    await running.post("/store/reload")
    await running.install("local_fine", start=True)
    await running.install("local_bad", start=True)
    await until(lambda: _is(running, fine="stopped", bad="error"), 30, lambda: running.log)
    assert (await running.get("/addons/local_fine/info"))["last_exit_code"] == 0
    assert (await running.get("/addons/local_bad/info"))["last_exit_code"] == 7
    await until(lambda: "local_bad: ended with exit code 7" in running.log, 30)
    refused = await running.ask("GET", "/addons/local_bad/stats")
    assert (refused.status, refused.body["error_key"]) == (400, "app_not_running_error")


async def test_an_add_on_that_eats_all_its_memory_is_ended_and_the_log_says_why(
    running: Daemon, docker_client: docker.APIClient
) -> None:
    slug = running.add_on("greedy", command="while [ ! -e /data/eat ]; do sleep 0.1; done; exec tail /dev/zero")
    await running.post("/store/reload")
    await running.install(slug, start=True)
    docker_client.update_container(f"addon_{slug}", mem_limit=16 * 1024 * 1024, memswap_limit=16 * 1024 * 1024)
    (running.data / "addons" / "data" / slug / "eat").touch()
    await until(lambda: _is(running, greedy="error"), 30, lambda: running.log)
    # The engine may tell why only after it has told that.
    await until(lambda: f"{slug}: killed: out of memory" in running.log, 30, lambda: running.log)
    info = await running.get(f"/addons/{slug}/info")
    assert info["last_exit_code"] == 137
    assert info["last_error"].startswith("killed: out of memory (")


async def test_the_watchdog_restarts_an_add_on_that_got_sick(running: Daemon, docker_client: docker.APIClient) -> None:
    slug = running.add_on("sickly", command="touch /tmp/well; trap 'exit 0' TERM; while :; do sleep 0.1; done")
    dockerfile = running.data / "addons" / "local" / "sickly" / "Dockerfile"
    check = "HEALTHCHECK --interval=1s --timeout=30s --retries=1 CMD test -e /tmp/well\n"
    dockerfile.write_text(dockerfile.read_text() + check)
    await running.post("/store/reload")
    await running.install(slug, start=True)
    assert await running.state_of(slug) == "started"
    await running.post(f"/addons/{slug}/options", {"watchdog": True})
    first = container_id(docker_client, slug)
    command = docker_client.exec_create(f"addon_{slug}", ["rm", "/tmp/well"])
    docker_client.exec_start(command["Id"])
    await until(lambda: container_id(docker_client, slug) not in {None, first}, 30, lambda: running.log)
    await until(lambda: _is(running, sickly="started"), 30, lambda: running.log)
