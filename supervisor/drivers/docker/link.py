"""The connection to the engine: threads for the SDK's blocking calls, time limits, and whether the engine is there."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import attrs

from supervisor.drivers.docker.model import EngineInfo
from supervisor.drivers.docker.translate import translated
from supervisor.drivers.docker.wire import EngineClient, OpenSockets
from supervisor.errors import Busy, Invalid, SupervisorError, Timeout, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

# What the asyncio side waits on top of a thread's own time limit, so that the thread's clearer error comes first.
SLACK = 2.0
PING_TIMEOUT = 10
OLDEST_API = "1.41"  # engine 20.10
STREAMS = 48
FOLLOWERS = 32
# Work that changes something (create, start, remove) may take minutes on a slow disk; a hung engine is found by pings.
PATIENCE = 5
DRAIN_SECONDS = 5.0


class Lane(Enum):
    """Which threads a call runs in, so that slow work never keeps a quick question waiting."""

    QUICK = "quick"  # questions, answered in milliseconds
    WORK = "work"  # changes: create, start, stop, remove; seconds to minutes
    STREAM = "stream"  # pulls, builds, logs, waits; as long as it takes
    WATCH = "watch"  # is the engine there: must find a free thread when all others hang


@attrs.frozen
class Session:
    """One connection: the SDK's client for questions and one with a longer limit for changes, on the same sockets."""

    quick: EngineClient
    patient: EngineClient
    sockets: OpenSockets
    info: EngineInfo

    def close(self) -> None:
        """End every call of this session; the threads in them get a connection error."""
        self.sockets.shutdown()
        self.retire()

    def retire(self) -> None:
        """Close what is idle; running calls end by themselves."""
        self.quick.close()
        self.patient.close()


