"""The whole life of the example add-ons, as a user lives it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import Any

import aiohttp
import docker
import pytest

from daemon import Daemon, container_id, copy_examples, over_tcp, token_of, until, within

WEB = "local_hello_web"
WHO = "local_whoami"


@pytest.fixture
async def examples(daemon: Daemon) -> Daemon:
    await asyncio.to_thread(copy_examples, daemon.data)
    return await daemon.start()


async def logs(daemon: Daemon, slug: str) -> str:
    return (await daemon.ask("GET", f"/addons/{slug}/logs")).text


async def test_the_web_page_lives_from_install_to_uninstall(examples: Daemon, docker_client: docker.APIClient) -> None:
    listed = {addon["slug"] for addon in (await examples.get("/store"))["addons"]}
    assert {WEB, WHO} <= listed
    assert (await examples.get(f"/addons/{WEB}/info"))["state"] == "unknown"

    started = await examples.post(f"/store/addons/{WEB}/install", {"background": True})
    assert set(started) == {"job_id"}
    await until(lambda: _is_installed(examples, WEB), 90, lambda: examples.log)
    await examples.idle()
    info = await examples.get(f"/addons/{WEB}/info")
    assert (info["state"], info["version"], info["build"]) == ("stopped", "1.0.0", True)

    wrong = await examples.ask("POST", f"/addons/{WEB}/options", {"options": {"title": 7}})
    assert (wrong.status, wrong.body["error_key"]) == (400, "app_configuration_invalid_error")
    assert (await examples.get(f"/addons/{WEB}/info"))["options"] == info["options"]
    options = {**info["options"], "title": "Made in a test"}
    await examples.post(f"/addons/{WEB}/options", {"options": options, "network": {"8099/tcp": 18099}})

    await examples.post(f"/addons/{WEB}/start")
    assert await examples.state_of(WEB) == "started"
    async with aiohttp.ClientSession() as session, session.get("http://127.0.0.1:18099/") as page:
        assert "Made in a test" in await page.text()
    stats = await examples.get(f"/addons/{WEB}/stats")
    assert stats["memory_usage"] > 0
    assert "Serving" in await logs(examples, WEB)

    first = container_id(docker_client, WEB)
    await examples.post(f"/addons/{WEB}/restart")
    assert container_id(docker_client, WEB) not in {None, first}
    await examples.post(f"/addons/{WEB}/rebuild")
    assert await examples.state_of(WEB) == "started"
    await examples.post(f"/addons/{WEB}/stop")
    assert await examples.state_of(WEB) == "stopped"
    assert "Serving" in await logs(examples, WEB), "the log went with the container"

    await examples.post(f"/addons/{WEB}/uninstall")
    assert (await examples.get("/addons")) == {"addons": []}
    assert not (examples.data / "addons" / "data" / WEB).exists()
    assert (await examples.ask("POST", f"/addons/{WEB}/start")).body["error_key"] == "app_not_installed_error"


async def _is_installed(daemon: Daemon, slug: str) -> bool:
    return any(addon["slug"] == slug for addon in (await daemon.get("/addons"))["addons"])


async def test_an_add_on_calls_back_with_its_token_and_is_refused_what_it_may_not_do(
    examples: Daemon, docker_client: docker.APIClient
) -> None:
    await examples.install(WHO, start=True)
    await until(lambda: _log_has(examples, "POST /host/reboot: 403"), 30, lambda: examples.log)
    assert "GET /addons/self/info: 200, I am Who am I 1.0.0 (local_whoami), state started" in await logs(examples, WHO)
    await examples.ask("POST", f"/addons/{WHO}/stdin", raw=b"hello there")
    await until(lambda: _log_has(examples, "Heard: hello there"), 30, lambda: examples.log)

    old = token_of(docker_client, WHO)
    assert (await over_tcp(old, "/addons/self/info")).data["slug"] == WHO
    assert (await over_tcp(old, "/addons/self/update", method="POST")).status == 403
    assert (await over_tcp(None, "/addons/self/info")).status == 401
    await examples.post(f"/addons/{WHO}/restart")
    assert (await over_tcp(old, "/addons/self/info")).status == 403
    assert (await over_tcp(token_of(docker_client, WHO), "/addons/self/info")).status == 200


async def _log_has(daemon: Daemon, text: str) -> bool:
    return text in await logs(daemon, WHO)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_the_end_of_the_daemon_is_nothing_to_its_add_ons(
    examples: Daemon, docker_client: docker.APIClient, number: signal.Signals
) -> None:
    await examples.install(WHO, start=True)
    before, token = container_id(docker_client, WHO), token_of(docker_client, WHO)
    began = time.monotonic()
    code = await examples.end(number)
    assert within(10, began)
    assert code == (-9 if number == signal.SIGKILL else 0)
    await examples.start()
    assert container_id(docker_client, WHO) == before
    assert await examples.state_of(WHO) == "started"
    assert (await over_tcp(token, "/addons/self/info")).data["state"] == "started"
    await examples.post(f"/addons/{WHO}/stop")
    assert await examples.state_of(WHO) == "stopped"


async def test_an_update_keeps_what_the_user_chose(running: Daemon) -> None:
    slug = running.add_on("tiny", "1.0", more="options: {word: old}\nschema: {word: str}")
    await running.post("/store/reload")
    await running.install(slug, start=True)
    await running.post(f"/addons/{slug}/options", {"options": {"word": "mine"}, "boot": "manual", "watchdog": True})
    assert (await running.ask("POST", f"/store/addons/{slug}/update")).body["error_key"] == (
        "app_no_update_available_error"
    )
    running.add_on("tiny", "2.0", more="options: {word: newer}\nschema: {word: str}")
    await running.post("/store/reload")
    listed = (await running.get("/available_updates"))["available_updates"]
    assert [(item["update_type"], item["version_latest"]) for item in listed] == [("addon", "2.0")]
    await running.post(f"/store/addons/{slug}/update")
    info = await running.get(f"/addons/{slug}/info")
    assert (info["version"], info["state"], info["boot"], info["watchdog"]) == ("2.0", "started", "manual", True)
    assert info["options"] == {"word": "mine"}


async def test_an_update_that_fails_comes_back_with_its_data(daemon: Daemon) -> None:
    daemon.options = ["--update-window", "300"]
    slug = daemon.add_on("tiny", "1.0", command="echo one >> /data/diary; while :; do sleep 0.1; done")
    await daemon.start()
    await daemon.install(slug, start=True)
    until_told = "while [ ! -e /data/fail ]; do sleep 0.1; done"
    daemon.add_on("tiny", "2.0", command=f"echo two >> /data/diary; {until_told}; exit 3")
    await daemon.post("/store/reload")
    await daemon.post(f"/store/addons/{slug}/update")
    assert (await daemon.get(f"/addons/{slug}/info"))["rollback_version"] == "1.0"
    private = daemon.data / "addons" / "data" / slug
    (private / "fail").touch()
    await until(lambda: _at(daemon, slug, "1.0"), 30, lambda: daemon.log)
    assert "two" not in (private / "diary").read_text()
    assert not (private / "fail").exists()

    async def issues() -> list[tuple[str, str]]:
        found = (await daemon.get("/resolution/info"))["issues"]
        return [(issue["type"], issue["reference"]) for issue in found if issue["type"] != "no_current_backup"]

    # The issue is raised when the return is complete, a moment after the add-on runs.
    assert await until(issues, 30) == [("update_rollback", slug)]


@pytest.mark.parametrize(
    ("check", "window", "reason"),
    [
        ("HEALTHCHECK --interval=1s --timeout=30s --retries=1 CMD false", "300", "its health check failed"),
        ("HEALTHCHECK --interval=1s --start-period=900s CMD false", "3", "it did not get healthy in 3 s"),
    ],
    ids=["unhealthy", "no verdict"],
)
async def test_a_version_that_never_gets_healthy_is_left_with_its_data(
    daemon: Daemon, docker_client: docker.APIClient, check: str, window: str, reason: str
) -> None:
    daemon.options = ["--update-window", window]
    slug = daemon.add_on("tiny", "1.0", command="echo one >> /data/diary; while :; do sleep 0.1; done")
    await daemon.start()
    await daemon.install(slug, start=True)
    daemon.add_on("tiny", "2.0", command="echo two >> /data/diary; while :; do sleep 0.1; done")
    dockerfile = daemon.data / "addons" / "local" / "tiny" / "Dockerfile"
    dockerfile.write_text(f"{dockerfile.read_text()}{check}\n")
    await daemon.post("/store/reload")
    update = asyncio.ensure_future(daemon.ask("POST", f"/store/addons/{slug}/update"))
    await until(lambda: _issue(daemon, slug), 60, lambda: daemon.log)
    await asyncio.wait_for(update, 60)
    assert await _at(daemon, slug, "1.0")
    assert "two" not in (daemon.data / "addons" / "data" / slug / "diary").read_text()
    issue = await _issue(daemon, slug)
    assert issue["reference_extra"] == {"version": "1.0", "failed_version": "2.0", "reason": reason}
    images = docker_client.images(filters={"reference": "local/*-addon-tiny"})
    assert [image["RepoTags"] for image in images] == [[f"{_image(docker_client, slug)}"]]


async def _issue(daemon: Daemon, slug: str) -> dict[str, Any]:
    issues = (await daemon.get("/resolution/info"))["issues"]
    return next((one for one in issues if (one["type"], one["reference"]) == ("update_rollback", slug)), {})


def _image(client: docker.APIClient, slug: str) -> str:
    return str(client.inspect_container(f"addon_{slug}")["Config"]["Image"])


async def test_a_new_version_that_proved_itself_stays(daemon: Daemon, docker_client: docker.APIClient) -> None:
    daemon.options = ["--update-window", "1"]
    slug = daemon.add_on("tiny", "1.0")
    await daemon.start()
    await daemon.install(slug, start=True)
    daemon.add_on("tiny", "2.0")
    await daemon.post("/store/reload")
    await daemon.post(f"/store/addons/{slug}/update")

    async def proved() -> bool:
        return (await daemon.get(f"/addons/{slug}/info"))["rollback_version"] is None

    await until(proved, 30, lambda: daemon.log)
    await until(lambda: not docker_client.images(name="local/amd64-addon-tiny:1.0"), 30)
    refused = await daemon.ask("POST", f"/addons/{slug}/rollback")
    assert refused.status == 400


async def _at(daemon: Daemon, slug: str, version: str) -> bool:
    info = await daemon.get(f"/addons/{slug}/info")
    return (info["version"], info["state"]) == (version, "started")


async def test_an_option_that_was_taken_back_is_nowhere_any_more(running: Daemon) -> None:
    slug = running.add_on("tiny", "1.0", more="schema: {word: password}")
    await running.post("/store/reload")
    await running.install(slug)
    for word in ("first-secret", "second-secret"):
        await running.post(f"/addons/{slug}/options", {"options": {"word": word}})
    assert holding(running, "first-secret") == set()
    assert holding(running, "second-secret") == {"addons.json", ".addons.json.last-good"}
    running.add_on("tiny", "2.0", more="schema: {word: password}")
    await running.post("/store/reload")
    await running.post(f"/store/addons/{slug}/update")
    assert "rollbacks.json" in holding(running, "second-secret"), "the way back has its options"
    await running.post(f"/addons/{slug}/uninstall")
    # The way back goes a moment after the add-on.
    await until(lambda: not holding(running, "second-secret"), 30, lambda: running.log)


def holding(daemon: Daemon, secret: str) -> set[str]:
    """Return the names of the daemon's own files that hold a secret."""
    return {file.name for file in daemon.data.iterdir() if file.is_file() and secret in file.read_text()}


