"""What each key of a manifest does to the container (add-on contract §1.5, §4.3, §4.4)."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.drivers.docker.spec import Bind, ContainerSpec, Ulimit, engine_config
from supervisor.drivers.pulse import Door
from supervisor.drivers.sysfs import Device, DeviceTable
from supervisor.managers.addons.spec import AddonRun, Surroundings, container_spec, hostname_of
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import validate_manifest
from supervisor.paths import DataPaths

LEAST: dict[str, Any] = {
    "name": "Lamp",
    "version": "1.2.3",
    "slug": "lamp",
    "description": "Lights up",
    "arch": ["amd64"],
}
HOST = "/mnt/data/supervisor"
DEVICES = DeviceTable(
    [
        Device("ttyUSB0", "/dev/ttyUSB0", "/sys/devices/a/ttyUSB0", "tty", 188, 0, ("/dev/serial/by-id/usb-stick",)),
        Device("ttyX0", "/dev/ttyX0", "/sys/devices/a/ttyX0", "tty", 250, 3),
        Device("hidraw0", "/dev/hidraw0", "/sys/devices/a/hidraw0", "hidraw", 240, 0),
        Device("media0", "/dev/media0", "/sys/devices/a/media0", "media", 236, 0),
        Device("gpiochip0", "/dev/gpiochip0", "/sys/devices/a/gpiochip0", "gpio", 254, 0),
        Device("sda1", "/dev/sda1", "/sys/devices/a/sda1", "block", 8, 1),
    ]
)
NO_DEVICES = DeviceTable()


def surroundings(**changes: Any) -> Surroundings:
    around = Surroundings(
        DataPaths(Path("/data"), Path(HOST)), NO_DEVICES, IPv4Address("172.30.32.2"), "Europe/Vienna", apparmor=True
    )
    return attrs.evolve(around, **changes)


def spec(
    *,
    protected: bool = True,
    around: Surroundings | None = None,
    run: dict[str, Any] | None = None,
    slug: str = "local_my_lamp",
    **keys: Any,
) -> ContainerSpec:
    manifest = Manifest.from_config(validate_manifest({**LEAST, **keys})[0])
    start: dict[str, Any] = {"ports": {}, "options": {}, **(run or {})}
    return container_spec(
        AddonRun(slug, manifest, "example/lamp:1.2.3", "feed" * 28, protected=protected, **start),
        around or surroundings(),
    )


def bind(found: ContainerSpec, target: str) -> Bind | None:
    binds = [entry for entry in found.binds if entry.target == target]
    assert len(binds) <= 1
    return binds[0] if binds else None


def test_the_least_add_on_gets_the_container_of_the_contract() -> None:
    assert spec() == ContainerSpec(
        name="addon_local_my_lamp",
        image="example/lamp:1.2.3",
        hostname="local-my-lamp",
        environment={"TZ": "Europe/Vienna", "SUPERVISOR_TOKEN": "feed" * 28, "HASSIO_TOKEN": "feed" * 28},
        binds=(
            Bind(Path("/dev"), "/dev", non_recursive_read_only=True),
            Bind(Path(f"{HOST}/addons/data/local_my_lamp"), "/data", read_only=False),
        ),
        tmpfs={"/dev/shm": ""},
        aliases=("local-my-lamp",),
        extra_hosts={"supervisor": IPv4Address("172.30.32.2"), "hassio": IPv4Address("172.30.32.2")},
        init=True,
        security_opt=("seccomp=unconfined",),
        oom_score_adj=200,
        labels={"supervisor_managed": ""},
        cid_file=spec().cid_file,
    )
    cid = spec().cid_file
    assert cid is not None
    assert (cid.path, cid.host_path) == (
        Path("/data/cid_files/addon_local_my_lamp.cid"),
        Path(f"{HOST}/cid_files/addon_local_my_lamp.cid"),
    )


# Keys that say nothing about the container: how the add-on is shown, found, started, talked to, backed up.
SILENT: dict[str, Any] = {
    "homeassistant": "2024.1.0",
    "url": "https://example.org/",
    "stage": "experimental",
    "machine": ["generic-x86-64"],
    "breaking_versions": ["1.0.0"],
    "startup": "system",
    "boot": "manual_only",
    "timeout": 99,
    "watchdog": "tcp://[HOST]:80",
    "ports_description": {"80/tcp": "Web"},
    "webui": "http://[HOST]:[PORT:80]/",
    "ingress": True,
    "ingress_port": 1234,
    "ingress_entry": "ui",
    "ingress_stream": True,
    "panel_icon": "mdi:lamp",
    "panel_title": "Lamp",
    "panel_admin": False,
    "hassio_api": True,
    "hassio_role": "admin",
    "homeassistant_api": True,
    "auth_api": True,
    "services": ["mqtt:need"],
    "discovery": ["mqtt"],
    "backup": "cold",
    "backup_pre": "true",
    "backup_post": "true",
    "backup_exclude": ["*.log"],
    "schema": {"level": "int"},
    "options": {"level": 1},
    "image": "example/{arch}-lamp",
    "advanced": True,
    "codenotary": "someone@example.org",
    "ports": {"80/tcp": 8080},
}

# Keys that change fields of the container: what the field is then.
SPEAKING: list[tuple[str, Any, dict[str, Any]]] = [
    ("init", False, {"init": False}),
    ("stdin", True, {"stdin": True}),
    ("host_network", True, {"network": "host", "ports": {}}),
    ("host_uts", True, {"uts_mode": "host", "hostname": None, "domainname": None, "aliases": ("local-my-lamp",)}),
    ("host_ipc", True, {"tmpfs": {}}),
    ("tmpfs", True, {"tmpfs": {"/tmp": "", "/dev/shm": ""}}),
    ("apparmor", False, {"security_opt": ("seccomp=unconfined", "apparmor=unconfined")}),
    ("privileged", ["NET_ADMIN", "SYS_TIME"], {"capabilities": ("NET_ADMIN", "SYS_TIME")}),
    ("ulimits", {"nofile": 7, "nproc": {"soft": 1, "hard": 2}},
     {"ulimits": (Ulimit("nofile", 7, 7), Ulimit("nproc", 1, 2))}),
    ("usb", True, {"device_cgroup_rules": ("c 189:* rwm", "c 180:* rwm")}),
    ("uart", True, {"device_cgroup_rules": ("c 204:* rwm", "c 188:* rwm", "c 166:* rwm")}),
    ("video", True, {"device_cgroup_rules": ("c 29:* rwm", "c 81:* rwm", "c 226:* rwm")}),
    ("gpio", True, {"device_cgroup_rules": ()}),
    ("devices", ["/dev/none"], {"device_cgroup_rules": ()}),
    ("kernel_modules", True, {"capabilities": ("SYS_MODULE",)}),
    ("realtime", True, {
        "capabilities": ("SYS_NICE",),
        "cpu_rt_runtime": None,
        "ulimits": (Ulimit("rtprio", 90, 99), Ulimit("memlock", 128 * 2**20, 128 * 2**20)),
    }),
    ("full_access", True, {"device_cgroup_rules": ()}),
    ("docker_api", True, {}),
    ("host_pid", True, {"pid_mode": None}),
    ("legacy", True, {}),
    ("environment", {"COLOR": "red"}, {}),
    ("map", ["ssl"], {}),
    ("udev", True, {}),
    ("devicetree", True, {}),
    ("host_dbus", True, {}),
    ("journald", True, {}),
    ("audio", True, {}),
]  # fmt: skip
BINDS_OR_ENVIRONMENT = {"environment", "map", "udev", "devicetree", "host_dbus", "journald", "audio", "kernel_modules"}


def test_every_key_of_a_manifest_is_in_one_of_the_tables() -> None:
    keys = {field.name for field in attrs.fields(Manifest)} - {"config"} - LEAST.keys()
    speaking = {key for key, _, _ in SPEAKING}
    assert keys <= SILENT.keys() | speaking
    assert not SILENT.keys() & speaking


@pytest.mark.parametrize("key", sorted(SILENT))
def test_a_key_that_is_not_about_the_container_changes_nothing(key: str) -> None:
    assert spec(**{key: SILENT[key]}) == spec()


@pytest.mark.parametrize(("key", "value", "fields"), SPEAKING, ids=[key for key, _, _ in SPEAKING])
def test_a_key_changes_just_the_fields_it_is_about(key: str, value: Any, fields: dict[str, Any]) -> None:
    found = spec(**{key: value})
    for field, expected in fields.items():
        assert getattr(found, field) == expected
    also = {"binds", "environment"} if key in BINDS_OR_ENVIRONMENT else set()
    untouched = {field.name for field in attrs.fields(ContainerSpec)} - fields.keys() - also
    assert {name: getattr(found, name) for name in untouched} == {name: getattr(spec(), name) for name in untouched}


@pytest.mark.parametrize(
    ("key", "target", "source", "read_only"),
    [
        ("devicetree", "/device-tree", "/sys/firmware/devicetree/base", True),
        ("udev", "/run/udev", "/run/udev", True),
        ("kernel_modules", "/lib/modules", "/lib/modules", True),
        ("host_dbus", "/run/dbus", "/run/dbus", True),
        ("journald", "/var/log/journal", "/var/log/journal", True),
        ("journald", "/run/log/journal", "/run/log/journal", True),
        ("audio", "/etc/pulse/client.conf", f"{HOST}/tmp/local_my_lamp_pulse", True),
        ("audio", "/run/audio", f"{HOST}/audio/external", True),
        ("audio", "/etc/asound.conf", f"{HOST}/audio/asound", True),
    ],
)
def test_a_flag_mounts_its_folders(key: str, target: str, source: str, read_only: bool) -> None:
    assert bind(spec(), target) is None
    assert bind(spec(**{key: True}), target) == Bind(Path(source), target, read_only=read_only)


def test_the_sound_server_of_the_machine_is_given_with_its_folder_so_that_it_may_be_restarted() -> None:
    around = surroundings(sound=Door(Path("/run/pulse/native"), Path("/run/pulse/.config/pulse/cookie")))
    assert bind(spec(audio=True, around=around), "/run/audio") == Bind(Path("/run/pulse"), "/run/audio")
    cookie = Bind(Path(f"{HOST}/tmp/local_my_lamp_pulse_cookie"), "/etc/pulse/cookie", read_only=False)
    assert bind(spec(audio=True, around=around), "/etc/pulse/cookie") == cookie
    open_to_all = surroundings(sound=Door(Path("/run/pulse/native")))
    assert bind(spec(audio=True, around=open_to_all), "/etc/pulse/cookie") is None
    assert bind(spec(around=around), "/run/audio") is None


def test_a_folder_that_the_machine_lacks_is_not_mounted() -> None:
    without = surroundings(missing=frozenset({Path("/run/udev")}))
    assert bind(spec(udev=True, around=without), "/run/udev") is None


@pytest.mark.parametrize(
    ("entry", "target", "source", "read_only"),
    [
        ("config", "/config", "homeassistant", True),
        ("config:rw", "/config", "homeassistant", False),
        ("homeassistant_config:rw", "/homeassistant", "homeassistant", False),
        ("addon_config:rw", "/config", "addon_configs/local_my_lamp", False),
        ("app_config", "/config", "addon_configs/local_my_lamp", True),
        ("all_addon_configs", "/addon_configs", "addon_configs", True),
        ("all_app_configs:rw", "/app_configs", "addon_configs", False),
        ("addons:rw", "/addons", "addons/local", False),
        ("local_apps", "/local_apps", "addons/local", True),
        ("ssl", "/ssl", "ssl", True),
        ("ssl:ro", "/ssl", "ssl", True),
        ("backup:rw", "/backup", "backup", False),
        ({"type": "ssl", "read_only": False, "path": "/certs"}, "/certs", "ssl", False),
    ],
)
def test_a_shared_folder_is_mounted_where_the_contract_says(
    entry: Any, target: str, source: str, read_only: bool
) -> None:
    assert bind(spec(map=[entry]), target) == Bind(Path(HOST) / source, target, read_only=read_only)


@pytest.mark.parametrize("folder", ["share", "media"])
def test_mounts_that_appear_in_share_and_media_show_up_where_the_kernel_can_do_that(folder: str) -> None:
    found = bind(spec(map=[f"{folder}:rw"]), f"/{folder}")
    assert found == Bind(Path(HOST) / folder, f"/{folder}", read_only=False, propagation="rslave")
    apart = bind(spec(map=[folder], around=surroundings(propagation=False)), f"/{folder}")
    assert apart is not None
    assert apart.propagation is None


def test_of_a_folder_named_twice_the_last_entry_counts() -> None:
    assert bind(spec(map=["ssl:rw", "ssl:ro"]), "/ssl") == Bind(Path(HOST) / "ssl", "/ssl", read_only=True)


def test_the_old_config_folder_makes_the_two_new_ones_ignored() -> None:
    found = spec(map=["config:rw", "addon_config:rw", "homeassistant_config:rw"])
    assert bind(found, "/config") == Bind(Path(HOST) / "homeassistant", "/config", read_only=False)
    assert bind(found, "/homeassistant") is None


def test_the_private_folder_is_always_writable_and_only_its_place_can_change() -> None:
    found = spec(map=[{"type": "data", "read_only": True, "path": "/keep"}])
    source = Path(f"{HOST}/addons/data/local_my_lamp")
    assert bind(found, "/keep") == Bind(source, "/keep", read_only=False)
    assert bind(found, "/data") is None


@pytest.mark.parametrize(
    ("keys", "rules"),
    [
        ({"uart": True}, ("c 204:* rwm", "c 188:* rwm", "c 166:* rwm", "c 250:3 rwm")),
        ({"usb": True}, ("c 189:* rwm", "c 180:* rwm", "c 240:* rwm")),
        ({"video": True}, ("c 29:* rwm", "c 81:* rwm", "c 226:* rwm", "c 236:* rwm")),
        ({"gpio": True}, ("c 254:* rwm",)),
        ({"devices": ["/dev/ttyUSB0", "/dev/none", "/dev/sda1"]}, ("c 188:0 rwm", "b 8:1 rwm")),
        ({"devices": ["/dev/serial/by-id/usb-stick", "/dev/ttyUSB0"]}, ("c 188:0 rwm",)),
        ({"full_access": True, "usb": True}, ("c 189:* rwm", "c 180:* rwm", "c 240:* rwm")),
    ],
)
def test_devices_that_are_there_get_their_rules(keys: dict[str, Any], rules: tuple[str, ...]) -> None:
    assert spec(around=surroundings(devices=DEVICES), **keys).device_cgroup_rules == rules


def test_devices_of_the_options_get_their_rules_too() -> None:
    stick = DEVICES.find("/dev/serial/by-id/usb-stick")
    assert spec(run={"option_devices": (stick,)}).device_cgroup_rules == ("c 188:0 rwm",)


def test_gpio_folders_are_mounted_writable_and_only_where_there_is_gpio() -> None:
    found = spec(gpio=True, around=surroundings(devices=DEVICES))
    for path in ("/sys/class/gpio", "/sys/devices/platform/soc"):
        assert bind(found, path) == Bind(Path(path), path, read_only=False)
        assert bind(spec(gpio=True), path) is None


def test_what_protection_holds_back_is_there_without_it() -> None:
    keys = {"full_access": True, "docker_api": True, "host_pid": True, "usb": True}
    around = surroundings(devices=DEVICES)
    open_ = spec(protected=False, around=around, **keys)
    assert open_.device_cgroup_rules == ("a *:* rwm",)
    assert open_.pid_mode == "host"
    assert bind(open_, "/run/docker.sock") == Bind(Path("/run/docker.sock"), "/run/docker.sock")
    held = spec(around=around, **keys)
    assert (held.pid_mode, bind(held, "/run/docker.sock"), held.privileged) == (None, None, False)
    assert spec(protected=False).device_cgroup_rules == ()


def test_a_stored_profile_confines_and_a_machine_without_apparmor_does_not() -> None:
    assert spec(run={"apparmor_profile": True}).security_opt == ("seccomp=unconfined", "apparmor=local_my_lamp")
    unconfined = ("seccomp=unconfined", "apparmor=unconfined")
    assert spec(run={"apparmor_profile": True}, apparmor=False).security_opt == unconfined
    assert spec(run={"apparmor_profile": True}, around=surroundings(apparmor=False)).security_opt == unconfined


def test_our_variables_win_over_those_of_the_manifest_and_of_old_options() -> None:
    mine = {"TZ": "Mars/Base", "SUPERVISOR_TOKEN": "0", "HASSIO_TOKEN": "0", "COLOR": "red", "level": "9"}
    options = {"level": 3, "word": "yes", "SUPERVISOR_TOKEN": "1", "flag": True, "list": [1], "half": 0.5}
    legacy = spec(environment=mine, legacy=True, run={"options": options}).environment
    assert legacy == {
        "TZ": "Europe/Vienna",
        "SUPERVISOR_TOKEN": "feed" * 28,
        "HASSIO_TOKEN": "feed" * 28,
        "COLOR": "red",
        "level": "3",
        "word": "yes",
    }
    assert "word" not in spec(run={"options": options}).environment


def test_ports_are_published_except_in_the_network_of_the_host() -> None:
    ports = {"80/tcp": 8080, "53/udp": 53}
    assert spec(run={"ports": ports}).ports == ports
    assert spec(run={"ports": ports}, host_network=True).ports == {}


def test_our_dns_serves_add_ons_when_it_runs() -> None:
    found = spec(around=surroundings(dns=("172.30.32.3",)))
    assert (found.dns, found.dns_search, found.dns_options) == (
        ("172.30.32.3",), ("local.hass.io",), ("timeout:10",),
    )  # fmt: skip
    assert found.domainname == "local.hass.io"
    uts = spec(around=surroundings(dns=("172.30.32.3",)), host_uts=True, host_network=True)
    assert (uts.domainname, uts.dns) == (None, ("172.30.32.3",))


def test_nobody_is_given_the_disk_of_the_operating_system(caplog: pytest.LogCaptureFixture) -> None:
    disk = Device("sdb", "/dev/sdb", "/sys/devices/a/sdb", "block", 8, 16, children=("/sys/devices/a/sdb/sdb1",))
    label = {"ID_FS_LABEL": "hassos-data"}
    part = Device("sdb1", "/dev/sdb1", "/sys/devices/a/sdb/sdb1", "block", 8, 17, attributes=label)
    table = DeviceTable([disk, part, *DEVICES.devices])
    found = spec(
        around=surroundings(devices=table),
        devices=["/dev/sdb", "/dev/sdb1", "/dev/sda1"],
        run={"option_devices": (part,)},
    )
    assert found.device_cgroup_rules == ("b 8:1 rwm",)
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert "/dev/sdb1" in caplog.text


def test_real_time_is_budgeted_where_the_kernel_can_do_that() -> None:
    assert spec(realtime=True, around=surroundings(realtime_supported=True)).cpu_rt_runtime == 190_000
    assert spec(around=surroundings(realtime_supported=True)).cpu_rt_runtime is None


def test_limits_of_the_manifest_win_over_those_of_real_time() -> None:
    found = spec(realtime=True, ulimits={"rtprio": 5})
    assert {limit.name: (limit.soft, limit.hard) for limit in found.ulimits}["rtprio"] == (5, 5)


BOOLS = [key for key, value, _ in SPEAKING if isinstance(value, bool)] + ["ingress", "hassio_api", "auth_api"]
FOLDERS = ["config", "homeassistant_config", "addon_config", "all_addon_configs", "addons", "ssl", "share", "media"]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
PORTS = st.dictionaries(
    st.builds(lambda port, kind: f"{port}{kind}", st.integers(1, 65535), st.sampled_from(["", "/tcp", "/udp"])),
    st.none() | st.integers(1, 65535),
    max_size=4,
)
MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.booleans() for key in BOOLS},
        "startup": st.sampled_from(["initialize", "system", "services", "application", "once"]),
        "timeout": st.integers(10, 300),
        "privileged": st.lists(st.sampled_from(["NET_ADMIN", "SYS_TIME", "SYS_NICE", "SYS_MODULE"])),
        "devices": st.lists(st.sampled_from(["/dev/ttyUSB0", "/dev/none", "/dev/sda1"])),
        "map": st.lists(
            st.builds(lambda name, mode: f"{name}{mode}", st.sampled_from(FOLDERS), st.sampled_from(["", ":ro", ":rw"]))
        ),
        "ports": PORTS,
        "ulimits": st.dictionaries(st.sampled_from(["nofile", "nproc", "rtprio"]), st.integers(0, 10**6)),
        "environment": st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True), TEXT),
        "options": st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.booleans()),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MANIFESTS, st.booleans(), st.booleans())
def test_any_valid_manifest_gives_a_container_that_can_be_said_to_the_engine(
    keys: dict[str, Any], protected: bool, with_devices: bool
) -> None:
    around = surroundings(devices=DEVICES if with_devices else NO_DEVICES)
    ports = {port: host for port, host in (keys.get("ports") or {}).items() if host is not None}
    found = spec(protected=protected, around=around, run={"ports": ports, "options": keys.get("options", {})}, **keys)
    config = engine_config(found)
    assert json.loads(json.dumps(config)) == config
    assert config["Labels"] == {"supervisor_managed": ""}
    host = config["HostConfig"]
    assert host["Privileged"] is False
    targets = [mount["Target"] for mount in host["Mounts"]]
    assert len(targets) == len(set(targets)), "the engine refuses two mounts at one place"
    socket = any(mount["Source"] == "/run/docker.sock" for mount in host["Mounts"])
    if protected:
        assert not socket
        assert "PidMode" not in host
        assert "a *:* rwm" not in host.get("DeviceCgroupRules", [])
    sources = [Path(mount["Source"]) for mount in host["Mounts"] if mount["Source"].startswith(HOST)]
    assert all(Path(HOST) != source for source in sources), "nobody gets the data root itself"
    assert len([entry for entry in config["Env"] if entry.startswith("SUPERVISOR_TOKEN=")]) == 1


def test_the_name_in_the_network_is_one_that_the_kernel_and_dns_take() -> None:
    assert hostname_of("local_my_lamp") == "local-my-lamp"
    assert hostname_of("local_" + "a" * 100) == "local-" + "a" * 57
