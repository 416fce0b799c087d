"""Talking with a container: commands inside, its standard input, one-shot containers."""

from __future__ import annotations

import asyncio
import os
import select
import shlex
import time
from collections.abc import Sequence
from functools import partial

from docker import APIClient

from supervisor.drivers.docker import lifecycle
from supervisor.drivers.docker.link import Link
from supervisor.drivers.docker.logs import frames
from supervisor.drivers.docker.model import ExecResult
from supervisor.drivers.docker.spec import ContainerSpec
from supervisor.drivers.docker.wire import EngineClient, OpenSockets, Stream
from supervisor.errors import Conflict, Internal, Invalid, Timeout

MAX_OUTPUT = 16 * 1024 * 1024
STDIN_SECONDS = 10.0


async def execute(link: Link, name: str, command: str | Sequence[str], limit: float) -> ExecResult:
    what = f"Command in {name}"
    words = _words(command)
    try:
        async with asyncio.timeout(limit):
            created = await link.call(what, partial(_exec_create, name=name, words=words))
            output = await link.stream(what, _exec_output, created)
            state = await link.call(what, APIClient.exec_inspect, created)
    except TimeoutError:
        raise Timeout(f"{what} took longer than {limit:g} s") from None
    code = state.get("ExitCode")
    if not isinstance(code, int):
        raise Internal(f"{what}: the Docker engine does not tell its exit code")
    return ExecResult(code, output)


def write_stdin(client: EngineClient, name: str, data: bytes) -> None:
    """Attach to standard input only, write, and let go; the container keeps running. Blocking."""
    raw = client.inspect_container(name)
    if not (raw.get("State") or {}).get("Running"):
        raise Conflict(f"Container {name} is not running")
    if not (raw.get("Config") or {}).get("OpenStdin"):
        raise Conflict(f"Container {name} does not read standard input")
    sockets = OpenSockets()
    headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
    params = {"stdin": 1, "stream": 1}
    with client.open(sockets, "POST", "/containers/{}/attach", name, params=params, headers=headers) as stream:
        try:
            _write_all(stream.fileno(), data + b"\n", name)
        finally:
            sockets.shutdown()


async def run_once(link: Link, spec: ContainerSpec, network_name: str, limit: float) -> ExecResult:
    what = f"Running {spec.name}"
    starting = asyncio.ensure_future(link.change(what, lifecycle.run, spec, network_name))
    try:
        async with asyncio.timeout(limit):
            await asyncio.shield(starting)
            code = await link.stream(what, _wait, spec.name)
            output = await link.stream(what, _log_output, spec.name)
    except TimeoutError:
        raise Timeout(f"{what} took longer than {limit:g} s") from None
    finally:
        # Its thread can't be stopped, and a container that is removed before it was made stays.
        await asyncio.shield(asyncio.wait({starting}))
    return ExecResult(code, output)


def _words(command: str | Sequence[str]) -> list[str]:
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as err:
        raise Invalid(f"The command {command!r} can't be split: {err}") from None
    if not words:
        raise Invalid("The command is empty")
    return words


def _exec_create(client: EngineClient, *, name: str, words: list[str]) -> str:
    return str(client.exec_create(name, words, stdout=True, stderr=True)["Id"])


def _exec_output(client: EngineClient, sockets: OpenSockets, identity: str) -> bytes:
    body = {"Detach": False, "Tty": False}
    with client.open(sockets, "POST", "/exec/{}/start", identity, json=body) as stream:
        return _collect(stream)


def _wait(client: EngineClient, sockets: OpenSockets, name: str) -> int:
    with client.open(sockets, "POST", "/containers/{}/wait", name) as stream:
        for answer in stream.messages():
            return int(answer["StatusCode"])
    raise Internal(f"Container {name}: the Docker engine does not tell its exit code")


def _log_output(client: EngineClient, sockets: OpenSockets, name: str) -> bytes:
    params = {"stdout": 1, "stderr": 1}
    with client.open(sockets, "GET", "/containers/{}/logs", name, params=params) as stream:
        return _collect(stream)


def _collect(stream: Stream) -> bytes:
    """Read to the end, so that the engine finishes its work, but keep no more than `MAX_OUTPUT`."""
    output = bytearray()
    for _, data in frames(stream, tty=False):
        output += data[: MAX_OUTPUT - len(output)]
    return bytes(output)


def _write_all(descriptor: int, data: bytes, name: str) -> None:
    os.set_blocking(descriptor, False)
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    deadline = time.monotonic() + STDIN_SECONDS
    rest = memoryview(data)
    while rest:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Timeout(f"Container {name} does not read its standard input")
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            continue
