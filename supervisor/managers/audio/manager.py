"""Sound: what there is, how loud it is, which device is the usual one (host contract §39)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from supervisor.drivers.pulse import Direction, Door, Sound, SoundServer
from supervisor.errors import SupervisorError, Unavailable
from supervisor.events import DeviceAdded, EventBus, SoundChanged
from supervisor.paths import DataPaths
from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)

PLUGIN_SOCKET: Final = "external/pulse.sock"

_REFRESH_SECONDS: Final = 2.0
_SETTLE_SECONDS: Final = 2.0


def sound_sockets(paths: DataPaths) -> list[Path]:
    """Return where a sound server may listen, best first: where add-ons look for it, then the machine's own."""
    return [
        paths.audio / PLUGIN_SOCKET,
        Path("/run/pulse/native"),
        Path(f"/run/user/{os.getuid()}/pulse/native"),
    ]


class AudioManager:
    """A picture of the sound server that news keep current: reading it asks nobody.

    The server is looked at once in two seconds at most, however much happens in it.
    """

    def __init__(self, server: SoundServer, bus: EventBus) -> None:
        self._server = server
        self._bus = bus
        self.sound = Sound()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._stale = False
        self._unsubscribe: tuple[Callable[[], None], ...] = ()

    @property
    def available(self) -> bool:
        return self._server.available

    def own_server(self, paths: DataPaths) -> Door | None:
        """Return where the machine's own server is; None where it has none, or the plugin has one. Blocking."""
        door = self._server.door()
        return None if door is not None and door.socket == paths.audio / PLUGIN_SOCKET else door

    async def start(self) -> None:
        """Begin to look for a sound server, and to follow what happens there."""
        self._unsubscribe = (
            self._bus.subscribe(SoundChanged, self._on_change),
            self._bus.subscribe(DeviceAdded, self._on_device),
        )
        await self._server.start()

    async def stop(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await end(self._tasks)
        await self._server.stop()

    async def reload(self) -> None:
        """Look at the server again; those who ask within two seconds share one look.

        Raises:
            Unavailable: there is no sound server, or it does not answer.
        """
        self._stale = True
        async with self._looking:
            if not self._stale:
                return  # somebody looked while we waited
            loop = asyncio.get_running_loop()
            if self._server.available:
                await asyncio.sleep(max(0.0, self._looked_at + _REFRESH_SECONDS - loop.time()))
            self._stale = False
            self._looked_at = loop.time()
            await self._look()

    async def _look(self) -> None:
        try:
            sound = await self._server.read()
        except Unavailable:
            self.sound = Sound()
            raise
        # The last answer of a server that has just gone may be heard after the news of its end.
        self.sound = sound if self._server.available else Sound()

    async def set_volume(self, direction: Direction, index: int, volume: float, *, application: bool) -> None:
        """Set a volume; 1 is 100 %.

        Raises:
            Invalid: there is no such device or application, or the server refuses.
            Unavailable: there is no sound server.
        """
        await self._server.set_volume(direction, index, volume, application=application)
        await self._look()

    async def set_mute(self, direction: Direction, index: int, *, mute: bool, application: bool) -> None:
        """Mute or unmute. Errors as for `set_volume`."""
        await self._server.set_mute(direction, index, mute=mute, application=application)
        await self._look()

    async def set_default(self, direction: Direction, name: str) -> None:
        """Choose the device for those who name none. Errors as for `set_volume`."""
        await self._server.set_default(direction, name)
        await self._look()

    async def set_profile(self, card: str, profile: str) -> None:
        """Choose what a card is used for. Errors as for `set_volume`."""
        await self._server.set_profile(card, profile)
        await self._look()

    def _on_change(self, event: SoundChanged) -> None:
        if not event.available:
            self.sound = Sound()
        elif not self._stale:
            self._begin(self._follow())

    async def _follow(self) -> None:
        try:
            await self.reload()
        except SupervisorError as err:
            _LOGGER.debug("Sound: %s", err)

    def _on_device(self, event: DeviceAdded) -> None:
        # A card is several devices; the one for its control comes last.
        if event.subsystem == "sound" and "/control" in event.path and self.available:
            self._begin(self._detect())

    async def _detect(self) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        try:
            await self._server.detect_anew()
            await self._look()
        except SupervisorError as err:
            _LOGGER.warning("A sound card was plugged in, but the sound server did not look for it: %s", err)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
