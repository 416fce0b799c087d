"""News of devices from the kernel (host contract §31)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum

import attrs
import pyudev

from supervisor.errors import Forbidden, Unsupported

_LOGGER = logging.getLogger(__name__)

# A machine that starts many things at once sends thousands of messages.
BUFFER_BYTES = 32 * 1024 * 1024
_AT_ONCE = 200


class DeviceAction(StrEnum):
    """What became of a device. LOST: messages came faster than they were read, anything may have happened."""

    ADD = "add"
    REMOVE = "remove"
    CHANGE = "change"
    LOST = "lost"


@attrs.frozen
class DeviceNews:
    """`sysfs` is the device's place there; empty for LOST."""

    action: DeviceAction
    sysfs: str


class UdevMonitor:
    """Hears the kernel itself: udev's own messages do not reach every network namespace.

    `on_news` is called on the event loop, for devices that have a node only.
    """

    def __init__(self, on_news: Callable[[DeviceNews], None]) -> None:
        self._on_news = on_news
        self._monitor: pyudev.Monitor | None = None

    def start(self) -> None:
        """Begin to listen.

        Raises:
            Unsupported: there is no libudev here.
            Forbidden: the kernel does not let us.
        """
        try:
            monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
            monitor.start()
        except ImportError as err:
            raise Unsupported("Devices that are plugged in are not noticed: libudev is missing") from err
        except OSError as err:
            raise Forbidden(f"Devices that are plugged in are not noticed: {err.strerror or err}") from err
        try:
            monitor.set_receive_buffer_size(BUFFER_BYTES)
        except OSError as err:
            _LOGGER.debug("The buffer for news of devices stays small: %s", err)
        self._monitor = monitor
        asyncio.get_running_loop().add_reader(monitor.fileno(), self._read)

    def stop(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            asyncio.get_running_loop().remove_reader(monitor.fileno())

    def _read(self) -> None:
        monitor = self._monitor
        # What is left after that many is read in the loop's next round.
        for _ in range(_AT_ONCE):
            if monitor is None:
                return
            try:
                device = monitor.poll(timeout=0)
            except OSError:
                self._on_news(DeviceNews(DeviceAction.LOST, ""))
                return
            if device is None:
                return
            news = _news(device)
            if news is not None:
                self._on_news(news)


def _news(device: pyudev.Device) -> DeviceNews | None:
    """Return what a message says; drivers that come and go with a device, and devices without a node, say nothing."""
    if device.action not in (DeviceAction.ADD, DeviceAction.REMOVE, DeviceAction.CHANGE):
        return None
    if "DEVNAME" not in device.properties:
        return None
    return DeviceNews(DeviceAction(device.action), device.sys_path)
