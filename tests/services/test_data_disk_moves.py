"""Moving the data, with whatever can fail on the way failing; disks, agent and power are stand-ins on a real bus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Refusal, Served
from stands.os_agent import OsAgent
from stands.udisks import NAME, ROOT, UDisks
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.declaration import BOOL, NOTHING, STRING, method
from supervisor.drivers.dbus.os_agent import AgentSystem, DataDisk
from supervisor.errors import SupervisorError, Unavailable
from supervisor.events import EventBus
from supervisor.jobs import JobCondition, JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.host import Disks, Features, HostControl, SystemServices
from supervisor.managers.os import (
    DataDiskFixups,
    DataDiskManager,
    DisabledDataDiskCheck,
    DiskLifetimeCheck,
    MultipleDataDisksCheck,
    OperatingSystem,
)
from supervisor.managers.resolution import ContextType, Issue, IssueType, Resolution, Suggestion, SuggestionType
from supervisor.paths import DataPaths
from supervisor.state import StateFile

MIB = 1024**2
EXTERNAL, OLD = "hassos-data-external", "hassos-data-external-old"
FAILED = "org.freedesktop.UDisks2.Error.Failed"
CPE = "cpe:2.3:o:home-assistant:haos:16.2:*:production:*:*:*:green:*"


class Room(UDisks):
    """Two disks: `sda` with the data in its partition, `sdb` empty. Methods named in `failing` fail."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.failing: set[str] = set()
        self.new_size = 198 * MIB
        self.done: list[str] = []

    async def furnish(self) -> None:
        for letter in "ab":
            drive = {"Vendor": "Acme", "Model": letter.upper(), "Serial": "", "Id": f"Acme-{letter}", "Size": 200 * MIB}
            await self.put(f"drives/{letter}", {"Drive": drive})
            await self.put(f"block_devices/sd{letter}", {"Block": self.block(f"sd{letter}", 200 * MIB, letter)})
            self.on(f"sd{letter}", "Block", Format=("sa{sv}", "", lambda *_: self.do("Format")))
        await self.add_partition("sda1", 100 * MIB, EXTERNAL, label="hassos-data")
        await self.put("block_devices/sda", {"PartitionTable": {"Type": "gpt"}})

    def block(self, name: str, size: int, drive: str, label: str = "") -> dict[str, Any]:
        return {
            "Device": f"/dev/{name}\0".encode(),
            "Size": size,
            "IdLabel": label,
            "ReadOnly": False,
            "Drive": f"{ROOT}/drives/{drive}",
        }

    async def add_partition(self, name: str, size: int, title: str, *, label: str = "") -> None:
        path = f"block_devices/{name}"
        block = self.block(name, size, name[2], label)
        mounts = [b"/mnt/data\0"] if name == "sda1" else []
        await self.put(
            path, {"Block": block, "Partition": {"Name": title}, "Filesystem": {"MountPoints": mounts, "Size": size}}
        )
        self.on(name, "Partition", SetName=("sa{sv}", "", lambda title, _: self.rename(name, title)))
        self.on(name, "Partition", Delete=("a{sv}", "", lambda _: self.do("Delete", f"{ROOT}/{path}")))
        self.on(name, "Filesystem", SetLabel=("sa{sv}", "", lambda text, _: self.label(name, text)))

    def on(self, name: str, interface: str, **methods: Any) -> None:
        for member, what in methods.items():
            self.method(f"block_devices/{name}", interface, member, what)

    def do(self, what: str, gone: str = "") -> list[Any]:
        if what in self.failing:
            raise Refusal(FAILED, f"{what} failed")
        self.done.append(what)
        if what == "Format":
            table = Served(
                {"Type": ("s", "gpt")},
                {"CreatePartition": ("ttssa{sv}", "o", lambda _o, _s, _t, title, _: self.create(title))},
            )
            self.objects("sdb")[f"{NAME}.PartitionTable"] = table
        if gone:
            del self.service.objects[gone]
        return []

    def create(self, title: str) -> list[Any]:
        self.do("CreatePartition")
        adding = asyncio.get_running_loop().create_task(self.add_partition("sdb1", self.new_size, title))
        self.pending = adding
        return [f"{ROOT}/block_devices/sdb1"]

    def rename(self, name: str, title: str) -> list[Any]:
        self.do(f"SetName {name} {title}")
        return self.write(name, "Partition", Name=title)

    def label(self, name: str, text: str) -> list[Any]:
        self.do(f"SetLabel {name} {text}")
        return self.write(name, "Block", IdLabel=text)

    def write(self, name: str, interface: str, **values: Any) -> list[Any]:
        for key, value in values.items():
            self.objects(name)[f"{NAME}.{interface}"].properties[key] = ("s", value)
        changing = self.service.change(f"{ROOT}/block_devices/{name}", f"{NAME}.{interface}", **values)
        self.pending = asyncio.get_running_loop().create_task(changing)
        return []

    def objects(self, name: str) -> dict[str, Served]:
        return self.service.objects[f"{ROOT}/block_devices/{name}"]

    @property
    def names(self) -> dict[str, str]:
        """The partitions there are, and what they are called."""
        known = {path.rpartition("/")[2]: one.get(f"{NAME}.Partition") for path, one in self.service.objects.items()}
        return {name: part.properties["Name"][1] for name, part in known.items() if part is not None}


