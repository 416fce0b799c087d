"""A daemon as a user starts it, and the means to look at it from outside."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import docker
import pytest

ROOT = Path(__file__).parents[1]
BASE = "local/supervisor-base:1"
# How long the process may take to start or to end on a machine that is busy.
PATIENCE_SECONDS = 60.0
# A piece of work long enough to lose the processor in the middle of it.
PROBE_SECONDS = 0.05
MOST_CROWDING = 15.0
DOCKER_URL = os.environ.get("DOCKER_HOST", "unix:///run/docker.sock")


def require_own_engine() -> None:
    """End the run unless somebody said which engine to use: the tests remove what they find on it."""
    if "DOCKER_HOST" not in os.environ:
        pytest.exit(
            "These tests remove the add-ons, images and networks that they find, so they take no engine by chance: run"
            " them by script/test, which starts one of their own, or name one that nobody needs in DOCKER_HOST.",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )


MANIFEST = """\
name: {name}
slug: {slug}
version: "{version}"
description: made by a test
arch: [aarch64, amd64]
{more}
"""
DOCKERFILE = """\
FROM {base}
CMD ["sh", "-c", "{command}"]
"""
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@attrs.frozen
class Answer:
    status: int
    body: Any
    text: str
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def data(self) -> Any:
        assert self.status == 200, (self.status, self.text)
        return self.body["data"]


@attrs.define(eq=False)
class Daemon:
    """`launcher` replaces `python -m supervisor`; `options` go to `supervisor run`."""

    folder: Path
    launcher: list[str] = attrs.field(factory=lambda: [sys.executable, "-m", "supervisor"])
    options: list[str] = attrs.field(factory=list)
    docker_url: str = DOCKER_URL
    environment: dict[str, str] = attrs.field(factory=dict)
    process: asyncio.subprocess.Process | None = None
    _session: aiohttp.ClientSession | None = None

    @property
    def _no_host(self) -> dict[str, str]:
        """Keep the daemon from the machine it is tested on: it could reboot it."""
        return {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.folder}/no-bus"}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "s.sock"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def add_on(self, slug: str, version: str = "1.0", *, command: str = FOREVER, more: str = "") -> str:
        """Write an add-on to the local repository; return its full slug."""
        folder = self.data / "addons" / "local" / slug
        folder.mkdir(parents=True, exist_ok=True)
        text = MANIFEST.format(name=slug.title(), slug=slug, version=version, more=more)
        (folder / "config.yaml").write_text(text)
        (folder / "Dockerfile").write_text(DOCKERFILE.format(base=BASE, command=command))
        return f"local_{slug}"

    async def begin(self) -> None:
        """Start the process without waiting for anything."""
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.launcher,
                "run",
                "--data",
                str(self.data),
                "--socket",
                str(self.socket),
                "--docker",
                self.docker_url,
                "--no-builtin-remotes",
                *self.options,
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **self._no_host, **self.environment},
                cwd=ROOT,
            )

    async def start(self, *, state: str = "running") -> Daemon:
        """Start the process and wait until it has come to `state`."""
        await self.begin()
        await until(lambda: self._state() == state, PATIENCE_SECONDS, lambda: self.log)
        return self

    def _state(self) -> str:
        assert self.process is not None
        assert self.process.returncode is None, self.log
        try:
            return (self.socket.parent / "state").read_text()
        except FileNotFoundError:
            return ""

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit code."""
        await self.close_session()
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        (self.socket.parent / "state").unlink(missing_ok=True)
        return await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)

    async def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until the process ends by itself."""
        assert self.process is not None
        code = await asyncio.wait_for(self.process.wait(), seconds)
        await self.end()
        return code

    async def close_session(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def forget_session(self) -> None:
        """Let the next question open its own session, in an event loop of its own."""
        self._session = None

    async def ask(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, seconds: float = 120
    ) -> Answer:
        """Ask over the Unix socket."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket)))
        content = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        data = io.BytesIO(content) if content else None
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self._session.request(method, f"http://supervisor{path}", data=data, timeout=timeout) as answer:
            return await _answer(answer)

    async def get(self, path: str) -> Any:
        return (await self.ask("GET", path)).data

    async def post(self, path: str, body: Any = None) -> Any:
        return (await self.ask("POST", path, body)).data

    async def install(self, slug: str, *, start: bool = False) -> None:
        await self.post(f"/store/addons/{slug}/install")
        if start:
            await self.post(f"/addons/{slug}/start")

    async def idle(self) -> None:
        """Wait until no job runs: what a job has done shows before it ends and lets the next one at the same thing."""
        await until(self._no_jobs, PATIENCE_SECONDS, lambda: self.log)

    async def _no_jobs(self) -> bool:
        return all(job["done"] for job in (await self.get("/jobs/info"))["jobs"])

    async def state_of(self, slug: str) -> str:
        return str((await self.get(f"/addons/{slug}/info"))["state"])


async def _answer(answer: aiohttp.ClientResponse) -> Answer:
    text = await answer.text(errors="replace")
    is_json = answer.content_type == "application/json" and text
    return Answer(answer.status, json.loads(text) if is_json else None, text, answer.headers)


async def over_tcp(token: str | None, path: str, *, method: str = "GET", address: str = "172.30.32.1") -> Answer:
    """Ask as an add-on does."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{address}{path}", headers=headers) as answer,
    ):
        return await _answer(answer)


async def until(check: Callable[[], Any], seconds: float, why: Callable[[], str] = lambda: "") -> Any:
    """Wait until `check` (which may be a coroutine function) says something true; return that."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"nothing came of it in {seconds} s\n{why()}"
        await asyncio.sleep(0.05)


def within(seconds: float, began: float) -> bool:
    """Tell whether no more time has gone since `began`, of a machine that has nothing else to do."""
    taken = time.monotonic() - began
    return taken < seconds or taken < seconds * _crowding()


def _crowding() -> float:
    """Return how many times longer than its own time work takes here and now: others may want the processors."""
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < PROBE_SECONDS:
        pass
    return min((time.monotonic() - began) / PROBE_SECONDS, MOST_CROWDING)


def clear(client: docker.APIClient) -> None:
    """Remove what daemons of these tests left with the engine."""
    for container in client.containers(all=True, filters={"label": "supervisor_managed"}):
        client.remove_container(container["Id"], force=True, v=True)
    for image in client.images(filters={"label": "io.hass.type=addon"}):
        client.remove_image(image["Id"], force=True)


def copy_examples(data: Path) -> None:
    for source in (ROOT / "example").iterdir():
        if source.is_dir():
            shutil.copytree(source, data / "addons" / "local" / source.name)


def token_of(client: docker.APIClient, slug: str) -> str:
    """Return the API token that the container was given."""
    environment = client.inspect_container(f"addon_{slug}")["Config"]["Env"]
    return next(entry.partition("=")[2] for entry in environment if entry.startswith("SUPERVISOR_TOKEN="))


def container_id(client: docker.APIClient, slug: str) -> str | None:
    found = client.containers(filters={"name": f"^/addon_{slug}$"})
    return found[0]["Id"] if found else None
