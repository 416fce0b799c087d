"""Builds what looks after the host."""

from __future__ import annotations

from functools import partial

import attrs

from supervisor.drivers.journal import HOW_TO_HAVE_IT
from supervisor.drivers.mountinfo import takes_part_in_propagation
from supervisor.events import CoreState
from supervisor.jobs import JobCondition
from supervisor.lifecycle import StateKeeper
from supervisor.managers.host import (
    SERVICES_SCHEMA,
    Clock,
    Condition,
    Disks,
    Doctor,
    Features,
    Finding,
    GatewayFirewall,
    HostControl,
    HostFeature,
    HostManager,
    HostServices,
    SystemServices,
)
from supervisor.managers.host.services import MOUNTS_SINCE
from supervisor.model.amounts import size_text

from .addons import AddonParts
from .base import Base
from .parts import Parts

# A little below what a job wants to find free.
SCARCE_BYTES = 2 * 1024**3


@attrs.frozen(eq=False)
class HostParts:
    """Other parts of the host add their features and findings to `features` and `doctor`."""

    system: SystemServices
    features: Features
    doctor: Doctor
    disks: Disks
    manager: HostManager
    services: HostServices
    control: HostControl
    clock: Clock
    firewall: GatewayFirewall


def build_host(base: Base, parts: Parts, addons: AddonParts, state: StateKeeper) -> HostParts:
    system, features, disks = parts.system, Features(), Disks(base.paths, parts.system.disks.percent_used)
    system.provide(features)
    features.provide(
        HostFeature.HAOS,
        lambda: system.is_haos,
        title="Home Assistant Operating System",
        how="It is an operating system of its own; another Linux is as good for add-ons",
    )
    features.provide(
        HostFeature.JOURNAL,
        lambda: parts.logs.journal_available,
        title="systemd-journald",
        how=HOW_TO_HAVE_IT,
    )
    propagates: list[bool] = []

    def may_mount() -> bool:
        if not propagates:
            propagates.append(base.settings.container_name is None or takes_part_in_propagation(base.paths.root))
        return propagates[0] and system.systemd.available and system.can_mount

    features.provide(
        HostFeature.MOUNT,
        may_mount,
        title="systemd",
        how="It takes systemd on the host; in a container, give the data folder with the propagation rslave; the Home "
        f"Assistant Operating System can do it from version {MOUNTS_SINCE} on",
    )
    for condition, feature, text in (
        (JobCondition.MOUNT_AVAILABLE, HostFeature.MOUNT, "mounting not supported on system"),
        (JobCondition.HAOS, HostFeature.HAOS, "no Home Assistant OS available"),
        (JobCondition.OS_AGENT, HostFeature.OS_AGENT, "no Home Assistant OS-Agent available"),
    ):
        base.jobs.provide(condition, partial(_unless_there, features, feature, text))
    doctor = Doctor(features)
    for check in (_engine, _system_bus, _internet):
        doctor.add(partial(check, base, parts))
    doctor.add(partial(_space, disks))
    doctor.add(partial(_sound, parts))
    control = HostControl(
        system,
        features,
        stop_managed=partial(_stop_managed, addons, state),
        resume=partial(_resume, addons, state),
    )
    firewall = GatewayFirewall(system.systemd, base.resolution, base.engine.network.settings.bridge, base.jobs.spawn)
    doctor.add(partial(_gateway, firewall))
    manager = HostManager(base.host, system, features, disks)
    manager.also_reload(parts.audio.reload)
    return HostParts(
        system,
        features,
        doctor,
        disks,
        manager,
        HostServices(base.state_file("host_services.json", SERVICES_SCHEMA), base.system_bus, system.systemd, features),
        control,
        Clock(
            base.host,
            system,
            control,
            features,
            parts.configuration,
            base.http,
            base.resolution,
            base.settings.whoami_url,
            partial(parts.connectivity.check, force=True),
        ),
        firewall,
    )


async def _stop_managed(addons: AddonParts, state: StateKeeper) -> None:
    """Stop what is looked after before the machine goes down (API contract §9.4)."""
    await state.set(CoreState.SHUTDOWN)
    await addons.manager.booter.shutdown()


async def _resume(addons: AddonParts, state: StateKeeper) -> None:
    await state.set(CoreState.RUNNING)
    await addons.manager.booter.resume()


async def _unless_there(features: Features, feature: HostFeature, text: str) -> str | None:
    return None if features.has(feature) else text


def _engine(base: Base, _parts: Parts) -> Finding:
    info = base.engine.info
    if not base.engine.available or info is None:
        how = "Install docker.io and start it: systemctl start docker"
        return Finding("Docker", Condition.MISSING, f"No engine answers at {base.settings.docker_url}", how)
    return Finding("Docker", Condition.OK, f"Version {info.version}, storage {info.storage_driver}")


def _system_bus(base: Base, _parts: Parts) -> Finding:
    bus = base.system_bus
    if not bus.connected:
        how = "Install dbus; in a container, give it /run/dbus"
        return Finding("D-Bus", Condition.MISSING, f"No system bus at {base.settings.system_bus}", how)
    return Finding("D-Bus", Condition.OK, f"Connected, by {bus.library}")


def _internet(_base: Base, parts: Parts) -> Finding:
    if parts.connectivity.online:
        return Finding("Internet", Condition.OK, "It can be reached")
    how = "Updates and images of others wait for it; see the network's settings"
    return Finding("Internet", Condition.LIMITED, "It can't be reached", how)


def _gateway(firewall: GatewayFirewall) -> Finding:
    if firewall.protected:
        return Finding("Internal network", Condition.OK, "Its gateway is closed to other machines")
    how = "It takes systemd and iptables on the host: see journalctl -u supervisor-firewall-gateway"
    return Finding("Internal network", Condition.LIMITED, "Its gateway is open to other machines", how)


def _sound(parts: Parts) -> Finding:
    if not parts.audio.available:
        how = "Only for add-ons that play or record: install PulseAudio, for the whole machine (pulseaudio --system)"
        return Finding("Sound", Condition.MISSING, "No sound server can be reached", how)
    sound = parts.audio.sound
    return Finding("Sound", Condition.OK, f"Server with outputs: {len(sound.outputs)}, inputs: {len(sound.inputs)}")


def _space(disks: Disks) -> Finding:
    capacity = disks.capacity
    text = f"{size_text(capacity.free)} of {size_text(capacity.total)} are free"
    if capacity.free < SCARCE_BYTES:
        return Finding("Space", Condition.LIMITED, text, "Installing and backing up need 2 GiB: remove what is old")
    return Finding("Space", Condition.OK, text)
