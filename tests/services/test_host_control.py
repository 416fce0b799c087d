"""The host's power and services, against services on a real bus that answer as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from daemon import until
from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Refusal, Served
from supervisor.drivers.dbus import SystemBus
from supervisor.errors import Busy, Invalid, SupervisorError, Unsupported
from supervisor.events import EventBus
from supervisor.managers.host import Disks, Features, Host, HostControl, HostFeature, HostManager, SystemServices
from supervisor.managers.host.units import own_service, unit_name
from supervisor.paths import DataPaths

LOGIND = "org.freedesktop.login1"
SYSTEMD = "org.freedesktop.systemd1"
HOSTNAMED = "org.freedesktop.hostname1"


class Power:
    """logind and systemd on a bus, and what was done in which order."""

    def __init__(self, address: str) -> None:
        self.done: list[str] = []
        self.can = "yes"
        self.refusal: str | None = None
        self.logind = BusService(address, LOGIND)
        self.logind.objects["/org/freedesktop/login1"] = {
            f"{LOGIND}.Manager": Served(
                methods={
                    "Reboot": ("b", "", lambda _: self._do("logind reboot")),
                    "PowerOff": ("b", "", lambda _: self._do("logind power off")),
                    "CanReboot": ("", "s", lambda: [self.can]),
                    "CanPowerOff": ("", "s", lambda: [self.can]),
                }
            )
        }
        self.hostnamed = BusService(address, HOSTNAMED)
        self.hostnamed.objects["/org/freedesktop/hostname1"] = {
            HOSTNAMED: Served({"OperatingSystemCPEName": ("s", "")})
        }
        self.systemd = BusService(address, SYSTEMD)
        self.systemd.objects["/org/freedesktop/systemd1"] = {
            f"{SYSTEMD}.Manager": Served(
                properties={"Version": ("s", "252"), "SystemState": ("s", "running")},
                methods={
                    "Subscribe": ("", "", lambda: None),
                    "Reboot": ("", "", lambda: self._do("systemd reboot")),
                    "PowerOff": ("", "", lambda: self._do("systemd power off")),
                },
            )
        }

    async def run(self, cpe: str) -> None:
        await self.hostnamed.change("/org/freedesktop/hostname1", HOSTNAMED, OperatingSystemCPEName=cpe)

    def _do(self, what: str) -> None:
        if self.refusal:
            raise Refusal(self.refusal, "not now")
        self.done.append(what)

    async def prepare(self, *, going_down: bool) -> None:
        """Tell everybody that the machine is about to go down, or is not any more."""
        path, interface = "/org/freedesktop/login1", f"{LOGIND}.Manager"
        await self.logind.emit(path, interface, "PrepareForShutdown", "b", [going_down])

    def be(self, state: str) -> None:
        self.systemd.objects["/org/freedesktop/systemd1"][f"{SYSTEMD}.Manager"].properties["SystemState"] = ("s", state)

    async def stopped(self) -> None:
        self.done.append("stopped")

    async def resumed(self) -> None:
        self.done.append("resumed")


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[BusDaemon]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    yield daemon
    await daemon.stop()


@pytest_asyncio.fixture
async def power(daemon: BusDaemon) -> AsyncIterator[Power]:
    power = Power(daemon.address)
    services = (power.logind, power.systemd, power.hostnamed)
    for service in services:
        await service.start()
    yield power
    for service in services:
        await service.stop()


@pytest_asyncio.fixture
async def control(daemon: BusDaemon, power: Power) -> AsyncIterator[HostControl]:
    bus, features = SystemBus(EventBus(), daemon.address), Features()
    services = SystemServices.on(bus)
    services.provide(features)
    await bus.start()
    await services.start()
    control = HostControl(services, features, stop_managed=power.stopped, resume=power.resumed)
    await control.start()
    yield control
    await control.stop()
    await services.close()
    await bus.stop()


async def until_away(control: HostControl, service: str) -> None:
    interface = getattr(control._services, service)
    async with asyncio.timeout(30):
        while interface.available:  # noqa: ASYNC110 - the test waits as a person would
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("work", "asked"), [("reboot", "logind reboot"), ("shutdown", "logind power off")])
async def test_everything_is_stopped_before_the_machine_goes_down(
    control: HostControl, power: Power, work: str, asked: str
) -> None:
    await getattr(control, work)()
    assert power.done == ["stopped", asked]


async def test_those_that_ask_while_it_goes_down_wait_for_that_and_no_more(control: HostControl, power: Power) -> None:
    await asyncio.gather(control.reboot(), control.reboot(), control.shutdown())
    assert power.done == ["stopped", "logind reboot"]


async def test_without_logind_systemd_is_asked(control: HostControl, power: Power) -> None:
    await power.logind.stop()
    await until_away(control, "login")
    await control.reboot()
    assert power.done == ["stopped", "systemd reboot"]


@pytest.mark.parametrize("answer", ["no", "na"])
async def test_a_machine_that_can_not_is_not_stopped_for_it(control: HostControl, power: Power, answer: str) -> None:
    power.can = answer
    with pytest.raises(Unsupported):
        await control.reboot()
    assert power.done == []


async def test_a_refused_reboot_starts_again_what_was_stopped(control: HostControl, power: Power) -> None:
    power.refusal = "org.freedesktop.login1.OperationInProgress"
    with pytest.raises(Busy):
        await control.reboot()
    assert power.done == ["stopped", "resumed"]


async def test_a_machine_that_stays_up_after_all_has_again_what_was_stopped(control: HostControl, power: Power) -> None:
    await power.prepare(going_down=False)
    await control.reboot()
    await power.prepare(going_down=True)
    power.be("stopping")
    await power.prepare(going_down=False)
    # logind has done its part; the machine goes down all the same.
    await until(lambda: power.systemd.calls.count("GetAll") >= 3, 30)
    assert power.done == ["stopped", "logind reboot"]
    power.be("running")
    await until(lambda: power.done[2:] == ["resumed"], 30)
    await control.shutdown()
    assert power.done[3:] == ["stopped", "logind power off"]


@pytest.mark.parametrize(
    ("product", "version", "is_first"),
    [
        ("haos", "18.0.dev20260527", False),
        ("haos", "18.0", False),
        ("haos", "18.1", False),
        ("haos", "18.0.dev20260526", True),
        ("haos", "17.3", True),
        ("debian", "18.1", True),
    ],
)
async def test_a_system_that_waits_for_the_daemon_is_asked_at_once(
    control: HostControl, power: Power, product: str, version: str, is_first: bool
) -> None:
    await power.run(f"cpe:2.3:o:home-assistant:{product}:{version}:*:production:*:*:*:green:*")
    await until(lambda: control._services.hostname.operating_system_cpe, 30)
    power.refusal = "org.freedesktop.login1.OperationInProgress"
    with pytest.raises(Busy):
        await control.reboot()
    assert power.done == (["stopped", "resumed"] if is_first else [])
    power.refusal, power.done = None, []
    await control.shutdown()
    await control.reboot()
    assert power.done == [*(["stopped"] if is_first else []), "logind power off"]


async def test_a_system_that_waits_and_stays_up_after_all_can_be_asked_again(
    control: HostControl, power: Power
) -> None:
    await power.run("cpe:2.3:o:home-assistant:haos:18.1:*:production:*:*:*:green:*")
    await until(lambda: control._services.hostname.operating_system_cpe, 30)
    await control.reboot()
    await power.prepare(going_down=False)

    async def asked_again() -> bool:
        await control.reboot()
        return power.done == ["logind reboot"] * 2

    await until(asked_again, 30)


async def test_an_add_on_that_can_not_be_stopped_does_not_keep_the_machine_up(
    control: HostControl, power: Power, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise SupervisorError("it clings")

    monkeypatch.setattr(control, "_stop_managed", fail)
    await control.reboot()
    assert power.done == ["logind reboot"]


async def test_without_anybody_to_ask_nothing_is_stopped(control: HostControl, power: Power) -> None:
    await power.logind.stop()
    await power.systemd.stop()
    await until_away(control, "login")
    await until_away(control, "systemd")
    for work in (control.reboot, control.shutdown):
        with pytest.raises(Unsupported, match="D-Bus connection available"):
            await work()
    assert power.done == []


@given(st.text(max_size=300))
def test_only_names_of_services_are_taken_for_one(text: str) -> None:
    try:
        name = unit_name(text)
    except Invalid:
        return
    assert name.endswith(".service")
    assert name in (text, f"{text}.service")
    assert name.isascii()
    assert "/" not in name
    assert len(name) <= 255


def test_our_own_service_is_read_from_the_control_groups(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("12:pids:/system.slice/home.service\n0::/system.slice/home.service\n")
    assert own_service(groups) == "home.service"
    groups.write_text("0::/user.slice/session-1.scope\n")
    assert own_service(groups) is None
    assert own_service(tmp_path / "missing") is None


async def test_a_machine_that_is_still_starting_has_not_started_in_1970(
    control: HostControl, power: Power, tmp_path: Path
) -> None:
    async def worn(_number: int) -> float | None:
        return None

    services, paths = control._services, DataPaths(tmp_path, tmp_path)
    disks = Disks(paths, worn)
    host = HostManager(Host(data=tmp_path, machine=None), services, Features(), disks)
    times = power.systemd.objects["/org/freedesktop/systemd1"][f"{SYSTEMD}.Manager"].properties
    for finished, told in ((0, None), (1_769_860_800_123_456, 1_769_860_800_123_456)):
        times |= {"FinishTimestamp": ("t", finished), "KernelTimestampMonotonic": ("t", 1_500_000)}
        times |= {"LoaderTimestampMonotonic": ("t", 250_000), "UserspaceTimestampMonotonic": ("t", 3_000_000)}
        await services.systemd.refresh()
        info = host.info()
        assert (info.boot_timestamp, info.startup_time) == (told, 4.75)
    await host.stop()


def test_a_feature_is_there_as_long_as_its_provider_says_so() -> None:
    features, there = Features(), [True]
    features.provide(HostFeature.DISK, lambda: there[0], title="UDisks2", how="Install udisks2")
    assert features.available == (HostFeature.DISK,)
    features.require(HostFeature.DISK)
    there[0] = False
    assert features.available == ()
    with pytest.raises(Unsupported, match=r"No UDisks2 D-Bus connection available\. Install udisks2"):
        features.require(HostFeature.DISK)
    with pytest.raises(Unsupported):
        features.require(HostFeature.NETWORK)
