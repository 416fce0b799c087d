"""The clock at the start of the daemon, against services on a real bus and a server that knows the time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Refusal, Served
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.http import HttpClient
from supervisor.errors import Unavailable
from supervisor.events import EventBus
from supervisor.managers.configuration import CONFIGURATION_SCHEMA, Configuration
from supervisor.managers.host import Clock, Features, Host, HostControl, SystemServices
from supervisor.managers.host.clock import Whereabouts
from supervisor.managers.resolution import Resolution
from supervisor.state import StateFile

TIMEDATE, SYSTEMD = "org.freedesktop.timedate1", "org.freedesktop.systemd1"
FAR = 40 * 86400


@attrs.define(eq=False)
class House:
    clock: Clock
    configuration: Configuration
    resolution: Resolution
    done: list[Any]
    answer: dict[str, Any]
    timedate: BusService
    services: SystemServices


async def nothing() -> None:
    return


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    done: list[Any] = []
    timedate = BusService(daemon.address, TIMEDATE)
    timedate.objects["/org/freedesktop/timedate1"] = {
        TIMEDATE: Served(
            {"Timezone": ("s", "Etc/UTC"), "NTP": ("b", True), "NTPSynchronized": ("b", False)},
            {
                "SetTime": ("xbb", "", lambda usec, _relative, _ask: done.append(("time", usec / 1_000_000))),
                "SetTimezone": ("sb", "", lambda zone, _ask: done.append(("zone", zone))),
            },
        )
    }
    systemd = BusService(daemon.address, SYSTEMD)

    def stop(name: str, _mode: str) -> list[str]:
        done.append(("stop", name))
        systemd.later(
            "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager", "JobRemoved", "uoss", [1, "/job/1", name, "done"]
        )
        return ["/job/1"]

    systemd.objects["/org/freedesktop/systemd1"] = {
        f"{SYSTEMD}.Manager": Served(
            {"Version": ("s", "252")}, {"Subscribe": ("", "", lambda: None), "StopUnit": ("ss", "o", stop)}
        )
    }
    await timedate.start()
    await systemd.start()

    answer: dict[str, Any] = {"timezone": "Europe/Berlin", "timestamp": time.time()}

    async def whoami(_: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_get("/whoami", whoami)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()

    events, features = EventBus(), Features()
    bus, http, resolution = SystemBus(events, daemon.address), HttpClient(user_agent="test"), Resolution(events)
    services = SystemServices.on(bus)
    services.provide(features)
    configuration = Configuration(StateFile(tmp_path / "config.json", CONFIGURATION_SCHEMA, events))
    await configuration.load()
    host = Host(data=tmp_path, machine=None)
    host.facts = attrs.evolve(host.facts, timezone="Etc/UTC")
    await http.start()
    await bus.start()
    await services.start()
    control = HostControl(services, features, stop_managed=nothing, resume=nothing)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/whoami"

    async def corrected() -> None:
        done.append("corrected")

    clock = Clock(host, services, control, features, configuration, http, resolution, url, corrected)
    yield House(clock, configuration, resolution, done, answer, timedate, services)
    await services.close()
    await bus.stop()
    await http.stop()
    await runner.cleanup()
    await timedate.stop()
    await systemd.stop()
    await daemon.stop()


async def test_the_zone_of_the_settings_is_set_on_the_host(house: House) -> None:
    await house.clock.keep_zone()
    assert house.done == []
    await house.configuration.change(timezone="Asia/Tokyo")
    await house.clock.keep_zone()
    assert house.done == [("zone", "Asia/Tokyo")]


async def test_a_host_that_does_not_take_the_zone_is_no_failure(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_zone: str, _ask: bool) -> None:
        raise Refusal("org.freedesktop.DBus.Error.Failed", "Failed to set time zone: Read-only file system")

    methods = house.timedate.objects["/org/freedesktop/timedate1"][TIMEDATE].methods
    methods["SetTimezone"] = ("sb", "", refuse)
    await house.configuration.change(timezone="Asia/Tokyo")
    await house.clock.keep_zone()
    assert "The host does not take the time zone Asia/Tokyo" in caplog.text


async def test_an_unknown_zone_is_found_out_and_kept(house: House) -> None:
    await house.clock.adjust()
    assert house.configuration.timezone == "Europe/Berlin"
    assert house.done == [("zone", "Europe/Berlin")]


async def test_a_known_zone_is_not_changed_by_what_others_think(house: House) -> None:
    await house.configuration.change(timezone="Asia/Tokyo")
    await house.clock.adjust()
    assert (house.configuration.timezone, house.done) == ("Asia/Tokyo", [])


async def test_a_clock_that_is_far_off_and_not_kept_is_set(house: House) -> None:
    house.answer["timestamp"] = time.time() + FAR
    await house.clock.adjust()
    stopped, (kind, now), corrected = house.done[-3:]
    assert stopped == ("stop", "systemd-timesyncd.service")
    assert kind == "time"
    assert abs(now - time.time() - FAR) < 60
    assert corrected == "corrected"
    assert [issue.type.value for issue in house.resolution.issues] == ["ntp_sync_failed"]


async def test_a_clock_that_time_servers_keep_is_left_to_them(house: House) -> None:
    await house.timedate.change("/org/freedesktop/timedate1", TIMEDATE, NTPSynchronized=True)
    await house.services.timedate.refresh()
    house.answer["timestamp"] = time.time() + FAR
    await house.clock.adjust()
    assert house.done == [("zone", "Europe/Berlin")]


async def test_without_an_answer_nothing_is_changed(house: House) -> None:
    house.answer.clear()
    await house.clock.adjust()
    assert (house.configuration.timezone, house.done) == (None, [])


LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()


@given(LEAVES | st.fixed_dictionaries({"timezone": LEAVES, "timestamp": LEAVES}))
def test_no_answer_of_a_stranger_is_taken_for_more_than_it_is(answer: Any) -> None:
    try:
        found = Whereabouts.read(answer)
    except Unavailable:
        return
    assert int(found.now * 1_000_000) >= 0
    assert found.timezone is None or found.timezone.isascii()


@pytest.mark.parametrize("zone", ["UTC", "../../etc/passwd", "Mars/Base", 7, None])
def test_what_is_no_zone_is_not_taken_for_one(zone: object) -> None:
    assert Whereabouts.read({"timezone": zone, "timestamp": 1}).timezone is None
