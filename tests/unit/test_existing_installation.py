"""The data of an existing installation is read, kept and written so that its own daemon reads it (contract §3.11)."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.http import HttpClient
from supervisor.errors import Invalid
from supervisor.events import EventBus
from supervisor.jobs import JobCondition, JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.addons.record import addons_schema
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.managers.adoption import adopt, take_over
from supervisor.managers.configuration import CONFIGURATION_SCHEMA, Configuration
from supervisor.managers.discovery import DISCOVERY_SCHEMA, DiscoveryManager
from supervisor.managers.docker import DOCKER_SCHEMA, DockerSettings
from supervisor.managers.host import Host
from supervisor.managers.ingress import INGRESS_SCHEMA, IngressManager
from supervisor.managers.mirrors import MIRRORS_SCHEMA, Mirrors
from supervisor.managers.resolution import RESOLUTION_SCHEMA, IssueType, Resolution
from supervisor.managers.security import SECURITY_SCHEMA, Security
from supervisor.managers.services import SERVICES_SCHEMA, ServiceManager
from supervisor.managers.store import STORE_SCHEMA, StoreManager
from supervisor.managers.updater import UPDATER_SCHEMA, Updater
from supervisor.model.manifest import AddonBoot
from supervisor.paths import DataPaths
from supervisor.state import Schema, StateFile

EXISTING = Path(__file__).parent / "existing_installation"
MQTT_TOKEN = json.loads((EXISTING / "addons.json").read_text())["user"]["core_mosquitto"]["access_token"]
ALL = ("a0d7b954_nodered", "core_mosquitto", "core_whisper", "local_thermostat")


class Installation:
    """The managers over a data folder, as the daemon has them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = DataPaths(root, root)
        self.bus = EventBus()
        self.resolution = Resolution(self.bus)
        self.jobs = JobManager(self.bus, self.file("jobs.json", JOBS_SCHEMA))
        self.host = Host(data=root, machine="generic-x86-64")
        self.engine = Engine("unix:///nowhere", self.bus)
        self.store = StoreManager(
            paths=self.paths,
            state=self.file("store.json", STORE_SCHEMA),
            git=None,  # type: ignore[arg-type] - nothing is cloned here
            jobs=self.jobs,
            resolution=self.resolution,
            bus=self.bus,
            with_builtin_remotes=False,
        )
        self.ingress = IngressManager(self.file("ingress.json", INGRESS_SCHEMA))
        self.registry = AddonRegistry(
            self.file("addons.json", addons_schema), self.bus, self.host, self.store, self.ingress
        )
        self.configuration = Configuration(self.file("config.json", CONFIGURATION_SCHEMA))
        mirrors = Mirrors(self.file("mirrors.json", MIRRORS_SCHEMA))
        self.docker = DockerSettings(self.file("docker.json", DOCKER_SCHEMA), mirrors, self.resolution)
        self.http = HttpClient(user_agent="test")
        self.updater = Updater(
            self.file("updater.json", UPDATER_SCHEMA),
            self.http,
            self.jobs,
            self.bus,
            version_url="",
            machine=lambda: None,
            board=lambda: None,
        )
        self.security = Security(self.file("security.json", SECURITY_SCHEMA), self.http, leak_url="")
        self.services = ServiceManager(self.file("services.json", SERVICES_SCHEMA), self.registry, self.jobs, self.bus)
        self.discovery = DiscoveryManager(
            self.file("discovery.json", DISCOVERY_SCHEMA), self.registry, self.store, self.jobs, self.bus
        )

    def file(self, name: str, schema: Schema) -> StateFile:
        return StateFile(self.root / name, schema, self.bus)

    def stored(self, name: str) -> Any:
        return json.loads((self.root / name).read_text())

    async def load(self) -> Installation:
        await take_over(self.paths, self.resolution)
        for part in (
            self.configuration, self.jobs, self.docker, self.updater, self.security, self.ingress, self.registry,
            self.services, self.discovery,
        ):  # fmt: skip
            await part.load()
        return self

    def issues(self) -> list[tuple[str, str | None]]:
        return [(issue.type.value, issue.reference) for issue in self.resolution.issues]


