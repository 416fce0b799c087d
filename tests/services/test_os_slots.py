"""Boot slots and updates of the operating system, with a RAUC on a real bus that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Served
from stands.rauc import INSTALLER, PATH, RaucStand
from supervisor.api.routes.os import OsRoutes
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus.rauc import Mark, Rauc, SlotStatus
from supervisor.drivers.http import HttpClient
from supervisor.errors import Busy, Invalid, SupervisorError, Unavailable
from supervisor.events import EventBus
from supervisor.jobs import JobCondition, JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.host import SystemServices
from supervisor.managers.os import BootSlots, OperatingSystem, OsManager, OsUpdates
from supervisor.managers.os.slots import Picture
from supervisor.managers.resolution import Resolution
from supervisor.managers.updater import UPDATER_SCHEMA, Updater
from supervisor.paths import DataPaths
from supervisor.state import StateFile
from web_stand import serving

HOSTNAMED, HOSTNAMED_PATH = "org.freedesktop.hostname1", "/org/freedesktop/hostname1"
CPE = "cpe:2.3:o:home-assistant:haos:{}:*:production:*:*:*:ova:*"


def slot(bootname: str | None, version: str | None = None, status: str = "good") -> SlotStatus:
    name = {"A": "kernel.0", "B": "kernel.1", None: "rootfs.0"}[bootname]
    return SlotStatus(name=name, state="inactive", bootname=bootname, boot_status=Mark(status), bundle_version=version)


@pytest.mark.parametrize(("word", "known"), [("good", "good"), ("bad", "bad"), ("healing", None), (7, None)])
def test_clients_are_told_no_word_about_a_slot_that_they_do_not_know(word: Any, known: str | None) -> None:
    assert SlotStatus.of("kernel.0", {"bootname": "A", "boot-status": word}).boot_status == known


A, B = slot("A", "15.2"), slot("B", "16.1")


@pytest.mark.parametrize(
    ("picture", "before", "pending"),
    [
        (Picture((A, B), "kernel.0", "A"), None, None),
        (Picture((A, B), "kernel.0", "A"), "16.1", None),
        (Picture((A, B), "kernel.1", "A"), None, "16.1"),
        # The other slot has the same version: nothing new comes of a reboot.
        (Picture((A, slot("B", "15.2")), "kernel.1", "A"), None, None),
        # A slot that failed to boot is not booted next, whatever stands first.
        (Picture((A, slot("B", "16.1", "bad")), "kernel.1", "A"), "16.1", None),
        # Slots that tell nothing leave what is known.
        (Picture((A, slot("B")), "kernel.1", "A"), "16.1", "16.1"),
        (Picture((A, slot("B")), "kernel.1", "A"), None, None),
        (Picture((A, B), None, "A"), "16.1", "16.1"),
        (Picture((A, B), "kernel.7", "A"), None, None),
        (Picture((A, B), "kernel.1", None), None, None),
        (Picture((A, B, slot(None, "16.1")), "rootfs.0", "A"), None, None),
        (Picture(), None, None),
    ],
)
def test_what_waits_for_a_reboot_is_what_the_slots_say(
    picture: Picture, before: str | None, pending: str | None
) -> None:
    assert picture.pending("15.2", before) == pending


@given(
    st.lists(st.builds(slot, st.sampled_from(["A", "B", None]), st.sampled_from([None, "1.0", "2.0"])), max_size=4),
    st.sampled_from([None, "kernel.0", "kernel.1", "rootfs.0", "other"]),
    st.sampled_from([None, "A", "B"]),
    st.sampled_from([None, "2.0"]),
)
def test_the_running_version_never_waits(
    slots: list[SlotStatus], primary: str | None, booted: str | None, before: str | None
) -> None:
    pending = Picture(tuple(slots), primary, booted).pending("1.0", before)
    assert pending != "1.0"
    assert pending in (None, "2.0")


class House:
    """The operating system's room on a bus of its own."""

    def __init__(self, daemon: BusDaemon, root: Path) -> None:
        self.daemon = daemon
        self.root = root
        self.bus = EventBus()
        self.system_bus = SystemBus(self.bus, self.daemon.address)
        self.services = SystemServices.on(self.system_bus)
        self.system = OperatingSystem(self.services)
        self.resolution = Resolution(self.bus)
        self.jobs = JobManager(self.bus, self.file("jobs.json", JOBS_SCHEMA))
        for condition in JobCondition:
            self.jobs.provide(condition, self.holds)
        self.rauc = Rauc(self.system_bus)
        self.slots = BootSlots(self.rauc, self.services.hostname, self.system, self.jobs, self.resolution)
        self.http = HttpClient(user_agent="test")
        self.updater = Updater(
            self.file("updater.json", UPDATER_SCHEMA),
            self.http,
            self.jobs,
            self.bus,
            version_url="",
            machine=lambda: None,
            board=lambda: self.system.board,
        )
        paths = DataPaths(self.root, Path("/mnt/data"))
        self.updates = OsUpdates(self.system, self.slots, self.rauc, self.updater, self.http, self.jobs, paths)
        self.reboots = 0
        self.manager = OsManager(
            self.system,
            self.slots,
            self.updates,
            self.services.systemd,
            self,  # type: ignore[arg-type] - of the control it asks `reboot` alone
            self.jobs,
        )
        self.hostnamed = BusService(self.daemon.address, HOSTNAMED)

    def file(self, name: str, schema: Any) -> StateFile:
        return StateFile(self.root / name, schema, self.bus)

    async def holds(self) -> str | None:
        return None

    async def reboot(self) -> None:
        self.reboots += 1

    async def says(self, version: str) -> None:
        properties = {"OperatingSystemCPEName": ("s", CPE.format(version))}
        self.hostnamed.objects[HOSTNAMED_PATH] = {HOSTNAMED: Served(properties)}
        await self.hostnamed.start()

    @property
    def issues(self) -> set[str]:
        return {issue.type.value for issue in self.resolution.issues}

    async def stop(self) -> None:
        await self.slots.stop()
        await self.jobs.stop()
        await self.services.close()
        await self.http.stop()
        await self.system_bus.stop()
        await self.hostnamed.stop()


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[BusDaemon]:
    (tmp_path / "bus").mkdir()
    daemon = BusDaemon(tmp_path / "bus")
    await daemon.start()
    yield daemon
    await daemon.stop()


