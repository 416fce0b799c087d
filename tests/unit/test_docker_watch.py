"""What the engine tells of its containers, and in which order it counts."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from supervisor.drivers.docker.model import ContainerInfo, ContainerSummary, container_info, container_summary
from supervisor.drivers.docker.watch import Watch
from supervisor.events import ContainerState, ContainerStateChanged, EventBus

NAME = "addon_local_lamp"
LABELS = {"supervisor_managed": ""}


class Link:
    """A connection that is never opened."""

    on_suspect: Any = None


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
