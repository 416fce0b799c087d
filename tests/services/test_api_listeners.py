from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.api import server
from supervisor.api.caller import Caller
from supervisor.api.route import Access, Call, Route
from supervisor.api.server import ApiServer
from supervisor.api.tokens import TokenIndex
from supervisor.errors import Conflict, Unavailable
from supervisor.events import CoreState
from toy_api import CALLERS, Toy, serving, token_of


async def ping(_call: Call) -> None:
    return None


ROUTES = (
    Route("GET", "/supervisor/ping", Access.OPEN, ping, "Ping"),
    Route("GET", "/things/{name}", Access.ANY, ping, "A thing"),
)


async def test_a_request_being_answered_is_finished_before_the_end(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def slow(_call: Call) -> dict[str, str]:
        begun.set()
        await asyncio.sleep(0.3)
        return {"done": "yes"}

    async with serving([Route("GET", "/slow", Access.ANY, slow, "Slow")], tmp_path) as toy:
        idle_reader, idle_writer = await toy.connect()
        waiting = asyncio.create_task(toy.ask("GET", "/slow"))
        await begun.wait()
        await toy.server.stop()
        assert (await waiting).json["data"] == {"done": "yes"}
        assert await idle_reader.read() == b""
        idle_writer.close()
        assert not toy.socket.exists()
        assert toy.server.tcp_address is None


async def test_one_address_can_not_take_all_connections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(ROUTES, tmp_path) as toy:
        assert toy.server.tcp_address is not None
        host, port = toy.server.tcp_address
        opened = [await asyncio.open_connection(host, port, local_addr=("127.0.0.2", 0)) for _ in range(270)]
        await asyncio.wait_for(opened[-1][0].read(), 60)
        assert (await toy.ask("GET", "/supervisor/ping")).status == 200, "others have theirs"
        closed = [reader.at_eof() or reader.exception() is not None for reader, _ in opened]
        assert closed == [False] * 256 + [True] * 14
        assert len([record for record in caplog.records if "gets no more" in record.message]) == 1
        for _, writer in opened:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        said = b""
        async with asyncio.timeout(30):
            while not said:  # the server hears of their end a moment later
                reader, writer = await asyncio.open_connection(host, port, local_addr=("127.0.0.2", 0))
                writer.write(b"GET /supervisor/ping HTTP/1.1\r\nHost: supervisor\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    said = await reader.readline()
                writer.close()
        assert said == b"HTTP/1.1 200 OK\r\n"


async def test_a_connection_on_which_no_request_comes_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    async with serving(ROUTES, tmp_path) as toy:
        silent, writer = await toy.connect()
        half, half_writer = await toy.connect()
        half_writer.write(b"GET /supervisor/ping HTTP/1.1\r\nHost:")
        assert await asyncio.wait_for(silent.read(), 30) == b""
        assert await asyncio.wait_for(half.read(), 30) == b""
        writer.close()
        half_writer.close()


async def test_the_server_can_be_started_again(tmp_path: Path) -> None:
    async with serving(ROUTES, tmp_path) as toy:
        await toy.server.stop()
        await toy.server.start(toy.socket, ("127.0.0.1", 0))
        assert (await toy.ask("GET", "/supervisor/ping")).status == 200
        assert (await toy.ask("GET", "/supervisor/ping", unix=True)).status == 200


async def test_the_socket_is_closed_to_others_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serving(ROUTES, tmp_path) as toy:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert (await toy.ask("GET", "/supervisor/ping", unix=True)).status == 200
        assert await asyncio.to_thread(os.listdir, tmp_path) == ["supervisor.sock"]
    assert not path.exists()


async def test_a_living_socket_and_a_file_in_its_place_are_left_alone(tmp_path: Path) -> None:
    async with serving(ROUTES, tmp_path) as toy:
        second = ApiServer(ROUTES, TokenIndex(), lambda: CoreState.RUNNING)
        with pytest.raises(Conflict):
            await second.start(toy.socket, None)
        assert (await toy.ask("GET", "/supervisor/ping", unix=True)).status == 200
        (tmp_path / "file").write_text("mine")
        with pytest.raises(Conflict):
            await second.start(tmp_path / "file", None)
        assert (tmp_path / "file").read_text() == "mine"
        with pytest.raises(Unavailable):
            await second.start(tmp_path / "file" / "sock", None)
        with pytest.raises(Unavailable):
            await second.start(tmp_path / ("x" * 200), None)


async def test_a_socket_that_another_put_in_our_place_is_not_removed(tmp_path: Path) -> None:
    async with serving(ROUTES, tmp_path) as toy:
        toy.socket.unlink()
        toy.socket.write_text("another's")
        await toy.server.stop()
        assert toy.socket.read_text() == "another's"


async def test_a_taken_port_is_no_reason_to_give_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = ApiServer(ROUTES, TokenIndex(), lambda: CoreState.RUNNING)
        await server.start(tmp_path / "s.sock", taken.getsockname())
        assert server.tcp_address is None
        assert [record.levelname for record in caplog.records] == ["CRITICAL"]
        assert not await server.bind_tcp(*taken.getsockname())
        assert await server.bind_tcp("127.0.0.1", 0)
        assert server.tcp_address is not None
        toy = Toy(server, tmp_path / "s.sock")
        assert (await toy.ask("GET", "/supervisor/ping")).status == 200
        assert (await toy.ask("GET", "/supervisor/ping", unix=True)).status == 200
        await server.stop()


PEER = r"""
import os, socket, sys
path, groups, group, user, token = sys.argv[1:]
os.setgroups([int(item) for item in groups.split(",") if item])
os.setgid(int(group))
os.setuid(int(user))
ask = f"GET /supervisor/ping HTTP/1.1\r\nHost: x\r\nX-Supervisor-Token: {token}\r\n\r\n".encode()
with socket.socket(socket.AF_UNIX) as door:
    door.connect(path)
    answers = door.makefile("rb")
    for _ in range(2):
        door.sendall(ask)
        print(answers.readline().split()[1].decode())
        while (line := answers.readline().lower().strip()):
            if line.startswith(b"content-length:"):
                length = int(line.split()[1])
        answers.read(length)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("groups", "group", "user", "status"),
    [
        ("", 65534, 65534, "403"),
        ("4,5", 65534, 65534, "403"),
        ("", 0, 65534, "403"),
        ("54321", 65534, 65534, "200"),
        ("4,54321,5", 65534, 65534, "200"),
        ("", 54321, 65534, "200"),
        ("", 65534, 0, "200"),
    ],
)
async def test_the_socket_serves_root_and_its_group_alone(
    monkeypatch: pytest.MonkeyPatch, open_folder: Path, groups: str, group: int, user: int, status: str
) -> None:
    monkeypatch.setattr("supervisor.api.server.admin_group", lambda: 54321)
    async with serving(ROUTES, open_folder) as toy:
        assert toy.socket.stat().st_gid == 54321
        # The file's mode would keep strangers out already; here the second guard is looked at.
        toy.socket.chmod(0o666)
        arguments = [str(toy.socket), groups, str(group), str(user), token_of("core")]
        child = await asyncio.create_subprocess_exec("python3", "-c", PEER, *arguments, stdout=subprocess.PIPE)
        output, _ = await child.communicate()
        assert output.decode().split() == [status, status]


async def test_a_changed_role_counts_from_the_next_request(tmp_path: Path) -> None:
    tokens = TokenIndex()
    tokens.add("t" * 112, CALLERS["plain"])
    routes = (Route("GET", "/managers", Access.MANAGER, ping, "For managers"),)
    async with serving(routes, tmp_path, tokens=tokens) as toy:
        header = [("X-Supervisor-Token", "t" * 112)]
        assert (await toy.ask("GET", "/managers", caller=None, headers=header)).status == 403
        tokens.replace("t" * 112, Caller.addon("plain", role="manager", hassio_api=True))
        assert (await toy.ask("GET", "/managers", caller=None, headers=header)).status == 200
        tokens.replace("u" * 112, Caller.addon("plain", role="manager", hassio_api=True))
        assert (await toy.ask("GET", "/managers", caller=None, headers=header)).status == 403


def test_the_same_holds_under_the_faster_event_loop(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def talk() -> None:
        async with serving(ROUTES, tmp_path) as toy:
            assert (await toy.ask("GET", "/things/lamp", unix=True)).status == (200 if os.geteuid() == 0 else 403)
            assert (await toy.ask("GET", "/things/lamp")).status == 200
            assert (await toy.ask("GET", "/things/lamp", caller=None)).status == 401

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(talk())
    assert not (tmp_path / "supervisor.sock").exists()