@pytest.mark.parametrize("remove", [True, False])
async def test_public_configuration_goes_only_when_asked(running: Daemon, remove: bool) -> None:
    slug = running.add_on("tiny", more="map: [addon_config:rw]")
    await running.post("/store/reload")
    await running.install(slug, start=True)
    folder = running.data / "addon_configs" / slug
    assert folder.is_dir()
    await running.post(f"/addons/{slug}/uninstall", {"remove_config": remove})
    assert folder.exists() != remove


async def test_a_corrupt_state_file_costs_nothing_but_is_reported(daemon: Daemon) -> None:
    slug = daemon.add_on("tiny")
    await daemon.start()
    await daemon.install(slug)
    await daemon.post(f"/addons/{slug}/options", {"auto_update": True})
    await daemon.end()
    (daemon.data / "addons.json").write_text('{"user": {"local_ti')
    await daemon.start()
    assert [addon["slug"] for addon in (await daemon.get("/addons"))["addons"]] == [slug]
    issues = {issue["type"] for issue in (await daemon.get("/resolution/info"))["issues"]}
    assert issues - {"no_current_backup"} == {"corrupt_state_file"}
    assert list(daemon.data.glob("addons.json.corrupt-*"))


async def test_the_watch_over_the_event_loop_is_for_this_run_or_for_every_one(daemon: Daemon) -> None:
    async def watching() -> Any:
        return (await daemon.get("/supervisor/info"))["detect_blocking_io"]

    await daemon.start()
    assert await watching() is False
    for wish, now, later in (("on", True, False), ("on-at-startup", True, True), ("off", False, False)):
        await daemon.post("/supervisor/options", {"detect_blocking_io": wish})
        assert await watching() is now, wish
        await daemon.end()
        await daemon.start()
        assert await watching() is later, wish