class Link:
    """Runs blocking SDK calls in its own threads and gives up on those the engine does not answer.

    `on_suspect` is called on the loop when a call got no answer: somebody should look whether the engine is alive.
    """

    def __init__(self, url: str, *, workers: int, timeout: float) -> None:
        if not url.startswith("unix://"):
            raise Invalid(f"The Docker engine must be on a Unix socket (unix://…), not {url}")
        self.url = url
        self.timeout = math.ceil(timeout)
        self._ping_timeout = min(PING_TIMEOUT, self.timeout)
        self.on_suspect: Callable[[], None] = lambda: None
        self._workers = workers
        self._session: Session | None = None
        self.info: EngineInfo | None = None
        self._reason = "it was not contacted yet"
        self._pools: dict[Lane, ThreadPoolExecutor] = {}
        self._connecting = OpenSockets()
        self._following = 0
        self._working = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def session(self) -> Session | None:
        return self._session

    def open(self) -> None:
        """Make the threads; calls are possible once a session is set."""
        sizes = {Lane.QUICK: self._workers, Lane.WORK: self._workers, Lane.STREAM: STREAMS, Lane.WATCH: 2}
        self._pools = {
            lane: ThreadPoolExecutor(size, thread_name_prefix=f"docker-{lane.value}") for lane, size in sizes.items()
        }

    async def close(self) -> None:
        """Refuse new calls, let running changes end for a moment, then end everything."""
        session, self._session, self._reason = self._session, None, "the daemon is stopping"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._idle.wait()
        self._connecting.shutdown()
        if session is not None:
            await asyncio.to_thread(session.close)
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)

    def use(self, session: Session) -> None:
        former, self._session = self._session, session
        self.info = session.info
        if former is not None and former is not session:
            former.retire()

    def lose(self, reason: str) -> None:
        """The engine is away: end what runs and refuse calls until `use`."""
        session, self._session, self._reason = self._session, None, reason
        if session is not None:
            session.close()

    async def connect(self) -> Session:
        """Open a session with the engine, not in use yet.

        Raises:
            Unavailable: no engine answers.
        """
        # Calls may still run in a session that is being replaced; losing the engine must end those too.
        sockets = OpenSockets() if self._session is None else self._session.sockets
        self._connecting = sockets
        return await self._run(Lane.WATCH, 3 * self._ping_timeout, "Connecting", partial(self._connect, sockets))

    async def alive(self) -> bool:
        """Ask the engine for a sign of life."""
        session = self._session
        if session is None:
            return False
        try:
            await self._run(Lane.WATCH, self._ping_timeout, "Ping", partial(_ping, session.quick, self._ping_timeout))
        except SupervisorError:
            return False
        return True

    async def call(
        self,
        what: str,
        function: Callable[Concatenate[EngineClient, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Ask a question: run `function(client, …)` in a thread, within the usual time limit.

        Raises:
            Unavailable: the engine is away; Timeout: it did not answer.
            Any translation of the engine's refusal (see `translate`).
        """
        client = self.require(what).quick
        return await self._bounded(Lane.QUICK, self.timeout, what, partial(function, client, *args, **kwargs))

    async def change(
        self,
        what: str,
        function: Callable[Concatenate[EngineClient, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Like `call`, for work that changes something: its own threads, and a longer limit for each answer.

        A cancelled caller does not stop the thread: a half-done change would be worse than one nobody waits for.
        """
        client = self.require(what).patient
        async with self._counted():
            return await self._bounded(Lane.WORK, None, what, partial(function, client, *args, **kwargs))

    async def stream(
        self,
        what: str,
        function: Callable[Concatenate[EngineClient, OpenSockets, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `function(client, sockets, …)`, which takes as long as it takes and opens its streams on `sockets`.

        A lost or hung engine ends it, and so does a cancelled caller.
        """
        client = self.require(what).patient
        sockets = OpenSockets()
        try:
            return await self._bounded(Lane.STREAM, None, what, partial(function, client, sockets, *args, **kwargs))
        finally:
            sockets.shutdown()

    @contextlib.contextmanager
    def following(self, what: str) -> Iterator[None]:
        """Hold a place among the streams that nobody knows the end of; they must leave room for pulls and waits.

        Raises:
            Busy: too many are open.
        """
        if self._following >= FOLLOWERS:
            raise Busy(f"{what}: {FOLLOWERS} logs are being followed already")
        self._following += 1
        try:
            yield
        finally:
            self._following -= 1

    def require(self, what: str) -> Session:
        if self._session is None:
            raise Unavailable(f"{what}: the Docker engine is not available ({self._reason})")
        return self._session

    async def _bounded(self, lane: Lane, limit: float | None, what: str, function: Callable[[], T]) -> T:
        try:
            return await self._run(lane, limit, what, function)
        except Unavailable:
            self.on_suspect()
            raise

    async def _run(self, lane: Lane, limit: float | None, what: str, function: Callable[[], T]) -> T:
        pool = self._pools.get(lane)
        if pool is None:
            raise Unavailable(f"{what}: the Docker engine is not available ({self._reason})")
        future = asyncio.get_running_loop().run_in_executor(pool, partial(_translated, what, function))
        try:
            async with asyncio.timeout(None if limit is None else limit + SLACK):
                return await future
        except TimeoutError:
            raise Timeout(f"{what}: the Docker engine did not answer in time") from None

    @contextlib.asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._working += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._idle.set()

    def _connect(self, sockets: OpenSockets) -> Session:
        first = EngineClient(self.url, OLDEST_API, timeout=self._ping_timeout, pool_size=1, sockets=sockets)
        try:
            version = str(first.version(api_version=False).get("ApiVersion") or OLDEST_API)
        finally:
            first.close()
        quick, patient = (
            EngineClient(self.url, version, timeout=timeout, pool_size=self._workers * 2 + STREAMS + 2, sockets=sockets)
            for timeout in (self.timeout, self.timeout * PATIENCE)
        )
        try:
            return Session(quick, patient, sockets, _engine_info(version, quick.info()))
        except BaseException:
            quick.close()
            raise


def _translated(what: str, function: Callable[[], T]) -> T:
    with translated(what):
        return function()


def _ping(client: EngineClient, timeout: int) -> None:
    client.get(f"{client.base_url}/_ping", timeout=timeout).raise_for_status()


def _engine_info(api_version: str, raw: dict[str, object]) -> EngineInfo:
    return EngineInfo(
        version=str(raw.get("ServerVersion") or ""),
        api_version=api_version,
        storage_driver=str(raw.get("Driver") or ""),
        logging_driver=str(raw.get("LoggingDriver") or ""),
        cgroup_version=str(raw.get("CgroupVersion") or "1"),
        root_dir=str(raw.get("DockerRootDir") or ""),
    )
