"""What is told of the host, and what helps it, with services on a real bus that answer as a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from daemon import until
from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Refusal, Served
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.docker.model import EngineInfo
from supervisor.errors import Failed, Unsupported
from supervisor.events import EventBus
from supervisor.managers.docker_health import (
    ControlGroupsEvaluation,
    EngineDriversEvaluation,
    EngineEvaluation,
    EngineVersionEvaluation,
)
from supervisor.managers.host import (
    Features,
    GatewayFirewall,
    HostControl,
    HostFeature,
    SystemServices,
)
from supervisor.managers.host.firewall import FIREWALL_UNIT, rules
from supervisor.managers.host.health import (
    FailedUnitsCheck,
    HostFixups,
    OsAgentEvaluation,
    OsEvaluation,
    SystemdEvaluation,
)
from supervisor.managers.network.health import ConnectivityCheckEvaluation, Ipv4Check
from supervisor.managers.os import OperatingSystem
from supervisor.managers.os.health import OsVersionEvaluation, VirtualizationEvaluation
from supervisor.managers.resolution import Check, ContextType, Resolution, Suggestion, SuggestionType
from supervisor.model.network import Interface as NetworkInterface
from supervisor.model.network import InterfaceType, IpConfig, IpMethod
from supervisor.model.os_release import OsReleases

SYSTEMD, HOSTNAME = "org.freedesktop.systemd1", "org.freedesktop.hostname1"
PATH, MANAGER = "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
UNIT = "org.freedesktop.systemd1.Unit"
HAOS = "cpe:2.3:o:home-assistant:haos:{version}:*:production:*:*:*:{board}:*"
GATEWAYS = (IPv4Address("172.30.32.1"), IPv6Address("fd0c:ac1e:2100::1"))


class Machine:
    """systemd and hostnamed on a bus.

    `units` are states by name, `worked_at` when they were active last, `results` how jobs end, `done` the calls.
    """

    def __init__(self, address: str) -> None:
        self.units: dict[str, str] = {}
        self.worked_at: dict[str, int] = {}
        self.results: dict[str, str] = {}
        self.done: list[Any] = []
        self.left_over = 0
        self.systemd = BusService(address, SYSTEMD)
        self.systemd.objects[PATH] = {
            MANAGER: Served(
                {"Version": ("s", "252"), "SystemState": ("s", "running"), "Virtualization": ("s", "")},
                {
                    "Subscribe": ("", "", lambda: None),
                    "ListUnitsByPatterns": ("asas", "a(ssssssouso)", self._list),
                    "StartUnit": ("ss", "o", lambda name, mode: self._job("start", name, mode)),
                    "RestartUnit": ("ss", "o", lambda name, mode: self._job("restart", name, mode)),
                    "ResetFailedUnit": ("s", "", self._reset),
                    "StartTransientUnit": ("ssa(sv)a(sa(sv))", "o", self._start_transient),
                },
            )
        }
        self.hostname = BusService(address, HOSTNAME)
        self.hostname.objects["/org/freedesktop/hostname1"] = {
            HOSTNAME: Served({"OperatingSystemCPEName": ("s", ""), "StaticHostname": ("s", "box")})
        }

    def _list(self, states: list[str], _patterns: list[str]) -> list[Any]:
        return [
            [
                [name, f"about {name}", "loaded", state, "dead", "", self._unit(name), 0, "", "/"]
                for name, state in self.units.items()
                if state in states
            ]
        ]

    def _unit(self, name: str) -> str:
        """Have an object for a unit; its path can hold no name as it is."""
        path = f"{PATH}/unit/x{name.encode().hex()}"
        worked_at = ("t", self.worked_at.get(name, 0))
        self.systemd.objects[path] = {UNIT: Served({"ActiveEnterTimestampMonotonic": worked_at})}
        return path

    def _known(self, name: str) -> None:
        if name not in self.units:
            raise Refusal(f"{SYSTEMD}.NoSuchUnit", f"Unit {name} not found.")

    def _job(self, work: str, name: str, mode: str) -> list[str]:
        self._known(name)
        self.done.append((work, name, mode))
        result = self.results.get(name, "done")
        self.units[name] = "active" if result == "done" else "failed"
        self.systemd.later(PATH, MANAGER, "JobRemoved", "uoss", [1, "/job/1", name, result])
        return ["/job/1"]

    def _reset(self, name: str) -> None:
        self._known(name)
        self.done.append(("reset", name))
        self.units[name] = "inactive"

    def _start_transient(self, name: str, mode: str, properties: list[Any], _others: Any) -> list[str]:
        if self.left_over:
            self.left_over -= 1
            raise Refusal(f"{SYSTEMD}.UnitExists", f"Unit {name} was already loaded.")
        self.units[name] = "inactive"
        self.done.append({key: value.value for key, value in properties})
        return self._job("transient", name, mode)

    async def change(self, **properties: Any) -> None:
        for service, path, interface in (
            (self.systemd, PATH, MANAGER),
            (self.hostname, "/org/freedesktop/hostname1", HOSTNAME),
        ):
            own = service.objects[path][interface].properties
            ours = {name: value for name, value in properties.items() if name in own}
            if ours:
                await service.change(path, interface, **ours)


@attrs.frozen
class House:
    machine: Machine
    services: SystemServices
    features: Features
    bus: SystemBus
    resolution: Resolution
    system: OperatingSystem
    fixups: HostFixups
    rebooted: list[str]

    async def look(self, check: Check) -> list[str | None]:
        """Look as the health check does: first at what is known, then for more."""
        for issue in self.resolution.issues:
            if await check.approve(issue) is False:
                self.resolution.withdraw(issue)
        await check.run()
        return [issue.reference for issue in self.resolution.issues]

    async def apply(self, type_: SuggestionType, reference: str | None = None) -> None:
        [fixup] = [fixup for fixup in self.fixups.fixups() if fixup.type == type_]
        await fixup.apply(Suggestion(type_, ContextType.SYSTEM, reference))


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    machine = Machine(daemon.address)
    await machine.systemd.start()
    await machine.hostname.start()
    events, features, rebooted = EventBus(), Features(), []
    bus = SystemBus(events, daemon.address)
    services = SystemServices.on(bus)
    services.provide(features)
    features.provide(HostFeature.HAOS, lambda: services.is_haos, title="", how="")
    await bus.start()
    await services.start()

    async def stopped() -> None:
        rebooted.append("stopped")

    control = HostControl(services, features, stop_managed=stopped, resume=stopped)
    fixups = HostFixups(services.systemd, control, features)
    yield House(machine, services, features, bus, Resolution(events), OperatingSystem(services), fixups, rebooted)
    await services.close()
    await bus.stop()
    await machine.systemd.stop()
    await machine.hostname.stop()
    await daemon.stop()


# Units that failed.


def failed_units(house: House, *of_others: str) -> FailedUnitsCheck:
    return FailedUnitsCheck(house.bus, house.services.systemd, house.resolution, lambda: of_others)


async def test_units_that_failed_are_told_each_for_itself_until_they_are_mended(house: House) -> None:
    check, units = failed_units(house, "mnt-nas.mount"), house.machine.units
    units |= {"fine.service": "active", "a.service": "failed", "mnt-nas.mount": "failed", FIREWALL_UNIT: "failed"}
    units |= {"NetworkManager-wait-online.service": "failed", "systemd-time-wait-sync.service": "failed"}
    assert await house.look(check) == ["a.service"]
    [issue] = house.resolution.issues
    helps = {suggestion.type.value for suggestion in house.resolution.suggestions_for(issue)}
    assert helps == {"execute_reset", "execute_restart"}
    units["b.timer"] = "failed"
    assert await house.look(check) == ["a.service", "b.timer"]
    del units["a.service"]
    assert await house.look(check) == ["b.timer"]
    assert house.resolution.healthy
    await house.machine.systemd.stop()
    await until(lambda: not house.services.systemd.available, 30)
    assert await house.look(check) == ["b.timer"], "nobody can tell whether it is mended"


async def test_a_failure_that_was_dismissed_is_told_again_when_the_unit_has_recovered_and_failed_anew(
    house: House,
) -> None:
    check, machine = failed_units(house), house.machine

    async def look_after(state: str) -> list[str | None]:
        machine.units["a.service"] = state
        return await house.look(check)

    assert await look_after("failed") == ["a.service"]
    # A timer or systemd itself tries it again: that is no recovery.
    assert await look_after("activating") == ["a.service"]
    house.resolution.dismiss_issue(house.resolution.issues[0].uuid)
    for state in ("failed", "activating", "failed"):
        assert await look_after(state) == [], state
    assert await look_after("inactive") == []
    assert await look_after("failed") == ["a.service"]
    house.resolution.dismiss_issue(house.resolution.issues[0].uuid)
    assert await look_after("failed") == []
    machine.worked_at["a.service"] = 5_000_000
    assert await look_after("failed") == ["a.service"], "between two looks it has worked"


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("boot", "os_filesystem_check_error"),
        ("overlay", "os_filesystem_check_error"),
        ("data", "data_filesystem_check_error"),
    ],
)
async def test_a_file_system_that_is_not_sound_makes_the_system_unhealthy(
    house: House, label: str, reason: str
) -> None:
    unit = rf"systemd-fsck@dev-disk-by\x2dlabel-hassos\x2d{label}.service"
    house.machine.units |= {unit: "failed", r"systemd-fsck@dev-disk-by\x2dlabel-usb.service": "failed"}
    await house.look(failed_units(house))
    assert house.resolution.unhealthy == (reason,)
    assert [suggestion.reference for suggestion in house.resolution.suggestions].count(unit) == 0


async def test_a_unit_is_reset_or_started_again(house: House) -> None:
    house.machine.units["a.service"] = "failed"
    await house.apply(SuggestionType.EXECUTE_RESET, "a.service")
    assert house.machine.units == {"a.service": "inactive"}
    await house.apply(SuggestionType.EXECUTE_RESTART, "a.service")
    assert house.machine.done == [("reset", "a.service"), ("restart", "a.service", "replace")]
    for type_ in (SuggestionType.EXECUTE_RESET, SuggestionType.EXECUTE_RESTART):
        await house.apply(type_, "gone.service")
    house.machine.results["a.service"] = "failed"
    with pytest.raises(Failed, match=r"journalctl -u a\.service"):
        await house.apply(SuggestionType.EXECUTE_RESTART, "a.service")


async def test_time_servers_are_asked_where_there_is_a_service_for_that(house: House) -> None:
    with pytest.raises(Unsupported, match="install systemd-timesyncd"):
        await house.apply(SuggestionType.ENABLE_NTP)
    house.machine.units["systemd-timesyncd.service"] = "inactive"
    await house.apply(SuggestionType.ENABLE_NTP)
    assert house.machine.done == [("start", "systemd-timesyncd.service", "replace")]


async def test_without_systemd_nothing_is_said_to_have_helped(house: House) -> None:
    await house.machine.systemd.stop()
    await until(lambda: not house.services.systemd.available, 30)
    for type_ in (SuggestionType.ENABLE_NTP, SuggestionType.EXECUTE_RESET, SuggestionType.EXECUTE_RESTART):
        with pytest.raises(Unsupported):
            await house.apply(type_, "a.service")
    with pytest.raises(Unsupported):
        await house.apply(SuggestionType.EXECUTE_REBOOT)
    assert house.rebooted == []


# What kind of host it is.


@pytest.mark.parametrize(
    ("version", "newest", "unsupported"),
    [
        ("15.2", "18.1", False),
        ("15.0", "18.1", False),
        ("14.9", "18.1", True),
        ("15.0.rc1", "18.1", True),
        ("18.0.dev20260101", "18.1", False),
        ("strange", "18.1", True),
        ("15.0", "strange", True),
        ("15.0", None, None),
    ],
)
async def test_an_operating_system_is_looked_after_for_three_major_versions(
    house: House, version: str, newest: str | None, unsupported: bool | None
) -> None:
    versions: Any = type("Versions", (), {"os_releases": OsReleases(newest)})
    evaluation = OsVersionEvaluation(house.system, versions)
    assert await evaluation.unsupported() is False, "another one has no such version"
    await house.machine.change(OperatingSystemCPEName=HAOS.format(version=version, board="ova"))
    await until(lambda: house.services.is_haos, 30)
    assert await evaluation.unsupported() is unsupported


async def test_the_image_of_a_real_board_is_not_made_for_a_virtual_machine(house: House) -> None:
    evaluation = VirtualizationEvaluation(house.system, house.features, house.services.systemd)
    await house.machine.change(Virtualization="kvm")
    await until(lambda: house.services.systemd.virtualization == "kvm", 30)
    assert await evaluation.unsupported() is False
    for board, unsupported in (("ova", False), ("generic-x86-64", True), ("generic-aarch64", False)):
        await house.machine.change(OperatingSystemCPEName=HAOS.format(version="18.0", board=board))
        await until(lambda board=board: house.system.board == board, 30)
        assert await evaluation.unsupported() is unsupported
    await house.machine.change(OperatingSystemCPEName=HAOS.format(version="18.0", board="generic-x86-64"))
    await house.machine.change(Virtualization="")
    await until(lambda: house.services.systemd.virtualization == "", 30)
    assert await evaluation.unsupported() is False


async def test_what_the_host_lacks_is_told_and_comes_back(house: House) -> None:
    os, agent, systemd = (kind(house.features) for kind in (OsEvaluation, OsAgentEvaluation, SystemdEvaluation))
    assert await os.unsupported()
    assert await agent.unsupported()
    assert await systemd.unsupported(), "timedated is not there"
    house.features.provide(HostFeature.TIMEDATE, lambda: True, title="", how="")
    assert not await systemd.unsupported()
    await house.machine.change(OperatingSystemCPEName=HAOS.format(version="18.0", board="ova"))
    await until(lambda: house.services.is_haos, 30)
    assert not await os.unsupported()


# The network, as far as it is known.


@attrs.define
class Card:
    name: str
    interface: NetworkInterface
    active: str | None = "/active/1"


def card(name: str, *, connected: bool, ready: bool, method: IpMethod = IpMethod.AUTO) -> Card:
    ipv4 = IpConfig(method=method, ready=ready)
    interface = NetworkInterface(
        name=name,
        type=InterfaceType.ETHERNET,
        mac="",
        enabled=True,
        connected=connected,
        primary=False,
        ipv4=ipv4,
        ipv6=IpConfig(),
        wifi=None,
        vlan=None,
        mdns=None,
        llmnr=None,
    )
    return Card(name, interface)


@attrs.define
class Network:
    cards: list[Card] = attrs.field(factory=list)
    available: bool = True
    check_enabled: bool | None = True

    @property
    def service(self) -> Network:
        return self


async def test_an_interface_in_use_without_ipv4_is_told_until_it_has_it(house: House) -> None:
    network: Any = Network()
    network.cards = [
        card("eth0", connected=True, ready=True),
        card("eth1", connected=True, ready=False),
        card("eth2", connected=False, ready=True),
        card("eth3", connected=True, ready=False, method=IpMethod.DISABLED),
        attrs.evolve(card("eth4", connected=False, ready=False), active=None),
    ]
    check = Ipv4Check(network, house.resolution)
    assert await house.look(check) == ["eth1", "eth2"]
    network.cards[1] = card("eth1", connected=True, ready=True)
    network.available = False
    assert await house.look(check) == ["eth1", "eth2"], "nobody can tell"
    network.available = True
    assert await house.look(check) == ["eth2"]
    del network.cards[2]
    assert await house.look(check) == []


@pytest.mark.parametrize(
    ("available", "enabled", "unsupported"),
    [(True, True, False), (True, False, True), (True, None, False), (False, False, False)],
)
async def test_a_check_of_the_internet_that_somebody_switched_off_is_told(
    available: bool, enabled: bool | None, unsupported: bool
) -> None:
    network: Any = Network(available=available, check_enabled=enabled)
    assert await ConnectivityCheckEvaluation(network).unsupported() is unsupported


# The engine.

GOOD = EngineInfo("27.0.1", "1.46", "overlay2", "journald", "2", "/var/lib/docker")


@pytest.mark.parametrize(
    ("change", "evaluation"),
    [
        ({"version": "20.10.24"}, EngineVersionEvaluation),
        ({"version": "strange"}, EngineVersionEvaluation),
        ({"storage_driver": "vfs"}, EngineDriversEvaluation),
        ({"logging_driver": "json-file"}, EngineDriversEvaluation),
        ({"cgroup_version": "3"}, ControlGroupsEvaluation),
    ],
)
async def test_an_engine_that_is_not_as_it_should_be_is_told(
    change: dict[str, str], evaluation: Callable[[Any], EngineEvaluation]
) -> None:
    engine: Any = type("AnEngine", (), {"info": attrs.evolve(GOOD, **change)})
    for kind in (EngineVersionEvaluation, EngineDriversEvaluation, ControlGroupsEvaluation):
        assert await kind(engine).unsupported() is (kind is evaluation)
    engine.info = None
    assert await evaluation(engine).unsupported() is None, "one that is away is judged when it is back"


# The gateway of the internal network.


def firewall(house: House) -> tuple[GatewayFirewall, list[Any]]:
    later: list[Any] = []
    return GatewayFirewall(house.services.systemd, house.resolution, "hassio", later.append), later


async def test_the_gateway_is_closed_by_a_unit_of_the_host(house: House) -> None:
    gateway, _ = firewall(house)
    house.machine.left_over = 2
    await gateway.protect(GATEWAYS)
    unit, job = house.machine.done
    assert job == ("transient", FIREWALL_UNIT, "replace")
    assert unit["Type"] == "oneshot"
    commands = [command for address in GATEWAYS for command in rules(address, "hassio")]
    assert unit["ExecStart"] == [["/bin/sh", ["/bin/sh", "-c", command], False] for command in commands]
    assert (gateway.protected, house.resolution.healthy) == (True, True)


@pytest.mark.parametrize("result", ["failed", "timeout"])
async def test_a_gateway_that_stays_open_makes_the_system_unhealthy(house: House, result: str) -> None:
    gateway, _ = firewall(house)
    house.machine.results[FIREWALL_UNIT] = result
    await gateway.protect(GATEWAYS)
    assert (gateway.protected, house.resolution.unhealthy) == (False, ("docker_gateway_unprotected",))


async def test_systemd_that_comes_later_is_asked_then(house: House) -> None:
    await house.machine.systemd.stop()
    await until(lambda: not house.services.systemd.available, 30)
    gateway, later = firewall(house)
    for _ in range(2):
        await gateway.protect(GATEWAYS)
    assert (gateway.protected, house.resolution.healthy) == (None, True)
    await house.machine.systemd.start()
    await until(lambda: later, 30)
    [work] = later
    await work()
    assert gateway.protected is True
    assert len(house.machine.done) == 2


async def test_a_systemd_that_refuses_leaves_it_open(house: House) -> None:
    def refuse(*_: Any) -> None:
        raise Refusal("org.freedesktop.DBus.Error.AccessDenied", "no")

    served = house.machine.systemd.objects[PATH][MANAGER]
    served.methods["StartTransientUnit"] = ("ssa(sv)a(sa(sv))", "o", refuse)
    gateway, _ = firewall(house)
    await gateway.protect(GATEWAYS)
    assert house.resolution.unhealthy == ("docker_gateway_unprotected",)


# The end of the machine.


@pytest.mark.parametrize(("state", "down"), [("running", False), ("degraded", False), ("stopping", True)])
async def test_systemd_tells_over_the_bus_whether_the_machine_goes_down(
    house: House, monkeypatch: pytest.MonkeyPatch, state: str, down: bool
) -> None:
    monkeypatch.setenv("PATH", "")
    control = HostControl(house.services, house.features, stop_managed=nothing, resume=nothing)
    properties = house.machine.systemd.objects[PATH][MANAGER].properties
    properties["SystemState"] = ("s", state)
    assert await control.is_going_down() is down
    await house.machine.systemd.stop()
    await until(lambda: not house.services.systemd.available, 30)
    assert await control.is_going_down() is False, "nobody is left to ask"


async def nothing() -> None:
    return
