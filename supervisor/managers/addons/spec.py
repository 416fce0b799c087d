"""From a manifest to a container: pure functions, no engine (add-on contract §4.3, §4.4)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

import attrs

from supervisor.const import ADDON_CONTAINER_PREFIX, DNS_SUFFIX, LABEL_MANAGED
from supervisor.drivers.docker.spec import Bind, CidFile, ContainerSpec, Ulimit
from supervisor.drivers.pulse import Door
from supervisor.drivers.sysfs import Device, DeviceTable
from supervisor.model.manifest import Manifest, MapType
from supervisor.paths import DataPaths

from .limits import Limits

_LOGGER = logging.getLogger(__name__)

OOM_SCORE_ADJ = 200
MAX_HOSTNAME_LENGTH = 63
RT_RUNTIME_MICROSECONDS = 190_000
# There where the kernel can divide real-time CPU time among control groups.
RT_BUDGET = Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us")
RT_MEMLOCK_BYTES = 128 * 1024 * 1024
UART_MAJORS = (204, 188, 166)
USB_MAJORS = (189, 180)
VIDEO_MAJORS = (29, 81, 226)
VIDEO_SUBSYSTEMS = ("vchiq", "media", "cec", "rpivid-h264mem", "rpivid-hevcmem")
GPIO_SUBSYSTEMS = ("gpio", "gpiomem")
GPIO_PATHS = (Path("/sys/class/gpio"), Path("/sys/devices/platform/soc"))
DEVICETREE = Path("/sys/firmware/devicetree/base")
UDEV = Path("/run/udev")
MODULES = Path("/lib/modules")
DBUS = Path("/run/dbus")
JOURNALS = (Path("/var/log/journal"), Path("/run/log/journal"))
# Mounts that appear below these folders later show up in the container.
SPREAD = frozenset({MapType.SHARE, MapType.MEDIA})
AUDIO_TARGET = "/run/audio"
COOKIE_TARGET = "/etc/pulse/cookie"
OPTIONAL_HOST_PATHS = (*GPIO_PATHS, DEVICETREE, UDEV, MODULES, DBUS, *JOURNALS)


@attrs.frozen
class Surroundings:
    """What the container's description takes from the machine and the daemon.

    `dns` is empty while no DNS service of ours runs: the add-on then uses the engine's. `missing` holds the host paths
    of `OPTIONAL_HOST_PATHS` that this machine lacks; the engine would refuse to mount them. `apparmor` tells whether
    the engine may be asked for a profile, `propagation` whether the data folder lies on a mount that takes part in it.
    `sound` is the machine's own sound server, None where the audio plugin's is the one to use.
    """

    paths: DataPaths
    devices: DeviceTable
    supervisor_address: IPv4Address
    timezone: str
    dns: tuple[str, ...] = ()
    docker_socket: Path = Path("/run/docker.sock")
    realtime_supported: bool = False
    apparmor: bool = False
    propagation: bool = True
    missing: frozenset[Path] = frozenset()
    sound: Door | None = None


@attrs.frozen
class AddonRun:
    """One start of an add-on: everything that is decided before the container is described."""

    slug: str
    manifest: Manifest
    image: str
    token: str
    protected: bool
    ports: Mapping[str, int]
    options: Mapping[str, object]
    option_devices: tuple[Device, ...] = ()
    apparmor_profile: bool = False
    limits: Limits = attrs.field(factory=Limits)


def hostname_of(slug: str) -> str:
    """Return an add-on's name in the network, as far as the kernel and DNS take one."""
    return slug.replace("_", "-")[:MAX_HOSTNAME_LENGTH]


def container_name(slug: str) -> str:
    return f"{ADDON_CONTAINER_PREFIX}{slug}"


