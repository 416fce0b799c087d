"""The small managers against a real HTTP server and real state files (host contract §14, §44, §45, §49, §53)."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from aiohttp import web

from addon_house import until
from supervisor.drivers import http
from supervisor.drivers.http import HttpClient
from supervisor.drivers.journal.preferred import PreferredJournal
from supervisor.errors import Blocked, Internal, NotFound, Timeout, Unavailable
from supervisor.events import CoreState, EventBus, InternetChanged, VersionsFetched
from supervisor.jobs import JobCondition, JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers import connectivity as connectivity_module
from supervisor.managers.conditions import Judges
from supervisor.managers.configuration import CONFIGURATION_SCHEMA, Configuration
from supervisor.managers.connectivity import Connectivity
from supervisor.managers.daemon import Daemon
from supervisor.managers.docker import DOCKER_SCHEMA, DockerSettings
from supervisor.managers.host import Host
from supervisor.managers.mirrors import MIRRORS_SCHEMA, Mirrors
from supervisor.managers.resolution import Resolution, UnhealthyReason, UnsupportedReason
from supervisor.managers.scheduler import Scheduler
from supervisor.managers.security import SECURITY_SCHEMA, Security
from supervisor.managers.updater import UPDATER_SCHEMA, Updater
from supervisor.model.os_release import OsReleases
from supervisor.state import StateFile
from web_stand import asking, serving

pytestmark = pytest.mark.usefixtures("no_blocking_calls")

VERSIONS: dict[str, Any] = {
    "channel": "stable",
    "supervisor": "2099.01.0",
    "homeassistant": {"default": "2026.1.0", "raspberrypi4": "2026.1.1"},
    "hassos": {"generic-x86-64": "15.0"},
    "hassos-upgrade": {"14": "14.2"},
    "dns": "2026.01.1",
    "cli": "1.0",
    "images": {"core": "example/{machine}-core"},
    "ota": "https://example.org/ota",
    "something": {"new": True},
}


class Server:
    """Answers by path; `asked` are the requests that came."""

    def __init__(self) -> None:
        # A response can be sent once only.
        self.answers: dict[str, Callable[[], web.Response]] = {}
        self.asked: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        await self.hold.wait()
        return self.answers.get(request.path, partial(web.Response, status=404))()

    def says(self, path: str, content: object, **kind: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        self.answers[path] = partial(web.Response, text=text, **kind)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with serving(server.handle) as server.url:
        yield server
        server.hold.set()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with asking() as client:
        yield client


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def resolution(bus: EventBus) -> Resolution:
    return Resolution(bus)


async def _holds() -> str | None:
    return None


@pytest.fixture
def jobs(tmp_path: Path, bus: EventBus) -> JobManager:
    jobs = JobManager(bus, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, bus))
    for condition in JobCondition:
        jobs.provide(condition, _holds)
    return jobs


@pytest.fixture
def updater(tmp_path: Path, bus: EventBus, client: HttpClient, jobs: JobManager, server: Server) -> Updater:
    state = StateFile(tmp_path / "updater.json", UPDATER_SCHEMA, bus)
    return Updater(
        state, client, jobs, bus, version_url=server.url, machine=lambda: "raspberrypi4", board=lambda: "generic-x86-64"
    )


# The HTTP client.


async def test_an_answer_is_read_whatever_its_content_type(client: HttpClient, server: Server) -> None:
    server.says("/a", {"x": "ü"}, content_type="text/plain")
    assert await client.get_json(f"{server.url}/a") == {"x": "ü"}


@pytest.mark.parametrize("status", [204, 302, 404, 500])
async def test_another_status_is_no_answer(client: HttpClient, server: Server, status: int) -> None:
    server.answers["/a"] = partial(web.Response, status=status)
    with pytest.raises(Unavailable, match=str(status)):
        await client.get_text(f"{server.url}/a")


async def test_what_is_no_json_is_said_so(client: HttpClient, server: Server) -> None:
    server.says("/a", "<html>")
    with pytest.raises(Unavailable, match="JSON"):
        await client.get_json(f"{server.url}/a")


async def test_a_server_that_does_not_answer_is_given_up_in_time(client: HttpClient, server: Server) -> None:
    server.hold.clear()
    with pytest.raises(Timeout):
        await client.get_text(f"{server.url}/a", timeout=0.02)
    assert not await client.reachable(f"{server.url}/a", timeout=0.02)


async def test_an_answer_without_end_is_cut_off_packed_or_not(
    client: HttpClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 10_000)
    server.says("/plain", "x" * 20_000)
    server.answers["/packed"] = partial(
        web.Response, body=gzip.compress(b"x" * 10_000_000), headers={"Content-Encoding": "gzip"}
    )
    server.says("/fits", "x" * 10_000)
    for path in ("/plain", "/packed"):
        with pytest.raises(Unavailable, match="more than"):
            await client.get_text(server.url + path)
    assert len(await client.get_text(f"{server.url}/fits")) == 10_000


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://name.invalid/", "no url", "http://[::bad/"])
async def test_who_can_t_be_reached_is_unavailable(client: HttpClient, url: str) -> None:
    with pytest.raises(Unavailable):
        await client.get_text(url, timeout=5)
    assert not await client.reachable(url, timeout=5)


async def test_before_the_start_nothing_is_reachable(server: Server) -> None:
    assert not await HttpClient(user_agent="x").reachable(server.url)


def watches() -> int:
    """Return how many of the kernel's watches over files we hold, of which a whole machine has few."""
    links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(1 for link in links if link.name == "anon_inode:inotify")


