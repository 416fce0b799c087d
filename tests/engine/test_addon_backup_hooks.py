"""A running add-on holds still for its backup, and goes on afterwards (backup contract §9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import docker
import pytest
from engine_stage import until

from addon_house import House
from supervisor.errors import Busy, SupervisorError, Timeout
from supervisor.events import AddonState
from supervisor.managers.addons import Addon
from supervisor.managers.addons.backup_hooks import BackupHooks

SLUG = "svtest_lamp"


@pytest.fixture(autouse=True)
def image(make_image: Callable[..., None]) -> None:
    make_image(slug=SLUG)


@pytest.fixture
def hooks(house: House) -> BackupHooks:
    return BackupHooks(house.engine, house.jobs, house.runner)


async def running(house: House, **keys: object) -> Addon:
    addon = await house.install(SLUG, init=False, **keys)
    await house.runner.start(addon)
    assert addon.state is AddonState.STARTED
    return addon


def data(house: House, name: str) -> Path:
    return house.paths.addons_data / SLUG / name


async def test_a_hot_backup_is_between_the_two_commands_and_the_add_on_runs_on(
    house: House, hooks: BackupHooks
) -> None:
    addon = await running(house, backup_pre="sh -c 'echo \"locked it\" > /data/lock'", backup_post="rm /data/lock")
    before = addon.container_id
    assert await hooks.begin(addon) is True
    assert data(house, "lock").read_text() == "locked it\n"
    assert await hooks.end(addon) is None
    assert not data(house, "lock").exists()
    assert (addon.container_id, addon.state) == (before, AddonState.STARTED)


async def test_without_commands_a_hot_backup_touches_nothing(house: House, hooks: BackupHooks) -> None:
    addon = await running(house)
    before = addon.container_id
    assert await hooks.begin(addon) is True
    assert await hooks.end(addon) is None
    assert addon.container_id == before


@pytest.mark.parametrize("command", ["sh -c 'echo out of order; exit 7'", "no-such-program"])
async def test_a_command_that_says_no_is_told_and_the_add_on_runs_on(
    house: House, hooks: BackupHooks, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    addon = await running(house, backup_pre=command, backup_post=command)
    for step in (hooks.begin, hooks.end):
        with pytest.raises(SupervisorError) as caught:
            await step(addon)
        assert caught.value.key == "app_pre_post_backup_command_returned_error"
        assert caught.value.fields is not None
        assert caught.value.fields["app"] == SLUG
        assert caught.value.fields["exit_code"] in {7, 126, 127}
        assert "debug" in caught.value.fields["debug_logging_command"]
    assert "exit code" in caplog.text
    assert addon.state is AddonState.STARTED


async def test_a_command_that_never_ends_is_given_up(house: House, hooks: BackupHooks) -> None:
    hooks.command_seconds = 0.5
    addon = await running(house, backup_pre="sleep 1000")
    with pytest.raises(Timeout, match="did not end within"):
        await hooks.begin(addon)
    assert addon.state is AddonState.STARTED


async def test_a_cold_backup_stops_the_add_on_and_starts_it_again(house: House, hooks: BackupHooks) -> None:
    addon = await running(house, backup="cold", backup_pre="touch /data/never", backup_post="touch /data/never")
    before = addon.container_id
    assert await hooks.begin(addon) is True
    assert (addon.state, addon.record.should_run) == (AddonState.STOPPED, True)
    starting = await hooks.end(addon)
    assert starting is not None
    await starting
    assert addon.state is AddonState.STARTED
    assert addon.container_id != before
    assert not data(house, "never").exists(), "the commands are for hot backups"


@pytest.mark.parametrize("backup", ["hot", "cold"])
async def test_one_that_does_not_run_is_left_alone(house: House, hooks: BackupHooks, backup: str) -> None:
    addon = await house.install(SLUG, backup=backup, backup_pre="touch /data/never")
    await house.runner.attach(addon)
    assert await hooks.begin(addon) is False
    assert addon.state is AddonState.STOPPED


async def test_nobody_else_changes_the_add_on_during_its_backup(house: House, hooks: BackupHooks) -> None:
    addon = await running(house, backup="cold")

    async def backup() -> None:
        async with house.jobs.run("app_backup", reference=SLUG, lock=addon.lock):
            assert await hooks.begin(addon)
            with pytest.raises(Busy):
                await house.jobs.begin(house.runner.start(addon))
            starting = await hooks.end(addon)
        assert starting is not None
        await starting

    await backup()
    assert addon.state is AddonState.STARTED


async def test_a_backup_that_is_cancelled_while_it_stops_the_add_on_leaves_it_running(
    house: House, hooks: BackupHooks
) -> None:
    addon = await running(house, backup="cold")
    before = addon.container_id
    beginning = asyncio.ensure_future(hooks.begin(addon))
    # The engine has been asked, and goes on with it.
    await until(lambda: addon.stop_requested)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    assert (addon.state, addon.record.should_run) == (AddonState.STARTED, True)
    assert addon.container_id not in (None, before)
    assert (await house.engine.containers.inspect(addon.container_name)).running


async def test_one_that_ended_meanwhile_runs_no_command_after_its_backup(
    house: House, hooks: BackupHooks, docker_client: docker.APIClient
) -> None:
    addon = await running(house, backup_post="touch /data/never")
    assert await hooks.begin(addon)
    await asyncio.to_thread(docker_client.kill, addon.container_name)
    await until(lambda: not addon.running)
    assert await hooks.end(addon) is None
