"""What each key of a manifest (add-on contract §1.3) does to the container, seen from inside."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import docker
import pytest
from addon_stage import SLUG, STAYS, MakeImage, lamp, output
from engine_stage import NETWORK, free_port, free_ports

from addon_house import House
from supervisor.drivers.docker import lifecycle
from supervisor.drivers.sysfs import Device, DeviceTable
from supervisor.errors import SupervisorError
from supervisor.events import AddonState
from supervisor.managers.addons import OPTIONAL_HOST_PATHS, Addon
from supervisor.managers.addons.spec import DEVICETREE
from supervisor.model.manifest_schema import CAPABILITIES

# Number of each capability in the kernel's masks.
NUMBERS = {
    "DAC_READ_SEARCH": 2,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "IPC_LOCK": 14,
    "SYS_MODULE": 16,
    "SYS_RAWIO": 17,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "SYS_NICE": 23,
    "SYS_RESOURCE": 24,
    "SYS_TIME": 25,
    "PERFMON": 38,
    "BPF": 39,
    "CHECKPOINT_RESTORE": 40,
}
# What this machine has to give.
BOUNDING = int(Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0], 16)


@pytest.fixture
def house(house: House, docker_url: str) -> House:
    """The house on this machine as it is: what it lacks is left out."""
    house.around["missing"] = frozenset(path for path in OPTIONAL_HOST_PATHS if not path.exists())
    house.around["docker_socket"] = Path(docker_url.removeprefix("unix://"))
    return house


async def begin(house: House, make_image: MakeImage, *, command: str = STAYS, **keys: Any) -> Addon:
    make_image(command)
    addon = await lamp(house, **keys)
    await house.runner.start(addon)
    return addon


async def again(house: House, addon: Addon, **values: Any) -> Addon:
    """Change what the user chose, and start anew."""
    await house.registry.change(addon, **values)
    await house.runner.restart(addon)
    return addon


async def refused(house: House, addon: Addon) -> SupervisorError | None:
    """Start it; return what this machine had against that."""
    try:
        await house.runner.start(addon)
    except SupervisorError as err:
        return err
    return None


async def inspect(house: House, addon: Addon) -> dict[str, Any]:
    return dict((await house.engine.containers.inspect(addon.container_name)).raw)


async def mounts(house: House, addon: Addon) -> dict[str, list[str]]:
    """Return target -> options of everything that is mounted inside."""
    lines = (await output(house, addon, "cat /proc/mounts")).splitlines()
    return {line.split()[1]: line.split()[3].split(",") for line in lines}


async def capabilities(house: House, addon: Addon) -> set[str]:
    mask = int((await output(house, addon, "grep CapEff /proc/1/status")).split()[1], 16)
    return {name for name, number in NUMBERS.items() if mask & 1 << number}


async def rules(house: House, addon: Addon) -> set[str]:
    """Return what the kernel lets it open; where that can't be read, what the engine was asked for."""
    listed = await output(house, addon, "cat /sys/fs/cgroup/devices/devices.list 2>/dev/null || true")
    if listed:
        return set(listed.splitlines())
    return set((await house.engine.containers.inspect(addon.container_name)).device_rules)


async def opens(house: House, addon: Addon, path: str) -> bool:
    said = await output(house, addon, f"dd if={path} count=0 2>&1 || true")
    return "Operation not permitted" not in said


@contextmanager
def existing(*folders: Path) -> Iterator[None]:
    """Have folders of the machine that it may lack; those that were made for this are removed."""
    made: list[Path] = []
    try:
        for folder in folders:
            if not folder.exists():
                folder.mkdir(parents=True)
                made.append(folder)
        yield
    finally:
        for folder in made:
            folder.rmdir()


@contextmanager
def noted(folder: Path) -> Iterator[str]:
    """Have a file there, and give its name."""
    file = folder / f"svtest-{os.getpid()}"
    file.touch()
    try:
        yield file.name
    finally:
        file.unlink()