@pytest_asyncio.fixture
async def rauc(daemon: BusDaemon) -> AsyncIterator[RaucStand]:
    stand = RaucStand(daemon.address)
    yield stand
    await stand.service.stop()


@pytest_asyncio.fixture
async def house(daemon: BusDaemon, tmp_path: Path) -> AsyncIterator[House]:
    (tmp_path / "data/tmp").mkdir(parents=True)
    house = House(daemon, tmp_path / "data")
    await house.system_bus.start()
    await house.http.start()
    yield house
    await house.stop()


@pytest_asyncio.fixture
async def haos(house: House, rauc: RaucStand) -> House:
    """The room, on a host that runs version 15.2 with a RAUC."""
    await house.says("15.2")
    await rauc.service.start()
    await house.services.hostname.start()
    await house.slots.load()
    return house


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - the check looks at whatever the test cares for
            await asyncio.sleep(0.01)


async def test_what_came_up_is_marked_as_good_before_anything_is_looked_at(haos: House, rauc: RaucStand) -> None:
    rauc.service.calls.clear()
    await haos.slots.mark_healthy()
    assert rauc.asked == ["Mark", "GetSlotStatus", "GetPrimary", "Mark"]
    assert rauc.marks == [("good", "booted"), ("active", "booted")]
    assert haos.issues == set()


async def test_what_waits_for_a_reboot_stays_the_one_to_boot(haos: House, rauc: RaucStand) -> None:
    rauc.primary, rauc.versions["B"] = "B", "16.1"
    await haos.slots.mark_healthy()
    assert rauc.marks == [("good", "booted")]
    assert (haos.slots.pending, haos.issues) == ("16.1", {"reboot_required"})


async def test_after_a_boot_that_failed_the_slot_that_came_up_is_kept(haos: House, rauc: RaucStand) -> None:
    rauc.primary, rauc.versions["B"], rauc.states["B"] = "B", "16.1", "bad"
    await haos.slots.mark_healthy()
    assert rauc.marks == [("good", "booted"), ("active", "booted")]
    assert (haos.slots.pending, rauc.primary) == (None, "A")