async def test_a_second_daemon_is_refused_the_socket(running: Daemon, docker_client: docker.APIClient) -> None:
    other = Daemon(running.folder)
    await other.begin()
    try:
        assert other.process is not None
        assert await asyncio.wait_for(other.process.wait(), 60) != 0
        assert (running.socket.parent / "state").read_text() == "running"
    finally:
        await other.kill()
    assert "another" in running.log.lower()
    assert (await running.get("/info"))["state"] == "running"


async def test_restart_ends_the_process_with_code_100(running: Daemon) -> None:
    await running.ask("POST", "/supervisor/restart")
    assert await running.ended() == 100


async def test_a_container_killed_from_outside_is_an_error_and_the_watchdog_brings_it_back(
    running: Daemon, docker_client: docker.APIClient
) -> None:
    slug = running.add_on("tiny")
    await running.post("/store/reload")
    await running.install(slug, start=True)
    docker_client.kill(f"addon_{slug}")

    async def failed() -> bool:
        return await running.state_of(slug) == "error"

    await until(failed, 30)
    assert (await running.get(f"/addons/{slug}/info"))["last_exit_code"] == 137
    await running.post(f"/addons/{slug}/options", {"watchdog": True})
    await running.post(f"/addons/{slug}/start")
    first = container_id(docker_client, slug)
    docker_client.kill(f"addon_{slug}")
    await until(lambda: container_id(docker_client, slug) not in {None, first}, 30, lambda: running.log)


