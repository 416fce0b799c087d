"""The machine goes down: add-ons are stopped before the engine is, and start at the next boot (contract §3.10)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import docker
import pytest

from daemon import FOREVER, Daemon, container_id


@pytest.fixture
def systemctl(tmp_path: Path, daemon: Daemon) -> Path:
    """The daemon asks systemd, which this machine lacks, by this command; the file beside it is what it answers."""
    answer, command = tmp_path / "answer", tmp_path / "bin" / "systemctl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\n[ "$*" = is-system-running ] || exit 64\ncat {answer}\n')
    command.chmod(0o755)
    answer.write_text("running\n")
    daemon.environment["PATH"] = f"{command.parent}:{os.environ['PATH']}"
    return answer


def says(answer: Path, text: str) -> None:
    answer.write_text(text)


async def test_every_running_add_on_is_stopped_and_boots_again(
    daemon: Daemon, docker_client: docker.APIClient, systemctl: Path
) -> None:
    slugs = [
        daemon.add_on(startup, more=f"startup: {startup}\nboot: {'manual' if startup == 'once' else 'auto'}")
        for startup in ("initialize", "system", "application", "once")
    ]
    stubborn = daemon.add_on("stubborn", command=FOREVER.replace("exit 0", ":"), more="timeout: 10\nboot: auto")
    await daemon.start()
    for slug in (*slugs, stubborn):
        await daemon.install(slug, start=True)
    says(systemctl, "stopping\n")
    assert await daemon.end() == 0
    left = [slug for slug in (*slugs, stubborn) if container_id(docker_client, slug) is not None]
    assert left == []
    log = daemon.log
    order = [log.rindex(f"local_{name}: stopped") for name in ("once", "application", "system", "initialize")]
    assert order == sorted(order)

    says(systemctl, "running\n")
    configuration = daemon.data / "config.json"
    known = json.loads(configuration.read_text())
    configuration.write_text(json.dumps({**known, "last_boot_id": "another boot", "wait_boot": 1}))
    await daemon.start()
    states = {slug: await daemon.state_of(slug) for slug in (*slugs, stubborn)}
    assert states == {
        "local_initialize": "started",
        "local_system": "started",
        "local_application": "started",
        "local_once": "stopped",
        "local_stubborn": "started",
    }


@pytest.mark.parametrize("answer", ["running\n", "degraded\n", ""])
async def test_while_the_machine_runs_on_the_end_of_the_daemon_stops_nothing(
    daemon: Daemon, docker_client: docker.APIClient, systemctl: Path, answer: str
) -> None:
    slug = daemon.add_on("lamp")
    await daemon.start()
    await daemon.install(slug, start=True)
    identity = container_id(docker_client, slug)
    says(systemctl, answer)
    await daemon.end()
    assert container_id(docker_client, slug) == identity