def container_spec(run: AddonRun, around: Surroundings) -> ContainerSpec:
    """Describe the container of an add-on."""
    manifest = run.manifest
    name = container_name(run.slug)
    hostname = None if manifest.host_uts else hostname_of(run.slug)
    cid = around.paths.cid_files / f"{name}.cid"
    tmpfs = {"/tmp": ""} if manifest.tmpfs else {}  # noqa: S108 - a path inside the container
    if not manifest.host_ipc:
        tmpfs["/dev/shm"] = f"size={run.limits.shm}" if run.limits.shm else ""  # noqa: S108 - a path inside the container
    return ContainerSpec(
        name=name,
        image=run.image,
        hostname=hostname,
        domainname=DNS_SUFFIX if around.dns and hostname else None,
        environment=environment(run, around.timezone),
        binds=tuple(binds(run, around)),
        tmpfs=tmpfs,
        ports={} if manifest.host_network else run.ports,
        network="host" if manifest.host_network else "hassio",
        aliases=(hostname_of(run.slug),),
        extra_hosts={"supervisor": around.supervisor_address, "hassio": around.supervisor_address},
        dns=around.dns,
        dns_search=(DNS_SUFFIX,) if around.dns else (),
        dns_options=("timeout:10",) if around.dns else (),
        init=manifest.init,
        stdin=manifest.stdin,
        capabilities=manifest.capabilities,
        security_opt=security_options(run, around),
        device_cgroup_rules=device_rules(
            manifest, around.devices, protected=run.protected, option_devices=run.option_devices
        ),
        ulimits=ulimits(manifest),
        oom_score_adj=OOM_SCORE_ADJ,
        pid_mode="host" if manifest.host_pid and not run.protected else None,
        uts_mode="host" if manifest.host_uts else None,
        cpu_rt_runtime=RT_RUNTIME_MICROSECONDS if manifest.realtime and around.realtime_supported else None,
        labels={LABEL_MANAGED: ""},
        memory=run.limits.memory,
        nano_cpus=run.limits.nano_cpus,
        pids_limit=run.limits.pids,
        shm_size=None if manifest.host_ipc else run.limits.shm,
        cid_file=CidFile(cid, around.paths.on_host(cid)),
    )


def environment(run: AddonRun, timezone: str) -> dict[str, str | None]:
    """Return the environment; what we set wins over the manifest's."""
    values: dict[str, str | None] = dict(run.manifest.environment)
    if run.manifest.legacy:
        for key, value in run.options.items():
            if isinstance(value, str | int) and not isinstance(value, bool):
                values[key] = str(value)
    return {**values, "TZ": timezone, "SUPERVISOR_TOKEN": run.token, "HASSIO_TOKEN": run.token}


def security_options(run: AddonRun, around: Surroundings) -> tuple[str, ...]:
    options = ["seccomp=unconfined"]
    if not around.apparmor or not run.manifest.apparmor:
        options.append("apparmor=unconfined")
    elif run.apparmor_profile:
        options.append(f"apparmor={run.slug}")
    return tuple(options)


def ulimits(manifest: Manifest) -> tuple[Ulimit, ...]:
    limits: dict[str, Ulimit] = {}
    if manifest.realtime:
        limits["rtprio"] = Ulimit("rtprio", 90, 99)
        limits["memlock"] = Ulimit("memlock", RT_MEMLOCK_BYTES, RT_MEMLOCK_BYTES)
    limits.update({name: Ulimit(name, limit.soft, limit.hard) for name, limit in manifest.ulimits.items()})
    return tuple(limits.values())


def device_rules(
    manifest: Manifest, devices: DeviceTable, *, protected: bool, option_devices: Iterable[Device]
) -> tuple[str, ...]:
    """Return the cgroup rules. Devices that are not there get none, and neither do those of the operating system."""
    if manifest.full_access and not protected:
        return ("a *:* rwm",)
    majors: list[int] = []
    singles: list[Device] = []
    if manifest.uart:
        majors += UART_MAJORS
        singles += [device for device in devices.by_subsystem("tty") if device.major not in UART_MAJORS]
    if manifest.usb:
        majors += [*USB_MAJORS, *_majors(devices, ("hidraw",))]
    if manifest.video:
        majors += [*VIDEO_MAJORS, *_majors(devices, VIDEO_SUBSYSTEMS)]
    if manifest.gpio:
        majors += _majors(devices, GPIO_SUBSYSTEMS)
    named = (devices.find(path) for path in manifest.devices)
    for device in (*named, *option_devices):
        if device is not None and devices.of_the_system(device):
            _LOGGER.error("%s: not given %s, which the operating system lives on", manifest.name, device.path)
        elif device is not None:
            singles.append(device)
    rules = [f"c {major}:* rwm" for major in majors] + [device.cgroup_rule for device in singles]
    return tuple(dict.fromkeys(rules))


