"""What is told of the host is kept, and is never older than what it is made of."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.dbus import Interface, SystemBus
from supervisor.drivers.dbus.connection import Signalled
from supervisor.drivers.disk import Capacity
from supervisor.events import EventBus
from supervisor.managers.host import Disks, Features, Host, HostFeature, HostManager, SystemServices
from supervisor.paths import DataPaths

GIB = 1024**3
HAOS = "cpe:2.3:o:home-assistant:haos:{}:*:production:*:*:*:qemu:*"
NAMES = st.sampled_from(["", "box", "tub"])
STAMPS = st.integers(0, 2) | st.just("no number")
PROPERTIES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "hostname": {
        "StaticHostname": NAMES,
        "Chassis": NAMES,
        "OperatingSystemCPEName": st.sampled_from(["", HAOS.format("9.5"), HAOS.format("16.1")]),
    },
    "timedate": {"NTP": st.booleans(), "NTPSynchronized": st.booleans()},
    "systemd": {"Virtualization": NAMES, "UserspaceTimestampMonotonic": STAMPS, "FinishTimestamp": STAMPS},
    "resolved": {"LLMNRHostname": NAMES, "LLMNR": st.sampled_from(["yes", "no", "new"])},
    "agent": {"Version": NAMES},
    "apparmor": {"ParserVersion": NAMES},
}
NEWS = st.one_of(
    [st.tuples(st.just(name), st.fixed_dictionaries({}, optional=values)) for name, values in PROPERTIES.items()]
)


class OldDisks(Disks):
    """Looked at by nobody; the test says what is on them."""

    async def load(self) -> None:
        return

    def freshen(self) -> None:
        return


@attrs.frozen
class House:
    host: Host
    services: SystemServices
    features: Features
    disks: Disks
    manager: HostManager
    with_journal: list[str]

    def service(self, name: str) -> Interface:
        service: Interface = getattr(self.services, name)
        return service

    # What may happen.

    def announced(self, news: tuple[str, dict[str, Any]]) -> None:
        service = self.service(news[0])
        arguments = (service.interface, news[1], [])
        service.properties_changed(Signalled(":1.1", service.path, "", "PropertiesChanged", arguments))

    def came(self, news: tuple[str, dict[str, Any]]) -> None:
        self.service(news[0]).adopt(news[1])

    def went(self, name: str) -> None:
        self.service(name).vanished()

    def journal_came(self, _: object) -> None:
        self.with_journal.append("journal")

    def journal_went(self, _: object) -> None:
        self.with_journal.clear()

    def wore(self, life_time: float | None) -> None:
        self.disks.life_time = life_time

    def filled(self, gibibytes: int) -> None:
        self.disks.capacity = Capacity(10 * GIB, gibibytes * GIB, (10 - gibibytes) * GIB)

    # What is to be told then, read piece by piece.

    @property
    def truth(self) -> dict[str, Any]:
        services, capacity = self.services, self.disks.capacity
        return {
            "agent_version": services.agent.version,
            "apparmor_version": services.apparmor.parser_version,
            "chassis": services.hostname.chassis or None,
            "cpe": services.hostname.operating_system_cpe or None,
            "disk_free": capacity.free / GIB,
            "disk_total": capacity.total / GIB,
            "disk_used": capacity.used / GIB,
            "disk_life_time": self.disks.life_time,
            "features": tuple(str(feature) for feature in HostFeature if self.features.has(feature)),
            "hostname": self.host.facts.hostname,
            "llmnr_hostname": services.resolved.llmnr_hostname,
            "broadcast_llmnr": None if services.resolved.llmnr is None else services.resolved.llmnr == "yes",
            "virtualization": services.systemd.virtualization,
            "startup_time": None if (took := services.systemd.userspace_monotonic) is None else took / 1e6,
            "boot_timestamp": services.systemd.finish_timestamp or None,
            "dt_synchronized": services.timedate.ntp_synchronized,
            "use_ntp": services.timedate.ntp,
        }


STEPS = st.one_of(
    st.tuples(st.just(House.announced), NEWS),
    st.tuples(st.just(House.came), NEWS),
    st.tuples(st.just(House.went), st.sampled_from(sorted(PROPERTIES))),
    st.tuples(st.sampled_from([House.journal_came, House.journal_went]), st.none()),
    st.tuples(st.just(House.wore), st.none() | st.integers(0, 2)),
    st.tuples(st.just(House.filled), st.integers(0, 3)),
)


@asynccontextmanager
async def a_house() -> AsyncIterator[House]:
    with tempfile.TemporaryDirectory() as folder:
        services, features = SystemServices.on(SystemBus(EventBus(), "unix:path=/nowhere")), Features()
        root = Path(folder)
        host, disks = Host(data=root, machine=None), OldDisks(DataPaths(root, root), lambda _: never())
        manager, with_journal = HostManager(host, services, features, disks), []
        services.provide(features)
        for feature, there in (
            (HostFeature.HAOS, lambda: services.is_haos),
            (HostFeature.MOUNT, lambda: services.can_mount),
            (HostFeature.JOURNAL, lambda: bool(with_journal)),
        ):
            features.provide(feature, there, title="", how="")
        await manager.load()
        try:
            yield House(host, services, features, disks, manager, with_journal)
        finally:
            await manager.stop()


async def never() -> float | None:
    raise AssertionError("nobody asks for that here")


@given(st.lists(STEPS, max_size=12))
async def test_whatever_happens_is_told_at_once(steps: list[tuple[Callable[[House, Any], None], Any]]) -> None:
    async with a_house() as house:
        for happens, how in steps:
            happens(house, how)
            told = house.manager.info()
            assert {name: getattr(told, name) for name in house.truth} == house.truth
            # And it is made once for all who ask meanwhile.
            assert house.manager.info() is told


async def test_the_name_and_the_zone_follow_the_services_that_have_them() -> None:
    async with a_house() as house:
        house.came(("hostname", {"StaticHostname": "box", "OperatingSystemPrettyName": "Debian"}))
        house.came(("timedate", {"Timezone": "Europe/Berlin"}))
        told = house.manager.info()
        assert (told.hostname, told.operating_system, told.timezone) == ("box", "Debian", "Europe/Berlin")
        house.announced(("hostname", {"StaticHostname": "tub"}))
        assert house.manager.info() == attrs.evolve(told, hostname="tub")
        house.announced(("timedate", {"Timezone": "UTC"}))
        assert house.manager.info() == attrs.evolve(told, hostname="tub", timezone="UTC")
