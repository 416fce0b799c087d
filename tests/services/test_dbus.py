"""The D-Bus layer on a real bus, with both libraries."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dbus_next import Variant

from stands.bus_daemon import BusDaemon
from stands.bus_service import BusService, Refusal, Served
from supervisor.drivers.dbus import SystemBus
from supervisor.drivers.dbus import interface as interface_module
from supervisor.drivers.dbus.declaration import (
    BOOL,
    BYTE_STRING,
    INT32,
    NOTHING,
    STRING,
    UINT32,
    VARDICT,
    Kind,
    Property,
    Service,
    Signal,
    array,
    choice,
    method,
    several,
    struct,
)
from supervisor.drivers.dbus.interface import Interface
from supervisor.drivers.dbus.library import FAST, NEXT, Library
from supervisor.drivers.dbus.translate import error_name
from supervisor.drivers.dbus.values import Variant as OwnVariant
from supervisor.drivers.dbus.values import plain
from supervisor.errors import Internal, Invalid, NotFound, SupervisorError, Timeout, Unavailable, Unsupported
from supervisor.events import EventBus, SystemBusChanged

NAME, PATH = "org.example.Lamp", "/org/example/lamp"
LAMP = Service(NAME, "the lamp")
LATE = Service(NAME, "the late lamp", late=True)
SELF_STARTING = Service("org.example.Self", "the self-starter", on_demand=True, idles=True)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Lamp(Interface):
    service = LAMP
    interface = NAME
    default_path = PATH

    colour = Property("Colour", choice(Colour, STRING))
    level = Property("Level", INT32)
    rooms = Property("Rooms", array(STRING))
    device = Property("Device", BYTE_STRING)
    absent = Property("Absent", BOOL)
    unfit = Property("Unfit", UINT32)

    mix = method("Mix", STRING, STRING, returns=STRING)
    measure = method("Measure", returns=several(INT32, STRING))
    describe = method("Describe", returns=VARDICT)
    parts = method("Parts", returns=array(struct("sa{sv}", lambda name, known: (name, known))))
    fail = method("Fail", STRING, returns=NOTHING)
    hang = method("Hang", returns=NOTHING, seconds=0.2)

    blinked = Signal("Blinked", lambda times, why: (times, why))


class LateLamp(Lamp):
    service = LATE
    interface = NAME
    default_path = PATH

    typed = method("Describe", returns=Kind("a{sv}", dict, typed=True))


class SelfStarting(Interface):
    service = SELF_STARTING
    interface = "org.example.Self"
    default_path = "/"

    greeting = Property("Greeting", STRING)
    hello = method("Hello", returns=STRING, seconds=60)


def refuse(name: str) -> None:
    raise Refusal(name, "no such thing")


def lamp(address: str) -> BusService:
    service = BusService(address, NAME)
    service.objects[PATH] = {
        NAME: Served(
            {
                "Colour": ("s", "red"),
                "Level": ("i", 3),
                "Rooms": ("as", ["hall", "attic"]),
                "Device": ("ay", b"/dev/lamp\0"),
                "Unfit": ("s", "seven"),
                "Private": ("s", "not declared"),
            },
            {
                "Mix": ("ss", "s", lambda one, two: [one + two]),
                "Measure": ("", "is", lambda: [7, "lux"]),
                "Describe": ("", "a{sv}", lambda: [{"nested": Variant("a{sv}", {"deep": Variant("u", 1)})}]),
                "Parts": ("", "a(sa{sv})", lambda: [[["bulb", {"watts": Variant("u", 7)}]]]),
                "Fail": ("s", "", refuse),
            },
        )
    }
    return service


@pytest.fixture(params=[NEXT, FAST], ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    return request.param


@pytest.fixture
def no_blocking(library: Library, request: pytest.FixtureRequest) -> None:
    # dbus-next reads and writes through buffers that never block, for the socket below does not; the guard can't tell.
    if library is FAST:
        request.getfixturevalue("no_blocking_calls")


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[BusDaemon]:
    daemon = BusDaemon(tmp_path)
    await daemon.start()
    yield daemon
    await daemon.stop()


@pytest_asyncio.fixture
async def bus(library: Library, daemon: BusDaemon, no_blocking: None) -> AsyncIterator[SystemBus]:
    bus = SystemBus(EventBus(), daemon.address, library)
    yield bus
    await bus.stop()


@pytest_asyncio.fixture
async def service(daemon: BusDaemon) -> AsyncIterator[BusService]:
    service = lamp(daemon.address)
    await service.start()
    yield service
    await service.stop()


@pytest_asyncio.fixture
async def proxy(bus: SystemBus, service: BusService) -> AsyncIterator[Lamp]:
    proxy = Lamp(bus)
    await bus.start()
    await proxy.start()
    yield proxy
    await proxy.close()


async def until(check: Any, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - the check looks at whatever the test cares for
            await asyncio.sleep(0.01)


async def test_properties_are_read_in_their_python_form(proxy: Lamp) -> None:
    assert proxy.available
    assert (proxy.colour, proxy.level, proxy.rooms, proxy.device) == (Colour.RED, 3, ["hall", "attic"], "/dev/lamp")


async def test_a_property_that_is_absent_or_of_another_type_is_unknown(proxy: Lamp) -> None:
    assert (proxy.absent, proxy.unfit) == (None, None)


async def test_variants_are_unwrapped_inside_structures_too(proxy: Lamp) -> None:
    assert await proxy.parts() == [("bulb", {"watts": 7})]


async def test_announced_changes_are_seen_without_asking(proxy: Lamp, service: BusService) -> None:
    told: list[frozenset[str]] = []
    proxy.subscribe(told.append)
    service.calls.clear()
    await service.change(PATH, NAME, Level=8, Private="changed")
    await until(lambda: proxy.level == 8)
    assert (told, service.calls) == ([frozenset({"Level"})], [])


async def test_changes_that_are_announced_in_another_form_change_nothing(
    proxy: Lamp, service: BusService, caplog: pytest.LogCaptureFixture
) -> None:
    for signature, body in (("s", [NAME]), ("sss", [NAME, "Level", "x"]), ("sa{sv}", [NAME, {}])):
        await service.emit(PATH, "org.freedesktop.DBus.Properties", "PropertiesChanged", signature, body)
    await service.change(PATH, NAME, Level=9)
    await until(lambda: proxy.level == 9)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_an_invalidated_property_is_read_again(proxy: Lamp, service: BusService) -> None:
    await service.invalidate(PATH, NAME, Level=21)
    await until(lambda: proxy.level == 21)
    assert proxy.rooms == ["hall", "attic"]


async def test_a_new_word_of_an_enumeration_is_kept_and_logged_once(
    proxy: Lamp, service: BusService, library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    new = f"a colour of {library.name}"
    for _ in range(2):
        await service.change(PATH, NAME, Colour=new)
        await until(lambda: proxy.colour == new)
        await service.change(PATH, NAME, Colour="blue")
        await until(lambda: proxy.colour is Colour.BLUE)
    assert len([record for record in caplog.records if new in record.getMessage()]) == 1


async def test_news_that_comes_with_an_answer_is_newer_than_the_answer(proxy: Lamp, service: BusService) -> None:
    """Both may arrive in one go, and whoever waits for the answer is woken later than the signal is heard."""
    served = service.objects[PATH][NAME]
    tell = served.all

    def all_and_news() -> dict[str, Variant]:
        answer = tell()
        level = served.properties["Level"][1] + 1
        served.properties["Level"] = ("i", level)
        news = [NAME, {"Level": Variant("i", level)}, []]
        service.later(PATH, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", news)
        return answer

    served.all = all_and_news  # type: ignore[method-assign]
    for _ in range(20):
        await proxy.refresh()
        await until(lambda: proxy.level == served.properties["Level"][1])


async def test_methods_take_and_give_python_values(proxy: Lamp) -> None:
    assert await proxy.mix("red", "blue") == "redblue"
    assert await proxy.measure() == (7, "lux")
    assert await proxy.describe() == {"nested": {"deep": 1}}


@pytest.mark.parametrize("text", ["nul\0inside", "half \ud800 surrogate"])
async def test_a_text_that_the_bus_would_cut_us_off_for_is_refused(proxy: Lamp, text: str) -> None:
    with pytest.raises(Invalid):
        await proxy.mix(text, "")
    assert await proxy.mix("still", "there") == "stillthere"


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("org.freedesktop.DBus.Error.InvalidArgs", Invalid),
        ("org.freedesktop.DBus.Error.UnknownObject", NotFound),
        ("org.freedesktop.DBus.Error.UnknownMethod", Unsupported),
        ("org.freedesktop.DBus.Error.AccessDenied", Unsupported),
        ("org.freedesktop.DBus.Error.NoReply", Timeout),
        ("org.freedesktop.DBus.Error.Spawn.ChildExited", Unavailable),
        ("org.freedesktop.systemd1.NoSuchUnit", NotFound),
        ("org.freedesktop.NetworkManager.Settings.Connection.InvalidProperty", Invalid),
        ("org.example.Burnt", Internal),
    ],
)
async def test_refusals_are_translated_and_keep_their_foreign_name(
    proxy: Lamp, name: str, meaning: type[SupervisorError]
) -> None:
    with pytest.raises(meaning, match="the lamp: no such thing") as raised:
        await proxy.fail(name)
    assert type(raised.value) is meaning
    assert error_name(raised.value) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("org.example.Burnt", "the lamp: no such thing (org.example.Burnt)"),
        ("org.gtk.GDBus.UnmappedGError.Quark._g_2dio_2derror_2dquark.Code30", "the lamp: no such thing"),
    ],
)
async def test_a_name_is_shown_where_it_tells_something(proxy: Lamp, name: str, text: str) -> None:
    with pytest.raises(Internal) as raised:
        await proxy.fail(name)
    assert str(raised.value) == text


async def test_a_service_that_does_not_answer_costs_no_more_than_the_time_of_the_call(
    proxy: Lamp, service: BusService
) -> None:
    service.silent = True
    with pytest.raises(Timeout):
        await proxy.hang()


async def test_a_property_is_written_with_its_type(proxy: Lamp, service: BusService) -> None:
    await proxy.write(Lamp.level, 11)
    assert service.objects[PATH][NAME].properties["Level"] == ("i", 11)
    with pytest.raises(Unsupported):
        await proxy.write(Lamp.absent, True)


async def test_a_service_that_vanishes_is_unavailable_and_comes_back_by_itself(
    proxy: Lamp, service: BusService
) -> None:
    told: list[frozenset[str]] = []
    proxy.subscribe(told.append)
    await service.stop()
    await until(lambda: not proxy.available)
    assert (proxy.level, len(told)) == (None, 1)
    with pytest.raises(Unavailable):
        await proxy.mix("a", "b")
    service.objects[PATH][NAME].properties["Level"] = ("i", 5)
    await service.start()
    await until(lambda: proxy.available)
    assert proxy.level == 5


async def test_a_service_that_comes_later_is_found(bus: SystemBus, daemon: BusDaemon) -> None:
    await bus.start()
    proxy = Lamp(bus)
    await proxy.start()
    assert not proxy.available
    late = lamp(daemon.address)
    await late.start()
    await until(lambda: proxy.available)
    await late.stop()
    await proxy.close()


async def test_objects_that_come_after_the_name_of_their_service_are_found(
    bus: SystemBus, daemon: BusDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interface_module, "PAUSES", (0.05,))
    service = lamp(daemon.address)
    objects, service.objects = service.objects, {}
    await service.start()
    await bus.start()
    proxy = LateLamp(bus)
    starting = asyncio.create_task(proxy.start())
    await until(lambda: service.calls.count("GetAll") > 1)
    assert not proxy.available
    service.objects = objects
    await until(lambda: proxy.available)
    await starting
    assert proxy.level == 3
    await proxy.close()
    await service.stop()


async def test_an_answer_that_has_to_be_sent_back_keeps_its_types(bus: SystemBus, service: BusService) -> None:
    await bus.start()
    answer = await LateLamp(bus).typed()
    assert answer == {"nested": OwnVariant("a{sv}", {"deep": OwnVariant("u", 1)})}
    assert plain(answer) == {"nested": {"deep": 1}}


async def test_the_bus_is_lost_and_found_with_everything_on_it(
    proxy: Lamp, service: BusService, bus: SystemBus, daemon: BusDaemon
) -> None:
    news: list[bool] = []
    bus._events.subscribe(SystemBusChanged, lambda event: news.append(event.available))
    await daemon.stop()
    await until(lambda: not bus.connected)
    assert not proxy.available
    with pytest.raises(Unavailable, match="system bus"):
        await proxy.mix("a", "b")
    await service.stop()
    await daemon.start()
    await service.start()
    await until(lambda: proxy.available)
    await service.change(PATH, NAME, Level=99)
    await until(lambda: proxy.level == 99)
    assert news == [False, True]


async def test_a_call_that_runs_when_the_bus_is_lost_fails_at_once(
    proxy: Lamp, service: BusService, daemon: BusDaemon
) -> None:
    service.silent = True
    call = asyncio.create_task(proxy.mix("a", "b"))
    await until(lambda: "Mix" in service.calls)
    await daemon.stop()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(call, 30)


async def test_without_a_bus_the_start_does_not_wait_and_it_is_found_later(
    library: Library, tmp_path: Path, no_blocking: None
) -> None:
    daemon = BusDaemon(tmp_path)
    bus = SystemBus(EventBus(), daemon.address, library)
    proxy = Lamp(bus)
    async with asyncio.timeout(30):
        await bus.start()
        await proxy.start()
    assert (bus.connected, proxy.available) == (False, False)
    await daemon.start()
    service = lamp(daemon.address)
    await until(lambda: bus.connected)
    await service.start()
    await until(lambda: proxy.available)
    await proxy.close()
    await bus.stop()
    await service.stop()
    await daemon.stop()


async def test_a_bus_that_hangs_up_during_the_handshake_is_tried_again_without_harm(
    library: Library, tmp_path: Path, no_blocking: None
) -> None:
    greeted = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        greeted += 1
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_unix_server(hang_up, tmp_path / "bus")
    bus = SystemBus(EventBus(), f"unix:path={tmp_path}/bus", library)
    await bus.start()
    await until(lambda: greeted > 1)
    assert not bus.connected
    await bus.stop()
    server.close()


async def test_signals_are_heard_from_before_the_work_begins(proxy: Lamp, service: BusService) -> None:
    async with proxy.listen(Lamp.blinked) as heard:
        await service.emit(PATH, NAME, "Blinked", "is", [1, "first"])
        await service.emit(PATH, NAME, "Blinked", "is", [2, "second"])
        assert await heard.until(lambda blink: blink[0] == 2, seconds=30) == (2, "second")
        with pytest.raises(Timeout):
            await heard.until(lambda _: True, seconds=0.05)


async def test_waiting_for_a_signal_ends_with_the_service(proxy: Lamp, service: BusService) -> None:
    async with proxy.listen(Lamp.blinked) as heard:
        await service.stop()
        with pytest.raises(Unavailable):
            await heard.until(lambda _: True, seconds=30)


async def test_a_stranger_is_not_believed_to_be_the_service(
    proxy: Lamp, service: BusService, daemon: BusDaemon
) -> None:
    stranger = BusService(daemon.address, "org.example.Stranger")
    stranger.objects = lamp("").objects
    await stranger.start()
    await stranger.change(PATH, NAME, Level=666)
    await stranger.stop()
    await service.change(PATH, NAME, Rooms=[])
    await until(lambda: proxy.rooms == [])
    assert proxy.level == 3


SELF_STARTER = """\
import asyncio, sys
sys.path.insert(0, {tests!r})
from stands.bus_service import BusService, Served

