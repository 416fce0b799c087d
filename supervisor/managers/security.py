"""Security settings and the check of passwords against known leaks (host contract §49)."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection

import voluptuous as vol

from supervisor.drivers.http import HttpClient
from supervisor.errors import Unavailable
from supervisor.state import StateFile

_LOGGER = logging.getLogger(__name__)

SECURITY_SCHEMA = vol.Schema(
    {vol.Optional("pwned", default=True): bool, vol.Optional("force_security", default=False): bool},
    extra=vol.REMOVE_EXTRA,
)

_SHA1 = re.compile(r"[0-9A-F]{40}")


class Security:
    """`leak_url` is the range service to which the first five digits of a password's SHA-1 are sent."""

    def __init__(self, state: StateFile, http: HttpClient, *, leak_url: str) -> None:
        self._state = state
        self._http = http
        self._leak_url = leak_url
        self._known_leaks: set[str] = set()
        self.pwned = True
        self.force = False

    async def load(self) -> None:
        data = await self._state.load()
        self.pwned, self.force = data["pwned"], data["force_security"]

    async def leaked(self, hashes: Collection[str]) -> bool | None:
        """Tell whether one of the passwords (upper-case SHA-1) is known to have leaked; None when nobody can tell."""
        if not self._known_leaks.isdisjoint(hashes):
            return True
        for digest in sorted(hashes):
            if not _SHA1.fullmatch(digest):
                continue
            try:
                answer = await self._http.get_text(f"{self._leak_url}/{digest[:5]}")
            except Unavailable as err:
                _LOGGER.info("Passwords can't be checked against known leaks: %s", err)
                return None
            if any(line.partition(":")[0].strip().upper() == digest[5:] for line in answer.splitlines()):
                self._known_leaks.add(digest)
                return True
        return False
