"""Network storage, against a systemd on a real bus that does as a test wants; the box has the real one."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from daemon import until
from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Refusal, Served
from supervisor.drivers import mount_point
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.systemd import Systemd
from supervisor.errors import (
    MOUNT_TARGET_NOT_EMPTY,
    BackupMountDownError,
    Blocked,
    Invalid,
    NotFound,
    SupervisorError,
    Unavailable,
)
from supervisor.events import EventBus, StateEntryRefused
from supervisor.jobs import JobCondition, JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.backups.locations import Locations
from supervisor.managers.mounts import MOUNTS_SCHEMA, Mounting, MountManager, MountUnits, mounting
from supervisor.managers.resolution import Resolution
from supervisor.model.mount import MOUNT, Mount
from supervisor.paths import DataPaths
from supervisor.state import StateFile

SYSTEMD = "org.freedesktop.systemd1"
MANAGER = "/org/freedesktop/systemd1"
EXISTING = Path(__file__).parents[1] / "unit/existing_installation/mounts.json"
VAULT = {"name": "vault", "type": "cifs", "usage": "backup", "server": "nas", "share": "vault"}
LOGIN = {"username": "me", "password": "secret"}


class Units:
    """The units of a systemd; mounts of servers that are `dead` fail, and that `in_use` can't be unmounted."""

    def __init__(self, address: str) -> None:
        self.service = BusService(address, SYSTEMD)
        self.asked: list[list[Any]] = []
        self.active: dict[str, str] = {}
        self.dead = False
        self.in_use: str | None = None
        self.service.objects[MANAGER] = {
            f"{SYSTEMD}.Manager": Served(
                properties={"Version": ("s", "252")},
                methods={
                    "Subscribe": ("", "", lambda: None),
                    "GetUnit": ("s", "o", self._get),
                    "StartTransientUnit": ("ssa(sv)a(sa(sv))", "o", self._start),
                    "ReloadOrRestartUnit": ("ss", "o", self._again),
                    "RestartUnit": ("ss", "o", self._again),
                    "StopUnit": ("ss", "o", self._stop),
                    "ResetFailedUnit": ("s", "", self._reset),
                },
            )
        }

    def _path(self, unit: str) -> str:
        return f"{MANAGER}/unit/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in unit)

    def _get(self, unit: str) -> list[str]:
        if unit not in self.active:
            raise Refusal(f"{SYSTEMD}.NoSuchUnit", f"Unit {unit} not loaded.")
        return [self._path(unit)]

    def show(self, unit: str, state: str, description: str = "") -> None:
        self.active[unit] = state
        self.service.objects[self._path(unit)] = {
            f"{SYSTEMD}.Unit": Served({"ActiveState": ("s", state), "Description": ("s", description)})
        }

    def _ended(self, unit: str, result: str) -> list[str]:
        job = f"{MANAGER}/job/{len(self.asked)}"
        self.service.later(MANAGER, f"{SYSTEMD}.Manager", "JobRemoved", "uoss", [1, job, unit, result])
        return [job]

    def _start(self, unit: str, mode: str, properties: list[Any], _others: list[Any]) -> list[str]:
        values = {name: value.value for name, value in properties}
        self.asked.append(["start", unit, mode, values])
        down = self.dead and "Type" in values
        self.show(unit, "failed" if down else "active", values["Description"])
        return self._ended(unit, "failed" if down else "done")

    def _again(self, unit: str, mode: str) -> list[str]:
        self._get(unit)
        self.asked.append(["again", unit, mode])
        self.show(unit, "failed" if self.dead else "active")
        return self._ended(unit, "failed" if self.dead else "done")

    def _stop(self, unit: str, mode: str) -> list[str]:
        self._get(unit)
        self.asked.append(["stop", unit, mode])
        if unit == self.in_use:
            return self._ended(unit, "failed")
        del self.active[unit]
        return self._ended(unit, "done")

    def _reset(self, unit: str) -> None:
        self.asked.append(["reset", unit])
        self.active.pop(unit, None)