async def test_a_client_that_has_stopped_holds_nothing_of_the_system(server: Server) -> None:
    server.says("/a", "here")
    before = watches()
    client = HttpClient(user_agent="x")
    await client.start()
    # The name is looked up, which is what needs them.
    assert await client.get_text(server.url.replace("127.0.0.1", "localhost") + "/a") == "here"
    assert watches()
    await client.stop()
    # The library lets go of them in a thread of its own, perhaps of those of another test only now.
    await until(lambda: watches() <= before, 30)


async def test_cancelling_a_call_cancels_it(client: HttpClient, server: Server) -> None:
    server.hold.clear()
    call = asyncio.ensure_future(client.get_text(f"{server.url}/a"))
    await until(lambda: bool(server.asked))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


# Connectivity.


async def test_any_answer_means_online_and_is_good_for_a_while(
    client: HttpClient, bus: EventBus, server: Server
) -> None:
    connectivity = Connectivity(client, bus, url=f"{server.url}/online")
    assert connectivity.online
    assert await connectivity.check()
    assert await connectivity.check()
    assert server.asked == ["HEAD /online"]
    await connectivity.check(force=True)
    assert len(server.asked) == 2


async def test_askers_at_the_same_time_share_one_look(client: HttpClient, bus: EventBus, server: Server) -> None:
    connectivity = Connectivity(client, bus, url=server.url)
    assert await asyncio.gather(*(connectivity.check() for _ in range(5))) == [True] * 5
    assert len(server.asked) == 1