# Devices.


async def test_devices_are_open_when_they_are_named_and_closed_otherwise(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image)
    assert not await opens(house, addon, "/dev/loop-control")
    await house.runner.stop(addon)
    named = await house.install(f"{SLUG}2", init=False, devices=["/dev/loop-control:/dev/old-form:rwm", "/dev/none"])
    make_image(slug=f"{SLUG}2")
    house.around["devices"] = await house.host.reload_devices()
    await house.runner.start(named)
    assert await opens(house, named, "/dev/loop-control")
    assert not await opens(house, named, "/dev/fuse")
    assert "c 10:237 rwm" in await rules(house, named)


ZOO = DeviceTable(
    [
        Device("ttyX0", "/dev/ttyX0", "/sys/devices/a/ttyX0", "tty", 250, 3),
        Device("hidraw0", "/dev/hidraw0", "/sys/devices/a/hidraw0", "hidraw", 240, 0),
        Device("media0", "/dev/media0", "/sys/devices/a/media0", "media", 236, 0),
        Device("gpiochip0", "/dev/gpiochip0", "/sys/devices/a/gpiochip0", "gpio", 254, 0),
    ]
)


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("uart", {"c 204:* rwm", "c 188:* rwm", "c 166:* rwm", "c 250:3 rwm"}),
        ("usb", {"c 189:* rwm", "c 180:* rwm", "c 240:* rwm"}),
        ("video", {"c 29:* rwm", "c 81:* rwm", "c 226:* rwm", "c 236:* rwm"}),
        ("gpio", {"c 254:* rwm"}),
        ("auto_uart", {"c 204:* rwm", "c 188:* rwm", "c 166:* rwm", "c 250:3 rwm"}),
    ],
)
async def test_groups_of_devices_are_open_to_those_who_ask(
    house: House, make_image: MakeImage, key: str, wanted: set[str]
) -> None:
    house.around["devices"] = ZOO
    addon = await begin(house, make_image)
    assert not wanted & await rules(house, addon)
    await house.runner.stop(addon)
    other = await house.install(f"{SLUG}2", init=False, **{key: True})
    make_image(slug=f"{SLUG}2")
    await house.runner.start(other)
    assert wanted <= await rules(house, other)


async def test_the_devices_of_the_machine_are_seen_but_nothing_can_be_made_there(
    house: House, make_image: MakeImage
) -> None:
    addon = await begin(house, make_image)
    assert await output(house, addon, "test -c /dev/loop-control && echo seen") == "seen"
    assert "ro" in (await mounts(house, addon))["/dev"]
    assert await output(house, addon, "touch /dev/x 2>/dev/null || echo refused") == "refused"


# Rights.


async def test_an_add_on_has_no_more_capabilities_than_the_engine_gives_anybody(
    house: House, make_image: MakeImage
) -> None:
    addon = await begin(house, make_image)
    assert await capabilities(house, addon) == {"NET_RAW"}
    assert (await inspect(house, addon))["HostConfig"]["Privileged"] is False


@pytest.mark.parametrize("name", sorted(CAPABILITIES))
async def test_a_capability_is_there_or_its_refusal_is_said(house: House, make_image: MakeImage, name: str) -> None:
    make_image()
    addon = await lamp(house, privileged=[name])
    refusal = await refused(house, addon)
    if refusal is None:
        assert name in await capabilities(house, addon)
        return
    assert refusal.key == "app_not_possible_here_error"
    assert name in str(refusal)
    assert addon.state is AddonState.ERROR
    assert name in (addon.last_error or "")
    with pytest.raises(SupervisorError):
        await inspect(house, addon)
    # What every engine knows and this machine has to give is not refused.
    assert name in {"BPF", "PERFMON", "CHECKPOINT_RESTORE"} or not BOUNDING & 1 << NUMBERS[name]