async def test_the_log_can_be_followed(running: Daemon) -> None:
    slug = running.add_on(
        "tiny", command="i=0; while :; do i=$$((i+1)); echo line $$i; sleep 0.2; done".replace("$$", "$")
    )
    await running.post("/store/reload")
    await running.install(slug, start=True)
    connector = aiohttp.UnixConnector(str(running.socket))
    url = f"http://x/addons/{slug}/logs/follow"
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as answer:
        lines = [await asyncio.wait_for(answer.content.readline(), 30) for _ in range(5)]
    assert all(line.startswith(b"line ") for line in lines)


async def test_jobs_tell_what_went_wrong(running: Daemon) -> None:
    slug = running.add_on("broken")
    (running.data / "addons" / "local" / "broken" / "Dockerfile").write_text(
        "FROM local/supervisor-base:1\nRUN false\n"
    )
    await running.post("/store/reload")
    refused = await running.ask("POST", f"/store/addons/{slug}/install")
    assert (refused.status, refused.body["error_key"]) == (500, "app_build_failed_unknown_error")
    assert (await running.get("/addons")) == {"addons": []}
    ended = (await running.get("/jobs/history"))["jobs"]
    (job,) = (job for job in ended if (job["name"], job["reference"]) == ("app_manager_install", slug))
    assert job["done"] is True
    assert job["errors"][0]["error_key"] == "app_build_failed_unknown_error"
    assert json.loads((running.data / "intents.json").read_text()) == {"intents": {}}
