"""The container of the audio plugin: a pure function (add-on contract §4.3, §4.4)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import attrs

from supervisor.const import NETWORK_SUBNET
from supervisor.drivers.docker.spec import Bind, CidFile, ContainerSpec, Ulimit
from supervisor.managers.addons.spec import DBUS, RT_RUNTIME_MICROSECONDS, UDEV
from supervisor.paths import DataPaths

CONTAINER: Final = "hassio_audio"
ADDRESS: Final = NETWORK_SUBNET.network_address + 4
MACHINE_ID: Final = Path("/etc/machine-id")
# Sound, and the input devices of which headsets are some.
_MAJORS: Final = (116, 13)
_HOSTNAME: Final = "hassio-audio"


@attrs.frozen
class PluginPlace:
    """What the machine has for the plugin; `missing` are the paths of the host that it lacks."""

    paths: DataPaths
    timezone: str
    realtime: bool = False
    missing: Collection[Path] = frozenset()


def plugin_spec(image: str, place: PluginPlace) -> ContainerSpec:
    """Describe the container; `image` is `repository:tag`."""
    paths = place.paths
    cid = paths.cid_files / f"{CONTAINER}.cid"
    given = (Bind(path, str(path)) for path in (DBUS, UDEV, MACHINE_ID) if path not in place.missing)
    return ContainerSpec(
        name=CONTAINER,
        image=image,
        hostname=_HOSTNAME,
        environment={"TZ": place.timezone},
        binds=(
            Bind(Path("/dev"), "/dev", non_recursive_read_only=True),
            Bind(paths.on_host(paths.audio), "/data", read_only=False),
            *given,
        ),
        address=ADDRESS,
        aliases=(_HOSTNAME,),
        capabilities=("SYS_NICE", "SYS_RESOURCE"),
        security_opt=("seccomp=unconfined",),
        device_cgroup_rules=tuple(f"c {major}:* rwm" for major in _MAJORS),
        ulimits=(Ulimit("rtprio", 10, 10),),
        cpu_rt_runtime=RT_RUNTIME_MICROSECONDS if place.realtime else None,
        cid_file=CidFile(cid, paths.on_host(cid)),
    )
