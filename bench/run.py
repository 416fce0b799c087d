"""Measures the daemon and prints a table; called by script/bench."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boot
import docker
import logs
from stage import BARE_PORT, GATEWAY, Daemon, Row, bare, in_turn, show

import host

BASE = "local/supervisor-base:1"
ADDONS = 50
MANIFEST = """\
name: Bench {number}
slug: bench{number}
version: "1.0"
description: One of many
arch: [aarch64, amd64]
hassio_api: true
startup: {startup}
options: {{word: a, number: 1, nested: {{flag: true}}}}
schema: {{word: str, number: int, nested: {{flag: bool}}}}
ports: {{"80/tcp": null}}
map: [share:rw, ssl]
"""
# As long as those of well-translated add-ons are.
TRANSLATION = "configuration:\n" + "".join(
    f"  {key}: {{name: The {key}, description: {'What it is good for, in a sentence or two. ' * 3}}}\n"
    for key in ("word", "number", "nested")
)
LANGUAGES = ("en", "de", "fr", "it", "es", "nl", "sv", "pl")
DOCKERFILE = f'FROM {BASE}\nCMD ["sh", "-c", "trap \\"exit 0\\" TERM; sleep 1000000 & wait"]\n'


def wrk(url: str, seconds: float, token: str | None = None) -> float:
    """Return the requests per second of wrk."""
    command = ["wrk", "-t1", "-c8", f"-d{seconds:g}"] + (["-H", f"Authorization: Bearer {token}"] if token else [])
    text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in text, text
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]


def over_unix(path: Path, url: str, seconds: float) -> float:
    """Return the requests per second that eight connections to a Unix socket get answered."""
    counts = [0] * 8
    request = f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    end = time.perf_counter() + seconds

    def load(index: int) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            length = None
            while time.perf_counter() < end:
                connection.sendall(request)
                answer = connection.recv(65536)
                if length is None:
                    length = len(answer)
                while len(answer) < length:
                    answer += connection.recv(65536)
                counts[index] += 1

    threads = [threading.Thread(target=load, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def write_addons(data: Path) -> None:
    for number in range(ADDONS):
        folder = data / "addons" / "local" / f"bench{number}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(MANIFEST.format(number=number, startup=boot.stage_of(number)))
        (folder / "translations").mkdir()
        for language in LANGUAGES:
            (folder / "translations" / f"{language}.yaml").write_text(TRANSLATION)
        (folder / "Dockerfile").write_text(DOCKERFILE)


def rates(daemon: Daemon, token: str, folder: Path, rounds: int, seconds: float) -> Iterator[Row]:
    """Compare the API with the bare handler."""
    self_info = (
        b'{"result":"ok","data":' + json.dumps(daemon.ask("GET", "/addons/local_bench0/info")["data"]).encode() + b"}"
    )
    info = json.dumps(daemon.ask("GET", "/info")).encode()
    cases = (
        ("GET /addons/self/info over TCP", self_info, 0.6, "tcp", "/addons/self/info"),
        ("GET /info over TCP", info, 0.6, "tcp", "/info"),
        ("GET /info over the Unix socket", info, 0.6, "unix", "/info"),
    )
    for what, body, wanted, door, path in cases:
        with bare(folder, body, GATEWAY) as bare_socket:
            if door == "tcp":
                ratio, ours, theirs = in_turn(
                    rounds,
                    lambda path=path: wrk(f"http://{GATEWAY}{path}", seconds, token),  # type: ignore[misc]
                    lambda: wrk(f"http://{GATEWAY}:{BARE_PORT}/bare", seconds),
                )
            else:
                ratio, ours, theirs = in_turn(
                    rounds,
                    lambda path=path: over_unix(daemon.socket, path, seconds),  # type: ignore[misc]
                    lambda other=bare_socket: over_unix(other, "/bare", seconds),  # type: ignore[misc]
                )
        yield Row(
            f"{what}, of a bare handler's rate",
            f"{ratio:.0%} ({ours:.0f} of {theirs:.0f}/s)",
            f">= {wanted:.0%}",
            ratio >= wanted,
        )


def starts(daemon: Daemon, client: docker.APIClient, rounds: int) -> Iterator[Row]:
    """Compare a start through the daemon with the engine starting the same container."""
    slug = "local_bench1"
    over: list[float] = []
    ours: list[float] = []
    stops: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        daemon.ask("POST", f"/addons/{slug}/start")
        mine = time.perf_counter() - began
        description = client.inspect_container(f"addon_{slug}")
        began = time.perf_counter()
        daemon.ask("POST", f"/addons/{slug}/stop")
        stop = time.perf_counter() - began
        theirs, bare_stop = bare_start(client, description)
        ours.append(mine)
        over.append(mine - theirs)
        stops.append(stop - bare_stop)
    median = statistics.median(over) * 1000
    yield Row(
        "start of an add-on, above the bare engine",
        f"{median:.0f} ms (of {statistics.median(ours) * 1000:.0f})",
        "<= 100 ms",
        median <= 100,
    )
    yield Row("stop of an add-on, above the bare engine", f"{statistics.median(stops) * 1000:.0f} ms", "", None)


def bare_start(client: docker.APIClient, description: dict[str, Any]) -> tuple[float, float]:
    """Create, start, stop and remove the same container without the daemon; return the seconds of both halves."""
    config, host = description["Config"], description["HostConfig"]
    keep = ("NetworkMode", "RestartPolicy", "Init", "Mounts", "Tmpfs", "ExtraHosts", "SecurityOpt", "OomScoreAdj")
    wanted = {key: config[key] for key in ("Image", "Env", "Labels", "Hostname")}
    wanted["Labels"] = {}
    wanted["HostConfig"] = {key: host[key] for key in keep if host.get(key)}
    wanted["HostConfig"]["Mounts"] = [mount for mount in host["Mounts"] if mount["Target"] != "/run/cid"]
    wanted["NetworkingConfig"] = {"EndpointsConfig": {host["NetworkMode"]: {}}}
    began = time.perf_counter()
    container = client.create_container_from_config(wanted, name="bench-bare")
    client.start(container["Id"])
    started = time.perf_counter()
    client.stop(container["Id"], timeout=10)
    client.remove_container(container["Id"])
    return started - began, time.perf_counter() - started


def install(daemon: Daemon, client: docker.APIClient) -> Row:
    """Compare installations (build, record) with the engine building the same, in turn."""
    pairs = []
    for number in range(6):
        began = time.perf_counter()
        daemon.ask("POST", f"/store/addons/local_bench{number}/install")
        ours = time.perf_counter() - began
        folder = daemon.folder / "data" / "addons" / "local" / f"bench{number}"
        labels = {"bench": str(number)}
        began = time.perf_counter()
        for line in client.build(path=str(folder), tag="bench-bare:1", labels=labels, rm=True, decode=True):
            assert "error" not in line, line
        pairs.append((ours, time.perf_counter() - began))
        client.remove_image("bench-bare:1", force=True)
    # The first one finds the engine cold.
    above = statistics.median(ours - theirs for ours, theirs in pairs[1:]) * 1000
    whole = statistics.median(ours for ours, _ in pairs[1:]) * 1000
    return Row("install by building, above the bare engine", f"{above:.0f} ms (of {whole:.0f})", "", None)


def measure(folder: Path, *, quick: bool) -> list[Row]:
    rounds, seconds = (3, 1.0) if quick else (5, 3.0)
    client = docker.APIClient(base_url=os.environ["DOCKER_HOST"])
    write_addons(folder / "data")
    daemon = Daemon(folder)
    rows: list[Row] = []
    try:
        daemon.start()
        rows.append(install(daemon, client))
        for number in range(6, ADDONS):
            daemon.ask("POST", f"/store/addons/local_bench{number}/install")
        daemon.stop()
        exec_times = []
        for _ in range(3):
            exec_times.append(daemon.start())
            time.sleep(1)
            idle = daemon.resident
            if len(exec_times) < 3:
                daemon.stop()
        running = statistics.median(exec_times)
        rows.append(Row(f"exec to state running, {ADDONS} add-ons", f"{running:.2f} s", "< 3 s", running < 3))
        rows.append(Row(f"resident memory idle, {ADDONS} add-ons", f"{idle:.0f} MB", "< 90 MB", idle < 90))
        daemon.ask("POST", "/addons/local_bench0/start")
        environment = client.inspect_container("addon_local_bench0")["Config"]["Env"]
        token = next(entry.partition("=")[2] for entry in environment if entry.startswith("SUPERVISOR_TOKEN="))
        rows += rates(daemon, token, folder, rounds, seconds)
        rows.append(Row("resident memory after more than 10,000 requests", f"{daemon.resident:.0f} MB", "", None))
        rows += starts(daemon, client, 5 if quick else 10)
        figures = boot.measure(daemon, client, 1 if quick else 3)
        above, whole = figures.above * 1000, figures.whole
        rows.append(Row(f"each start at boot of {ADDONS}, above bare", f"{above:.0f} ms", "<= 50 ms", above <= 50))
        rows.append(Row(f"boot with {ADDONS} add-ons, exec to running", f"{whole:.1f} s", "", None))
        stall = figures.stalls[0]
        shown = f"{stall['ms']:.0f} ms ({stall['processor_ms']:.0f} of processor)"
        rows.append(Row("longest stall of the event loop meanwhile", shown, "<= 50 ms", stall["ms"] <= 50))
    finally:
        daemon.stop()
        client.close()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("only", nargs="?", choices=["host", "logs"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    try:
        rows = [] if given.only else measure(given.folder, quick=given.quick)
        if given.only != "host":
            rows += logs.measure(given.folder / "logs", quick=given.quick)
        if given.only != "logs":
            rows += host.measure(given.folder / "host", quick=given.quick)
    finally:
        shutil.rmtree(given.folder, ignore_errors=True)
    return show(rows)


if __name__ == "__main__":
    sys.exit(main())