@attrs.frozen
class Stage:
    paths: DataPaths
    units: Units
    systemd: Systemd
    manager: MountManager
    resolution: Resolution
    mounting: Mounting
    jobs: JobManager
    state: Path
    refused: list[StateEntryRefused]

    @property
    def issues(self) -> list[tuple[str, str | None]]:
        return [(issue.type.value, issue.reference) for issue in self.resolution.issues]


@pytest_asyncio.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    units = Units(daemon.address)
    await units.service.start()
    events = EventBus()
    bus = SystemBus(events, daemon.address)
    await bus.start()
    systemd = Systemd(bus)
    await systemd.start()
    # Nothing is really mounted here: a unit that is active is all there is to see.
    monkeypatch.setattr(mounting, "is_alive", lambda _: not units.dead)
    monkeypatch.setattr(mounting, "is_mount_point", lambda _: True)
    paths = DataPaths(tmp_path / "data", Path("/mnt/my-data"))
    paths.create()
    resolution = Resolution(events)
    jobs = JobManager(events, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, events))

    async def can_mount() -> str | None:
        return None if systemd.available else "mounting not supported on system"

    jobs.provide(JobCondition.MOUNT_AVAILABLE, can_mount)
    state = StateFile(paths.root / "mounts.json", MOUNTS_SCHEMA, events)
    (tmp_path / "sbin").mkdir()
    for program in ("mount.cifs", "mount.nfs"):
        (tmp_path / "sbin" / program).touch()
    works = Mounting(paths, MountUnits(bus, systemd), helpers=[tmp_path / "nowhere", tmp_path / "sbin"])
    manager = MountManager(state, works, jobs, resolution, events)
    refused: list[StateEntryRefused] = []
    events.subscribe(StateEntryRefused, refused.append)
    yield Stage(paths, units, systemd, manager, resolution, works, jobs, state.path, refused)
    await manager.stop()
    await jobs.stop()
    await systemd.close()
    await bus.stop()
    await units.service.stop()
    await daemon.stop()


def mount(*parts: dict[str, Any], **changes: Any) -> Mount:
    merged: dict[str, Any] = {}
    for part in (*parts, changes):
        merged |= part
    return Mount.of(MOUNT(merged))


UNIT = "mnt-my\\x2ddata-mounts-vault.mount"


async def test_systemd_is_asked_for_what_the_contract_says(stage: Stage) -> None:
    await stage.manager.create(mount(VAULT, LOGIN, port=445, version="2.0"))
    [[_, unit, mode, values]] = stage.units.asked
    assert (unit, mode) == (UNIT, "fail")
    assert values == {
        "What": "//nas/vault",
        "Type": "cifs",
        "Description": "Supervisor cifs mount: vault",
        "Options": "port=445,noserverino,soft,echo_interval=10,retrans=0,vers=2.0,"
        "credentials=/mnt/my-data/.mounts_credentials/vault",
        "TimeoutUSec": 35_000_000,
    }
    secret = stage.paths.mounts_credentials / "vault"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("username=me\npassword=secret", 0o600)
    assert json.loads(stage.state.read_text())["default_backup_mount"] == "vault"
    await stage.manager.remove("vault")
    assert not secret.exists()
    assert stage.units.active == {}
    assert json.loads(stage.state.read_text()) == {"mounts": [], "default_backup_mount": None}


async def test_a_mount_for_add_ons_is_bound_and_closed_while_it_is_away(stage: Stage) -> None:
    films = mount({"name": "films", "type": "nfs", "usage": "share", "server": "nas", "path": "/films"})
    await stage.manager.create(films)
    [data, bound] = stage.units.asked
    assert (data[3]["What"], data[3]["Options"]) == ("nas:/films", "softerr,timeo=100,retrans=2")
    assert bound[1] == "mnt-my\\x2ddata-share-films.mount"
    assert {key: bound[3][key] for key in ("What", "Options", "Description")} == {
        "What": "/mnt/my-data/mounts/films",
        "Options": "bind",
        "Description": "Supervisor bind mount: bind_films",
    }
    stage.units.dead = True
    with pytest.raises(SupervisorError, match="journalctl -u"):
        await stage.manager.reload_mount("films")
    assert stage.issues == [("mount_failed", "films")]
    last = stage.units.asked[-1][3]
    assert (last["What"], last["Options"]) == ("/mnt/my-data/emergency/films", "ro,bind")
    assert (stage.paths.emergency / "films").stat().st_mode & 0o777 == 0o444
    stage.units.dead = False
    await stage.manager.reload()
    assert stage.units.asked[-1][3]["What"] == "/mnt/my-data/mounts/films"
    assert stage.issues == []