@attrs.define(eq=False)
class House:
    room: Room
    agent_state: Path
    services: SystemServices
    manager: DataDiskManager
    control: HostControl
    resolution: Resolution
    rebooted: list[str]
    refusing_reboot: list[str]
    agent: BusService

    @property
    def calls(self) -> list[list[Any]]:
        return list(json.loads(self.agent_state.read_text())["calls"])

    def issues(self) -> set[IssueType]:
        return {issue.type for issue in self.resolution.issues}


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - the check looks at whatever the test cares for
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    room = Room(daemon.address)
    await room.furnish()
    await room.service.start()
    state = tmp_path / "agent.json"
    known = getattr(request, "param", {})
    state.write_text(json.dumps({"current_device": "/dev/sda1", **known}))
    agent = OsAgent(daemon.address, state)
    await agent.start()
    rebooted: list[str] = []
    refusing: list[str] = []

    def reboot(_interactive: bool) -> None:
        if refusing:
            raise Refusal(FAILED, "not now")
        rebooted.append("reboot")

    logind = BusService(daemon.address, "org.freedesktop.login1")
    logind.objects["/org/freedesktop/login1"] = {
        "org.freedesktop.login1.Manager": Served(
            methods={"Reboot": ("b", "", reboot), "CanReboot": ("", "s", lambda: ["yes"])}
        )
    }
    await logind.start()
    hostnamed = BusService(daemon.address, "org.freedesktop.hostname1")
    hostnamed.objects["/org/freedesktop/hostname1"] = {
        "org.freedesktop.hostname1": Served({"OperatingSystemCPEName": ("s", CPE)})
    }
    await hostnamed.start()
    events = EventBus()
    bus = SystemBus(events, daemon.address)
    await bus.start()
    services, features = SystemServices.on(bus), Features()
    services.provide(features)
    await services.start()

    async def nothing() -> None:
        return

    control = HostControl(services, features, stop_managed=nothing, resume=nothing)
    jobs = JobManager(events, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, events))
    resolution = Resolution(events)

    async def good() -> str | None:
        return None

    for condition in (JobCondition.HAOS, JobCondition.OS_AGENT, JobCondition.HEALTHY):
        jobs.provide(condition, good)
    manager = DataDiskManager(
        services.agent, services.data_disk, AgentSystem(bus), services.disks, control, jobs, resolution
    )
    await until(lambda: manager.current is not None and services.disks.available and services.login.available)
    yield House(room, state, services, manager, control, resolution, rebooted, refusing, agent.service)
    await services.close()
    await bus.stop()
    for service in (room.service, agent.service, logind, hostnamed):
        await service.stop()
    await daemon.stop()


async def test_the_data_is_moved(house: House) -> None:
    await house.manager.move("Acme-b")
    assert house.room.names == {"sda1": OLD, "sdb1": EXTERNAL}
    assert (house.calls, house.rebooted) == ([["MarkDataMove"]], ["reboot"])
    assert house.room.done == ["Format", f"SetName sda1 {OLD}", "CreatePartition"]


@pytest.mark.parametrize(
    "step", ["Format", f"SetName sda1 {OLD}", "CreatePartition", "a smaller partition", "MarkDataMove"]
)
@pytest.mark.parametrize("house", [{}], indirect=True)
async def test_whatever_fails_the_data_stays_where_it_is(house: House, step: str) -> None:
    house.room.failing = {step}
    if step == "a smaller partition":
        house.room.new_size = 99 * MIB
    if step == "MarkDataMove":
        disk = house.agent.objects["/io/hass/os/DataDisk"]["io.hass.os.DataDisk"]
        del disk.methods["MarkDataMove"]
    with pytest.raises(Unavailable, match="The data stays on /dev/sda1"):
        await house.manager.move("/dev/sdb")
    assert house.room.names == {"sda1": EXTERNAL}
    assert (house.calls, house.rebooted, house.issues()) == ([], [], set())
    await until(lambda: house.services.disks.block("/dev/sda1").partition.name == EXTERNAL)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_an_answer(monkeypatch, 0.3)


