"""Whether the internet can be reached (host contract §45)."""

from __future__ import annotations

import asyncio
import time

from supervisor.drivers.http import HttpClient
from supervisor.events import EventBus, InternetChanged

FRESH_SECONDS_ONLINE = 600
FRESH_SECONDS_OFFLINE = 5


class Connectivity:
    """Any answer of `url` means online. Online is assumed until the first look; concurrent askers share one look.

    Publishes `InternetChanged`.
    """

    def __init__(self, http: HttpClient, bus: EventBus, *, url: str) -> None:
        self._http = http
        self._bus = bus
        self._url = url
        self._lock = asyncio.Lock()
        self._looked_at: float | None = None
        self.online = True

    async def check(self, *, force: bool = False) -> bool:
        """Return whether we are online, looking again when the last look is too old."""
        async with self._lock:
            if force or not self._fresh():
                before, self.online = self.online, await self._http.reachable(self._url)
                self._looked_at = time.monotonic()
                if self.online != before:
                    self._bus.publish(InternetChanged(self.online))
        return self.online

    def _fresh(self) -> bool:
        if self._looked_at is None:
            return False
        lifetime = FRESH_SECONDS_ONLINE if self.online else FRESH_SECONDS_OFFLINE
        return time.monotonic() - self._looked_at < lifetime
