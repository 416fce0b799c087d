"""What holds for every test: nothing that it began may go on after it."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

from leftovers import children

# A shell that begins the tests in the background has them ignore Ctrl-C, and what they start would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine than about the code; each test has its own time limit.
# They are other examples in every run, and there are many runs.
settings.register_profile("any machine", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# What the worker threads of libraries and of the event loop's executor are called: they serve the next test, too.
SHARED_THREADS = ("asyncio_", "ThreadPoolExecutor", "pytest_timeout", "docker-", "engine-")
PATIENCE_SECONDS = 30.0


def threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if not t.daemon and not t.name.startswith(SHARED_THREADS)}


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves threads or processes behind; parts that live for the whole session are no test's own."""
    # They are made first, so that they are there before.
    for name in request.fixturenames:
        definition = request._arg2fixturedefs.get(name, ())  # type: ignore[attr-defined]
        if definition and definition[-1].scope != "function":
            request.getfixturevalue(name)
    threads_before, children_before = threads(), children()
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    left_threads, left_children = threads() - threads_before, children() - children_before
    while (left_threads or left_children) and time.monotonic() < deadline:
        time.sleep(0.01)
        left_threads, left_children = threads() - threads_before, children() - children_before
    assert not left_threads, f"threads left behind: {left_threads}"
    assert not left_children, f"child processes left behind: {left_children}"


@pytest.fixture(autouse=True)
def no_task_left_behind(request: pytest.FixtureRequest, nothing_left_behind: None) -> None:
    """Fail a test that leaves tasks of the event loop behind; one that has no event loop gets none for that."""
    if pytest_asyncio.is_async_test(request.node) or any(
        inspect.iscoroutinefunction(definition.func) or inspect.isasyncgenfunction(definition.func)
        for name in request.fixturenames
        for definition in request._arg2fixturedefs.get(name, ())  # type: ignore[attr-defined]
        if name != _on_the_loop.__name__
    ):
        request.getfixturevalue(_on_the_loop.__name__)


@pytest_asyncio.fixture
async def _on_the_loop() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    # What was cancelled at the very end, or answers a client that has gone, gets a moment to end.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := _left(before)) and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody tells when they end
        await asyncio.sleep(0.005)
    assert not left, f"tasks left behind: {left}"


def _left(before: set[asyncio.Task[object]]) -> list[str]:
    own = asyncio.current_task()
    return sorted(repr(task.get_coro()) for task in asyncio.all_tasks() - before if task is not own)


@pytest.fixture
def no_blocking_calls() -> Iterator[None]:
    """Fail a test in which code of ours blocks the event loop."""
    with blockbuster_ctx("supervisor"):
        yield
