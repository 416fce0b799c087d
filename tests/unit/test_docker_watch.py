"""What the engine tells of its containers, and in which order it counts."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from supervisor.drivers.docker.model import (
    ContainerInfo,
    ContainerSummary,
    EngineInfo,
    container_info,
    container_summary,
)
from supervisor.drivers.docker.watch import Watch
from supervisor.events import ContainerState, ContainerStateChanged, EngineAvailabilityChanged, EventBus

NAME = "addon_local_lamp"
LABELS = {"supervisor_managed": ""}


class Session:
    """Tells events until `ends`."""

    info = EngineInfo("20.10", "1.41", "overlay2", "json-file", "1", "/")

    def __init__(self) -> None:
        self.quick = self
        self.ends = threading.Event()

    @contextmanager
    def open(self, *_: object, **__: object) -> Iterator[Session]:
        yield self

    def messages(self) -> Iterator[dict[str, Any]]:
        self.ends.wait()
        yield from ()


class Link:
    """A connection to an engine that answers whenever somebody asks."""

    on_suspect: Any = None

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    async def connect(self) -> Session:
        self.sessions.append(Session())
        return self.sessions[-1]

    async def alive(self) -> bool:
        return True

    def use(self, _session: Session) -> None: ...


class Containers:
    """One container that runs when it is looked at; `meanwhile` happens before the answer is here."""

    def __init__(self, meanwhile: Any) -> None:
        self._meanwhile = meanwhile

    async def list_managed(self) -> list[ContainerSummary]:
        entry = {"Id": "one", "Names": [f"/{NAME}"], "State": "running", "Labels": LABELS}
        return [container_summary(entry, network_name="hassio")]

    async def inspect(self, name: str) -> ContainerInfo:
        raw = {"Id": "one", "Name": f"/{name}", "State": {"Status": "running", "Running": True}}
        await asyncio.sleep(0)
        self._meanwhile()
        return container_info(raw, network_name="hassio")


async def told(meanwhile: dict[str, Any] | None) -> list[ContainerState]:
    """Return what is published of the container when the connection is back."""
    bus, heard = EventBus(), []
    bus.subscribe(ContainerStateChanged, lambda event: heard.append(event.state))
    containers = Containers(lambda: meanwhile and watch._on_event(meanwhile))
    watch = Watch(Link(), containers, bus)  # type: ignore[arg-type] - as much of them as is asked
    await watch._republish()
    return heard


def event(action: str, moment: float, **attributes: str) -> dict[str, Any]:
    return {
        "Action": action,
        "timeNano": int(moment * 1e9),
        "Actor": {"ID": "one", "Attributes": {"name": NAME, **LABELS, **attributes}},
    }


async def test_the_state_of_every_container_is_told_when_the_engine_is_back() -> None:
    assert await told(None) == [ContainerState.RUNNING]


async def test_what_an_event_told_while_a_container_was_looked_at_is_not_undone_by_the_answer() -> None:
    assert await told(event("die", time.time() + 1, exitCode="1")) == [ContainerState.FAILED]


async def test_an_event_from_before_the_look_counts_less_than_the_answer() -> None:
    assert await told(event("die", time.time() - 60, exitCode="1")) == [ContainerState.FAILED, ContainerState.RUNNING]


async def test_an_engine_that_was_restarted_before_anybody_looked_is_told_as_one_that_came_back() -> None:
    bus, again = EventBus(), asyncio.Event()
    link = Link()
    watch = Watch(link, Containers(lambda: None), bus)  # type: ignore[arg-type] - as above
    await watch.start()
    bus.subscribe(EngineAvailabilityChanged, lambda event: event.available and again.set())
    link.sessions[0].ends.set()
    try:
        await asyncio.wait_for(again.wait(), 30)
        assert watch.available
    finally:
        for session in link.sessions:
            session.ends.set()
        await watch.stop()
