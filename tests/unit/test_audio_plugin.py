"""The container of the audio plugin, as it is described to the engine (add-on contract §4.3)."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from supervisor.drivers.docker.spec import Bind, Ulimit
from supervisor.managers.audio import MACHINE_ID, PluginPlace
from supervisor.managers.audio.container import plugin_spec
from supervisor.paths import DataPaths

PATHS = DataPaths(Path("/data"), Path("/mnt/data/supervisor"))


def test_the_plugin_gets_what_a_sound_server_needs() -> None:
    spec = plugin_spec("local/audio:1", PluginPlace(PATHS, "Europe/Vienna"))
    assert (spec.name, spec.hostname, spec.address) == ("hassio_audio", "hassio-audio", IPv4Address("172.30.32.4"))
    assert spec.environment == {"TZ": "Europe/Vienna"}
    assert spec.ulimits == (Ulimit("rtprio", 10, 10),)
    assert spec.device_cgroup_rules == ("c 116:* rwm", "c 13:* rwm")
    assert Bind(Path("/mnt/data/supervisor/audio"), "/data", read_only=False) in spec.binds
    assert {bind.target for bind in spec.binds} == {"/dev", "/data", "/run/dbus", "/run/udev", "/etc/machine-id"}
    assert spec.cpu_rt_runtime is None


def test_what_the_machine_lacks_is_not_mounted() -> None:
    spec = plugin_spec("local/audio:1", PluginPlace(PATHS, "UTC", realtime=True, missing={MACHINE_ID}))
    assert "/etc/machine-id" not in {bind.target for bind in spec.binds}
    assert spec.cpu_rt_runtime == 190_000