async def test_kernel_modules_brings_a_capability_and_a_folder(house: House, make_image: MakeImage) -> None:
    with existing(Path("/lib/modules")):
        house.around["missing"] = frozenset()
        addon = await begin(house, make_image, kernel_modules=True)
        assert "SYS_MODULE" in await capabilities(house, addon)
        assert "ro" in (await mounts(house, addon))["/lib/modules"]
        await house.runner.stop(addon)


async def asked(house: House, client: docker.APIClient, addon: Addon, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the engine make the container, but not start it: what this machine would refuse can be looked at."""
    started: list[str] = []

    def create_only(_client: Any, name: str, _network: str) -> Any:
        started.append(name)
        return client.inspect_container(name)

    monkeypatch.setattr(lifecycle, "start", create_only)
    await house.runner.start(addon)
    assert started == [addon.container_name]
    return client.inspect_container(addon.container_name)["HostConfig"]


async def test_realtime_asks_for_all_that_real_time_takes(
    house: House, make_image: MakeImage, docker_client: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image()
    addon = await lamp(house, realtime=True)
    with monkeypatch.context() as patch:
        host = await asked(house, docker_client, addon, patch)
    assert [name.removeprefix("CAP_") for name in host["CapAdd"]] == ["SYS_NICE"]
    assert {(limit["Name"], limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]} == {
        ("rtprio", 90, 99), ("memlock", 134217728, 134217728),
    }  # fmt: skip
    await house.runner.stop(addon)
    refusal = await refused(house, addon)
    if refusal is None:
        assert "99" in await output(house, addon, "grep 'realtime priority' /proc/1/limits")
    else:
        assert refusal.key == "app_not_possible_here_error"
        assert "ulimits" in str(refusal)
        assert "rtprio" in str(refusal)


async def test_ulimits_are_those_of_its_first_process(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image, ulimits={"nofile": 500, "core": {"soft": 0, "hard": 1000}})
    limits = {
        line[:25].strip(): line[25:].split() for line in (await output(house, addon, "cat /proc/1/limits")).splitlines()
    }
    assert limits["Max open files"][:2] == ["500", "500"]
    assert limits["Max core file size"][:2] == ["0", "1000"]


async def test_a_limit_that_does_not_exist_is_said_by_name(house: House, make_image: MakeImage) -> None:
    make_image()
    addon = await lamp(house, ulimits={"nonsense": 5})
    with pytest.raises(SupervisorError, match="nonsense") as caught:
        await house.runner.start(addon)
    assert caught.value.key == "app_not_possible_here_error"


async def test_with_protection_on_the_dangerous_keys_do_nothing(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image, full_access=True, docker_api=True, host_pid=True)
    assert not await opens(house, addon, "/dev/loop-control")
    assert "/run/docker.sock" not in await mounts(house, addon)
    assert await output(house, addon, "cat /proc/1/comm") == "sh"

    await again(house, addon, protected=False)
    assert await opens(house, addon, "/dev/loop-control")
    assert await output(house, addon, "test -S /run/docker.sock && echo there") == "there"
    assert "ro" in (await mounts(house, addon))["/run/docker.sock"]
    assert await output(house, addon, f"test -d /proc/{os.getpid()} && echo seen") == "seen"
    host = (await inspect(house, addon))["HostConfig"]
    assert (host["DeviceCgroupRules"], host["PidMode"], host["Privileged"]) == (["a *:* rwm"], "host", False)


@pytest.mark.parametrize(
    ("keys", "around", "profile", "wanted"),
    [
        ({}, {"apparmor": False}, False, ["seccomp=unconfined", "apparmor=unconfined"]),
        ({}, {"apparmor": True}, False, ["seccomp=unconfined"]),
        ({}, {"apparmor": True}, True, ["seccomp=unconfined", f"apparmor={SLUG}"]),
        ({"apparmor": False}, {"apparmor": True}, True, ["seccomp=unconfined", "apparmor=unconfined"]),
        ({"apparmor": "some-name"}, {"apparmor": True}, True, ["seccomp=unconfined", f"apparmor={SLUG}"]),
    ],
)
async def test_apparmor_is_what_the_engine_is_asked_for(
    house: House,
    make_image: MakeImage,
    docker_client: docker.APIClient,
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, Any],
    around: dict[str, Any],
    profile: bool,
    wanted: list[str],
) -> None:
    make_image()
    house.around.update(around)
    if profile:
        (house.paths.apparmor / SLUG).write_text(f"profile {SLUG} {{\n}}\n")
    addon = await lamp(house, **keys)
    assert (await asked(house, docker_client, addon, monkeypatch))["SecurityOpt"] == wanted


# Namespaces of the machine.


async def test_the_network_is_its_own_or_the_machine_s(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image, ports={"80/tcp": free_port()})
    assert NETWORK.bridge not in await output(house, addon, "cat /proc/net/dev")
    assert addon.ip_address in NETWORK.subnet
    await house.runner.stop(addon)
    port = free_port()
    other = await house.install(f"{SLUG}2", init=False, host_network=True, ports={"80/tcp": port})
    make_image(slug=f"{SLUG}2")
    await house.runner.start(other)
    assert NETWORK.bridge in await output(house, other, "cat /proc/net/dev")
    assert not (await inspect(house, other))["HostConfig"]["PortBindings"]
    assert str(other.address) == "172.30.32.1"


async def test_shared_memory_is_its_own_or_the_machine_s(house: House, make_image: MakeImage) -> None:
    with noted(Path("/dev/shm")) as name:
        addon = await begin(house, make_image)
        assert await output(house, addon, f"test -e /dev/shm/{name} || echo hidden; echo x > /dev/shm/own") == "hidden"
        await house.runner.stop(addon)
        other = await house.install(f"{SLUG}2", init=False, host_ipc=True)
        make_image(slug=f"{SLUG}2")
        await house.runner.start(other)
        assert await output(house, other, f"test -e /dev/shm/{name} && echo seen") == "seen"


async def test_the_host_name_is_its_own_or_the_machine_s(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image)
    assert await output(house, addon, "hostname") == SLUG.replace("_", "-")
    await house.runner.stop(addon)
    other = await house.install(f"{SLUG}2", init=False, host_uts=True)
    make_image(slug=f"{SLUG}2")
    await house.runner.start(other)
    assert await output(house, other, "hostname") == socket.gethostname()
    assert await output(house, other, "readlink /proc/self/ns/uts") == os.readlink("/proc/self/ns/uts")  # noqa: PTH115


# Folders and files of the machine.


@pytest.mark.parametrize(
    ("key", "folders"),
    [
        ("host_dbus", ["/run/dbus"]),
        ("udev", ["/run/udev"]),
        ("journald", ["/var/log/journal", "/run/log/journal"]),
        ("kernel_modules", ["/lib/modules"]),
    ],
)
async def test_a_folder_of_the_machine_is_shown_read_only(
    house: House, make_image: MakeImage, key: str, folders: list[str]
) -> None:
    with existing(*map(Path, folders)):
        house.around["missing"] = frozenset()
        addon = await begin(house, make_image, **{key: True})
        found = await mounts(house, addon)
        for folder in folders:
            assert "ro" in found[folder]
            assert await output(house, addon, f"touch {folder}/x 2>/dev/null || echo refused") == "refused"
        await house.runner.stop(addon)
    plain = await house.install(f"{SLUG}2", init=False)
    make_image(slug=f"{SLUG}2")
    await house.runner.start(plain)
    assert not set(folders) & set(await mounts(house, plain))


async def test_what_the_machine_lacks_keeps_nobody_from_starting(house: House, make_image: MakeImage) -> None:
    house.around["devices"] = ZOO
    keys = ("devicetree", "gpio", "udev", "host_dbus", "journald")
    addon = await begin(house, make_image, **dict.fromkeys(keys, True))
    assert addon.state is AddonState.STARTED
    found = await mounts(house, addon)
    assert not {str(path) for path in house.around["missing"]} & set(found)
    assert ("/device-tree" in found) == (DEVICETREE not in house.around["missing"])


async def test_the_sound_server_is_found(house: House, make_image: MakeImage) -> None:
    (house.paths.audio / "external").mkdir(exist_ok=True)
    (house.paths.audio / "external" / "pulse.sock").touch()
    make_image()
    addon = await lamp(house, audio=True)
    await house.registry.change(addon, audio_output="alsa_output.usb\nevil = yes", audio_input="mic")
    await house.runner.start(addon)
    client = await output(house, addon, "cat /etc/pulse/client.conf")
    assert client.splitlines() == [
        "default-sink = alsa_output.usbevil = yes",
        "default-source = mic",
        "default-server = unix://run/audio/pulse.sock",
        "autospawn = no",
    ]
    assert "type pulse" in await output(house, addon, "cat /etc/asound.conf")
    assert await output(house, addon, "ls /run/audio") == "pulse.sock"
    found = await mounts(house, addon)
    assert all("ro" in found[target] for target in ("/etc/pulse/client.conf", "/etc/asound.conf", "/run/audio"))


async def test_tmp_is_in_memory_when_asked(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image)
    assert "/tmp" not in await mounts(house, addon)
    await house.runner.stop(addon)
    other = await house.install(f"{SLUG}2", init=False, tmpfs="size=10m")
    make_image(slug=f"{SLUG}2")
    await house.runner.start(other)
    assert "tmpfs" in await output(house, other, "grep ' /tmp ' /proc/mounts")


FOLDERS = {
    "homeassistant_config": ("homeassistant", "/homeassistant"),
    "addon_config": (f"addon_configs/{SLUG}", "/config"),
    "app_config": (f"addon_configs/{SLUG}", "/config"),
    "all_addon_configs": ("addon_configs", "/addon_configs"),
    "all_app_configs": ("addon_configs", "/app_configs"),
    "addons": ("addons/local", "/addons"),
    "local_apps": ("addons/local", "/local_apps"),
    "ssl": ("ssl", "/ssl"),
    "backup": ("backup", "/backup"),
    "share": ("share", "/share"),
    "media": ("media", "/media"),
    "config": ("homeassistant", "/config"),
}


@pytest.mark.parametrize("kind", sorted(FOLDERS))
@pytest.mark.parametrize("moved", [False, True])
async def test_a_shared_folder_is_where_it_belongs_and_as_writable_as_asked(
    house: House, make_image: MakeImage, kind: str, moved: bool
) -> None:
    source, target = FOLDERS[kind]
    entry: dict[str, Any] = {"type": kind}
    if moved:
        target = "/somewhere/else"
        entry |= {"path": target, "read_only": False}
    addon = await begin(house, make_image, map=[entry])
    (house.paths.root / source / "note").write_text("hello")
    assert await output(house, addon, f"cat {target}/note") == "hello"
    wrote = await output(house, addon, f"echo x 2>/dev/null > {target}/x && echo wrote || echo refused")
    assert wrote.splitlines()[-1] == ("wrote" if moved else "refused")
    assert (house.paths.root / source / "x").exists() is moved


async def test_its_own_folder_can_be_moved_and_is_always_writable(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image, map=[{"type": "data", "path": "/mine", "read_only": True}])
    await output(house, addon, "echo kept > /mine/x && test -s /mine/options.json && test ! -e /data/options.json")
    assert (house.paths.addons_data / SLUG / "x").read_text() == "kept\n"


async def test_of_two_names_for_a_place_the_contract_s_one_counts(house: House, make_image: MakeImage) -> None:
    (house.paths.homeassistant / "core").touch()
    addon = await begin(
        house,
        make_image,
        map=["config:rw", "addon_config:rw", "homeassistant_config", "ssl", "ssl:rw", "addons", "local_apps"],
    )
    found = await mounts(house, addon)
    assert await output(house, addon, "ls /config") == "core"
    assert "/homeassistant" not in found
    assert "/addons" not in found
    assert ("rw" in found["/ssl"], "ro" in found["/local_apps"]) == (True, True)


async def on_the_host(docker_url: str, *command: str) -> None:
    """Run a command among the mounts that the engine sees, which may not be those of the tests."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(docker_url.removeprefix("unix://"))
        engine, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    process = await asyncio.create_subprocess_exec("nsenter", f"--mount=/proc/{engine}/ns/mnt", *command)
    assert await process.wait() == 0


@pytest.mark.parametrize("kind", ["share", "media", "ssl"])
async def test_what_is_mounted_later_shows_up_in_share_and_media(
    house: House, make_image: MakeImage, docker_url: str, kind: str
) -> None:
    root = str(house.paths.root)
    later = f"{root}/{kind}/later"
    # As on a machine with systemd, where every mount is shared.
    await on_the_host(docker_url, "mount", "--bind", root, root)
    await on_the_host(docker_url, "mount", "--make-rshared", root)
    try:
        addon = await begin(house, make_image, map=[f"{kind}:rw"])
        await output(house, addon, f"mkdir /{kind}/later")
        await on_the_host(docker_url, "mount", "-t", "tmpfs", "tmpfs", later)
        await on_the_host(docker_url, "touch", f"{later}/disk")
        seen = await output(house, addon, f"ls /{kind}/later")
        assert seen == ("" if kind == "ssl" else "disk")
        await house.runner.stop(addon)
    finally:
        await on_the_host(docker_url, "umount", "--recursive", "--lazy", root)


async def test_where_mounts_are_private_nothing_spreads_and_the_add_on_starts(
    house: House, make_image: MakeImage
) -> None:
    house.around["propagation"] = False
    addon = await begin(house, make_image, map=["share:rw", "media"])
    info = await house.engine.containers.inspect(addon.container_name)
    spread = {mount.target: mount.propagation for mount in info.mounts}
    assert spread["/share"] == spread["/media"] == spread["/data"]


# Running.


@pytest.mark.parametrize(("init", "first"), [(True, "docker-init"), (False, "sh"), (None, "docker-init")])
async def test_the_first_process_is_a_tiny_init_unless_the_image_brings_one(
    house: House, make_image: MakeImage, init: bool | None, first: str
) -> None:
    make_image()
    keys = {} if init is None else {"init": init}
    addon = await house.install(SLUG, **keys)
    await house.runner.start(addon)
    assert await output(house, addon, "cat /proc/1/comm") == first


async def test_an_add_on_that_does_not_end_gets_its_timeout_and_no_more(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image, command="trap '' TERM; while :; do sleep 0.1; done", timeout=10)
    began = time.monotonic()
    await house.runner.stop(addon)
    assert 9.5 < time.monotonic() - began < 40
    assert addon.state is AddonState.STOPPED


async def test_standard_input_is_open_for_those_who_read_it(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image)
    assert await output(house, addon, "readlink /proc/1/fd/0") == "/dev/null"
    await house.runner.stop(addon)
    other = await house.install(f"{SLUG}2", init=False, stdin=True)
    make_image(slug=f"{SLUG}2")
    await house.runner.start(other)
    assert (await output(house, other, "readlink /proc/1/fd/0")).startswith("pipe:")


async def test_the_environment_holds_what_the_manifest_and_we_say(house: House, make_image: MakeImage) -> None:
    house.around["timezone"] = "Europe/Vienna"
    addon = await begin(
        house,
        make_image,
        environment={"COLOR": "bright red", "TZ": "Mars/Base", "SUPERVISOR_TOKEN": "mine", "EMPTY": ""},
        options={"level": 3, "word": "a b", "yes": True, "list": [1], "COLOR": "blue"},
        schema={"level": "int", "word": "str", "yes": "bool", "list": ["int"], "COLOR": "str"},
    )
    found = await output(house, addon, "tr '\\0' '\\n' < /proc/1/environ")
    values = dict(line.split("=", 1) for line in found.splitlines())
    assert (values["COLOR"], values["TZ"], values["EMPTY"]) == ("bright red", "Europe/Vienna", "")
    assert values["SUPERVISOR_TOKEN"] == values["HASSIO_TOKEN"] != "mine"
    assert len(values["SUPERVISOR_TOKEN"]) == 112
    assert not {"level", "word"} & set(values)


async def test_a_legacy_add_on_has_its_options_as_variables(house: House, make_image: MakeImage) -> None:
    addon = await begin(
        house,
        make_image,
        legacy=True,
        options={"level": 3, "word": "a b", "yes": True, "list": [1], "TZ": "no"},
        schema={"level": "int", "word": "str", "yes": "bool", "list": ["int"], "TZ": "str"},
    )
    found = await output(house, addon, "tr '\\0' '\\n' < /proc/1/environ")
    values = dict(line.split("=", 1) for line in found.splitlines())
    assert (values["level"], values["word"], values["TZ"]) == ("3", "a b", "UTC")
    assert not {"yes", "list"} & set(values)


async def test_without_a_schema_there_are_no_options(house: House, make_image: MakeImage) -> None:
    addon = await begin(house, make_image, options={"level": 3}, schema=False)
    assert await output(house, addon, "cat /data/options.json") == "{}"


# Ports and names.


async def test_ports_are_published_as_the_user_chose(house: House, make_image: MakeImage) -> None:
    declared, chosen, closed, unknown = free_ports(4)
    serve = "echo ok > /tmp/f; for p in 80 81 82 83; do nc -ll -p $p -e cat /tmp/f & done; "
    make_image(serve + STAYS)
    addon = await lamp(
        house, ports={"80": declared, "81/tcp": declared, "82/tcp": None, "83/tcp": closed, "84/udp": closed}
    )
    choice = {"81/tcp": chosen, "83/tcp": None, "99/tcp": unknown}
    await house.registry.change(addon, network=choice)
    await house.runner.start(addon)
    host = (await inspect(house, addon))["HostConfig"]
    assert host["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": str(declared)}],
        "81/tcp": [{"HostIp": "", "HostPort": str(chosen)}],
        "84/udp": [{"HostIp": "", "HostPort": str(closed)}],
    }
    for port in (declared, chosen):
        assert await _answers("127.0.0.1", port)
    assert not await _answers("127.0.0.1", closed), "closed by the user"
    assert await _answers(str(addon.ip_address), 82), "on the internal network everything is open"


