"""Devices, drives and what sounds (API contract §2.12)."""

from __future__ import annotations

import attrs

from supervisor.api.models import hardware as wire
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.drivers.sysfs import Device
from supervisor.managers.audio import AudioManager
from supervisor.managers.hardware import Hardware
from supervisor.model.drive import Drive


@attrs.frozen
class HardwareRoutes:
    """Handlers of `/hardware`."""

    _hardware: Hardware
    _audio: AudioManager

    def routes(self) -> list[Route]:
        base, manager = "/hardware", Access.MANAGER
        return [
            Route("GET", f"{base}/info", Access.ALL, self._info, "List devices and drives", None, wire.HardwareInfo),
            Route("GET", f"{base}/audio", manager, self._sound, "List audio devices", None, wire.HardwareAudio),
            Route("POST", f"{base}/trigger", manager, self._trigger, "Have devices announced anew", NOTHING),
        ]

    async def _info(self, _call: Call) -> wire.HardwareInfo:
        return wire.HardwareInfo(
            devices=[_device(device) for device in self._hardware.devices],
            drives=[_drive(drive) for drive in await self._hardware.drives()],
        )

    async def _sound(self, _call: Call) -> wire.HardwareAudio:
        sound = self._audio.sound
        return wire.HardwareAudio(
            audio=wire.AudioNames(
                input={stream.name: stream.description for stream in sound.inputs},
                output={stream.name: stream.description for stream in sound.outputs},
            )
        )

    async def _trigger(self, _call: Call) -> None:
        await self._hardware.trigger()


def _device(device: Device) -> wire.HardwareDevice:
    return wire.HardwareDevice(
        name=device.name,
        sysfs=device.sysfs,
        dev_path=device.path,
        subsystem=device.subsystem,
        by_id=device.by_id,
        attributes=dict(device.attributes),
        children=list(device.children),
    )


def _drive(drive: Drive) -> wire.HardwareDrive:
    values = attrs.asdict(drive, recurse=False)
    values["filesystems"] = [
        wire.DriveFilesystem(**{**attrs.asdict(one), "mount_points": list(one.mount_points)})
        for one in drive.filesystems
    ]
    return wire.HardwareDrive(**values)
