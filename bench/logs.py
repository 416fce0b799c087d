"""Measures reading the machine's log beside journalctl, and what many who follow it cost."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from stage import Daemon, Row, in_turn

REMOTE = "/lib/systemd/systemd-journal-remote"
IDENTIFIERS = ("kernel", "systemd", "dockerd", "containerd", "NetworkManager", "systemd-logind", "os-agent", "rauc")
START = 1_700_000_000_000_000
FOLLOWERS = 200
LINES_A_SECOND = 1000
# The daemon finds the journal where every machine has it, which here only the daemon sees.
IN_PLACE = 'mount --bind "$1" /run/log; mount -t tmpfs none /var/log; shift; exec "$@"'


def entry(number: int) -> bytes:
    name = IDENTIFIERS[number % len(IDENTIFIERS)]
    return (
        f"__REALTIME_TIMESTAMP={START + number * 1000}\n__MONOTONIC_TIMESTAMP={1000 + number * 1000}\n"
        f"_BOOT_ID={'c' * 32}\n_MACHINE_ID={'d' * 32}\n_HOSTNAME=box\nPRIORITY={number % 8}\n_TRANSPORT=journal\n"
        f"_UID=0\n_GID=0\n_COMM={name}\n_EXE=/usr/bin/{name}\n_CMDLINE=/usr/bin/{name} --flag\n"
        f"_SYSTEMD_UNIT={name}.service\n_SYSTEMD_CGROUP=/system.slice/{name}.service\nSYSLOG_FACILITY=3\n"
        f"SYSLOG_IDENTIFIER={name}\n_PID={100 + number % 8}\n"
        f"MESSAGE=message number {number} of a busy machine, as long as messages usually are\n\n"
    ).encode()


def write_journal(folder: Path, count: int) -> None:
    command = [REMOTE, "-o", folder / "bench.journal", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    for first in range(0, count, 1000):
        process.stdin.write(b"".join(map(entry, range(first, min(first + 1000, count)))))
    process.stdin.close()
    assert process.wait(300) == 0


def lines_a_second(command: list[str], count: int) -> float:
    """Return how many lines a second a command writes, which must write `count`."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        lines = subprocess.run(["wc", "-l"], stdin=process.stdout, check=True, capture_output=True, text=True).stdout
    assert int(lines) == count, f"{' '.join(command)}: {lines}"
    return count / (time.perf_counter() - began)


def reading(daemon: Daemon, folder: Path, count: int, rounds: int) -> Iterator[Row]:
    """Compare the whole log over the API with journalctl showing the same."""
    ask = ["curl", "-sS", "-H", "Range: entries=:0:", "--unix-socket", str(daemon.socket)]
    for form, its in (("plain", "cat"), ("verbose", "short-precise")):
        ratio, ours, theirs = in_turn(
            rounds,
            lambda form=form: lines_a_second([*ask, f"http://x/host/logs?format={form}"], count),  # type: ignore[misc]
            lambda its=its: lines_a_second(  # type: ignore[misc]
                ["journalctl", "-D", str(folder), "-o", its, "--no-pager", "--quiet"], count
            ),
        )
        yield Row(
            f"/host/logs {form}, {count} lines, of journalctl -o {its}",
            f"{ratio:.0%} ({ours:.0f} of {theirs:.0f}/s)",
            ">= 50%",
            ratio >= 0.5,
        )


def following(daemon: Daemon, folder: Path, count: int, seconds: float) -> Row:
    """Have many follow the log while it grows; compare the memory with that of before."""
    idle = daemon.resident
    with ExitStack() as stack:
        doors = []
        for _ in range(FOLLOWERS):
            door = stack.enter_context(socket.socket(socket.AF_UNIX))
            door.connect(str(daemon.socket))
            door.sendall(b"GET /host/logs/follow?lines=2 HTTP/1.1\r\nHost: x\r\n\r\n")
            doors.append(door)
        got, gaps = [0] * FOLLOWERS, [0] * FOLLOWERS
        ended = threading.Event()
        readers = [threading.Thread(target=count_lines, args=(doors, got, gaps, part, ended)) for part in range(4)]
        writer = subprocess.Popen(
            [REMOTE, "-o", folder / "live.journal", "-"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert writer.stdin is not None
        for reader in readers:
            reader.start()
        while min(got) < 2:  # what was there before
            time.sleep(0.05)
        highest, number, began = 0.0, count, time.monotonic()
        while time.monotonic() < began + seconds:
            writer.stdin.write(b"".join(map(entry, range(number, number + LINES_A_SECOND // 10))))
            writer.stdin.flush()
            number += LINES_A_SECOND // 10
            highest = max(highest, daemon.resident)
            time.sleep(max(0.0, began + (number - count) / LINES_A_SECOND - time.monotonic()))
        written = number - count
        deadline = time.monotonic() + 30
        while min(got) < written + 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        highest = max(highest, daemon.resident)
        ended.set()
        writer.stdin.close()
        writer.wait(30)
        for door in doors:
            with suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
        for reader in readers:
            reader.join()
    more = highest - idle
    everything = min(got) == written + 2 and not any(gaps)
    return Row(
        f"{FOLLOWERS} who follow a log of {LINES_A_SECOND} lines/s, memory above idle",
        f"{more:.0f} MB ({'all lines' if everything else f'{min(got)} of {written} lines'})",
        "< 50 MB",
        more < 50 and everything,
    )


def count_lines(doors: list[socket.socket], got: list[int], gaps: list[int], part: int, ended: threading.Event) -> None:
    for index in range(part, len(doors), 4):
        doors[index].settimeout(0)
    while not ended.is_set():
        for index in range(part, len(doors), 4):
            with suppress(BlockingIOError, OSError):
                text = doors[index].recv(1 << 20)
                got[index] += text.count(b"busy machine, as long as")
                gaps[index] += text.count(b"are left out")
        time.sleep(0.02)


def measure(folder: Path, *, quick: bool) -> Iterator[Row]:
    machine = Path("/etc/machine-id").read_text().strip()
    files = folder / "log" / "journal" / machine
    files.mkdir(parents=True)
    count = 100_000 if quick else 1_000_000
    write_journal(files, count)
    space = ["unshare", "--mount", "--propagation", "private", "bash", "-ec", IN_PLACE, "bash", str(folder / "log")]
    daemon = Daemon(folder / "daemon", space)
    daemon.folder.mkdir()
    try:
        daemon.start()
        time.sleep(1)
        yield following(daemon, files, count, 5 if quick else 20)
        (files / "live.journal").unlink()
        yield from reading(daemon, files, count, 3 if quick else 5)
        yield Row("resident memory after reading it all", f"{daemon.resident:.0f} MB", "", None)
    finally:
        daemon.stop()
