"""Measures how soon the daemon answers about the host, with a real one beneath it and many who ask at once."""

from __future__ import annotations

import contextlib
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stage import Row, bare

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from box_daemon import install, sources
from hostbox import build
from hostbox.box import Box
from hostbox.network import Net

CLIENTS = 50
WANTED_MS = 5.0
# What a page that shows the host, or a home that watches it, may ask at the very most.
POLLS_A_SECOND = 20


class Asking:
    """`CLIENTS` connections to one Unix socket, driven from one thread."""

    def __init__(self, path: Path, url: str) -> None:
        self._request = f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        self._doors = {door.fileno(): door for door in (self._connect(path) for _ in range(CLIENTS))}
        self._poll = select.epoll()
        self._began: dict[int, float] = {}
        self.seconds: list[float] = []
        self._length = self._learn()
        for number in self._doors:
            self._poll.register(number, select.EPOLLIN)

    @staticmethod
    def _connect(path: Path) -> socket.socket:
        door = socket.socket(socket.AF_UNIX)
        door.connect(str(path))
        return door

    def _learn(self) -> int:
        """Return how long an answer is; it hardly changes, and each ends with two braces."""
        door = next(iter(self._doors.values()))
        door.sendall(self._request)
        answer = door.recv(1 << 20)
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]
        while not self._whole(answer):
            answer += door.recv(1 << 20)
        return len(answer)

    @staticmethod
    def _whole(answer: bytes) -> bool:
        head, _, body = answer.partition(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return len(body) >= int(length.split(b":")[1])

    def _send(self, number: int) -> None:
        self._began[number] = time.perf_counter()
        self._doors[number].send(self._request)

    def _take(self, number: int) -> bool:
        """Read an answer; it is written in one piece, and read in one."""
        answer = self._doors[number].recv(1 << 20)
        while not self._whole(answer):
            answer += self._doors[number].recv(1 << 20)
        self.seconds.append(time.perf_counter() - self._began.pop(number))
        return True

    def all_the_time(self, seconds: float) -> None:
        """Everyone asks again as soon as there is an answer."""
        end = time.perf_counter() + seconds
        for number in self._doors:
            self._send(number)
        while self._began:
            for number, _ in self._poll.poll(1):
                self._take(number)
                if time.perf_counter() < end:
                    self._send(number)

    def now_and_then(self, seconds: float) -> None:
        """Everyone asks `POLLS_A_SECOND` times a second, at a time of their own."""
        began = time.perf_counter()
        numbers, step = list(self._doors), 1 / (POLLS_A_SECOND * CLIENTS)
        for turn in range(int(seconds / step)):
            due = began + turn * step
            while (left := due - time.perf_counter()) > 0:
                for number, _ in self._poll.poll(left):
                    self._take(number)
            number = numbers[turn % CLIENTS]
            while number in self._began:
                for other, _ in self._poll.poll(1):
                    self._take(other)
            self._send(number)
        while self._began:
            for number, _ in self._poll.poll(1):
                self._take(number)

    def close(self) -> None:
        self._poll.close()
        for door in self._doors.values():
            door.close()


def late(path: Path, url: str, ask: Callable[[Asking], None]) -> tuple[float, float]:
    """Return what 99 of 100 answers stay below, in milliseconds, and the answers per second."""
    asking = Asking(path, url)
    try:
        began = time.perf_counter()
        ask(asking)
        rate = len(asking.seconds) / (time.perf_counter() - began)
    finally:
        asking.close()
    slow = sorted(asking.seconds)
    return slow[len(slow) * 99 // 100] * 1000, rate


@contextlib.contextmanager
def daemon_in_a_box(folder: Path) -> Iterator[Box]:
    net = Net(0, folder)
    net.up()
    try:
        box = Box(folder / "box", "bench", [net], sources(), install(folder / "files"))
        box.up()
        try:
            box.run("systemd-sysusers")
            box.run("systemctl", "start", "supervisor")
            while (box.root / "run/supervisor/state").read_text() != "running":
                time.sleep(0.1)
            yield box
        finally:
            box.down()
    finally:
        net.down()
        build.remove(folder)


def rows(door: Path, url: str, folder: Path, rounds: int, seconds: float) -> Iterator[Row]:
    """Compare with a bare handler that sends the same bytes to as many, in turn."""
    body = answer_of(door, url)
    with bare(folder / "bare", body) as bare_door:
        busy = lambda asking: asking.all_the_time(seconds)  # noqa: E731 - they are told apart by their names
        calm = lambda asking: asking.now_and_then(seconds)  # noqa: E731
        polled = [(late(door, url, calm), late(bare_door, "/bare", calm)) for _ in range(rounds)]
        pressed = [(late(door, url, busy), late(bare_door, "/bare", busy)) for _ in range(rounds)]
    for how, pairs in ((f"who ask {POLLS_A_SECOND} times a second", polled), ("who ask all the time", pressed)):
        ours, theirs = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
        rate = statistics.median(pair[0][1] for pair in pairs)
        yield Row(
            f"GET {url}, {CLIENTS} {how}, p99",
            f"{ours:.1f} ms (bare {theirs:.1f}; {rate:.0f}/s)",
            f"< {WANTED_MS:.0f} ms",
            ours < WANTED_MS,
        )


def answer_of(door: Path, url: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(door))
        connection.sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[2]


def measure(folder: Path, *, quick: bool) -> Iterator[Row]:
    seconds, rounds = (1.0, 1) if quick else (3.0, 3)
    with daemon_in_a_box(folder) as box:
        time.sleep(5)
        door = box.root / "run/supervisor/supervisor.sock"
        for url in ("/network/info", "/host/info"):
            yield from rows(door, url, folder, rounds, seconds)