async def _answers(host: str, port: int) -> bool:
    """Ask until somebody answers; a program needs a moment to listen."""
    for _ in range(300):
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 30)
            content = await asyncio.wait_for(reader.read(10), 30)
        except OSError:
            content = b""
        else:
            writer.close()
            await writer.wait_closed()
        if content:
            return True
        if port not in {80, 82} and host == "127.0.0.1" and not _is_bound(port):
            return False
        await asyncio.sleep(0.1)
    return False


def _is_bound(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return True
        return False


async def test_we_are_found_under_both_names(house: House, make_image: MakeImage) -> None:
    house.around["supervisor_address"] = IPv4Address("10.213.32.1")
    addon = await begin(house, make_image)
    hosts = await output(house, addon, "cat /etc/hosts")
    assert [line.split() for line in hosts.splitlines() if "10.213.32.1" in line] == [
        ["10.213.32.1", "supervisor"], ["10.213.32.1", "hassio"],
    ]  # fmt: skip


@pytest.mark.parametrize(("keys", "ports"), [({"ingress_port": 0}, range(62000, 65501)), ({}, range(8099, 8100))])
async def test_a_page_has_the_port_it_names_or_one_of_its_own(
    house: House, make_image: MakeImage, keys: dict[str, Any], ports: range
) -> None:
    addon = await begin(house, make_image, ingress=True, **keys)
    assert addon.ingress_port in ports