def aside(root: Path) -> list[Path]:
    """Return the files that could not be read."""
    return list(root.glob("*.corrupt-*"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    shutil.copytree(EXISTING, data)
    return data


async def test_every_file_of_an_existing_installation_is_read(root: Path) -> None:
    found = await Installation(root).load()
    assert found.issues() == []
    assert aside(root) == []
    assert tuple(found.registry.installed) == ALL

    assert (found.configuration.timezone, found.configuration.country) == ("Europe/Berlin", "DE")
    assert (found.configuration.wait_boot, found.configuration.logging) == (7, "warning")
    assert found.configuration.feature_flags["supervisor_v2_api"] is True
    assert found.docker.registries["docker.io"] == {"username": "someone", "password": "a-password"}
    assert (found.docker.mtu, found.docker.enable_ipv6) == (1400, None)
    assert (found.updater.channel, found.updater.auto_update) == ("beta", False)
    assert found.updater.versions.plugins["dns"] == "2026.07.1"
    assert (found.security.pwned, found.security.force) == (False, True)
    assert found.jobs.ignore_conditions == (JobCondition.HEALTHY,)
    record = found.services.record("mqtt")
    assert record is not None
    assert (record.owner, record.data["port"], record.data["username"]) == ("core_mosquitto", 1883, "addons")
    assert found.discovery.get("c0ffee00" * 4).config["username"] == "homeassistant"
    assert found.discovery.get("decade00" * 4).config == {}
    assert found.registry.get("a0d7b954_nodered").ingress_port == 62836


async def test_what_the_user_chose_for_each_add_on_is_kept(root: Path) -> None:
    registry = (await Installation(root).load()).registry
    broker, nodered, whisper, thermostat = (
        registry.get(slug) for slug in ("core_mosquitto", "a0d7b954_nodered", "core_whisper", "local_thermostat")
    )
    assert broker.record.image_reference == "homeassistant/amd64-addon-mosquitto:6.5.1"
    assert broker.record.options["logins"] == [{"username": "meter", "password": "!secret mqtt_meter"}]
    assert broker.ports == {"1883/tcp": 1883, "1884/tcp": None, "8883/tcp": 18883, "8884/tcp": None}
    assert (broker.record.auto_update, broker.record.watchdog, broker.boot) == (True, True, AddonBoot.AUTO)
    assert broker.record.translations["de"]["configuration"]["logins"]["name"] == "Zugänge"
    assert (nodered.record.protected, nodered.record.ingress_panel) == (False, True)
    assert nodered.record.audio_output == "alsa_output.pci-0000_00_1f.3.analog-stereo"
    assert nodered.manifest.uart, "an older key of the stored manifest still counts"
    assert nodered.manifest.config["backup"] == "hot"
    assert (whisper.record.system_managed, whisper.boot) == (True, AddonBoot.MANUAL)
    assert whisper.record.system_managed_config_entry == "01JCKZ0Q9V6H3T6M2E8Y4W7R5N"
    assert thermostat.manifest.needs_build
    assert thermostat.record.image == "local/amd64-addon-thermostat"


IMAGE = r"^([a-z0-9][a-z0-9.\-]*(:[0-9]+)?/)*?([a-z0-9{][a-z0-9.\-_{}]*/)*?[a-z0-9._{}-]+$"
VERSION = vol.Any(vol.All(str, vol.Length(min=1)))
PORTS = {vol.Match(r"^\d+(/tcp|/udp)?$"): vol.Any(None, vol.All(int, vol.Range(1, 65535)))}
# The contract's table, as another daemon checks it: what it does not know it drops.
USER_OF_OTHERS = vol.Schema(
    {
        vol.Required("version"): VERSION,
        vol.Optional("image"): vol.Match(
            r"^([a-z0-9][a-z0-9.\-]*(:[0-9]+)?/)*?([a-z0-9{][a-z0-9.\-_{}]*/)*?[a-z0-9._{}-]+$"
        ),
        vol.Optional("uuid"): vol.Match(r"^[0-9a-f]{32}$"),
        vol.Optional("access_token"): vol.Match(r"^[0-9a-f]{32,256}$"),
        vol.Optional("ingress_token"): str,
        vol.Optional("options"): dict,
        **{
            vol.Optional(flag): bool
            for flag in ("auto_update", "watchdog", "ingress_panel", "system_managed", "protected")
        },
        vol.Optional("boot"): vol.In(["auto", "manual"]),
        vol.Optional("network"): PORTS,
        vol.Optional("audio_input"): vol.Any(None, str),
        vol.Optional("audio_output"): vol.Any(None, str),
        vol.Optional("system_managed_config_entry"): vol.Any(None, str),
    },
    extra=vol.REMOVE_EXTRA,
)
SYSTEM_OF_OTHERS = vol.Schema(
    {
        vol.Required("name"): str,
        vol.Required("version"): VERSION,
        vol.Required("slug"): str,
        vol.Required("description"): str,
        vol.Required("arch"): [str],
        vol.Required("repository"): str,
        vol.Required("translations"): {str: dict},
        vol.Optional("startup"): vol.In(["initialize", "system", "services", "application", "once"]),
        vol.Optional("boot"): vol.In(["auto", "manual", "manual_only"]),
        vol.Optional("ports"): PORTS,
        vol.Optional("options"): dict,
        vol.Optional("schema"): vol.Any(False, dict),
        vol.Optional("map"): [vol.Any(str, {vol.Required("type"): str, vol.Optional("read_only"): bool, "path": str})],
        vol.Optional("devices"): [str],
        vol.Optional("image"): str,
    },
    extra=vol.ALLOW_EXTRA,
)


async def test_what_is_written_is_what_another_daemon_reads(root: Path) -> None:
    found = await Installation(root).load()
    before = json.loads((EXISTING / "addons.json").read_text())
    for addon in found.registry.installed.values():
        await found.registry.change(addon, watchdog=True)
    after = found.stored("addons.json")
    assert after["user"].keys() == after["system"].keys() == before["user"].keys()
    for slug, user in after["user"].items():
        read = USER_OF_OTHERS(user)
        for key, value in before["user"][slug].items():
            if key not in {"access_token", "watchdog"} and value is not None:
                assert read[key] == value, (slug, key)
        system = SYSTEM_OF_OTHERS(after["system"][slug])
        for key in ("name", "version", "slug", "repository", "translations", "options", "schema"):
            assert system[key] == before["system"][slug][key], (slug, key)
    assert MQTT_TOKEN not in (root / "addons.json").read_text()


async def test_the_other_files_are_written_as_others_read_them(root: Path) -> None:
    found = await Installation(root).load()
    await found.configuration.change(logging="info")
    await found.docker.add_registries({"registry.example.org": {"username": "u", "password": "p"}})
    await found.updater.set_options(auto_update=True)
    await found.ingress.release("nobody")
    await found.jobs.set_ignore_conditions([JobCondition.FREE_SPACE])

    config = found.stored("config.json")
    for key in ("timezone", "last_boot", "version", "image", "wait_boot", "country"):
        assert config[key] == json.loads((EXISTING / "config.json").read_text())[key]
    docker = found.stored("docker.json")
    assert set(docker) == {"registries", "enable_ipv6", "mtu"}, "a key that it does not know is an error there"
    host = re.compile(r"^([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}$")
    assert all(
        host.match(name) and set(login) == {"username", "password"} for name, login in docker["registries"].items()
    )
    updater = found.stored("updater.json")
    assert {**json.loads((EXISTING / "updater.json").read_text()), "auto_update": True} == updater
    assert found.stored("ingress.json") == json.loads((EXISTING / "ingress.json").read_text())
    assert found.stored("jobs.json") == {"ignore_conditions": ["free_space"]}


def newer(root: Path) -> None:
    """Give the data the names that the newest versions use."""
    (root / "addons.json").rename(root / "apps.json")
    for name in ("core/mosquitto", "local/thermostat", "git/a0d7b954/node-red", "data/core_mosquitto"):
        folder = root / "apps" / name
        folder.mkdir(parents=True)
        (folder / "file").write_text(name)
    (root / "app_configs" / "a0d7b954_nodered").mkdir(parents=True)
    services = (root / "services.json").read_text().replace('"addon":', '"app":')
    (root / "services.json").write_text(services)
    discovery = (root / "discovery.json").read_text().replace('"addon":', '"app":')
    (root / "discovery.json").write_text(discovery)


async def test_an_installation_of_the_newest_version_is_taken_over_whole(root: Path) -> None:
    newer(root)
    found = await Installation(root).load()
    assert found.issues() == []
    assert tuple(found.registry.installed) == ALL
    assert found.services.record("mqtt") is not None
    assert found.discovery.get("c0ffee00" * 4).owner == "core_mosquitto"
    for name in ("core/mosquitto", "local/thermostat", "git/a0d7b954/node-red", "data/core_mosquitto"):
        assert (root / "addons" / name / "file").read_text() == name
    assert (root / "addon_configs" / "a0d7b954_nodered").is_dir()
    assert not (root / "apps").exists()
    assert not (root / "apps.json").exists()


async def test_what_lies_under_both_names_is_merged_and_never_overwritten(root: Path) -> None:
    newer(root)
    theirs, ours = root / "apps" / "data", root / "addons" / "data"
    for folder, text in ((theirs, "newer"), (ours, "older")):
        (folder / "both").mkdir(parents=True)
        (folder / "both" / "file").write_text(text)
    (root / "addons.json").write_text('{"user": {}, "system": {}}')
    found = await Installation(root).load()
    assert (ours / "both" / "file").read_text() == "older"
    assert (theirs / "both" / "file").read_text() == "newer"
    assert (ours / "core_mosquitto" / "file").is_file()
    assert found.issues() == [("corrupt_state_file", "apps/data/both"), ("corrupt_state_file", "apps.json")]
    assert found.registry.installed == {}
    assert "core_mosquitto" in (root / "apps.json").read_text()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    (elsewhere / "thing").mkdir(parents=True)
    (root / "addons").mkdir(parents=True)
    (root / "app_configs").symlink_to(elsewhere)
    adopt(DataPaths(root, root))
    assert (elsewhere / "thing").is_dir()
    assert (root / "app_configs").is_symlink()


NAMES = st.sampled_from(["a", "b", "c"])
TREE = st.dictionaries(st.tuples(st.sampled_from(["core", "local", "git", "data"]), NAMES), st.integers(0, 9))


@given(TREE, TREE)
def test_whatever_lies_where_no_file_is_lost_and_a_second_run_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, theirs: dict[tuple[str, str], int], ours: dict[tuple[str, str], int]
) -> None:
    root = tmp_path_factory.mktemp("data")
    for base, tree in (("apps", theirs), ("addons", ours)):
        for (kind, name), value in tree.items():
            (root / base / kind / name).mkdir(parents=True)
            (root / base / kind / name / "file").write_text(f"{base}{value}")
    before = sorted(file.read_text() for file in root.rglob("file"))
    left = adopt(DataPaths(root, root))
    assert sorted(file.read_text() for file in root.rglob("file")) == before
    assert {one.path for one in left} == {root / "apps" / kind / name for kind, name in theirs.keys() & ours.keys()}
    assert all((root / "addons" / kind / name).is_dir() for kind, name in {*theirs, *ours})
    shape = sorted(root.rglob("*"))
    assert [one.path for one in adopt(DataPaths(root, root))] == [one.path for one in left]
    assert sorted(root.rglob("*")) == shape


def damaged(root: Path, damage: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((root / "addons.json").read_text())
    damage(data)
    (root / "addons.json").write_text(json.dumps(data))
    return data


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data["user"]["core_whisper"].update(version=None),
        lambda data: data["user"]["core_whisper"].update(boot="never"),
        lambda data: data["user"].update(core_whisper=["no", "mapping"]),
        lambda data: data["user"].pop("core_whisper"),
        lambda data: data["system"].pop("core_whisper"),
        lambda data: data["system"].update(core_whisper=7),
        lambda data: data["system"]["core_whisper"].pop("arch"),
    ],
)
async def test_an_entry_that_makes_no_sense_is_put_aside_before_anything_is_saved(root: Path, damage: Any) -> None:
    data = damaged(root, damage)
    found = await Installation(root).load()
    assert tuple(found.registry.installed) == tuple(slug for slug in ALL if slug != "core_whisper")
    (issue,) = found.resolution.issues
    assert (issue.type, issue.reference) == (IssueType.CORRUPT_STATE_FILE, "addons.json")
    assert issue.reference_extra is not None
    assert (issue.reference_extra["entry"], issue.reference_extra["kept"]) == ("core_whisper", "addons.refused.json")
    (kept,) = found.stored("addons.refused.json")["entries"]
    assert kept["slug"] == "core_whisper"
    assert kept["user"] == data["user"].get("core_whisper")
    assert kept["system"] == data["system"].get("core_whisper")
    assert (root / "addons.refused.json").stat().st_mode & 0o777 == 0o600

    await found.registry.change(found.registry.get("core_mosquitto"), watchdog=False)
    assert "core_whisper" not in found.stored("addons.json")["user"]
    again = await Installation(root).load()
    assert again.stored("addons.refused.json")["entries"] == [kept]


