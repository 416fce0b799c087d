"""Sound (API contract §2.3); its logs are with those of the other plugins."""

from __future__ import annotations

from functools import partial

import attrs
import voluptuous as vol

from supervisor.api.models import audio as wire
from supervisor.api.models.addons import Stats
from supervisor.api.route import Access, Call, Handler, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.api.views.audio import devices
from supervisor.drivers.pulse import Direction
from supervisor.errors import Invalid
from supervisor.jobs import JobManager
from supervisor.managers.audio import ADDRESS, AudioManager, AudioPlugin
from supervisor.model.validators import lenient_bool, lenient_float, lenient_int, text, version

INDEX = vol.All(lenient_int, vol.Range(0, 2**32 - 1))
# Half as loud again as the device was made for is what sound servers offer at most.
LOUDEST = 1.5

UPDATE = vol.Schema({vol.Optional("version"): version})
PROFILE = vol.Schema({vol.Required("card"): text, vol.Required("name"): text})
VOLUME = vol.Schema(
    {vol.Required("index"): INDEX, vol.Required("volume"): vol.All(lenient_float, vol.Range(0, LOUDEST))}
)
MUTE = vol.Schema({vol.Required("index"): INDEX, vol.Required("active"): lenient_bool})
DEFAULT = vol.Schema({vol.Required("name"): text})


@attrs.frozen
class AudioRoutes:
    """Handlers of `/audio`."""

    _audio: AudioManager
    _plugin: AudioPlugin
    _jobs: JobManager

    def routes(self) -> list[Route]:
        base, manager = "/audio", Access.MANAGER
        volume, mute = f"{base}/volume/{{source}}", f"{base}/mute/{{source}}"
        return [
            Route("GET", f"{base}/info", Access.ALL, self._info, "Show devices and volumes", None, wire.AudioInfo),
            Route("GET", f"{base}/stats", manager, self._stats, "Show what the plugin uses", None, Stats),
            Route("POST", f"{base}/update", manager, self._update, "Update the plugin", UPDATE),
            Route("POST", f"{base}/restart", manager, self._restart, "Restart the plugin", NOTHING),
            Route("POST", f"{base}/reload", manager, self._reload, "Look at the sound server again", NOTHING),
            Route("POST", f"{base}/profile", manager, self._set_profile, "Choose the profile of a card", PROFILE),
            Route("POST", volume, manager, self._set_volume(), "Set the volume of a device", VOLUME),
            Route(
                "POST",
                f"{volume}/application",
                manager,
                self._set_volume(application=True),
                "Set the volume of an application",
                VOLUME,
            ),
            Route("POST", mute, manager, self._set_mute(), "Mute a device", MUTE),
            Route(
                "POST", f"{mute}/application", manager, self._set_mute(application=True), "Mute an application", MUTE
            ),
            Route("POST", f"{base}/default/{{source}}", manager, self._set_default, "Choose a device", DEFAULT),
        ]

    async def _info(self, _call: Call) -> wire.AudioInfo:
        current = await self._plugin.version()
        return wire.AudioInfo(
            version=current,
            version_latest=self._plugin.latest,
            update_available=self._plugin.update_available(current),
            host=str(ADDRESS),
            available=self._audio.available,
            audio=devices(self._audio.sound),
        )

    async def _stats(self, _call: Call) -> Stats:
        return Stats(**attrs.asdict(await self._plugin.stats()))

    async def _update(self, call: Call) -> None:
        await self._jobs.spawn(partial(self._plugin.update, call.body.get("version"))).result()

    async def _restart(self, _call: Call) -> None:
        await self._plugin.restart()

    async def _reload(self, _call: Call) -> None:
        await self._audio.reload()

    async def _set_profile(self, call: Call) -> None:
        await self._audio.set_profile(call.body["card"], call.body["name"])

    async def _set_default(self, call: Call) -> None:
        await self._audio.set_default(_direction(call), call.body["name"])

    def _set_volume(self, *, application: bool = False) -> Handler:
        async def handle(call: Call) -> None:
            await self._audio.set_volume(
                _direction(call), call.body["index"], call.body["volume"], application=application
            )

        return handle

    def _set_mute(self, *, application: bool = False) -> Handler:
        async def handle(call: Call) -> None:
            await self._audio.set_mute(
                _direction(call), call.body["index"], mute=call.body["active"], application=application
            )

        return handle


def _direction(call: Call) -> Direction:
    try:
        return Direction(call.path["source"])
    except ValueError as err:
        raise Invalid("Sound goes by input or output") from err
