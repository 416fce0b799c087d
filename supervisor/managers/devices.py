"""Keeps the table of devices current and tells what is plugged in and pulled out (host contract §31)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from supervisor.drivers.sysfs import Device, DeviceTable
from supervisor.drivers.udev import DeviceAction, DeviceNews, UdevMonitor
from supervisor.errors import Forbidden, SupervisorError
from supervisor.events import DeviceAdded, DeviceRemoved, EventBus
from supervisor.managers.host import Host
from supervisor.managers.resolution import Resolution, UnhealthyReason
from supervisor.tasks import end

_LOGGER = logging.getLogger(__name__)

# One plug brings many messages; they are looked at together.
CALM_SECONDS = 0.2
# A new device is told of when udev has named it, or when it has had this time; udev's work brings no message.
PATIENCE_SECONDS = 6.0
LOOKS = 3


class DeviceWatch:
    """The kernel's messages only say that something changed. What changed is found by looking at all devices.

    So nothing is missed when messages get lost, and every device is told of once.
    """

    def __init__(
        self,
        bus: EventBus,
        host: Host,
        resolution: Resolution,
        *,
        calm: float = CALM_SECONDS,
        patience: float = PATIENCE_SECONDS,
        monitor: Callable[[Callable[[DeviceNews], None]], UdevMonitor] = UdevMonitor,
    ) -> None:
        self._bus = bus
        self._host = host
        self._resolution = resolution
        self._calm = calm
        self._patience = patience
        self._monitor = monitor(self._heard)
        self._news = asyncio.Event()
        self._gone: set[str] = set()
        self._known = DeviceTable()
        # New devices that udev is still busy with, and until when that is waited for.
        self._unsettled: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """Whether changes are noticed by themselves."""
        return self._task is not None

    async def start(self) -> None:
        """Begin to follow the devices; where that is not possible the daemon works without."""
        try:
            self._monitor.start()
        except SupervisorError as err:
            _LOGGER.warning("%s", err)
            if isinstance(err, Forbidden):
                self._resolution.add_unhealthy(UnhealthyReason.PRIVILEGED)
            return
        # After the monitor began, so that nothing falls between the two.
        self._known = await self._host.reload_devices()
        self._task = asyncio.create_task(self._follow(), name="device watch")

    async def stop(self) -> None:
        self._monitor.stop()
        task, self._task = self._task, None
        await end([task])

    def _heard(self, news: DeviceNews) -> None:
        if news.action == DeviceAction.REMOVE:
            self._gone.add(news.sysfs)
        self._news.set()

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience / LOOKS if self._unsettled else None):
                    await self._news.wait()
            await asyncio.sleep(self._calm)
            self._news.clear()
            try:
                await self._look()
            except Exception:
                _LOGGER.exception("Looking at the devices failed")

    async def _look(self) -> None:
        """Compare the devices with those of the last time."""
        gone, self._gone = self._gone, set()
        table = await self._host.reload_devices()
        # A device that was away for a moment looks as before, but who used it has lost it.
        before = {_key(device): device for device in self._known.devices}
        kept = {key for key, device in before.items() if device.sysfs not in gone}
        now = {_key(device): device for device in table.devices}
        for key, device in before.items():
            if key in now and key in kept:
                continue
            if self._unsettled.pop(device.sysfs, None) is None:
                _LOGGER.info("Device %s is gone", device.path)
                self._bus.publish(DeviceRemoved(device.path, device.sysfs, device.subsystem))
        self._known = table
        for key, device in now.items():
            is_new = key not in before or key not in kept or device.sysfs in self._unsettled
            if is_new and self._is_settled(device):
                _LOGGER.info("Device %s (%s) is new", device.path, device.subsystem)
                self._bus.publish(DeviceAdded(device.path, device.sysfs, device.subsystem))

    def _is_settled(self, device: Device) -> bool:
        """Tell whether a new device can be told of; one that can't is looked at again."""
        now = asyncio.get_running_loop().time()
        if device.settled or now >= self._unsettled.setdefault(device.sysfs, now + self._patience):
            self._unsettled.pop(device.sysfs, None)
            return True
        return False


def _key(device: Device) -> tuple[str, int, int]:
    return device.sysfs, device.major, device.minor