def wait_for_an_answer(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(DataDisk, "mark_data_move", method("MarkDataMove", returns=NOTHING, seconds=seconds))
    monkeypatch.setattr(DataDisk, "change_device", method("ChangeDevice", STRING, returns=BOOL, seconds=seconds))
    wipe = method("ScheduleWipeDevice", returns=BOOL, seconds=seconds)
    monkeypatch.setattr(AgentSystem, "schedule_wipe_device", wipe)


def late_once(house: House, name: str, interface: str, member: str) -> None:
    """Let the agent's next answer be one that nobody waits for any more, as the bus tells who asked."""
    methods = house.agent.objects[f"/io/hass/os{name}"][interface].methods
    takes, gives, do = methods[member]

    def answer(*arguments: Any) -> list[Any]:
        methods[member] = (takes, gives, do)
        raise Refusal("org.freedesktop.DBus.Error.NoReply", "it takes its time")

    methods[member] = (takes, gives, answer)


async def test_an_agent_that_is_slow_to_note_the_move_is_asked_once_more(house: House) -> None:
    late_once(house, "/DataDisk", "io.hass.os.DataDisk", "MarkDataMove")
    await house.manager.move("/dev/sdb")
    assert house.agent.calls.count("MarkDataMove") == 2
    assert (house.calls, house.rebooted) == ([["MarkDataMove"]], ["reboot"])
    assert house.room.names == {"sda1": OLD, "sdb1": EXTERNAL}


@pytest.mark.usefixtures("impatient")
async def test_when_nobody_can_tell_whether_the_move_was_noted_a_boot_finds_nothing_to_move_to(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.agent.silent = True
    with pytest.raises(Unavailable, match=r"The data stays on /dev/sda1.*a boot finds no partition to move to"):
        await house.manager.move("/dev/sdb")
    assert house.room.names == {"sda1": OLD}, "the one with the data must not be taken for the new one"
    assert (house.rebooted, house.issues()) == ([], set())
    house.room.failing = {"Delete"}
    with pytest.raises(Unavailable, match=r"could not be removed.*a boot moves the data all the same"):
        await house.manager.move("/dev/sdb")
    house.agent.silent = False
    house.room.failing = set()
    wait_for_an_answer(monkeypatch, 30)
    await house.manager.move("/dev/sdb")
    assert (house.calls, house.rebooted) == ([["MarkDataMove"]], ["reboot"])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("house", [{"version": "1.4.0"}], indirect=True)
async def test_an_agent_of_old_that_does_not_answer_may_move_the_data_all_the_same(house: House) -> None:
    house.agent.silent = True
    with pytest.raises(Unavailable, match="Nobody can tell whether the next boot moves the data from /dev/sda1"):
        await house.manager.move("/dev/sdb")
    assert (house.agent.calls.count("ChangeDevice"), house.rebooted) == (1, [])


@pytest.mark.usefixtures("impatient")
async def test_a_wipe_that_nobody_can_tell_of_is_no_plain_failure(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.agent.silent = True
    with pytest.raises(Unavailable, match="the next boot wipes all data"):
        await house.manager.wipe()
    assert (house.agent.calls.count("ScheduleWipeDevice"), house.rebooted) == (2, [])
    house.agent.silent = False
    wait_for_an_answer(monkeypatch, 30)
    late_once(house, "/System", "io.hass.os.System", "ScheduleWipeDevice")
    await house.manager.wipe()
    assert house.agent.calls.count("ScheduleWipeDevice") == 4
    assert (house.calls, house.rebooted) == ([["ScheduleWipeDevice"]], ["reboot"])


async def test_what_could_not_be_undone_is_told(house: House) -> None:
    house.room.new_size = 99 * MIB
    house.room.failing = {"Delete", f"SetName sda1 {EXTERNAL}"}
    with pytest.raises(Unavailable, match=r"could not be removed.*still called hassos-data-external-old"):
        await house.manager.move("/dev/sdb")
    assert (house.calls, house.rebooted) == ([], [])


async def test_a_reboot_that_is_refused_leaves_the_move_to_the_next_one(house: House) -> None:
    house.refusing_reboot.append("now")
    with pytest.raises(Unavailable, match="with the next boot, but the machine could not be rebooted"):
        await house.manager.move("/dev/sdb")
    assert (house.calls, house.issues()) == ([["MarkDataMove"]], {IssueType.REBOOT_REQUIRED})
    with pytest.raises(Unavailable, match="All data is wiped with the next boot, but"):
        await house.manager.wipe()


@pytest.mark.parametrize("house", [{"current_device": "/dev/sdz1"}], indirect=True)
async def test_without_knowing_where_the_data_is_nothing_is_moved(house: House) -> None:
    assert house.manager.current is not None
    assert house.manager.current.id == "/dev/sdz1"
    with pytest.raises(Unavailable, match="does not know /dev/sdz1"):
        await house.manager.move("/dev/sdb")
    assert house.room.done == []


@pytest.mark.parametrize(("version", "asked"), [("1.1.0", []), ("1.2.0", [["ReloadDevice"]])])
async def test_the_agent_looks_anew_where_the_data_is_when_it_can(house: House, version: str, asked: list[Any]) -> None:
    await house.agent.change("/io/hass/os", "io.hass.os", Version=version)
    await until(lambda: house.services.agent.version == version)
    await house.manager.reload()
    assert house.calls == asked


def suggestion(reference: str) -> Suggestion:
    return Suggestion(SuggestionType.ADOPT_DATA_DISK, ContextType.SYSTEM, reference)


async def test_an_adoption_that_fails_takes_nothing_from_the_disk_with_the_data(house: House) -> None:
    await house.room.add_partition("sdb1", 50 * MIB, "data", label="hassos-data-dis")
    await until(lambda: house.services.disks.block("/dev/sdb1"))
    fixups = DataDiskFixups(house.services.disks, house.manager, house.control, house.resolution)
    adopt = next(one for one in fixups.fixups() if one.type is SuggestionType.ADOPT_DATA_DISK)
    house.room.failing = {"SetLabel sda1 hassos-data-old"}
    with pytest.raises(SupervisorError, match="SetLabel"):
        await adopt.apply(suggestion("/dev/sdb1"))
    assert house.room.done == ["SetLabel sdb1 hassos-data", "SetLabel sdb1 hassos-data-dis"]
    assert house.rebooted == []
    house.room.failing, house.room.done = set(), []
    await adopt.apply(suggestion("/dev/gone"))
    assert house.room.done == [], "a disk that has gone needs no help"
    await until(lambda: house.services.disks.block("/dev/sdb1").label == "hassos-data-dis")
    await adopt.apply(suggestion("/dev/sdb1"))
    assert house.room.done == ["SetLabel sdb1 hassos-data", "SetLabel sda1 hassos-data-old"]
    assert house.rebooted == ["reboot"]


async def test_a_disk_that_was_renamed_is_no_problem_any_more_however_late_the_news_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks, room = house.services.disks, house.room
    await room.add_partition("sdb1", 50 * MIB, "data", label="hassos-data-dis")
    await until(lambda: disks.block("/dev/sdb1"))

    def label(name: str, text: str) -> list[Any]:
        """The answer comes first, and news of it only much later."""
        room.objects(name)[f"{NAME}.Block"].properties["IdLabel"] = ("s", text)
        return []

    monkeypatch.setattr(room, "label", label)
    fixups = DataDiskFixups(disks, house.manager, house.control, house.resolution)
    rename = next(one for one in fixups.fixups() if one.type is SuggestionType.RENAME_DATA_DISK)
    await rename.apply(suggestion("/dev/sdb1"))
    await DisabledDataDiskCheck(disks, house.resolution).run()
    assert house.issues() == set()


async def test_a_second_disk_is_an_issue_until_somebody_can_tell_that_it_is_none(house: House) -> None:
    disks, system = house.services.disks, OperatingSystem(house.services)
    await until(lambda: system.is_haos)
    check = MultipleDataDisksCheck(disks, house.resolution, house.manager, system)
    await check.run()
    assert house.issues() == set()
    await house.room.add_partition("sdb1", 50 * MIB, "data", label="hassos-data")
    await until(lambda: disks.block("/dev/sdb1"))
    await check.run()
    (issue,) = house.resolution.issues
    assert (issue.type, issue.reference) == (IssueType.MULTIPLE_DATA_DISKS, "/dev/sdb1")
    assert await check.approve(issue) is True
    await house.agent.stop()
    await until(lambda: house.manager.current is None)
    assert await check.approve(issue) is None
    await house.room.service.stop()
    await until(lambda: not disks.available)
    assert await check.approve(issue) is None


@pytest.mark.parametrize(("used", "worn"), [(None, None), (89.0, False), (90.0, True), (100.0, True)])
async def test_a_worn_data_disk_is_an_issue(
    house: House, tmp_path: Path, used: float | None, worn: bool | None
) -> None:
    disks = Disks(DataPaths(tmp_path, tmp_path), house.services.disks.percent_used)
    disks.life_time = used
    check = DiskLifetimeCheck(disks, house.manager, house.resolution)
    await check.run()
    assert house.issues() == ({IssueType.DISK_LIFETIME} if worn else set())
    assert await check.approve(Issue(IssueType.DISK_LIFETIME, ContextType.SYSTEM)) is worn