async def test_moving_local_data_is_suggested_first_and_only_while_they_are_in_the_way(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.manager.create(mount(VAULT))
    failures: list[SupervisorError] = []

    async def fail(_mount: Mount) -> None:
        raise failures[-1]

    monkeypatch.setattr(stage.mounting, "reload", fail)
    others = ["execute_reload", "execute_remove"]
    for failure, suggested in (
        (MOUNT_TARGET_NOT_EMPTY(name="vault", path="/mnt/vault"), ["move_local_data", *others]),
        (Unavailable("the server is away"), others),
    ):
        failures.append(failure)
        with pytest.raises(type(failure)):
            await stage.manager.reload_mount("vault")
        assert stage.issues == [("mount_failed", "vault")]
        assert [suggestion.type.value for suggestion in stage.resolution.suggestions] == suggested


async def test_who_sees_an_issue_come_or_go_sees_the_state_of_the_mount(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.manager.create(mount(VAULT))
    seen: list[tuple[str, set[str]]] = []

    def noted(name: str) -> None:
        real = getattr(stage.resolution, name)

        def note(*args: Any, **kwargs: Any) -> Any:
            seen.append((name, set(stage.manager.active)))
            return real(*args, **kwargs)

        monkeypatch.setattr(stage.resolution, name, note)

    noted("raise_issue")
    noted("forget")
    stage.units.dead = True
    with pytest.raises(SupervisorError):
        await stage.manager.reload_mount("vault")
    stage.units.dead = False
    await stage.manager.reload_mount("vault")
    assert seen == [("raise_issue", set()), ("forget", {"vault"})]


async def test_a_mount_that_fails_leaves_nothing_behind(stage: Stage) -> None:
    stage.units.dead = True
    with pytest.raises(SupervisorError, match="did not succeed"):
        await stage.manager.create(mount(VAULT, LOGIN))
    assert (dict(stage.manager.mounts), stage.manager.default_backup_mount, stage.issues) == ({}, None, [])
    assert stage.units.active == {}
    assert not (stage.paths.mounts_credentials / "vault").exists()
    stage.units.dead = False
    await stage.manager.create(mount(VAULT))
    with pytest.raises(Invalid, match="already exists"):
        await stage.manager.create(mount(VAULT))


@pytest.mark.parametrize("work", ["remove", "update"])
async def test_what_can_not_be_unmounted_stays_and_is_given_to_add_ons_again(stage: Stage, work: str) -> None:
    films = mount({"name": "films", "type": "nfs", "usage": "share", "server": "nas", "path": "/films"})
    await stage.manager.create(films)
    stage.units.in_use, bound = "mnt-my\\x2ddata-mounts-films.mount", "mnt-my\\x2ddata-share-films.mount"
    doing = stage.manager.remove("films") if work == "remove" else stage.manager.update(attrs.evolve(films, path="/x"))
    with pytest.raises(SupervisorError, match="can't be unmounted"):
        await doing
    assert ["stop", bound, "fail"] in stage.units.asked
    await until(lambda: bound in stage.units.active, 30)
    assert stage.units.asked[-1][3]["What"] == "/mnt/my-data/mounts/films"
    assert (dict(stage.manager.mounts), stage.issues) == ({"films": films}, [])


async def test_a_host_that_lacks_the_program_for_a_mount_is_told_what_to_install(stage: Stage, tmp_path: Path) -> None:
    stage.units.dead = True
    with pytest.raises(SupervisorError, match="journalctl -u"):
        await stage.manager.create(mount(VAULT))
    (tmp_path / "sbin/mount.cifs").unlink()
    with pytest.raises(SupervisorError, match=r"no mount\.cifs: install cifs-utils"):
        await stage.manager.create(mount(VAULT))


async def test_what_a_crash_left_of_another_mount_of_the_name_is_not_taken_for_it(stage: Stage) -> None:
    await stage.manager.create(mount(VAULT, server="other"))
    del stage.manager._mounts["vault"]
    stage.units.asked.clear()
    await stage.manager.create(mount(VAULT))
    assert [asked[0] for asked in stage.units.asked] == ["stop", "start"]
    assert stage.units.asked[-1][3]["What"] == "//nas/vault"


async def test_what_a_daemon_that_died_had_begun_with_is_unmounted(stage: Stage) -> None:
    await stage.manager.create(mount(VAULT, LOGIN))
    ghost = mount(VAULT, LOGIN, name="ghost", usage="media")
    await stage.manager.create(ghost)
    # All that was written down of it, last of all, is not.
    stored = json.loads(stage.state.read_text())
    stored["mounts"] = [entry for entry in stored["mounts"] if entry["name"] != "ghost"]
    stage.state.write_text(json.dumps(stored))
    (stage.paths.mounts / "mine").mkdir()
    (stage.paths.mounts / "mine" / "file").touch()
    again = MountManager(
        StateFile(stage.state, MOUNTS_SCHEMA, EventBus()), stage.mounting, stage.jobs, stage.resolution, EventBus()
    )
    await again.load()
    assert set(stage.units.active) == {UNIT}
    assert [path.name for path in stage.paths.mounts_credentials.iterdir()] == ["vault"]
    assert (stage.paths.mounts / "mine" / "file").exists()
    assert list(again.mounts) == ["vault"]


async def test_what_others_mount_there_stays(stage: Stage) -> None:
    (stage.paths.mounts / "fstab").mkdir(parents=True)
    (stage.paths.share / "fstab").mkdir(parents=True)
    unit = "mnt-my\\x2ddata-mounts-fstab.mount"
    stage.units.show(unit, "active", "/mnt/my-data/mounts/fstab")
    await stage.manager.load()
    assert stage.units.active == {unit: "active"}
    assert (stage.paths.share / "fstab").exists()


async def test_the_file_of_an_existing_installation_is_read_and_nothing_in_it_is_lost(stage: Stage) -> None:
    shutil.copy(EXISTING, stage.state)
    await stage.manager.load()
    assert set(stage.manager.mounts) == {"nas_backup", "Movies"}
    assert stage.manager.get("nas_backup").share == "data/sub folder"
    assert stage.manager.status("Movies").usable
    assert stage.manager.default_backup_mount == "nas_backup"
    assert [event.entry for event in stage.refused] == ["of_a_newer_version"]
    await stage.manager.set_default(None)
    kept = json.loads(stage.state.read_text())
    before = json.loads(EXISTING.read_text())["mounts"]
    del before[0]["an_older_key"]
    assert kept == {"mounts": before, "default_backup_mount": None}


async def test_what_a_backup_has_is_taken_over_and_mounted(stage: Stage) -> None:
    await stage.manager.create(mount(VAULT))
    saved = {
        "default_backup_mount": "other",
        "mounts": [
            mount(VAULT, LOGIN, server="new").stored(),
            mount(VAULT, name="other").stored(),
            mount(VAULT, name="films", usage="media").stored(),
            {"name": "../x", "type": "nfs"},
        ],
    }
    with pytest.raises(Invalid, match="x': "):
        await stage.manager.restore(saved)
    await asyncio.sleep(0)
    assert stage.manager.get("vault") == mount(VAULT, LOGIN, server="new")
    assert stage.manager.default_backup_mount == "vault", "what is set stays"
    async with asyncio.timeout(30):
        while not all(stage.manager.status(name).usable for name in ("vault", "other", "films")):
            await stage.manager.reload()
    assert stage.manager.given(stage.paths.media) == {"films"}
    assert stage.manager.given(stage.paths.share) == frozenset()
    started = [asked[3]["What"] for asked in stage.units.asked if asked[0] == "start"]
    assert "//new/vault" in started
    assert json.loads(stage.state.read_text()) == stage.manager.stored()


async def test_backups_go_to_a_mount_only_while_it_is_there(stage: Stage) -> None:
    await stage.manager.create(mount(VAULT))
    await stage.manager.create(mount(VAULT, name="films", usage="media"))
    locations = Locations(stage.paths, stage.manager)
    folder = stage.paths.mounts / "vault"
    assert (locations.default, locations.usable["vault"], await locations.target("vault")) == ("vault", folder, folder)
    assert "films" not in locations.usable
    with pytest.raises(Invalid, match="not used for backups"):
        await locations.target("films")
    with pytest.raises(NotFound):
        await locations.target("nothing")
    stage.units.dead = True
    with pytest.raises(BackupMountDownError):
        await locations.target("vault")
    assert "vault" not in locations.usable


async def test_the_default_goes_with_the_usage(stage: Stage) -> None:
    await stage.manager.create(mount(VAULT))
    await stage.manager.update(mount(VAULT, server="other"))
    assert stage.manager.default_backup_mount == "vault"
    with pytest.raises(NotFound):
        await stage.manager.set_default("nothing")
    await stage.manager.update(mount(VAULT, usage="media"))
    assert stage.manager.default_backup_mount is None
    with pytest.raises(Invalid):
        await stage.manager.set_default("vault")


async def test_a_look_that_hangs_is_waited_for_once_and_not_for_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.manager.create(mount(VAULT))
    answer = threading.Event()
    looks = []

    def hang(path: Path) -> bool:
        looks.append(path)
        return answer.wait(60)

    monkeypatch.setattr(mounting, "is_alive", hang)
    monkeypatch.setattr(mounting, "PROBE_SECONDS", 0.2)
    assert [await stage.manager.probe("vault"), await stage.manager.probe("vault")] == [False, False]
    await until(lambda: looks, 30)
    assert looks == [stage.paths.mounts / "vault"]
    answer.set()
    async with asyncio.timeout(30):
        while not await stage.manager.probe("vault"):
            looks.clear()


async def test_without_systemd_nothing_is_mounted_and_what_is_known_stays(stage: Stage) -> None:
    shutil.copy(EXISTING, stage.state)
    await stage.units.service.stop()
    await until(lambda: not stage.systemd.available, 30)
    await stage.manager.load()
    await stage.manager.look()
    assert stage.manager.status("Movies").state is None
    with pytest.raises(Blocked, match="mounting not supported on system"):
        await stage.manager.create(mount(VAULT))
    assert set(stage.manager.mounts) == {"nas_backup", "Movies"}


async def test_local_data_from_two_places_are_moved_into_one_folder(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_point, "is_mount_point", lambda _: False)
    films = mount({"name": "films", "type": "nfs", "usage": "media", "server": "nas", "path": "/films"})
    recovery = stage.paths.media / "films_local_recovery"
    for number in ("", "_2"):
        for folder in (stage.paths.mounts, stage.paths.media):
            (folder / "films").mkdir(parents=True, exist_ok=True)
            (folder / "films" / f"of-{folder.name}").touch()
        await stage.mounting.set_aside(films)
        place = recovery.with_name(f"films_local_recovery{number}")
        assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) == [
            "media",
            "media/of-media",
            "of-mounts",
        ]
        assert not list((stage.paths.media / "films").iterdir())


def test_local_data_are_moved_beside_others(tmp_path: Path) -> None:
    target, recovery = tmp_path / "films", tmp_path / "films_local_recovery"
    assert mount_point.set_aside(target, recovery) is None
    for number in ("", "_2", "_3"):
        target.mkdir(exist_ok=True)
        (target / "one").write_text(number)
        assert mount_point.set_aside(target, recovery) == tmp_path / f"films_local_recovery{number}"
        assert list(target.iterdir()) == []
    assert (tmp_path / "films_local_recovery_2/one").read_text() == "_2"


def test_nothing_is_mounted_on_what_is_no_empty_folder(tmp_path: Path) -> None:
    mount_point.make_target(tmp_path / "a/b")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a/b")
    for name, is_folder in (("a", True), ("file", False), ("link", False)):
        with pytest.raises(mount_point.TargetTaken) as caught:
            mount_point.make_target(tmp_path / name)
        assert caught.value.is_folder is is_folder