async def test_offline_is_looked_at_again_sooner_and_both_ways_are_told_of(
    client: HttpClient, bus: EventBus, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    bus.subscribe(InternetChanged, lambda event: told.append(event.online))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/"
    connectivity = Connectivity(client, bus, url=closed)
    assert not await connectivity.check()
    monkeypatch.setattr(connectivity, "_url", server.url)
    assert not await connectivity.check(), "the last look is fresh"
    monkeypatch.setattr(connectivity_module, "FRESH_SECONDS_OFFLINE", 0)
    assert await connectivity.check()
    assert told == [False, True]


# Updater.


async def test_the_version_file_is_fetched_and_lasts(updater: Updater, server: Server, tmp_path: Path) -> None:
    server.says("/stable.json", VERSIONS)
    await updater.fetch()
    assert (updater.versions.supervisor, updater.versions.homeassistant) == ("2099.01.0", "2026.1.1")
    assert updater.versions.plugins["dns"] == "2026.01.1"
    assert updater.versions.plugins["audio"] is None
    stored = json.loads((tmp_path / "updater.json").read_text())
    assert stored["hassos_upgrade"] == {"14": "14.2"}
    assert stored["image"] == {"core": "example/{machine}-core"}
    assert "something" not in stored


async def test_a_machine_that_the_file_does_not_know_gets_the_usual_version(
    updater: Updater, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.says("/stable.json", VERSIONS)
    for machine in ("strange", None):
        monkeypatch.setattr(updater, "_machine", lambda machine=machine: machine)
        await updater.fetch()
        assert updater.versions.homeassistant == "2026.1.0"


@pytest.mark.parametrize(
    ("board", "newest", "about"),
    [
        ("generic-x86-64", "15.0", ("supervisor", "core", "os")),
        ("toaster", None, ("supervisor", "core", "os")),
        (None, None, ("supervisor", "core")),
    ],
)
async def test_the_operating_system_is_that_of_our_board(
    updater: Updater,
    server: Server,
    bus: EventBus,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    board: str | None,
    newest: str | None,
    about: tuple[str, ...],
) -> None:
    told: list[VersionsFetched] = []
    bus.subscribe(VersionsFetched, told.append)
    monkeypatch.setattr(updater, "_board", lambda: board)
    server.says("/stable.json", VERSIONS)
    await updater.fetch()
    assert updater.os_releases == OsReleases(newest, {"14": "14.2"}, "https://example.org/ota")
    assert told == [VersionsFetched(about)]
    assert ("toaster" in caplog.text) == (board == "toaster")


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        [],
        {**VERSIONS, "channel": "dev"},
        {key: value for key, value in VERSIONS.items() if key != "supervisor"},
        {**VERSIONS, "homeassistant": "2026"},
    ],
)
async def test_a_version_file_that_makes_no_sense_changes_nothing(
    updater: Updater, server: Server, content: object
) -> None:
    server.says("/stable.json", content)
    with pytest.raises(Unavailable):
        await updater.fetch()
    assert updater.versions.supervisor is None


async def test_without_internet_nothing_is_fetched(updater: Updater, jobs: JobManager, server: Server) -> None:
    async def offline() -> str | None:
        return "no supervisor internet connection"

    jobs.provide(JobCondition.INTERNET_SYSTEM, offline)
    with pytest.raises(Blocked, match="no supervisor internet connection"):
        await updater.fetch()
    assert server.asked == []


async def test_options_changed_during_a_fetch_are_not_lost(updater: Updater, server: Server) -> None:
    server.says("/stable.json", VERSIONS)
    server.hold.clear()
    fetch = asyncio.ensure_future(updater.fetch())
    await until(lambda: bool(server.asked))
    await updater.set_options(auto_update=False)
    server.hold.set()
    await fetch
    assert (updater.auto_update, updater.versions.supervisor) == (False, "2099.01.0")


async def test_options_changed_at_once_are_all_kept(updater: Updater) -> None:
    await asyncio.gather(updater.set_options(channel="beta"), updater.set_options(auto_update=False))
    assert (updater.channel, updater.auto_update) == ("beta", False)


async def test_a_channel_changed_during_a_fetch_does_not_get_the_other_s_versions(
    updater: Updater, server: Server
) -> None:
    server.says("/stable.json", VERSIONS)
    server.hold.clear()
    fetch = asyncio.ensure_future(updater.fetch())
    await until(lambda: bool(server.asked))
    await updater.set_options(channel="beta")
    server.hold.set()
    with pytest.raises(Unavailable, match="stable"):
        await fetch
    assert updater.versions.supervisor is None


async def test_a_channel_that_nobody_knows_is_refused(updater: Updater) -> None:
    with pytest.raises(vol.Invalid):
        await updater.set_options(channel="nightly")
    assert updater.channel == "stable"


# Security.


def sha1(password: str) -> str:
    return hashlib.sha1(password.encode()).hexdigest().upper()


@pytest.fixture
def security(tmp_path: Path, bus: EventBus, client: HttpClient, server: Server) -> Security:
    return Security(StateFile(tmp_path / "security.json", SECURITY_SCHEMA, bus), client, leak_url=server.url)


