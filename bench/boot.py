"""The boot of a machine with many add-ons, beside the engine starting the same containers without the daemon."""

from __future__ import annotations

import itertools
import json
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs
import docker

if TYPE_CHECKING:
    from stage import Daemon

STAGES = ("initialize", "system", "services", "application")
STALLS = Path(__file__).with_name("stalls.py")


def stage_of(number: int) -> str:
    """Give most add-ons to the last stage, as it is in the world."""
    return STAGES[min(number % 7, 3)]


@attrs.frozen
class Figures:
    """`above`: seconds that a start takes longer than the bare engine's, `whole`: seconds from exec to running."""

    above: float
    whole: float
    stalls: list[dict[str, Any]]


def measure(daemon: Daemon, client: docker.APIClient, rounds: int) -> Figures:
    """Boot `rounds` times, each time followed by the bare engine's turn."""
    addons = daemon.ask("GET", "/addons")["data"]["addons"]
    stages = {f"addon_{addon['slug']}": stage_of(int(addon["slug"].removeprefix("local_bench"))) for addon in addons}
    report = daemon.folder / "stalls.json"
    above, wholes, stalls = [], [], []
    launcher = daemon.launcher
    daemon.launcher = [str(STALLS), str(report)]
    try:
        for _ in range(rounds):
            daemon.stop()
            forget_the_boot(daemon.folder / "data" / "config.json")
            remove(client, stages)
            with Starts(client) as starts:
                wholes.append(daemon.start())
                assert daemon.process is not None
                report.unlink(missing_ok=True)
                daemon.process.send_signal(signal.SIGUSR1)
                wait_for(report)
                ours = starts.between(stages)
            stalls += json.loads(report.read_text())
            descriptions = [client.inspect_container(name) for name in stages]
            daemon.stop()
            remove(client, stages)
            theirs = bare(client, descriptions)
            above.append(statistics.mean(ours) - statistics.mean(theirs))
    finally:
        daemon.launcher = launcher
        remove(client, stages)
        remove(client, [f"bare_{name}" for name in stages])
    stalls.sort(key=lambda stall: stall["ms"], reverse=True)
    return Figures(statistics.median(above), statistics.median(wholes), stalls)


class Starts:
    """Listens to the engine: when which container was started."""

    def __init__(self, client: docker.APIClient) -> None:
        self._events = client.events(decode=True, filters={"type": "container", "event": "start"})
        self._seen: list[tuple[str, float]] = []
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._thread.join(5)

    def _listen(self) -> None:
        for event in self._events:
            self._seen.append((event["Actor"]["Attributes"]["name"], event["timeNano"] / 1e9))

    def between(self, stages: dict[str, str]) -> list[float]:
        """Return the seconds from one start to the next inside each stage; the stages must have come in order."""
        seen = [(stages[name], when) for name, when in self._seen if name in stages]
        assert len(seen) == len(stages), f"{len(seen)} of {len(stages)} were started"
        order = [STAGES.index(stage) for stage, _ in seen]
        assert order == sorted(order), "the stages were mixed"
        pairs = itertools.pairwise(seen)
        return [later - sooner for (stage, sooner), (next_stage, later) in pairs if stage == next_stage]


def bare(client: docker.APIClient, descriptions: list[dict[str, Any]]) -> list[float]:
    """Create and start the same containers without the daemon; return the seconds from one start to the next."""
    keep = ("NetworkMode", "RestartPolicy", "Init", "Mounts", "Tmpfs", "ExtraHosts", "SecurityOpt", "OomScoreAdj")
    starts = []
    for description in descriptions:
        config, host = description["Config"], description["HostConfig"]
        wanted = {key: config[key] for key in ("Image", "Env", "Hostname")}
        wanted["HostConfig"] = {key: host[key] for key in keep if host.get(key)}
        wanted["HostConfig"]["Mounts"] = [mount for mount in host["Mounts"] if mount["Target"] != "/run/cid"]
        wanted["NetworkingConfig"] = {"EndpointsConfig": {host["NetworkMode"]: {}}}
        name = f"bare_{description['Name'].lstrip('/')}"
        container = client.create_container_from_config(wanted, name=name)
        client.start(container["Id"])
        starts.append(time.perf_counter())
    remove(client, [f"bare_{description['Name'].lstrip('/')}" for description in descriptions])
    return [later - sooner for sooner, later in itertools.pairwise(starts)]


def remove(client: docker.APIClient, names: Any) -> None:
    for name in names:
        try:
            client.remove_container(name, force=True, v=True)
        except docker.errors.NotFound:
            continue


def forget_the_boot(config: Path) -> None:
    """Let the next start of the daemon take itself for the first one since the machine booted."""
    content = json.loads(config.read_text())
    content.pop("last_boot_id", None)
    config.write_text(json.dumps({**content, "wait_boot": 1}))


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.02)