async def test_the_same_entry_is_put_aside_once_and_another_beside_it(root: Path) -> None:
    damaged(root, lambda data: data["user"]["core_whisper"].update(boot="never"))
    for _ in range(2):
        await Installation(root).load()
    damaged(root, lambda data: data["user"]["core_whisper"].update(boot="often"))
    found = await Installation(root).load()
    assert [kept["user"]["boot"] for kept in found.stored("addons.refused.json")["entries"]] == ["never", "often"]


async def test_a_file_that_is_no_json_at_all_is_kept_and_told(root: Path) -> None:
    (root / "addons.json").write_text("{")
    found = await Installation(root).load()
    assert found.registry.installed == {}
    (kept,) = aside(root)
    assert kept.read_text() == "{"
    assert found.issues() == [("corrupt_state_file", "addons.json")]


def test_the_switches_of_checks_are_read() -> None:
    stored = json.loads((EXISTING / "resolution.json").read_text())
    assert RESOLUTION_SCHEMA(stored) == stored


async def test_a_record_that_makes_no_sense_is_never_saved(root: Path) -> None:
    found = await Installation(root).load()
    before = (root / "addons.json").read_bytes()
    with pytest.raises(Invalid, match="core_mosquitto"):
        await found.registry.change(found.registry.get("core_mosquitto"), version="")
    assert (root / "addons.json").read_bytes() == before