async def test_only_the_beginning_of_a_hash_is_sent(security: Security, server: Server) -> None:
    digest = sha1("hunter2")
    server.says(f"/{digest[:5]}", f"{'0' * 35}:3\r\n{digest[5:].lower()}:17\r\n")
    assert await security.leaked({digest}) is True
    assert server.asked == [f"GET /{digest[:5]}"]
    assert await security.leaked({digest}) is True
    assert len(server.asked) == 1, "a known leak is not asked for again"


async def test_a_hash_that_only_begins_alike_has_not_leaked(security: Security, server: Server) -> None:
    digest = sha1("hunter2")
    server.says(f"/{digest[:5]}", f"{digest[5:]}:1\r\n")
    assert await security.leaked({digest})
    assert await security.leaked({digest[:5] + "0" * 35}) is False


async def test_when_nobody_can_tell_that_is_the_answer_except_for_known_leaks(
    security: Security, server: Server
) -> None:
    leaked, other = sha1("hunter2"), "0" * 40
    server.says(f"/{leaked[:5]}", f"{leaked[5:]}:1")
    assert await security.leaked({leaked})
    assert await security.leaked({other}) is None
    assert await security.leaked({other, leaked}) is True


async def test_what_is_no_hash_is_never_sent(security: Security, server: Server) -> None:
    assert await security.leaked({"../../etc/passwd", "hunter2", sha1("x").lower()}) is False
    assert await security.leaked(()) is False
    assert server.asked == []


async def test_security_settings_are_read(security: Security, tmp_path: Path) -> None:
    (tmp_path / "security.json").write_text('{"pwned": false, "force_security": true, "content_trust": true}')
    await security.load()
    assert (security.pwned, security.force) == (False, True)


# Docker settings.


@pytest.fixture
def docker(tmp_path: Path, bus: EventBus, resolution: Resolution) -> DockerSettings:
    state = StateFile(tmp_path / "docker.json", DOCKER_SCHEMA, bus)
    mirrors = Mirrors(StateFile(tmp_path / "mirrors.json", MIRRORS_SCHEMA, bus))
    return DockerSettings(state, mirrors, resolution)


async def test_changed_settings_of_the_network_want_a_reboot_and_the_same_ones_nothing(
    docker: DockerSettings, resolution: Resolution
) -> None:
    await docker.set_options({"enable_ipv6": None})
    assert resolution.issues == ()
    await docker.set_options({"enable_ipv6": True, "mtu": 1400})
    assert (docker.enable_ipv6, docker.mtu) == (True, 1400)
    [issue] = resolution.issues
    assert issue.type == "reboot_required"
    assert [found.type for found in resolution.suggestions_for(issue)] == ["execute_reboot"]


@pytest.mark.parametrize("changes", [{"mtu": 67}, {"mtu": 65536}, {"mtu": "big"}, {"enable_ipv6": 1}])
async def test_settings_that_make_no_sense_are_refused(docker: DockerSettings, changes: dict[str, Any]) -> None:
    with pytest.raises(vol.Invalid):
        await docker.set_options(changes)
    assert (docker.enable_ipv6, docker.mtu) == (None, None)


async def test_logins_come_and_go_even_at_once(docker: DockerSettings, tmp_path: Path) -> None:
    login = {"username": "me", "password": "secret"}
    await asyncio.gather(*(docker.add_registries({f"r{number}.example.org": login}) for number in range(5)))
    await docker.remove_registry("r0.example.org")
    with pytest.raises(NotFound):
        await docker.remove_registry("r0.example.org")
    assert sorted(docker.registries) == [f"r{number}.example.org" for number in range(1, 5)]
    assert (tmp_path / "docker.json").stat().st_mode & 0o777 == 0o600
    docker.registries.clear()
    assert docker.registries


