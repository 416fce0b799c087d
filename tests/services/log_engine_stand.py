"""An engine that has containers with logs and nothing else, as the log manager sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import attrs

from supervisor.errors import NotFound, SupervisorError
from supervisor.events import ContainerState, ContainerStateChanged, EventBus

BEGIN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@attrs.frozen
class LineStand:
    time: datetime | None
    stream: str
    message: str


@attrs.define
class ContainerStand:
    id: str
    started_at: datetime | None
    log_driver: str = "json-file"
    finished_at: datetime | None = None
    lines: list[LineStand] = attrs.Factory(list)
    running: bool = True
    changed: asyncio.Condition = attrs.Factory(asyncio.Condition)


@attrs.define
class InfoStand:
    logging_driver: str = "json-file"


class EngineStand:
    """Both the engine and its containers."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.info: InfoStand | None = InfoStand()
        self.known: dict[str, ContainerStand] = {}
        self.failure: SupervisorError | None = None
        self.asked: list[dict[str, object]] = []
        self.open = 0

    @property
    def containers(self) -> EngineStand:
        return self

    def start(self, name: str, run_id: str, at: float = 0, *, driver: str = "json-file") -> ContainerStand:
        self.known[name] = ContainerStand(run_id, BEGIN + timedelta(seconds=at), driver)
        self.bus.publish(ContainerStateChanged(name, run_id, ContainerState.RUNNING, at))
        return self.known[name]

    async def say(self, name: str, at: float, *messages: str) -> None:
        """Let a container write lines, a microsecond apart from each other."""
        container = self.known[name]
        async with container.changed:
            for number, message in enumerate(messages):
                time = BEGIN + timedelta(seconds=at, microseconds=number)
                container.lines.append(LineStand(time, "stdout", message))
            container.changed.notify_all()

    async def stop(self, name: str, *, remove: bool = True) -> None:
        container = self.known[name]
        async with container.changed:
            container.running = False
            container.changed.notify_all()
        if remove:
            del self.known[name]

    async def inspect(self, name: str) -> ContainerStand:
        if self.failure is not None:
            raise self.failure
        if name not in self.known:
            raise NotFound(f"No container {name}")
        return self.known[name]

    async def logs(
        self, name: str, *, tail: int | None = None, follow: bool = False, since: float | None = None
    ) -> AsyncIterator[LineStand]:
        self.asked.append({"tail": tail, "follow": follow, "since": since})
        container = await self.inspect(name)
        at = len(container.lines) - min(tail, len(container.lines)) if tail is not None else 0
        self.open += 1
        try:
            while True:
                while at < len(container.lines):
                    line = container.lines[at]
                    at += 1
                    if since is None or line.time is None or line.time.timestamp() >= since:
                        yield line
                if not follow or not container.running:
                    return
                async with container.changed:
                    if at >= len(container.lines) and container.running:
                        await container.changed.wait()
        finally:
            self.open -= 1