async def test_a_boot_loader_that_can_t_tell_what_is_next_is_not_told_either(haos: House, rauc: RaucStand) -> None:
    rauc.primary = None
    await haos.slots.mark_healthy()
    assert rauc.marks == [("good", "booted")]
    assert list(haos.slots.all) == ["A", "B"]


async def test_marking_waits_for_a_rauc_that_comes_late(house: House, rauc: RaucStand) -> None:
    await house.says("15.2")
    await house.services.hostname.start()
    await house.slots.load()
    await house.slots.mark_healthy()
    assert (rauc.marks, house.slots.available) == ([], False)
    await rauc.service.start()
    await until(lambda: rauc.marks == [("good", "booted"), ("active", "booted")])
    await rauc.service.stop()
    await until(lambda: not house.slots.available)
    assert list(house.slots.all) == ["A", "B"], "what was read stays known"
    await rauc.service.start()
    await until(lambda: house.slots.available)
    await asyncio.sleep(0.1)
    assert len(rauc.marks) == 2, "once is enough"


async def test_marking_waits_for_the_end_of_an_installation(house: House, rauc: RaucStand) -> None:
    await house.says("15.2")
    rauc.service.objects[PATH][INSTALLER].properties["Operation"] = ("s", "installing")
    await rauc.service.start()
    await house.services.hostname.start()
    await house.slots.load()
    await house.slots.mark_healthy()
    assert rauc.marks == []
    rauc.primary, rauc.versions["B"] = "B", "16.1"
    await rauc.service.change(PATH, INSTALLER, Operation="idle")
    await until(lambda: rauc.marks == [("good", "booted")])
    await until(lambda: house.slots.pending == "16.1")


async def test_a_host_that_tells_late_what_it_is_gets_its_slots_read_and_marked(house: House, rauc: RaucStand) -> None:
    await rauc.service.start()
    await house.services.hostname.start()
    await house.slots.load()
    await house.slots.mark_healthy()
    assert rauc.asked == [], "RAUC of another system is left alone"
    await house.says("15.2")
    await until(lambda: rauc.marks == [("good", "booted"), ("active", "booted")])
    assert house.slots.booted == "A"


async def test_an_installation_by_others_is_noticed_at_its_end(haos: House, rauc: RaucStand) -> None:
    await rauc.service.change(PATH, INSTALLER, Operation="installing")
    rauc.primary, rauc.versions["B"] = "B", "16.2"
    await rauc.service.change(PATH, INSTALLER, Operation="idle")
    await until(lambda: haos.slots.pending == "16.2")


async def test_a_slot_is_made_the_next_one_and_the_machine_reboots(haos: House, rauc: RaucStand) -> None:
    await haos.manager.set_boot_slot("B")
    assert (rauc.marks, haos.reboots) == ([("active", "kernel.1")], 1)
    with pytest.raises(Invalid, match="no boot slot C \\(known: A, B\\)"):
        await haos.manager.set_boot_slot("C")
    assert haos.reboots == 1


@pytest_asyncio.fixture
async def offered(haos: House) -> AsyncIterator[House]:
    """The room, with version 16.1 to be had."""

    async def send(request: web.Request) -> web.Response:
        known = request.path == "/haos_ova-16.1.raucb"
        return web.Response(body=b"bundle" * 1000) if known else web.Response(status=404)

    async with serving(send) as url:
        ota = f"{url}/{{os_name}}_{{board}}-{{version}}.raucb"
        await haos.updater._change({"hassos_unrestricted": "16.1", "ota": ota})
        yield haos


async def test_rauc_is_given_the_path_that_the_host_knows(offered: House, rauc: RaucStand) -> None:
    assert (offered.updates.latest, offered.updates.available) == ("16.1", True)
    await offered.updates.update()
    assert rauc.bundles == ["/mnt/data/tmp/hassos-16.1.raucb"]
    assert (offered.slots.pending, offered.updates.available) == ("16.1", False)
    assert offered.issues == {"reboot_required"}
    assert list((offered.root / "tmp").iterdir()) == []
    with pytest.raises(Invalid, match="reboot the system to activate it"):
        await offered.updates.update("16.1")