async def test_mirrors_have_a_file_of_their_own_and_one_name_for_docker_hub(
    docker: DockerSettings, tmp_path: Path
) -> None:
    await docker.mirrors.set(
        {"hub.docker.com": ["a.example.org", "b.example.org:5000/hub"], "ghcr.io": ["c.example.org"]}
    )
    assert docker.mirrors.of("docker.io") == ("a.example.org", "b.example.org:5000/hub")
    assert docker.mirrors.of("quay.io") == ()
    await docker.mirrors.remove("index.docker.io")
    with pytest.raises(NotFound):
        await docker.mirrors.remove("docker.io")
    assert not (tmp_path / "docker.json").exists()
    await docker.mirrors.set({"quay.io": ["c.example.org"]})
    again = Mirrors(StateFile(tmp_path / "mirrors.json", MIRRORS_SCHEMA, EventBus()))
    await again.load()
    assert again.all == {"ghcr.io": ["c.example.org"], "quay.io": ["c.example.org"]}


# Configuration.


@pytest.fixture
def configuration(tmp_path: Path, bus: EventBus) -> Configuration:
    return Configuration(StateFile(tmp_path / "config.json", CONFIGURATION_SCHEMA, bus))


async def test_the_configuration_of_an_existing_installation_is_read(
    configuration: Configuration, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"timezone": "Europe/Vienna", "wait_boot": 9, "diagnostics": False, "addons_custom_list": ["x"]})
    )
    await configuration.load()
    assert (configuration.timezone, configuration.wait_boot, configuration.diagnostics) == ("Europe/Vienna", 9, False)
    assert configuration.feature_flags == {"supervisor_v2_api": False, "supervisor_websocket_v2_api": False}
    assert (configuration.logging, configuration.debug, configuration.country) == ("info", False, None)


async def test_repositories_of_old_are_handed_over_once(configuration: Configuration, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"addons_custom_list": ["https://a.example/x", 7], "apps_custom_list": "none"})
    )
    await configuration.load()
    await configuration.change(timezone="Europe/Vienna")
    assert configuration.old_repositories == ["https://a.example/x"]
    await configuration.load()
    assert configuration.old_repositories == ["https://a.example/x"]
    await configuration.forget_old_repositories()
    await configuration.load()
    assert configuration.old_repositories == []


async def test_changes_at_once_are_all_kept(configuration: Configuration, tmp_path: Path) -> None:
    await asyncio.gather(
        configuration.change(timezone="UTC"), configuration.change(country="AT"), configuration.change(debug=True)
    )
    assert (configuration.timezone, configuration.country, configuration.debug) == ("UTC", "AT", True)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert (stored["timezone"], stored["country"], stored["debug"]) == ("UTC", "AT", True)


@pytest.mark.parametrize("values", [{"wait_boot": 0}, {"wait_boot": 61}, {"logging": "loud"}, {"timezone": 1}])
async def test_a_value_that_does_not_fit_changes_nothing(configuration: Configuration, values: Any) -> None:
    with pytest.raises(vol.Invalid):
        await configuration.change(**values)
    assert (configuration.wait_boot, configuration.logging, configuration.timezone) == (5, "info", None)


# Scheduler.


async def test_work_comes_round_in_the_running_state_only_and_a_failure_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state, count, enough = CoreState.STARTUP, 0, asyncio.Event()

    async def work() -> None:
        nonlocal count
        assert state is CoreState.RUNNING
        count += 1
        if count == 1:
            raise Unavailable("known")
        if count == 2:
            raise ZeroDivisionError
        enough.set()

    scheduler = Scheduler(lambda: state)
    scheduler.every(0.002, "the work", work)
    await asyncio.sleep(0.02)
    assert count == 0
    state = CoreState.RUNNING
    await asyncio.wait_for(enough.wait(), 30)
    await scheduler.stop()
    last = count
    await asyncio.sleep(0.01)
    assert count == last
    assert "the work: known" in caplog.text
    assert "the work failed" in caplog.text


# The daemon and the judges of conditions.


def daemon(updater: Updater, **changes: Any) -> Daemon:
    settings: dict[str, Any] = {"container_name": None, "dev": False, "restart": lambda: None, **changes}
    return Daemon(object(), updater, **settings)  # type: ignore[arg-type] - not asked without a container


async def test_an_update_is_available_when_a_newer_version_is_known_except_while_developing(
    updater: Updater, server: Server
) -> None:
    assert not daemon(updater).update_available
    server.says("/stable.json", VERSIONS)
    await updater.fetch()
    assert daemon(updater).update_available
    assert not daemon(updater, dev=True).update_available


