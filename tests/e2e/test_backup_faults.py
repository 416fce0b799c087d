"""Disks that are full or can't be read, and an engine that goes, at the stages of a backup and of a restore."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import trouble_engine
from trouble_engine import TroubleEngine

from daemon import DOCKER_URL, clear, until, within
from loop_disk import LoopDisk, engine_process, run
from stepping_house import BACKUP, COLD, HOT, ITEMS, PART, PASSWORD, RESTORE, Deed, House

pytestmark = pytest.mark.timeout(600)
MIB, GIB = 1024**2, 1024**3


@contextlib.contextmanager
def noted(house: House, step: str) -> Iterator[None]:
    try:
        yield
    except BaseException as err:
        err.add_note(f"at {step}\n{house.daemon.log[-4000:]}")
        raise


# A full disk.

FULL_IN_BACKUP = (
    "backup_manager_full_backup:home_assistant@1",
    "pack:half@1",
    "pack:data@2",
    "pack:half@3",
    "quiet.json:after@3",
    "backup_manager_full_backup:finishing_file@1",
    "publish@1",
)
FULL_IN_RESTORE = (
    "backup_manager_full_restore:folders@1",
    "unpack:half@1",
    "plan.json:before@1",
    "move@1",
    "plan.json:before@2",
    "unpack:half@2",
    "unpack:addon_local_hot@1",
    "unpack:half@3",
    "addons.json:before@1",
    "unpack:addon_local_cold@1",
)
FULL_IN_PART = ("unpack:half@3", "addons.json:before@1")


@pytest.fixture
def disks() -> Iterator[Path]:
    """A folder on a disk of this machine for what is on disks of tests."""
    folder = Path(tempfile.mkdtemp(prefix="supervisor-disk.", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def disk(tmp_path: Path, disks: Path) -> Iterator[LoopDisk]:
    """Everything that the daemon keeps lies on it."""
    disk = LoopDisk(disks / "data", tmp_path / "data", engine_process(DOCKER_URL))
    try:
        disk.make(4 * GIB).mount()
        yield disk
    finally:
        disk.unmount()


@pytest.mark.parametrize(
    ("deed", "steps"),
    [(BACKUP, FULL_IN_BACKUP), (RESTORE, FULL_IN_RESTORE), (PART, FULL_IN_PART)],
    ids=["backup", "restore", "part"],
)
async def test_a_disk_that_is_full_at_any_stage_costs_nothing_that_was_there(
    disk: LoopDisk, tmp_path: Path, docker_client: docker.APIClient, deed: Deed, steps: tuple[str, ...]
) -> None:
    house = House(tmp_path)
    try:
        await house.open()
        for step in steps:
            with noted(house, step):
                await full(house, disk, deed, step)
    finally:
        await house.daemon.kill()
        clear(docker_client)


async def full(house: House, disk: LoopDisk, deed: Deed, step: str) -> None:
    house.write("present")
    answer = await house.at(step, disk.fill_command, deed)
    if answer.status != 200:
        said = await house.problems(answer.body["job_id"])
        assert "No space left" in said or "disk is full" in said, said
    after = house.read()
    disk.make_room()
    assert set(after.values()) <= ({"present"} if deed is BACKUP else {"present", "saved"}), after
    if answer.status == 200 and deed is not BACKUP:
        assert set(after.values()) == {"saved"}
    listed = await house.look()
    assert len(listed) == (2 if answer.status == 200 and deed is BACKUP else 1)
    assert {path.stem for path in (house.daemon.data / "backup").iterdir()} == listed, "a half of a backup was left"
    await house.remove_others()


# Read errors.


async def test_what_can_not_be_read_costs_only_itself_and_the_job_tells(
    tmp_path: Path, disks: Path, docker_client: docker.APIClient
) -> None:
    house = House(tmp_path)
    data, left = house.daemon.data, contextlib.ExitStack()
    try:
        await house.open()
        for item, places in ITEMS.items():
            dying = LoopDisk(disks / "small", data / places[0] / "dying").make(16 * MIB)
            dying.mount()
            left.callback(dying.unmount)
            bad = dying.place / "bad"
            bad.write_bytes(os.urandom(MIB))
            dying.spoil(bad, MIB // 2, MIB // 4)
            with noted(house, item):
                await unreadable(house, item)
            dying.heal()
            answer = await BACKUP.do(house)
            assert await house.problems(answer.data["job_id"]) == "[]"
            dying.unmount()
            dying.place.rmdir()
            await house.remove_others()
    finally:
        await house.daemon.kill()
        clear(docker_client)
        left.close()


async def unreadable(house: House, item: str) -> None:
    answer = await BACKUP.do(house)
    job_id = (answer.body.get("data") or answer.body)["job_id"]
    assert "dying/bad can't be read: Input/output error" in await house.problems(job_id)
    listed = await house.look()
    if item == "homeassistant":
        # Without it nobody would call that a backup.
        assert (answer.status, len(listed)) == (400, 1)
        assert len(list((house.daemon.data / "backup").iterdir())) == 1
        return
    info = await house.daemon.get(f"/backups/{answer.data['slug']}/info")
    saved = {addon["slug"] for addon in info["addons"]} | set(info["folders"])
    assert saved == {HOT, COLD, "share", "addons/local", "ssl", "media"} - {item}
    await house.remove_others()


async def test_an_archive_with_an_unreadable_part_restores_the_rest_and_the_job_tells(
    tmp_path: Path, disks: Path, docker_client: docker.APIClient
) -> None:
    house = House(tmp_path)
    backups = house.daemon.data / "backup"
    disk = LoopDisk(disks / "small", backups)
    try:
        await house.open()
        file = backups / f"{house.slug}.tar"
        whole = file.read_bytes()
        with tarfile.open(file) as tar:
            members = {member.name: member for member in tar}
        disk.make(32 * MIB).mount()
        for member, item in ((f"{COLD}.tar.gz", COLD), (f"{HOT}.tar.gz", HOT)):
            file.write_bytes(whole)
            start = members[member].offset_data
            disk.spoil(file, start + 65536, 65536)
            house.write("present")
            with noted(house, item):
                answer = await RESTORE.do(house)
                assert answer.status == 400
                assert "The backup can't be read: Input/output error" in await house.problems(answer.body["job_id"])
                expected = {name: "present" if name == item else "saved" for name in ITEMS}
                assert house.read() == expected
                verdict = await house.daemon.post(f"/backups/{house.slug}/verify")
                assert (verdict["good"], len(verdict["problems"])) == (False, 1)
                disk.heal()
                await house.look()
                assert (await RESTORE.do(house)).status == 200
                assert set(house.read().values()) == {"saved"}
    finally:
        await house.daemon.kill()
        disk.unmount()
        clear(docker_client)


# A disk or server that says nothing for a while.


async def test_a_place_for_backups_that_hangs_holds_nobody_else(
    tmp_path: Path, disks: Path, docker_client: docker.APIClient
) -> None:
    house = House(tmp_path)
    disk = LoopDisk(disks / "small", house.daemon.data / "backup").make(32 * MIB)
    try:
        disk.mount()
        await house.open()
        making = asyncio.create_task(house.at("pack:half@2", f"fsfreeze --freeze {disk.place}", BACKUP))
        try:
            await until(lambda: house.done, 60, lambda: house.daemon.log)
            # It hangs as long as it is not let go on: who waited for it would not be answered at all.
            for path in ("/info", "/backups", "/addons", "/jobs/info"):
                began = time.monotonic()
                assert (await house.daemon.ask("GET", path, seconds=30)).status == 200, path
                assert within(1, began), path
            assert not making.done()
        finally:
            run("fsfreeze", "--unfreeze", str(disk.place))
        assert (await making).status == 200
        assert len(await house.look()) == 2
    finally:
        await house.daemon.kill()
        clear(docker_client)
        disk.unmount()


# A repository that goes, or a daemon that dies with it open.

AT_REPOSITORY = (
    (BACKUP, "backup_manager_full_backup:addons@1", True),
    (BACKUP, "backup_manager_full_backup:finishing_file@1", True),
    (RESTORE, "backup_manager_full_restore:folders@1", True),
    (RESTORE, "backup_manager_full_restore:addons@1", True),
    (BACKUP, "quiet.json:after@1", False),
    (BACKUP, "backup_manager_full_backup:finishing_file@1", False),
    (RESTORE, "backup_manager_full_restore:addons@1", False),
)


async def test_a_repository_or_daemon_that_goes_costs_nothing_and_is_no_half_backup(
    tmp_path: Path, disks: Path, docker_client: docker.APIClient
) -> None:
    house = House(tmp_path)
    disk = LoopDisk(disks / "small", tmp_path / "nas").make(256 * MIB)
    try:
        disk.mount()
        await house.daemon.start()
        body = {"name": "nas", "place": str(disk.place / "repository"), "password": PASSWORD}
        await house.daemon.post("/backups/repositories", body)
        house.place = {"location": "repository:nas"}
        await house.open()
        for deed, step, goes in AT_REPOSITORY:
            with noted(house, f"{deed.name} {step}"):
                house.write("present")
                if goes:
                    answer = await house.at(step, f"umount -l {disk.place}", deed)
                    assert answer.status == 400
                    assert "There is no repository at the place of nas" in await house.problems(answer.body["job_id"])
                    assert list(disk.place.iterdir()) == [], "it went to this machine's disk instead"
                    disk.come_back()
                else:
                    await house.dies_at(step, deed)
                    await until(lambda: house.lists(house.slug), 60, lambda: house.daemon.log)
                assert set(house.read().values()) <= ({"present"} if deed is BACKUP else {"present", "saved"})
                assert await house.look() == {house.slug}
        assert (await RESTORE.do(house)).status == 200
        assert set(house.read().values()) == {"saved"}
    finally:
        await house.daemon.kill()
        clear(docker_client)
        disk.unmount()


# An engine that goes.

GONE_IN_BACKUP = (
    "backup_manager_full_backup:home_assistant@1",
    "pack:data@2",
    "quiet.json:after@3",
    "pack:data@3",
    "backup_manager_full_backup:finishing_file@1",
)
GONE_IN_RESTORE = (
    "backup_manager_full_restore:folders@1",
    "unpack:addon_local_hot@1",
    "addons.json:after@1",
    "unpack:addon_local_cold@1",
)
GONE_IN_PART = ("unpack:addon_local_hot@1", "plan.json:before@5")


@pytest.fixture(scope="module")
def machine() -> Iterator[TroubleEngine]:
    with trouble_engine.running() as one:
        yield one


@pytest.mark.parametrize(
    ("deed", "steps"),
    [(BACKUP, GONE_IN_BACKUP), (RESTORE, GONE_IN_RESTORE), (PART, GONE_IN_PART)],
    ids=["backup", "restore", "part"],
)
async def test_an_engine_that_goes_at_any_stage_costs_nothing_and_all_run_when_it_is_back(
    machine: TroubleEngine, tmp_path: Path, deed: Deed, steps: tuple[str, ...]
) -> None:
    house = House(tmp_path, inside=tuple(machine.inside), docker_url=machine.url)
    try:
        await house.open()
        for step in steps:
            with noted(house, step):
                await gone(house, machine, deed, step)
    finally:
        await house.daemon.kill()
        await asyncio.to_thread(machine.mend)


async def gone(house: House, machine: TroubleEngine, deed: Deed, step: str) -> None:
    house.write("present")
    pid = machine.pid
    answer = await house.at(step, f"kill -KILL {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.01; done", deed)
    await asyncio.to_thread(machine.stop)
    said = await house.problems(answer.body.get("job_id") or answer.data["job_id"])
    if answer.status != 200:
        assert "Docker engine" in said, said
    elif deed is BACKUP and said == "[]":
        info = await house.daemon.get(f"/backups/{answer.data['slug']}/info")
        assert {addon["slug"] for addon in info["addons"]} == {HOT, COLD}
    assert set(house.read().values()) <= ({"present"} if deed is BACKUP else {"present", "saved"})
    await asyncio.to_thread(machine.start)
    listed = await house.look()
    assert len(listed) == (2 if answer.status == 200 and deed is BACKUP else 1)
    assert {path.stem for path in (house.daemon.data / "backup").iterdir()} == listed, "a half of a backup was left"
    await house.remove_others()