async def test_an_installation_that_fails_tells_why(offered: House, rauc: RaucStand) -> None:
    rauc.outcome = 1
    with pytest.raises(Invalid, match="no space in slot") as error:
        await offered.updates.update()
    assert error.value.fields == {"version": "16.1", "reason": "no space in slot"}
    assert (offered.slots.pending, offered.issues) == (None, set())
    assert list((offered.root / "tmp").iterdir()) == []


async def test_what_was_overwritten_in_part_waits_for_no_reboot(offered: House, rauc: RaucStand) -> None:
    await offered.updates.update()
    assert offered.slots.pending == "16.1"
    await offered.updater._change({"ota": (offered.updater.os_releases.ota or "").replace("{version}", "16.1")})
    rauc.outcome = 1
    with pytest.raises(Invalid, match="no space in slot"):
        await offered.updates.update("16.2")
    assert (offered.slots.pending, offered.updates.available) == (None, True)


async def test_rauc_that_goes_away_at_work_is_noticed(offered: House, rauc: RaucStand) -> None:
    rauc.outcome = None
    updating = asyncio.ensure_future(offered.updates.update())
    await until(lambda: rauc.bundles)
    assert [job.current_stage for job in offered.jobs.roots] == ["install"]
    with pytest.raises(Invalid, match="can't be cancelled"):
        offered.jobs.cancel(offered.jobs.roots[0].uuid)
    await rauc.service.change(PATH, INSTALLER, Progress=[40, "Writing", 2])
    await until(lambda: offered.jobs.roots[0].progress == 70)
    await rauc.service.stop()
    with pytest.raises(Unavailable, match="RAUC went away"):
        await updating
    assert list((offered.root / "tmp").iterdir()) == []


async def test_rauc_that_installs_for_others_is_left_to_it(offered: House, rauc: RaucStand) -> None:
    await rauc.service.change(PATH, INSTALLER, Operation="installing")
    await until(lambda: offered.rauc.operation == "installing")
    with pytest.raises(Busy, match="installing"):
        await offered.updates.update()
    assert rauc.bundles == []


@pytest.mark.parametrize(
    ("version", "says"),
    [("15.2", "Version 15.2 is already installed"), ("../x", "is no version"), ("17.0", "status 404")],
)
async def test_a_version_that_can_t_be_installed_is_said_so(
    offered: House, rauc: RaucStand, version: str, says: str
) -> None:
    with pytest.raises(SupervisorError, match=says):
        await offered.updates.update(version)
    assert rauc.bundles == []


async def test_without_a_version_file_there_is_none_to_install(haos: House) -> None:
    with pytest.raises(Invalid, match="names no version"):
        await haos.updates.update()
    with pytest.raises(Unavailable, match="does not tell where bundles are"):
        await haos.updates.update("16.1")


async def test_downloads_of_a_daemon_that_was_killed_are_removed(house: House) -> None:
    (house.root / "tmp/hassos-16.1.raucb").write_bytes(b"half")
    (house.root / "tmp/other").write_bytes(b"of others")
    await house.updates.load()
    assert [path.name for path in (house.root / "tmp").iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("core", "shown"),
    [
        (None, "15.2"),
        ("2026.7.3", "16.1"),
        ("2026.8.0.dev202607240310", "16.1"),
        ("2026.8.0.dev202607250310", "15.2"),
        ("2026.8.0", "15.2"),
        ("2027.1.0b1", "15.2"),
    ],
)
async def test_an_old_home_assistant_is_told_the_version_that_waits(
    offered: House, rauc: RaucStand, core: str | None, shown: str
) -> None:
    routes = OsRoutes(offered.manager, offered.updates, offered.jobs, lambda: core).routes()
    [info] = [route.handler for route in routes if route.path == "/os/info"]
    call: Any = None
    assert (await info(call)).version == "15.2"
    await offered.updates.update()
    answer = await info(call)
    assert (answer.version, answer.version_pending) == (shown, "16.1")