def _majors(devices: DeviceTable, subsystems: Iterable[str]) -> list[int]:
    return [device.major for subsystem in subsystems for device in devices.by_subsystem(subsystem)]


def binds(run: AddonRun, around: Surroundings) -> Iterable[Bind]:
    """Yield the mounts: devices, private data, folders, then what the flags ask for."""
    manifest, paths = run.manifest, around.paths
    yield Bind(Path("/dev"), "/dev", non_recursive_read_only=True)
    yield from folder_binds(run.slug, manifest, paths, propagation=around.propagation)
    for bind in flag_binds(manifest, around.devices):
        if bind.source not in around.missing:
            yield bind
    if manifest.docker_api and not run.protected:
        yield Bind(around.docker_socket, "/run/docker.sock")
    if manifest.audio:
        yield Bind(paths.on_host(pulse_client_file(paths, run.slug)), "/etc/pulse/client.conf")
        # The folder: a server that is restarted makes its socket anew.
        folder = around.sound.socket.parent if around.sound else paths.on_host(paths.audio / "external")
        yield Bind(folder, AUDIO_TARGET)
        if around.sound and around.sound.cookie:
            yield Bind(paths.on_host(pulse_cookie_file(paths, run.slug)), COOKIE_TARGET, read_only=False)
        yield Bind(paths.on_host(asound_file(paths)), "/etc/asound.conf")


def flag_binds(manifest: Manifest, devices: DeviceTable) -> Iterable[Bind]:
    """Yield the host paths that flags of the manifest ask for; this machine may lack some of them."""
    if manifest.gpio and any(devices.by_subsystem(name) for name in GPIO_SUBSYSTEMS):
        yield from (Bind(path, str(path), read_only=False) for path in GPIO_PATHS)
    if manifest.devicetree:
        yield Bind(DEVICETREE, "/device-tree")
    if manifest.udev:
        yield Bind(UDEV, str(UDEV))
    if manifest.kernel_modules:
        yield Bind(MODULES, str(MODULES))
    if manifest.host_dbus:
        yield Bind(DBUS, str(DBUS))
    if manifest.journald:
        yield from (Bind(path, str(path)) for path in JOURNALS)


def pulse_client_file(paths: DataPaths, slug: str) -> Path:
    return paths.tmp / f"{slug}_pulse"


def pulse_cookie_file(paths: DataPaths, slug: str) -> Path:
    return paths.tmp / f"{slug}_pulse_cookie"


def asound_file(paths: DataPaths) -> Path:
    return paths.audio / "asound"


def folder_binds(slug: str, manifest: Manifest, paths: DataPaths, *, propagation: bool = True) -> Iterable[Bind]:
    """Yield the private data folder and the shared folders (add-on contract §1.5)."""
    private = manifest.map.get(MapType.DATA)
    target = (private.path if private else None) or "/data"
    yield Bind(paths.on_host(paths.addons_data / slug), target, read_only=False)
    sources = _shared_folders(slug, paths)
    for folder in manifest.folders:
        if folder.type in sources:
            spread = "rslave" if propagation and folder.type in SPREAD else None
            source = paths.on_host(sources[folder.type])
            yield Bind(source, folder.target, read_only=folder.read_only, propagation=spread)


def _shared_folders(slug: str, paths: DataPaths) -> dict[MapType, Path]:
    return {
        MapType.CONFIG: paths.homeassistant,
        MapType.HOMEASSISTANT_CONFIG: paths.homeassistant,
        MapType.ADDON_CONFIG: paths.addon_configs / slug,
        MapType.APP_CONFIG: paths.addon_configs / slug,
        MapType.ALL_ADDON_CONFIGS: paths.addon_configs,
        MapType.ALL_APP_CONFIGS: paths.addon_configs,
        MapType.ADDONS: paths.addons_local,
        MapType.LOCAL_APPS: paths.addons_local,
        MapType.SSL: paths.ssl,
        MapType.BACKUP: paths.backup,
        MapType.SHARE: paths.share,
        MapType.MEDIA: paths.media,
    }