async def main():
    service = BusService({address!r}, "org.example.Self")
    service.objects["/"] = {{"org.example.Self": Served(
        {{"Greeting": ("s", "hello")}}, {{"Hello": ("", "s", lambda: ["hi"])}})}}
    await service.start()
    asked = -1
    while asked != len(service.calls):
        asked = len(service.calls)
        await asyncio.sleep({idle})
    await service.stop()

asyncio.run(main())
"""


async def test_a_service_that_leaves_when_idle_stays_available_and_is_started_by_a_call(
    library: Library, tmp_path: Path, no_blocking: None
) -> None:
    daemon = BusDaemon(tmp_path)
    program = tmp_path / "self.py"
    tests = str(Path(__file__).parents[1])
    program.write_text(SELF_STARTER.format(tests=tests, address=daemon.address, idle=0.5))
    daemon.startable("org.example.Self", sys.executable, str(program))
    await daemon.start()
    bus = SystemBus(EventBus(), daemon.address, library)
    proxy = SelfStarting(bus)
    await proxy.start()
    await bus.start()
    await until(lambda: proxy.available)
    assert proxy.greeting == "hello"
    peer = bus.peer(SELF_STARTING)
    await until(lambda: peer.owner is None)
    assert (proxy.available, proxy.greeting) == (True, "hello")
    assert await proxy.hello() == "hi"
    await until(lambda: peer.owner is None)
    await proxy.close()
    await bus.stop()
    await daemon.stop()
