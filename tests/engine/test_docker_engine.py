from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from engine_stage import NETWORK, client_of, root_filesystem, spec, until

from supervisor import errors
from supervisor.drivers.docker.engine import Engine
from supervisor.events import ContainerState, ContainerStateChanged, EngineAvailabilityChanged, EventBus


async def test_the_engine_tells_about_itself(engine, docker_client):
    raw = docker_client.info()
    assert engine.info.version == raw["ServerVersion"]
    assert engine.info.storage_driver == raw["Driver"]
    assert engine.info.logging_driver == raw["LoggingDriver"]
    assert engine.info.cgroup_version in {"1", "2"}
    assert engine.info.root_dir.startswith("/")
    assert engine.info.api_version == docker_client.api_version


async def test_an_engine_killed_and_started_again_comes_back_by_itself(private_engine):
    bus = EventBus()
    availability: list[bool] = []
    states: list[ContainerStateChanged] = []
    bus.subscribe(EngineAvailabilityChanged, lambda event: availability.append(event.available))
    bus.subscribe(ContainerStateChanged, states.append)
    setup = client_of(private_engine.url)
    setup.import_image_from_data(root_filesystem(), repository="local/test-base", tag="1", changes=["ENV PATH=/bin"])
    setup.close()
    engine = Engine(private_engine.url, bus, network=NETWORK, timeout=20)
    await engine.start()
    try:
        await engine.containers.run(spec("survivor", "sleep", "1000"))
        follower = asyncio.create_task(anext(engine.containers.logs("addon_svtest_survivor", follow=True)))
        await asyncio.sleep(0.2)
        assert availability == [True]

        await asyncio.to_thread(private_engine.stop, signal.SIGKILL)
        await until(lambda: not engine.available)
        assert availability == [True, False]
        begun = time.monotonic()
        with pytest.raises(errors.Unavailable, match="not available"):
            await engine.containers.inspect("addon_svtest_survivor")
        assert time.monotonic() - begun < 10, "nobody waits for an engine that has gone"
        with pytest.raises((errors.Unavailable, StopAsyncIteration)):
            await follower

        states.clear()
        await asyncio.to_thread(private_engine.start)
        await until(lambda: engine.available, 30)
        assert availability == [True, False, True]
        # Without live-restore a new engine ends what the killed one ran.
        await until(lambda: states and states[-1].state is ContainerState.FAILED)
        assert {event.name for event in states} == {"addon_svtest_survivor"}
        present = await engine.containers.inspect("addon_svtest_survivor")
        assert present.state is ContainerState.FAILED
        assert states[-1].exit_code == present.exit_code

        states.clear()
        await engine.containers.start("addon_svtest_survivor")
        await until(lambda: states and states[-1].state is ContainerState.RUNNING)
        await engine.containers.stop("addon_svtest_survivor", grace=0)
    finally:
        await engine.stop()


class HangingEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Speaks just enough of the engine's protocol to be taken for one; while `hung` it accepts and never answers."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path) -> None:
        self.hung = False
        self.released = threading.Event()
        super().__init__(str(path), HangingHandler)


class HangingHandler(BaseHTTPRequestHandler):
    server: HangingEngine
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "engine"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.server.hung:
            self.server.released.wait(30)
            self.close_connection = True
            return
        if "/events" in self.path:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            self.server.released.wait(60)
            self.close_connection = True
            return
        body = json.dumps({"ApiVersion": "1.41", "ServerVersion": "20.10.24"} if "/containers" not in self.path else [])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def hanging_engine(tmp_path):
    server = HangingEngine(tmp_path / "docker.sock")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_hung_engine_gives_timeouts_is_noticed_and_comes_back(hanging_engine):
    bus = EventBus()
    availability: list[bool] = []
    bus.subscribe(EngineAvailabilityChanged, lambda event: availability.append(event.available))
    engine = Engine(f"unix://{hanging_engine.server_address}", bus, timeout=1, workers=2)
    await engine.start()
    try:
        assert engine.available
        assert await engine.containers.list_managed() == []
        hanging_engine.hung = True
        begun = time.monotonic()
        questions = [engine.containers.inspect("addon_x") for _ in range(5)]
        changes = [engine.containers.stop("addon_x") for _ in range(5)]
        results = await asyncio.gather(*questions, *changes, return_exceptions=True)
        assert all(isinstance(result, errors.Unavailable) for result in results)
        assert any(isinstance(result, errors.Timeout) for result in results)
        assert time.monotonic() - begun < 20, "each waits its second, not for the engine"
        await until(lambda: not engine.available)
        # Not the loss alone is told, but what the next attempts to reach it came to.
        with pytest.raises(errors.Unavailable, match=r"not available \(.*(does|did) not answer"):
            await engine.containers.inspect("addon_x")
        hanging_engine.hung = False
        await until(lambda: engine.available)
        assert await engine.containers.list_managed() == []
        assert availability == [True, False, True]
    finally:
        begun = time.monotonic()
        await engine.stop()
        assert time.monotonic() - begun < 20, "what hangs hangs for half a minute"


async def test_an_engine_that_never_answers_does_not_hold_up_the_start(hanging_engine):
    hanging_engine.hung = True
    engine = Engine(f"unix://{hanging_engine.server_address}", EventBus(), timeout=1)
    async with asyncio.timeout(20):
        await engine.start()
        assert not engine.available
        with pytest.raises(errors.Unavailable):
            await engine.containers.list_managed()
        await engine.stop()


async def test_a_missing_engine_is_unavailable_until_it_is_there(tmp_path):
    bus = EventBus()
    availability: list[bool] = []
    bus.subscribe(EngineAvailabilityChanged, lambda event: availability.append(event.available))
    engine = Engine(f"unix://{tmp_path}/docker.sock", bus, timeout=2)
    await engine.start()
    server = None
    try:
        assert (engine.available, engine.info, availability) == (False, None, [False])
        for call in (engine.containers.inspect("x"), engine.images.exists("x"), engine.network.ensure()):
            with pytest.raises(errors.Unavailable, match="engine is not available"):
                await call
        server = HangingEngine(tmp_path / "docker.sock")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        await until(lambda: engine.available)
        assert availability == [False, True]
    finally:
        await engine.stop()
        if server is not None:
            server.released.set()
            server.shutdown()
            thread.join()
            server.server_close()


async def test_stopping_ends_every_thread_and_stream(docker_url, base_image):
    before = {thread.ident for thread in threading.enumerate()}
    engine = Engine(docker_url, EventBus(), network=NETWORK)
    await engine.start()
    await engine.containers.run(spec("left"))
    logs = engine.containers.logs("addon_svtest_left", follow=True)
    reader = asyncio.create_task(anext(logs))
    await asyncio.sleep(0.2)
    begun = time.monotonic()
    await engine.stop()
    assert time.monotonic() - begun < 10
    with contextlib.suppress(errors.Unavailable, StopAsyncIteration):
        await reader
    names = [thread.name for thread in threading.enumerate() if thread.ident not in before]
    assert not [name for name in names if name.startswith("docker")]
    with pytest.raises(errors.Unavailable):
        await engine.containers.inspect("addon_svtest_left")


def test_an_engine_elsewhere_than_on_a_socket_is_refused():
    with pytest.raises(errors.Invalid, match="Unix socket"):
        Engine("tcp://127.0.0.1:2375", EventBus())
