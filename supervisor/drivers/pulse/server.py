"""The connection to the sound server, kept up as long as there is one, and what can be asked over it.

The library needs libpulse, which a machine without sound need not have: it is loaded when a server is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from supervisor.drivers.pulse.model import Direction, Door, Sound
from supervisor.drivers.pulse.reading import sound_of
from supervisor.errors import Invalid, SupervisorError, Timeout, Unavailable
from supervisor.events import EventBus, SoundChanged

_LOGGER = logging.getLogger(__name__)

_CLIENT: Final = "supervisor"
_SECONDS: Final = 5.0  # for one operation
# Where a server for the whole machine keeps it, seen from its socket.
_COOKIE: Final = ".config/pulse/cookie"
_RETRY_SECONDS: Final = 2.0
_MODULES_ALSA: Final = "module-alsa-card"
_MODULE_DETECT: Final = "module-udev-detect"


class SoundServer:
    """Keeps a connection to the first of `sockets` that there is, or to what `PULSE_SERVER` names.

    Publishes `SoundChanged` when the server comes, goes, or something in it changes.
    """

    def __init__(self, bus: EventBus, sockets: Sequence[Path]) -> None:
        self._bus = bus
        self._sockets = tuple(sockets)
        self._pulse: Any = None
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._told = False

    @property
    def available(self) -> bool:
        return self._pulse is not None

    async def start(self) -> None:
        """Begin to look for a server; this does not wait for one."""
        self._task = asyncio.create_task(self._keep_connected(), name="sound server")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _keep_connected(self) -> None:
        while True:
            address = await asyncio.to_thread(self._address)
            if address is not None:
                try:
                    await self._watch(address)
                except SupervisorError as err:
                    log = _LOGGER.debug if self._told else _LOGGER.info
                    log("No sound: %s", err)
                    self._told = True
            await asyncio.sleep(_RETRY_SECONDS)

    def door(self) -> Door | None:
        """Return where a server listens, if there is one that can be reached by a file of this machine. Blocking."""
        address = self._address() or ""
        path = Path(address.removeprefix("unix:")) if address.startswith("unix:/") else None
        if path is None or not path.is_socket():
            return None
        cookie = path.parent / _COOKIE
        return Door(path, cookie if cookie.is_file() else None)

    def _address(self) -> str | None:
        if (named := os.environ.get("PULSE_SERVER")) is not None:
            return named or None
        return next((f"unix:{path}" for path in self._sockets if path.is_socket()), None)

    async def _watch(self, address: str) -> None:
        """Connect and publish what happens, until the server is gone."""
        pulse = _connection(address)
        try:
            with _translated("The sound server can't be reached"):
                await pulse.connect(timeout=_SECONDS)
            self._pulse, self._told = pulse, False
            _LOGGER.info("Sound server at %s", address)
            self._bus.publish(SoundChanged(available=True))
            with _translated("The sound server is gone"):
                async for _event in pulse.subscribe_events("all"):
                    self._bus.publish(SoundChanged(available=True))
        finally:
            was_there, self._pulse = self._pulse is not None, None
            pulse.close()
            if was_there:
                self._bus.publish(SoundChanged(available=False))

    @contextlib.asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[Any]:
        async with self._lock:
            pulse = self._pulse
            if pulse is None:
                raise Unavailable("There is no sound server on this machine")
            try:
                with _translated(what):
                    async with asyncio.timeout(_SECONDS):
                        yield pulse
            except Timeout:
                # An answer that comes too late would find nobody who waits: this connection is of no use any more.
                pulse.disconnect()
                raise

    async def read(self) -> Sound:
        """Return what there is.

        Raises:
            Unavailable: there is no server, or it does not answer.
        """
        async with self._asking("Can't read what the sound server has") as pulse:
            server = await pulse.server_info()
            return sound_of(
                server,
                await pulse.card_list(),
                await pulse.source_list(),
                await pulse.sink_list(),
                await pulse.source_output_list(),
                await pulse.sink_input_list(),
            )

    async def set_volume(self, direction: Direction, index: int, volume: float, *, application: bool) -> None:
        """Set the volume of all channels of a device, or of an application; 1 is 100 %.

        Raises:
            Invalid: there is no such thing, or the server refuses.
            Unavailable: there is no server, or it does not answer.
        """
        what = f"{'application' if application else 'device'} {index} ({direction})"
        async with self._asking(f"Can't set the volume of {what}") as pulse:
            await pulse.volume_set_all_chans(await _find(pulse, direction, index, application=application), volume)

    async def set_mute(self, direction: Direction, index: int, *, mute: bool, application: bool) -> None:
        """Mute a device or an application, or let it be heard. Errors as for `set_volume`."""
        what = f"{'application' if application else 'device'} {index} ({direction})"
        async with self._asking(f"Can't mute {what}") as pulse:
            await pulse.mute(await _find(pulse, direction, index, application=application), mute)

    async def set_default(self, direction: Direction, name: str) -> None:
        """Make a device the default one. Errors as for `set_volume`."""
        async with self._asking(f"Can't set the default {direction} to {name}") as pulse:
            streams = await (pulse.source_list() if direction is Direction.INPUT else pulse.sink_list())
            stream = next((stream for stream in streams if stream.name == name), None)
            if stream is None:
                raise Invalid(f"Can't find the {direction} {name}")
            await pulse.default_set(stream)

    async def set_profile(self, card: str, profile: str) -> None:
        """Choose the profile of a card. Errors as for `set_volume`."""
        async with self._asking(f"Can't set the profile of {card} to {profile}") as pulse:
            found = next((one for one in await pulse.card_list() if one.name == card), None)
            if found is None:
                raise Invalid(f"Can't find the card {card}")
            if all(one.name != profile for one in found.profile_list):
                raise Invalid(f"Can't find the profile {profile} of {card}")
            await pulse.card_profile_set(found, profile)

    async def detect_anew(self) -> None:
        """Have the server look for sound cards once more. Errors as for `set_volume`."""
        async with self._asking("Can't look for sound cards") as pulse:
            modules = await pulse.module_list()
            detecting = [module for module in modules if module.name == _MODULE_DETECT]
            if not detecting:
                raise Invalid("The sound server does not look for cards by itself")
            for module in modules:
                if module.name in (_MODULES_ALSA, _MODULE_DETECT):
                    await pulse.module_unload(module.index)
            await pulse.module_load(_MODULE_DETECT, detecting[0].argument or "")


async def _find(pulse: Any, direction: Direction, index: int, *, application: bool) -> Any:
    if application:
        entries = await (pulse.source_output_list() if direction is Direction.INPUT else pulse.sink_input_list())
    else:
        entries = await (pulse.source_list() if direction is Direction.INPUT else pulse.sink_list())
    found = next((entry for entry in entries if entry.index == index), None)
    if found is None:
        raise Invalid(f"Can't find the {'application' if application else 'device'} {index} ({direction})")
    return found


def _connection(address: str) -> Any:
    """Load the library and make a connection that is not open yet.

    Raises:
        Unavailable: libpulse is missing.
    """
    try:
        from pulsectl_asyncio import PulseAsync  # noqa: PLC0415 - it loads libpulse, which not every machine has
    except (ImportError, OSError) as err:
        raise Unavailable("libpulse is not installed (Debian: libpulse0)") from err

    class Connection(PulseAsync):  # type: ignore[misc]  # the library has no types
        waiting_futures: set[asyncio.Future[None]]

        def _pulse_state_cb(self, context: Any, data: Any) -> None:
            # When the server goes away, the library up to 1.3 lets all that wait fail at once, also those whose answer
            # is there, or on its way to them: these come first.
            waiting, self.waiting_futures = self.waiting_futures, set()
            super()._pulse_state_cb(context, data)
            if self._disconnected.is_set():
                asyncio.get_running_loop().call_soon(_fail, waiting)
            else:
                self.waiting_futures = waiting

    return Connection(_CLIENT, server=address)


def _fail(waiting: Iterable[asyncio.Future[None]]) -> None:
    from pulsectl import PulseDisconnected  # noqa: PLC0415 - see _connection

    for future in waiting:
        if not future.done():
            future.set_exception(PulseDisconnected())


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    from pulsectl import PulseDisconnected, PulseError  # noqa: PLC0415 - see _connection

    try:
        yield
    except PulseDisconnected as err:
        raise Unavailable(f"{what}: the sound server went away") from err
    except TimeoutError as err:
        raise Timeout(f"{what}: the sound server does not answer") from err
    except PulseError as err:
        raise Invalid(f"{what}: {str(err) or 'the sound server refuses'}") from err
