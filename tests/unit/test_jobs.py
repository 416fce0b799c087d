"""Jobs: trees, conditions, locks, progress, background work (API contract §8)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ADDON_NOT_RUNNING, Blocked, Busy, Internal, Invalid, NotFound, Unavailable
from supervisor.events import EventBus, JobChanged
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.jobs.manager import HISTORY_LENGTH, JOBS_SCHEMA
from supervisor.state import StateFile


@pytest.fixture
def news() -> list[dict[str, Any]]:
    return []


@pytest.fixture
async def jobs(tmp_path: Path, news: list[dict[str, Any]]) -> AsyncIterator[JobManager]:
    bus = EventBus()
    bus.subscribe(JobChanged, lambda event: news.append(event.job))
    manager = JobManager(bus, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, bus))
    await manager.load()
    yield manager
    await manager.stop()


async def test_jobs_opened_inside_a_job_become_its_children(jobs: JobManager) -> None:
    async with jobs.run("outer") as outer:
        async with jobs.run("first") as first:
            assert first.parent is outer
        async with jobs.run("second") as second, jobs.run("innermost") as innermost:
            assert jobs.current is innermost
            assert [job.name for job in innermost.within()] == ["innermost", "second", "outer"]
            assert outer.children == [second]
            assert jobs.get(innermost.uuid) is innermost
        assert jobs.current is outer
        assert jobs.roots == (outer,)
    assert jobs.current is None
    assert jobs.roots == ()


async def test_jobs_of_tasks_side_by_side_do_not_get_into_one_tree(jobs: JobManager) -> None:
    async def one(name: str) -> Job:
        async with jobs.run(name) as job:
            await asyncio.sleep(0.001)
            async with jobs.run(f"{name} inside") as inside:
                assert inside.parent is job
            return job

    found = await asyncio.gather(one("a"), one("b"))
    assert [job.parent for job in found] == [None, None]


async def test_work_that_outlives_its_job_begins_a_tree_of_its_own(jobs: JobManager) -> None:
    go = asyncio.Event()

    async def later() -> Job | None:
        await go.wait()
        async with jobs.run("later") as job:
            return job.parent

    async with jobs.run("outer"):
        task = asyncio.ensure_future(later())
        await asyncio.sleep(0)
    go.set()
    assert await task is None


async def test_every_visible_change_is_one_piece_of_news(jobs: JobManager, news: list[dict[str, Any]]) -> None:
    async with jobs.run("outer", reference="lamp") as outer:
        outer.update(progress=10, stage="one")
        outer.update(progress=10, stage="one")
        async with jobs.run("hidden", internal=True) as hidden:
            hidden.stage("unseen")
        async with jobs.run("inner"):
            pass
    told = [(item["name"], item["done"], item["progress"], item["stage"]) for item in news]
    assert told == [
        ("outer", False, 0.0, None),
        ("outer", False, 10, "one"),
        ("inner", False, 0.0, None),
        ("inner", True, 100.0, None),
        ("outer", True, 100.0, "one"),
    ]
    assert [item["parent_id"] for item in news] == [None, None, outer.uuid, outer.uuid, None]
    assert all(item["reference"] == "lamp" for item in news if item["name"] == "outer")
    assert "child_jobs" not in news[0]


async def test_a_finished_job_does_not_change_any_more(jobs: JobManager, news: list[dict[str, Any]]) -> None:
    async with jobs.run("work") as job:
        pass
    count = len(news)
    job.update(progress=3, stage="late")
    assert (job.progress, job.current_stage, len(news)) == (100.0, None, count)


@given(st.lists(st.floats(allow_nan=False)))
def test_progress_never_leaves_its_limits(steps: list[float]) -> None:
    job = Job("work", None, lambda _: None)
    for step in steps:
        job.progress = step
        assert 0 <= job.progress <= 100


async def test_a_failure_is_told_with_its_stage_and_key_and_goes_on_to_the_caller(jobs: JobManager) -> None:
    found: list[Job] = []

    async def work() -> None:
        async with jobs.run("work") as job:
            found.append(job)
            job.stage("second")
            raise ADDON_NOT_RUNNING(app="lamp")

    with pytest.raises(Invalid):
        await work()
    [job] = found
    [error] = job.errors
    assert (error.type, error.stage, error.error_key) == ("Invalid", "second", "app_not_running_error")
    assert error.extra_fields == {"app": "lamp"}
    assert job.done is True
    assert job.progress < 100


async def test_an_unexpected_failure_does_not_tell_its_inside(jobs: JobManager) -> None:
    with pytest.raises(ZeroDivisionError):
        async with jobs.run("work") as job:
            raise ZeroDivisionError("secret-token")
    assert "secret-token" not in job.errors[0].message


async def test_conditions_are_judged_in_their_order_and_the_first_that_fails_blocks(jobs: JobManager) -> None:
    asked: list[str] = []

    def judge(condition: JobCondition, reason: str | None) -> None:
        async def check() -> str | None:
            asked.append(condition.value)
            return reason

        jobs.provide(condition, check)

    judge(JobCondition.FREE_SPACE, "not enough free space (1.0GB) left on the device")
    judge(JobCondition.HEALTHY, None)
    judge(JobCondition.AUTO_UPDATE, "never asked")
    wanted = (JobCondition.AUTO_UPDATE, JobCondition.FREE_SPACE, JobCondition.HEALTHY)
    with pytest.raises(Blocked) as caught:
        async with jobs.run("work", conditions=wanted):
            pytest.fail("it must not run")
    assert str(caught.value) == ("'work' blocked from execution, not enough free space (1.0GB) left on the device")
    assert asked == ["healthy", "free_space"]
    assert jobs.roots == jobs.history == ()


async def test_an_ignored_condition_does_not_block_but_is_logged_each_time(
    jobs: JobManager, caplog: pytest.LogCaptureFixture
) -> None:
    async def never() -> str | None:
        return "it never holds"

    jobs.provide(JobCondition.HEALTHY, never)
    await jobs.set_ignore_conditions([JobCondition.HEALTHY, JobCondition.HEALTHY])
    assert jobs.ignore_conditions == (JobCondition.HEALTHY,)
    with caplog.at_level(logging.CRITICAL):
        for _ in range(2):
            async with jobs.run("work", conditions=[JobCondition.HEALTHY]):
                pass
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL] * 2


async def test_ignored_conditions_last(jobs: JobManager, tmp_path: Path) -> None:
    await jobs.set_ignore_conditions([JobCondition.OS_SUPPORTED])
    bus = EventBus()
    again = JobManager(bus, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, bus))
    await again.load()
    assert again.ignore_conditions == (JobCondition.OS_SUPPORTED,)


def test_a_stored_condition_of_another_version_is_dropped_and_nonsense_does_not_fit() -> None:
    stored = JOBS_SCHEMA({"ignore_conditions": ["moon_phase", "healthy"]})
    assert stored == {"ignore_conditions": ["healthy"]}
    with pytest.raises(vol.Invalid):
        JOBS_SCHEMA({"ignore_conditions": [1]})


async def test_a_condition_without_a_judge_fails_loudly(jobs: JobManager) -> None:
    with pytest.raises(KeyError):
        async with jobs.run("work", conditions=[JobCondition.HAOS]):
            pytest.fail("it must not run")


async def test_a_lock_refuses_another_chain_and_lets_nested_work_pass(jobs: JobManager) -> None:
    async def other() -> None:
        async with jobs.run("other", lock="lamp"):
            pytest.fail("it must not run")

    async with jobs.run("holder", lock="lamp"):
        async with jobs.run("between"), jobs.run("nested", lock="lamp"):
            assert jobs.busy("lamp")
        assert jobs.busy("lamp")
        with pytest.raises(Busy, match="holder"):
            await jobs.spawn(other).result()
        assert [job.name for job in jobs.roots] == ["holder"]
    assert not jobs.busy("lamp")


async def test_those_who_wait_for_a_lock_get_it_in_their_order(jobs: JobManager) -> None:
    order: list[int] = []

    async def work(number: int) -> None:
        async with jobs.run("work", lock="lamp", wait=True):
            order.append(number)
            await asyncio.sleep(0)
            assert order[-1] == number, "two had the lock at once"

    await asyncio.gather(*(work(number) for number in range(6)))
    assert order == [0, 1, 2, 3, 4, 5]
    assert not jobs.busy("lamp")


async def test_a_failure_releases_the_lock(jobs: JobManager) -> None:
    for _ in range(2):
        with pytest.raises(Internal):
            async with jobs.run("work", lock="lamp"):
                raise Internal("broken")
    assert not jobs.busy("lamp")


@pytest.mark.parametrize("turns", range(6))
async def test_who_is_cancelled_at_any_moment_of_waiting_leaves_the_queue_whole(jobs: JobManager, turns: int) -> None:
    done: list[str] = []
    release = asyncio.Event()

    async def work(name: str) -> None:
        async with jobs.run(name, lock="lamp", wait=True):
            if name == "holder":
                await release.wait()
            await asyncio.sleep(0)
            done.append(name)

    holder, quitter, last = (asyncio.ensure_future(work(name)) for name in ("holder", "quitter", "last"))
    await asyncio.sleep(0.001)
    release.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    quitter.cancel()
    await asyncio.wait_for(asyncio.gather(holder, quitter, last, return_exceptions=True), 30)
    assert [name for name in done if name != "quitter"] == ["holder", "last"]
    assert not jobs.busy("lamp")
    assert jobs.roots == ()


async def test_spawned_work_is_a_root_whoever_asked_for_it(jobs: JobManager) -> None:
    async def work() -> Job | None:
        async with jobs.run("spawned") as job:
            return job.parent

    async with jobs.run("asker"):
        spawned = jobs.spawn(work)
        assert await spawned.result() is None


async def test_work_that_says_it_is_sound_is_accepted_while_it_goes_on(jobs: JobManager) -> None:
    release = asyncio.Event()

    async def work() -> str:
        async with jobs.run("outer") as outer, jobs.run("inner") as inner:
            inner.validated()
            await release.wait()
            return outer.name

    spawned = jobs.spawn(work)
    assert await spawned.accepted()
    assert spawned.job is not None
    assert spawned.job.name == "outer"
    release.set()
    assert await spawned.result() == "outer"


async def test_work_that_fails_before_it_is_sound_is_not_accepted(jobs: JobManager) -> None:
    async def work() -> None:
        async with jobs.run("work", keep=True):
            raise Invalid("nonsense")

    spawned = jobs.spawn(work)
    assert not await spawned.accepted()
    with pytest.raises(Invalid) as caught:
        await spawned.result()
    assert spawned.job is not None
    assert caught.value.job_id == spawned.job.uuid


async def test_spawned_work_goes_on_when_its_waiter_gives_up(jobs: JobManager) -> None:
    release, done = asyncio.Event(), []

    async def work() -> None:
        await release.wait()
        done.append(True)

    spawned = jobs.spawn(work)
    waiter = asyncio.ensure_future(spawned.result())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    release.set()
    await spawned.task
    assert done == [True]


async def test_a_job_that_may_be_cancelled_is_and_who_waits_for_it_gets_an_error(jobs: JobManager) -> None:
    async def work() -> None:
        async with jobs.run("work", cancellable=True) as job:
            job.validated()
            await asyncio.Event().wait()

    spawned = jobs.spawn(work)
    await spawned.accepted()
    assert spawned.job is not None
    waiter = asyncio.ensure_future(spawned.result())
    await asyncio.sleep(0)
    jobs.cancel(spawned.job.uuid)
    with pytest.raises(Unavailable, match="cancelled"):
        await waiter
    assert spawned.job.errors[0].type == "Cancelled"
    assert jobs.roots == ()


async def test_a_job_that_is_not_safe_to_cancel_is_not(jobs: JobManager) -> None:
    async with jobs.run("work") as job:
        with pytest.raises(Invalid):
            jobs.cancel(job.uuid)
    with pytest.raises(NotFound):
        jobs.cancel(job.uuid)


async def test_a_kept_job_stays_until_it_is_forgotten(jobs: JobManager) -> None:
    async with jobs.run("work", keep=True) as job:
        with pytest.raises(Invalid):
            jobs.forget(job.uuid)
    assert jobs.get(job.uuid) is job
    with pytest.raises(Invalid, match="has ended"):
        jobs.cancel(job.uuid)
    jobs.forget(job.uuid)
    with pytest.raises(NotFound):
        jobs.forget(job.uuid)


async def test_history_holds_the_last_roots_that_ran_newest_first(jobs: JobManager) -> None:
    for number in range(HISTORY_LENGTH + 5):
        async with jobs.run("work", reference=str(number)), jobs.run("inside"):
            pass
        async with jobs.run("hidden", internal=True):
            pass
    assert len(jobs.history) == HISTORY_LENGTH
    assert [job.reference for job in jobs.history[:2]] == [str(HISTORY_LENGTH + 4), str(HISTORY_LENGTH + 3)]


async def test_an_internal_job_is_neither_listed_nor_found(jobs: JobManager) -> None:
    async with jobs.run("hidden", internal=True) as hidden:
        assert jobs.roots == ()
        with pytest.raises(NotFound):
            jobs.get(hidden.uuid)


async def test_the_end_cancels_spawned_work_and_waits_for_its_cleaning_up(jobs: JobManager) -> None:
    cleaned = []

    async def work() -> None:
        async with jobs.run("work"):
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.005)
                cleaned.append(True)

    jobs.spawn(work)
    await asyncio.sleep(0)
    await jobs.stop()
    assert cleaned == [True]


async def test_the_failure_of_work_that_nobody_waits_for_is_logged(
    jobs: JobManager, caplog: pytest.LogCaptureFixture
) -> None:
    async def known() -> None:
        raise Internal("a known failure")

    async def unknown() -> None:
        raise KeyError("an unknown failure")

    tasks = [jobs.spawn(known).task, jobs.spawn(unknown).task]
    await asyncio.wait(tasks)
    await asyncio.sleep(0)
    assert "a known failure" in caplog.text
    assert "Traceback" in caplog.text
    assert "an unknown failure" in caplog.text


async def test_a_task_begun_inside_a_job_belongs_to_no_job(jobs: JobManager) -> None:
    async def later() -> None:
        async with jobs.run("other", lock="door"):
            pass

    async with jobs.run("outer", lock="door"):
        task = jobs.begin(later())
        with pytest.raises(Busy):
            await task