async def test_the_daemon_s_own_use_of_the_machine_is_plausible(updater: Updater) -> None:
    stats = await daemon(updater).stats()
    assert 1_000_000 < stats.memory_usage < stats.memory_limit
    assert 0 < stats.memory_percent < 100
    assert 0 <= stats.cpu_percent <= 100


async def test_each_condition_has_a_judge_whose_words_are_the_contract_s(
    tmp_path: Path, bus: EventBus, resolution: Resolution, updater: Updater, client: HttpClient, server: Server
) -> None:
    state, free = CoreState.SETUP, 1.5 * 2**30

    class AHost(Host):
        async def free_bytes(self) -> int:
            return int(free)

    jobs = JobManager(bus, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, bus))
    connectivity = Connectivity(client, bus, url="http://127.0.0.1:1/")
    host = AHost(data=tmp_path, machine=None)
    Judges(lambda: state, resolution, host, connectivity, updater, daemon(updater)).provide(jobs)
    server.says("/stable.json", VERSIONS)
    for condition in JobCondition:
        if condition is JobCondition.INTERNET_SYSTEM:
            continue
        assert condition in jobs._checks
    monitored = {
        UnsupportedReason.OS_VERSION,
        UnsupportedReason.HOME_ASSISTANT_CORE_VERSION,
        UnsupportedReason.SYSTEM_ARCHITECTURE,
    }
    for reason in monitored:
        resolution.set_unsupported(reason, present=True)
    resolution.add_unhealthy(UnhealthyReason.SETUP)
    resolution.add_unhealthy(UnhealthyReason.DOCKER)
    await updater._change({"supervisor": "2099.01.0", "auto_update": False})
    words = {
        "healthy": "system is not healthy - docker, setup",
        "running": "system is not running - setup",
        "frozen": "system is not frozen - setup",
        "free_space": "not enough free space (1.5GB) left on the device",
        "internet_system": "no supervisor internet connection",
        "internet_host": None,
        "haos": "no Home Assistant OS available",
        "os_agent": "no Home Assistant OS-Agent available",
        "os_supported": "unsupported OS version",
        "home_assistant_core_supported": "unsupported Home Assistant Core version",
        "host_network": "host Network Manager not available",
        "auto_update": "supervisor auto updates disabled",
        "supervisor_updated": "supervisor needs to be updated first",
        "architecture_supported": "unsupported system architecture",
        "plugins_updated": None,
        "mount_available": "mounting not supported on system",
    }
    assert {condition.value: await jobs._checks[condition]() for condition in JobCondition} == words
    assert [issue.type for issue in resolution.issues] == ["free_space"]
    state, free = CoreState.RUNNING, 2 * 2**30
    for condition in (JobCondition.RUNNING, JobCondition.FREE_SPACE):
        assert await jobs._checks[condition]() is None
    assert resolution.issues == ()


# The journal's two ways.


class ASource:
    def __init__(self, name: str, *, available: bool) -> None:
        self.name, self.available = name, available

    async def boots(self) -> tuple[str, ...]:
        return (self.name,)

    async def identifiers(self) -> list[str]:
        return [self.name]


async def test_the_first_way_to_the_journal_that_is_open_is_taken() -> None:
    gateway, direct = ASource("gateway", available=False), ASource("direct", available=True)
    journal = PreferredJournal((gateway, direct))  # type: ignore[arg-type] - two sources without entries
    assert journal.available
    assert await journal.boots() == ("direct",)
    gateway.available = True
    assert await journal.identifiers() == ["gateway"]
    gateway.available = direct.available = False
    assert not journal.available
    with pytest.raises(Unavailable):
        await journal.boots()


async def test_a_disk_that_refuses_keeps_the_settings_as_they_were(
    configuration: Configuration, tmp_path: Path
) -> None:
    (tmp_path / ".config.json.new").mkdir()
    with pytest.raises(Internal):
        await configuration.change(debug=True)
    assert configuration.debug is False
